"""The service: HTTP, jobs, background work and, with a broker, its workers; it needs no ONNX Runtime."""

import gc
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import uvicorn

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
"""Seconds that open requests have to end after the signal to stop."""

OpenBackend = Callable[[Process], AbstractAsyncContextManager[Backend]]
"""`with_workers` or `wiring.engine.alone` with its settings; stays open from the first request to the last."""


async def serve(process: Process, settings: ServiceSettings, backend: OpenBackend, *, threads: int) -> None:
    """Serves until SIGTERM or SIGINT; `threads` decode and encode, 0: one for each core.

    At the end requests have GRACE_S, then all parts close in reverse order.
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
        config = uvicorn.Config(
            create_app(settings, pipeline, opened.bundles, opened.translator, parts, observer),
            host=settings.host,
            port=settings.port,
            lifespan="off",  # the application starts no part; all begin and end here
            log_config=None,  # worker.logs has set up the log
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
        )
        gc.freeze()  # imported modules are never garbage, and each collection that scans them takes 60 ms
        await uvicorn.Server(config).serve()


@asynccontextmanager
async def with_workers(process: Process, *, queue: QueueSettings) -> AsyncIterator[Backend]:
    """Sends pictures and jobs to the workers that share broker and storage; the broker need not answer yet."""
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
        # Both return at once: a service without its broker starts all the same, and answers 503 until the broker does.
        await remote.start()
        await runner.start()
        yield Backend(remote, runner, offer)
