"""Traces from upload to device and back, as a collector receives them; the last tests run the real commands."""

import asyncio
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import numpy as np
import pytest
from support import redis
from support.bundles import toy_bundle
from support.collectors import Collector, collecting
from support.figures import Figures
from support.services import png
from support.sockets import free_port

from models.bundle.store import Store
from worker import otel
from worker.embedded import Embedded
from worker.engine.library import Library
from worker.otel import OpenTelemetry
from worker.pipeline import Pipeline
from worker.queue.broker import Letterbox, Parcel
from worker.queue.parcels import pack_order, read_order
from worker.queue.tasks import Inference
from worker.settings import EngineSettings, Limits
from worker.tracing import SILENT
from worker.translator import Order
from worker.wish import Wish

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60
TRACE = "0af7651916cd43dd8448eb211c80319c"
ABOVE = "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{ABOVE}-01"


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector of its own."""
    with collecting() as collector:
        yield collector


def test_spans_nest_and_tell(collector: Collector) -> None:
    """A span begins below the current span of its task; attributes, names and failures arrive."""
    tracer = OpenTelemetry(collector.endpoint, "test")
    with tracer.span("outer", {"a": 1}, kind="server", within=PARENT) as outer:
        with tracer.span("inner"):
            inside = tracer.traceparent()
        outer.update({"b": "x"}, name="named", failed=True)
    tracer.close()
    named, inner = collector.named("named"), collector.named("inner")
    assert (named.service, named.trace, named.parent) == ("test", TRACE, ABOVE)
    assert (named.attributes, named.failed) == ({"a": 1, "b": "x"}, True)
    assert (inner.trace, inner.parent, inner.failed) == (TRACE, named.id, False)
    assert inside == f"00-{TRACE}-{inner.id}-01"
    assert tracer.traceparent() is None


@pytest.mark.parametrize("within", ["", "nonsense", f"00-{'0' * 32}-{ABOVE}-01", "00-" + "é" * 50])
def test_what_is_no_traceparent_begins_a_trace(collector: Collector, within: str) -> None:
    """A traceparent that can't be read does no harm: a new trace begins."""
    tracer = OpenTelemetry(collector.endpoint, "test")
    with tracer.span("a span", within=within):
        assert tracer.traceparent()
    tracer.close()
    assert collector.named("a span").parent == ""


def test_a_batch_is_recorded_after_its_end(collector: Collector) -> None:
    """Waiting and computing become two spans, one right after the other, below the caller's."""
    tracer = OpenTelemetry(collector.endpoint, "test")
    tracer.record_batch(0.25, 0.5, within=PARENT)
    tracer.close()
    queue, batch = collector.named("queue"), collector.named("batch")
    assert {(queue.trace, queue.parent), (batch.trace, batch.parent)} == {(TRACE, ABOVE)}
    assert (queue.ended - queue.begun, batch.ended - batch.begun) == (250_000_000, 500_000_000)
    assert queue.ended == batch.begun


def test_a_missing_collector_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans that can't be sent are lost within the limit of close(), and nothing raises."""
    monkeypatch.setattr(otel, "CLOSE_S", 0.1)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: refused at once
        tracer = OpenTelemetry(f"http://127.0.0.1:{nobody.getsockname()[1]}/v1/traces", "test")
        with tracer.span("lost"):
            pass
        tracer.close()


def test_the_silent_tracer_records_nothing() -> None:
    """Without traces the same calls do nothing."""
    with SILENT.span("a span", {"a": 1}, within=PARENT) as span:
        span.update({"b": 2}, name="other", failed=True)
        assert SILENT.traceparent() is None
    SILENT.record_batch(1.0, 1.0, within=PARENT)
    SILENT.close()


def test_a_picture_is_one_trace(collector: Collector, tmp_path: Path) -> None:
    """In one process the stages come in their order, and the device's spans lie below the calls that asked for them."""
    toy_bundle(tmp_path)
    store, settings = Store([tmp_path]), EngineSettings(device="cpu", threads=1)
    tracer = OpenTelemetry(collector.endpoint, "test")
    embedded = Embedded(Library(store, settings), settings, tracer=tracer)
    pipeline = Pipeline(store, embedded, Limits(), threads=1, tracer=tracer)

    async def translate() -> None:
        with tracer.span("picture"):
            await pipeline.translate(png({"black"}), Wish(domains=("blond",)), deadline=time.monotonic() + PATIENCE_S)
        await embedded.close()

    asyncio.run(translate())
    pipeline.close()
    tracer.close()
    below = collector.below(collector.named("picture"))
    assert [name for name in below if name != "compose"] == ["decode", "infer", "infer", "encode"]
    for infer in (span for span in collector.spans if span.name == "infer"):
        assert collector.below(infer) == ["queue", "batch"]
    assert len({span.trace for span in collector.spans}) == 1


