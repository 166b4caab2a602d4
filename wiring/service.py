"""The service: HTTP, jobs, what runs beside them, and the workers that it may have; it needs no ONNX Runtime."""

import gc
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import uvicorn
from fastapi import FastAPI

from service.app import create_app
from service.dependencies import Jobs
from service.observer import Observer
from service.settings import ServiceSettings
from wiring.process import Backend, Process, beside
from worker.jobs.board import Board
from worker.jobs.intake import Intake
from worker.jobs.janitor import Janitor
from worker.jobs.queued import Queued
from worker.queue.offer import Offer
from worker.queue.remote import Remote
from worker.settings import QueueSettings

GRACE_S = 10
"""Seconds that requests under way are given when the service is told to stop."""


OpenBackend = Callable[[Process], AbstractAsyncContextManager[Backend]]
"""`with_workers` or `wiring.engine.alone` with its settings; open from the first request to the last."""


async def serve(process: Process, settings: ServiceSettings, backend: OpenBackend, *, threads: int) -> None:
    """Serves until the process gets SIGTERM or SIGINT; `threads` decode and encode, 0: as many as there are cores.

    In the end requests have GRACE_S, then everything closes in the reverse order of its beginning.
    """
    jobs, storage = process.jobs, process.storage
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(backend(process))
        pipeline = process.pipeline(opened.bundles, opened.translator, settings.limits(), threads)
        stack.callback(pipeline.close)
        courier = process.courier()
        stack.callback(courier.close)
        board = Board(storage)
        intake = Intake(storage, process.roots, jobs, settings.limits())
        parts = Jobs(jobs, storage, process.roots, intake, board, opened.runner, courier)
        await stack.enter_async_context(beside(Janitor(storage, jobs).run()))
        await stack.enter_async_context(beside(process.metrics.watch_jobs(board)))
        observer = Observer(process.metrics.registry, process.tracer)
        await _listen(settings, create_app(settings, pipeline, opened.bundles, opened.translator, parts, observer))


@asynccontextmanager
async def with_workers(process: Process, *, queue: QueueSettings) -> AsyncIterator[Backend]:
    """Has pictures and jobs done by the workers that share broker and storage; the broker need not answer yet."""
    async with AsyncExitStack() as stack:
        remote = Remote(queue, tracer=process.tracer)
        stack.push_async_callback(remote.close)
        runner = Queued(Board(process.storage), queue)
        stack.push_async_callback(runner.close)
        offer = Offer(process.store, lambda: remote.beats)
        process.follow(offer.follow)
        process.metrics.watch_store(offer.snapshot)
        process.metrics.watch_depth(lambda: remote.depth)
        process.metrics.watch_workers(lambda: remote.workers)
        await remote.start()
        await runner.start()
        yield Backend(remote, runner, offer)


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
    gc.freeze()  # what was imported is never garbage, and each look through it costs 60 ms
    await uvicorn.Server(config).serve()
