"""The service from its settings: its parts, what runs beside it, and who closes what."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI

from models.bundle.store import Store
from service.app import create_app
from service.dependencies import Jobs
from service.observer import Observer
from service.schemas import JobSummary
from service.settings import ServiceSettings
from worker.exposition import Registry
from worker.jobs.board import Board
from worker.jobs.intake import Intake
from worker.jobs.janitor import Janitor
from worker.jobs.roots import Roots
from worker.jobs.runner import Runner
from worker.jobs.webhooks import Courier
from worker.metrics import Metrics
from worker.pipeline import Pipeline
from worker.settings import EngineSettings, JobSettings, QueueSettings
from worker.storage import Storage, open_storage
from worker.tracing import SILENT, Tracer
from worker.translator import Translator

GRACE_S = 10
"""Seconds that requests under way are given when the service is told to stop."""


@dataclass(frozen=True)
class Place:
    """What a service has wherever its pictures are translated."""

    settings: ServiceSettings
    jobs: JobSettings
    queue: QueueSettings
    engine: EngineSettings
    store: Store
    storage: Storage
    roots: Roots
    metrics: Metrics
    tracer: Tracer

    def pipeline(self, translator: Translator) -> Pipeline:
        """Pictures through this translator, within the service's limits."""
        return Pipeline(
            self.store,
            translator,
            self.settings.limits(),
            threads=self.engine.threads,
            observe=self.metrics.picture,
            tracer=self.tracer,
        )


Backend = Callable[[Place], AbstractAsyncContextManager[tuple[Translator, Runner]]]
"""Who translates pictures and does jobs, from the first request to the last."""


async def serve(
    settings: ServiceSettings,
    jobs: JobSettings,
    queue: QueueSettings,
    store: Store,
    run: Backend,
    tracer: Tracer = SILENT,
) -> None:
    """Serves until it is told to stop."""
    storage, roots = open_storage(jobs.storage), Roots(jobs.roots)
    metrics = Metrics(Registry())
    place = Place(settings, jobs, queue, EngineSettings(), store, storage, roots, metrics, tracer)
    async with AsyncExitStack() as stack:
        stack.enter_context(store)
        translator, runner = await stack.enter_async_context(run(place))
        pipeline = place.pipeline(translator)
        stack.callback(pipeline.close)
        courier = Courier(storage, jobs, describe=JobSummary.of)
        stack.callback(courier.close)
        board = Board(storage)
        parts = Jobs(jobs, storage, roots, Intake(storage, roots, jobs, settings.limits()), board, runner, courier)
        await stack.enter_async_context(beside(Janitor(storage, jobs).run()))
        await stack.enter_async_context(beside(metrics.watch_jobs(board)))
        observer = Observer(metrics.registry, tracer)
        await _listen(settings, create_app(settings, pipeline, store, translator, parts, observer))


@asynccontextmanager
async def beside(work: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """Runs work that has no end of its own beside the block."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _listen(settings: ServiceSettings, app: FastAPI) -> None:
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        lifespan="off",
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    gc.freeze()  # what was imported is never garbage, and looking through it again and again costs 60 ms each time
    await uvicorn.Server(config).serve()