def test_without_traces_opentelemetry_is_not_loaded() -> None:
    """Service and worker are imported without the module that records traces, and without its exporter."""
    script = "import sys, service.app, wiring.engine, wiring.service, wiring.worker; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "worker.tracing" in loaded
    assert {"worker.otel", "opentelemetry.exporter"}.isdisjoint(loaded)


def test_the_device_tells_nothing_outside_of_a_trace(tmp_path: Path) -> None:
    """Without a current span the device records none."""
    toy_bundle(tmp_path)
    store, settings = Store([tmp_path]), EngineSettings(device="cpu", threads=1)
    with collecting() as collector:
        tracer = OpenTelemetry(collector.endpoint, "test")
        embedded = Embedded(Library(store, settings), settings, tracer=tracer)
        toy = store.snapshot().bundles[0]

        async def classify() -> None:
            await embedded.run(
                toy,
                "classifier",
                {"pixels": np.zeros((1, 32, 32, 3), np.uint8)},
                deadline=time.monotonic() + PATIENCE_S,
            )
            await embedded.close()

        asyncio.run(classify())
        tracer.close()
        assert collector.spans == []


def test_a_parcel_carries_where_it_comes_from() -> None:
    """Trace and request id pass through a parcel unchanged, and so does their absence."""
    order = Order("toy@1", "generator", {"pixels": np.zeros((1, 4, 4, 3), np.uint8)}, math.inf)
    sent = replace(order, request_id="request-7", trace=PARENT)
    read = read_order(pack_order(sent), deadline=math.inf)
    assert (read.request_id, read.trace) == ("request-7", PARENT)
    read = read_order(pack_order(order), deadline=math.inf)
    assert (read.request_id, read.trace) == (None, None)


class Box(Letterbox):
    """A letterbox that gives one order and drops its reply."""

    def __init__(self, order: Order) -> None:
        self.parcel = Parcel("an-id", 60_000, pack_order(order))

    def take(self, ids: list[str]) -> list[Parcel]:
        return [self.parcel]

    def answer(self, service: str, answers: dict[str, bytes], *, at_once: bool = False) -> None:
        assert set(answers) == {"an-id"}


