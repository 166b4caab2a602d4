"""The real service over real HTTP for tests: uvicorn in a thread, on a port of its own, with a test's own parts."""

import asyncio
import io
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory

import uvicorn
from fastapi import FastAPI
from PIL import Image
from pydantic import SecretStr
from support.bundles import toy_picture

from models.bundle.archive import Bundle
from models.bundle.store import Store
from service.app import create_app
from service.dependencies import Jobs
from service.schemas import JobSummary
from service.settings import ServiceSettings
from worker.embedded import Embedded
from worker.engine.library import Library
from worker.jobs.board import Board
from worker.jobs.chunks import Chunks
from worker.jobs.intake import Intake
from worker.jobs.layout import End, Job
from worker.jobs.roots import Roots
from worker.jobs.runner import Local, Runner
from worker.jobs.webhooks import Courier
from worker.pipeline import Pipeline
from worker.settings import EngineSettings, JobSettings
from worker.storage import Storage, open_storage
from worker.translator import Arrays, Done, Translator


def settings(
    *,
    max_bytes: int = 1 << 20,
    max_pixels: int = 1_000_000,
    deadline_s: float = 30.0,
    keys: tuple[str, ...] = (),
    rate: str | None = None,
    docs: bool = True,
) -> ServiceSettings:
    """Settings that come from nowhere but here: neither the environment nor a `.env` file is read."""
    return ServiceSettings.model_construct(
        max_bytes=max_bytes,
        max_pixels=max_pixels,
        deadline_s=deadline_s,
        keys=tuple(map(SecretStr, keys)),
        rate=rate,
        docs=docs,
    )


def png(labels: set[str], *, size: int = 32) -> bytes:
    """`toy_picture` as a PNG file."""
    return encoded(toy_picture(labels, size=size), "PNG")


def encoded(image: Image.Image, format: str) -> bytes:
    """A picture as a file of one of Pillow's formats."""
    file = io.BytesIO()
    image.save(file, format)
    return file.getvalue()


@contextmanager
def serving(
    store: Store,
    settings: ServiceSettings,
    translator: Translator | None = None,
    jobs: JobSettings | None = None,
    storage: Storage | None = None,
) -> Iterator[str]:
    """The address (`http://127.0.0.1:PORT`) of a service over `store`; without a translator, with an embedded one.

    Without settings or a storage of their own, jobs lie in a folder that is gone afterwards.
    """
    engine = EngineSettings(device="cpu", threads=1)
    used = translator or Embedded(Library(store, engine), engine)
    pipeline = Pipeline(store, used, settings.limits(), threads=2)
    with TemporaryDirectory() as folder:
        parts = job_parts(jobs or JobSettings(storage=folder), pipeline, storage)
        try:
            with running(create_app(settings, pipeline, store, used, parts), parts.runner) as address:
                yield address
        finally:
            pipeline.close()
            close(used)


def job_parts(settings: JobSettings, pipeline: Pipeline, storage: Storage | None = None) -> Jobs:
    """The parts of jobs over these settings' storage, or another one; the runner, which is a Local, is not started."""
    storage = storage or open_storage(settings.storage)
    roots, board, courier = Roots(settings.roots), Board(storage), Courier(storage, settings, describe=JobSummary.of)

    async def ended(job: Job, end: End) -> None:
        """Tells nobody."""

    runner = Local(board, Chunks(storage, roots, pipeline, at_once=4), ended=ended, at_once=2)
    intake = Intake(storage, roots, settings, pipeline.limits)
    return Jobs(settings, storage, roots, intake, board, runner, courier)


def close(translator: Translator) -> None:
    """Close a translator, in a thread: where a browser is driven, this one has an event loop already."""
    with ThreadPoolExecutor(1) as threads:
        threads.submit(asyncio.run, translator.close()).result()


@contextmanager
def running(app: FastAPI, runner: Runner | None = None) -> Iterator[str]:
    """The address of an application that runs until the end of the block, and its runner with it."""
    with started(app, runner) as (address, _):
        yield address


@contextmanager
def started(app: FastAPI, runner: Runner | None, *, patience_s: int = 1) -> Iterator[tuple[str, uvicorn.Server]]:
    """The same, and the server; `patience_s` is how long it waits at the end for answers that are under way."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=patience_s)
        server = _Server(config, runner)
        thread = threading.Thread(target=server.run, args=([listener],), name="uvicorn")
        thread.start()
        try:
            assert server.up.wait(30), "the server did not start"
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", server
        finally:
            server.should_exit = True
            thread.join()


@dataclass
class Failing:
    """A translator whose every call raises the same error."""

    error: Exception

    async def run(self, bundle: Bundle, graph: str, inputs: Arrays, *, deadline: float) -> Done:
        """Raises the error."""
        raise self.error

    async def ready(self) -> None:
        """Raises the error."""
        raise self.error

    async def close(self) -> None:
        """Has nothing to close."""


@dataclass
class Stuck:
    """A translator that never answers; `begun` is set when work comes in, `dropped` when it is cancelled."""

    begun: threading.Event = field(default_factory=threading.Event)
    dropped: threading.Event = field(default_factory=threading.Event)

    async def run(self, bundle: Bundle, graph: str, inputs: Arrays, *, deadline: float) -> Done:
        """Waits until it is cancelled."""
        await self._wait()
        raise AssertionError("nothing ends the wait")

    async def ready(self) -> None:
        """Is ready."""

    async def close(self) -> None:
        """Has nothing to close."""

    async def _wait(self) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.dropped.set()
            raise


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, runner: Runner | None) -> None:
        super().__init__(config)
        self.up = threading.Event()
        self.runner = runner

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if isinstance(self.runner, Local):
            await self.runner.start()
        await super().startup(sockets=sockets)
        self.up.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets=sockets)
        if self.runner is not None:
            await self.runner.close()
