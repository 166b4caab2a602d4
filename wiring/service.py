"""The service: HTTP, jobs and background work; it needs neither ONNX Runtime nor Celery."""

import gc
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import uvicorn

from service.app import create_app
from service.dependencies import Jobs
from service.observer import Observer
from service.settings import ServiceSettings
from wiring.process import Backend, Process, background
from worker.jobs.board import Board
from worker.jobs.intake import Intake
from worker.jobs.janitor import Janitor

GRACE_S = 10
"""Seconds that open requests have to end after the signal to stop."""

OpenBackend = Callable[[Process], AbstractAsyncContextManager[Backend]]
"""`wiring.workers.with_workers` or `wiring.engine.alone` with its settings; open from the first request to the last."""


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
        await stack.enter_async_context(background(Janitor(storage, jobs).run()))
        await stack.enter_async_context(background(process.metrics.watch_jobs(board)))
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