def test_a_workers_error_names_the_request(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A worker logs an error under the request id that the client has."""
    toy_bundle(tmp_path)
    store, settings = Store([tmp_path]), EngineSettings(device="cpu", threads=1)
    library = Library(store, settings)
    embedded = Embedded(library, settings)
    inputs = {"pixels": np.zeros((1, 32, 32, 3), np.uint8)}
    request = Order("toy@1", "no such graph", inputs, math.inf, request_id="request-7")
    Inference(Box(request), library, embedded).answer(["an-id"], "service", at_once=False)
    asyncio.run(embedded.close())
    (record,) = (record for record in caplog.records if record.levelname == "ERROR")
    assert record.__dict__["request_id"] == "request-7"


@dataclass
class Report:
    """What service and worker report of one request: spans, metrics, and the lines of their logs."""

    collector: Collector
    answer: httpx.Response
    service: Figures
    worker: Figures
    service_log: list[dict[str, str]]
    worker_log: list[dict[str, str]]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """One picture through `recast serve` and `recast work`, with traces and JSON logs, until both have stopped."""
    folder = tmp_path_factory.mktemp("report")
    toy_bundle(folder / "store")
    serve_port, worker_port = free_port(), free_port()
    with ExitStack() as stack:
        server = stack.enter_context(redis.serving(folder / "redis"))
        collector = stack.enter_context(collecting())
        common = {
            "BROKER": server.url,
            "STORAGE": str(folder / "jobs"),
            "TRACES": collector.endpoint,
            "LOG_FORMAT": "json",
        }
        worker = command("work", folder, {**common, "DEVICE": "cpu", "THREADS": "1", "WORKER_PORT": str(worker_port)})
        stack.callback(worker.kill)
        service = command("serve", folder, {**common, "PORT": str(serve_port)})
        stack.callback(service.kill)
        with httpx.Client(base_url=f"http://127.0.0.1:{serve_port}", trust_env=False, timeout=PATIENCE_S) as client:
            until_ready(client, worker, service)
            headers = {"traceparent": PARENT, "X-Request-Id": "request-7"}
            answer = client.post("/translate?domains=blond&model=toy", content=png({"black"}), headers=headers)
            figures = Figures(client.get("/metrics").content)
        asked = httpx.get(f"http://127.0.0.1:{worker_port}/metrics", trust_env=False)
        logs = []
        for process in (service, worker):
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=PATIENCE_S)
            assert process.returncode == 0, said
            logs.append([json.loads(line) for line in said.splitlines()])
        return Report(collector, answer, figures, Figures(asked.content), *logs)


def command(name: str, folder: Path, settings: dict[str, str]) -> subprocess.Popen[str]:
    """`recast NAME` over the store of the folder, configured by its environment alone."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("RECAST_", "OTEL_"))}
    environment |= {f"RECAST_{key}": value for key, value in settings.items()}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "recast", name, "--store", str(folder / "store")]
    return subprocess.Popen(
        words, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def until_ready(client: httpx.Client, *processes: "subprocess.Popen[str]") -> None:
    """Waits until the service knows of a warm worker."""
    until = time.monotonic() + PATIENCE_S
    while True:
        with suppress(httpx.TransportError):
            if client.get("/readyz").status_code == 200:
                return
        assert all(process.poll() is None for process in processes)
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_trace_goes_from_upload_to_device_and_back(report: Report) -> None:
    """The client's trace continues in the service and in the worker, each span below the one that waits for it."""
    assert report.answer.status_code == 200
    spans = [span for span in report.collector.spans if span.trace == TRACE]
    request = next(span for span in spans if span.name == "POST /translate")
    assert (request.parent, request.service) == (ABOVE, "recast-service")
    assert request.attributes["http.response.status_code"] == 200
    below = report.collector.below(request)
    assert [name for name in below if name != "compose"] == ["decode", "infer", "infer", "encode"]
    calls = [span for span in spans if span.name == "infer"]
    assert [report.collector.below(call) for call in calls] == [["queue", "batch"]] * 2
    assert {span.service for span in spans if span.name in ("queue", "batch")} == {"recast-worker"}
    assert {span.trace for span in report.collector.spans} == {TRACE}, "probes and scrapes have no traces"
    assert all(
        call.begun <= span.begun and span.ended <= call.ended
        for call in calls
        for span in spans
        if span.parent == call.id
    )


def test_service_and_worker_have_figures_of_their_own(report: Report) -> None:
    """The service shows requests, stages and the worker; the worker shows batches, provider and bundles."""
    labels = {"route": "/translate", "method": "POST", "status": "200"}
    assert report.service.get("recast_requests_total", labels) == 1
    assert report.service.get("recast_stage_seconds_count", {"stage": "queue"}) == 1
    assert report.service.get("recast_workers") == 1
    assert report.service.get("recast_batch_pictures_sum") == 0
    assert report.worker.get("recast_batch_pictures_sum") == 2
    assert report.worker.labels("recast_provider_info", "provider") == {"CPUExecutionProvider"}
    assert "toy@1" in report.worker.labels("recast_bundle_info", "bundle")
    assert "recast_requests" not in report.worker.names


def test_every_line_of_the_log_is_json(report: Report) -> None:
    """Both log only JSON, the access log included, and a request's lines have its id."""
    access = [line for line in report.service_log if line["logger"] == "uvicorn.access"]
    (line,) = (line for line in access if "POST /translate" in line["message"])
    assert line["request_id"] == "request-7"
    assert any("is loaded" in line["message"] for line in report.worker_log)


@pytest.mark.parametrize(
    ("traces", "message"),
    [
        ("http://127.0.0.1:1/v1/traces", "RECAST_TRACES is set, but the module opentelemetry.sdk"),
        ("127.0.0.1:4318", "traces='127.0.0.1:4318': String should match pattern"),
    ],
)
def test_traces_that_can_not_be_made_are_one_line(tmp_path: Path, traces: str, message: str) -> None:
    """Without the extra, or with an invalid address, the command says so in one line and ends."""
    code = "import sys; sys.modules['opentelemetry.sdk'] = None; import recast; recast.main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "serve", "--broker", "redis://127.0.0.1:1"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "RECAST_TRACES": traces},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert message in done.stderr
