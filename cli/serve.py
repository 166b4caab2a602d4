"""`recast serve`, `work`, `doctor` and `models`: the processes that serve, and checks of what they have."""

import asyncio
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from cli import terminal
from cli.options import Broker, Device, MaxBatch, Storage, Stores, Threads, open_store, without_none

if TYPE_CHECKING:
    from worker.tracing import Tracer


class Check(StrEnum):
    """What `recast models` can do besides listing."""

    verify = "verify"


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.", show_default="8000")] = None,
    store: Stores = None,
    storage: Storage = None,
    broker: Broker = None,
    device: Device = None,
    threads: Threads = None,
    max_batch: MaxBatch = None,
) -> None:
    """Serve the bundles over HTTP; open the address in a browser."""
    from service.settings import ServiceSettings
    from wiring.process import Process
    from wiring.service import serve
    from worker.errors import InvalidParameter
    from worker.settings import EngineSettings, JobSettings, QueueSettings

    options = without_none({"device": device, "threads": threads, "max_batch": max_batch})
    service, queue = (
        ServiceSettings(**without_none({"host": host, "port": port})),
        QueueSettings(**without_none({"broker": broker})),
    )
    engine, jobs = EngineSettings(**options), JobSettings(**without_none({"storage": storage}))
    if queue.broker and options:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in options)
        raise InvalidParameter(f"with a broker the workers run the models: give {names} to `recast work`")
    if queue.broker:
        from wiring.workers import with_workers

        backend = partial(with_workers, queue=queue)
    else:
        from wiring.engine import alone

        backend = partial(alone, settings=engine, limits=service.limits())
    # After its own shutdown uvicorn raises SIGTERM again, which would kill the process before the rest is closed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with _telemetry("recast-service") as tracer, Process(open_store(store), jobs, tracer) as process:
        asyncio.run(serve(process, service, backend, threads=engine.threads))


def work(
    broker: Broker = None,
    store: Stores = None,
    storage: Storage = None,
    device: Device = None,
    threads: Threads = None,
    max_batch: MaxBatch = None,
    max_wait_ms: Annotated[
        float | None, typer.Option(help="Milliseconds that an idle device waits for company.", show_default="0")
    ] = None,
) -> None:
    """Run the models for services that share the broker and the storage, as a Celery worker."""
    from service.settings import ServiceSettings
    from wiring.process import Process
    from wiring.worker import work as run
    from worker.settings import EngineSettings, JobSettings, QueueSettings

    options = {"device": device, "threads": threads, "max_batch": max_batch, "max_wait_ms": max_wait_ms}
    engine, queue = EngineSettings(**without_none(options)), QueueSettings(**without_none({"broker": broker}))
    jobs = JobSettings(**without_none({"storage": storage}))
    with _telemetry("recast-worker") as tracer, Process(open_store(store), jobs, tracer) as process:
        raise typer.Exit(run(process, engine, queue, ServiceSettings().limits()))


def doctor(store: Stores = None, storage: Storage = None, broker: Broker = None) -> None:
    """Check what works here: ONNX Runtime and its device, training, broker, workers, storage, store, every bundle."""
    from wiring.doctor import Runtime, examine
    from worker.settings import EngineSettings, JobSettings, QueueSettings

    runtime = None
    if find_spec("onnxruntime"):
        from worker.engine.engine import try_bundle
        from worker.engine.session import providers

        engine = EngineSettings()
        runtime = Runtime(f"{engine.device}; {providers()}", partial(try_bundle, settings=engine))
    behind_broker = None
    if find_spec("redis"):
        from wiring.workers import examine_broker

        behind_broker = examine_broker
    queue, jobs = QueueSettings(**without_none({"broker": broker})), JobSettings(**without_none({"storage": storage}))
    with open_store(store) as opened:
        findings = examine(opened, runtime, behind_broker, queue, jobs)
    for finding in findings:
        mark = "[green]ok[/]  " if finding.works else "[red]FAIL[/]" if finding.needed else "[yellow]no[/]  "
        terminal.out.print(f"{mark} {escape(f'{finding.subject}: {finding.detail}')}", soft_wrap=True)
    if any(finding.needed and not finding.works for finding in findings):
        raise typer.Exit(1)


def models(
    check: Annotated[Check | None, typer.Argument(help="verify: check every hash and run every graph.")] = None,
    store: Stores = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """List the bundles of the stores."""
    with open_store(store) as opened:
        snapshot = opened.snapshot()
    refused = {refused.folder: refused.reason for refused in snapshot.refused}
    if check is Check.verify:
        from worker.engine.engine import try_bundle
        from worker.settings import EngineSettings

        engine = EngineSettings()
        refused |= {bundle.ref: reason for bundle in snapshot.bundles if (reason := try_bundle(bundle, engine))}
    rows: list[dict[str, Any]] = [
        {
            "name": bundle.name,
            "version": bundle.version,
            "family": bundle.manifest.family,
            "domains": [domain.name for domain in bundle.manifest.domains],
            "size": bundle.manifest.picture.size,
            "precision": bundle.manifest.precision,
            "licence": bundle.manifest.licence,
        }
        for bundle in snapshot.models
        if bundle.ref not in refused
    ]
    if as_json:
        terminal.out.print_json(json.dumps({"models": rows, "refused": refused}))
    else:
        table = Table("model", "family", "size", "precision", "domains", "licence", box=None)
        for row in rows:
            cells = row["family"], f"{row['size']} px", row["precision"], ", ".join(row["domains"]), row["licence"]
            table.add_row(f"{row['name']}@{row['version']}", *map(escape, cells))
        terminal.out.print(table if rows else "the store holds no bundle")
        for name, reason in refused.items():
            terminal.complain(f"refused {name}: {reason}")
    if check is Check.verify and refused:
        raise typer.Exit(1)


@contextmanager
def _telemetry(service: str) -> "Iterator[Tracer]":
    """Sets up the log of a process and yields its tracer, which sends its last spans at the end of the block."""
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
            f"RECAST_TRACES is set, but the module {error.name} is not installed; traces need the extra `otel`: "
            "pip install 'recast[otel]'"
        ) from error
    tracer = OpenTelemetry(settings.traces, service)
    try:
        yield tracer
    finally:
        tracer.close()
