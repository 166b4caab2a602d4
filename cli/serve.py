"""`recast serve` and `recast work`: the service, and the workers that it may share a broker with."""

import asyncio
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import Broker, Storage, Stores, given, open_store

if TYPE_CHECKING:
    from worker.tracing import Tracer


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.", show_default="8000")] = None,
    store: Stores = None,
    storage: Storage = None,
    broker: Broker = None,
) -> None:
    """Serve the bundles over HTTP; open the address in a browser."""
    from service.settings import ServiceSettings
    from wiring.serving import serve
    from worker.settings import JobSettings, QueueSettings

    queue = QueueSettings(**given({"broker": broker}))
    if queue.broker:
        from wiring.workers import with_workers as backend
    else:
        from wiring.alone import alone as backend
    service = ServiceSettings(**given({"host": host, "port": port}))
    jobs = JobSettings(**given({"storage": storage}))
    # The server repeats the signal that stopped it, and what is not closed yet must be.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with _told("recast-service") as tracer:
        asyncio.run(serve(service, jobs, queue, open_store(store), backend, tracer))


def work(
    broker: Broker = None,
    store: Stores = None,
    storage: Storage = None,
    device: Annotated[str | None, typer.Option(help="cuda:0, cpu or auto.", show_default="auto")] = None,
    max_batch: Annotated[int | None, typer.Option(help="Pictures in one inference.", show_default="16")] = None,
    max_wait_ms: Annotated[float | None, typer.Option(help="How long an idle device waits.", show_default="0")] = None,
) -> None:
    """Work for services that share the broker and the storage: a Celery worker."""
    from service.settings import ServiceSettings
    from wiring.worker import work as run
    from worker.settings import EngineSettings, JobSettings, QueueSettings

    engine = EngineSettings(**given({"device": device, "max_batch": max_batch, "max_wait_ms": max_wait_ms}))
    queue, jobs = QueueSettings(**given({"broker": broker})), JobSettings(**given({"storage": storage}))
    with _told("recast-worker") as tracer, open_store(store) as opened:
        raise typer.Exit(run(opened, engine, queue, jobs, ServiceSettings().limits(), tracer))


@contextmanager
def _told(service: str) -> "Iterator[Tracer]":
    """Has the process log as it is set; the tracer that is set, which is closed in the end."""
    from worker import logs
    from worker.errors import InvalidParameter
    from worker.settings import OperationsSettings
    from worker.tracing import SILENT

    settings = OperationsSettings()
    logs.configure(settings.log_format)
    if settings.traces is None:
        yield SILENT
        return
    try:
        from worker.otel import OpenTelemetry
    except ModuleNotFoundError as error:
        raise InvalidParameter(
            f"RECAST_TRACES is set, and there is no module {error.name}: traces need the extra `otel`, "
            "pip install 'recast[otel]'"
        ) from error
    tracer = OpenTelemetry(settings.traces, service)
    try:
        yield tracer
    finally:
        tracer.close()
