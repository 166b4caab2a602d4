"""The dependencies of the routes: the parts that `create_app` was given, and the deadline of a request.

They are coroutines although they await nothing: FastAPI would run plain functions in a thread for each request.
"""

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from starlette.requests import ClientDisconnect

from models.bundle.store import Bundles
from service.settings import ServiceSettings
from worker.errors import TimedOut
from worker.exposition import Registry
from worker.jobs.board import Board
from worker.jobs.intake import Intake
from worker.jobs.roots import Roots
from worker.jobs.runner import Runner
from worker.jobs.webhooks import Courier
from worker.pipeline import Pipeline
from worker.settings import JobSettings
from worker.storage import Storage
from worker.translator import Translator

T = TypeVar("T")


@dataclass(frozen=True)
class Jobs:
    """The parts that accept, run and describe jobs; each uses only those before it."""

    settings: JobSettings
    storage: Storage
    roots: Roots
    intake: Intake
    board: Board
    runner: Runner
    courier: Courier


async def settings(request: Request) -> ServiceSettings:
    """The settings of this application."""
    found: ServiceSettings = request.app.state.settings
    return found


async def pipeline(request: Request) -> Pipeline:
    """The pipeline: one picture in, one picture out."""
    found: Pipeline = request.app.state.pipeline
    return found


async def store(request: Request) -> Bundles:
    """The bundles."""
    found: Bundles = request.app.state.store
    return found


async def translator(request: Request) -> Translator:
    """The translator, which the routes only ask whether it is ready."""
    found: Translator = request.app.state.translator
    return found


async def jobs(request: Request) -> Jobs:
    """The parts of jobs."""
    found: Jobs = request.app.state.jobs
    return found


async def registry(request: Request) -> Registry:
    """The metrics of this process."""
    found: Registry = request.app.state.registry
    return found


async def deadline(settings: Annotated[ServiceSettings, Depends(settings)]) -> float:
    """The time of `time.monotonic()` by which this request must be answered; the upload of its body counts."""
    return time.monotonic() + settings.deadline_s


Settings = Annotated[ServiceSettings, Depends(settings)]
PipelinePart = Annotated[Pipeline, Depends(pipeline)]
StorePart = Annotated[Bundles, Depends(store)]
TranslatorPart = Annotated[Translator, Depends(translator)]
JobsPart = Annotated[Jobs, Depends(jobs)]
RegistryPart = Annotated[Registry, Depends(registry)]
Deadline = Annotated[float, Depends(deadline)]


async def wait_for_answer(work: Coroutine[Any, Any, T], request: Request, *, deadline: float) -> T:
    """The result of `work`, which is cancelled at `deadline` (`time.monotonic()`) or when the client hangs up.

    The request's body must have been read, so that the next message can only be the hang-up.

    Raises:
        TimedOut: the deadline passed.
        ClientDisconnect: the client hung up.
    """
    working = asyncio.ensure_future(work)

    async def hang_up() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            continue

    gone = asyncio.ensure_future(hang_up())
    try:
        await asyncio.wait((working, gone), timeout=seconds_left(deadline), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientDisconnect if gone.done() else deadline_passed()
    finally:
        working.cancel()
        gone.cancel()
        # Without this, the cancelled tasks would outlive the request, and asyncio would log their errors.
        await asyncio.gather(working, gone, return_exceptions=True)


def seconds_left(deadline: float) -> float:
    """Seconds until a deadline of `time.monotonic()`, at least 0."""
    return max(0.0, deadline - time.monotonic())


def deadline_passed() -> TimedOut:
    """The error of a deadline that passed."""
    return TimedOut(
        "the deadline passed before the picture was ready, and the work was dropped; ask again when there is less to do"
    )
