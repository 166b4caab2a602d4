"""GET /metrics: requests, and everything that a service does in its own process."""

import asyncio
import base64
import io
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from support.collectors import collecting
from support.figures import Figures
from support.receivers import receiver
from support.services import Failing, Stuck, settings
from support.sockets import WAIT_S, connected
from support.stored import put_job

from models.bundle.store import Store
from wiring.engine import alone
from wiring.process import Process
from wiring.workers import with_workers
from worker.errors import NotReady, Overloaded
from worker.exposition import MEDIA_TYPE
from worker.logs import JsonLines
from worker.otel import OpenTelemetry
from worker.settings import EngineSettings, JobSettings, Limits, QueueSettings
from worker.translator import Translator
from worker.wish import Wish

Start = Callable[..., httpx.Client]


def figures(client: httpx.Client, requests: int) -> Figures:
    """The metrics after so many requests are counted, which happens when their answers are sent."""
    until = time.monotonic() + WAIT_S
    looks = 0
    while (found := Figures(client.get("/metrics").content)).sum("recast_requests_total") < requests + looks:
        assert time.monotonic() < until
        looks += 1
    return found


def counted(found: Figures, route: str, method: str, status: str) -> float | None:
    """Requests that were counted so."""
    return found.get("recast_requests_total", {"route": route, "method": method, "status": status})


def test_metrics_are_prometheus_text_and_open(serve: Start) -> None:
    """/metrics has Prometheus' media type and needs no key."""
    answer = serve(settings(keys=("secret",))).get("/metrics")
    assert (answer.status_code, answer.headers["content-type"]) == (200, MEDIA_TYPE)
    assert "secret" not in answer.text
    assert Figures(answer.content).names


def test_requests_are_counted_by_route(serve: Start, picture: bytes) -> None:
    """Requests are counted by route, method and status, and timed; HEAD is counted under GET's route."""
    client = serve(settings())
    client.post("/translate?domains=blond", content=picture)
    client.get("/models/toy")
    client.get("/models/none")
    client.head("/models")
    client.get("/page/page.css")
    found = figures(client, 5)
    wanted = {
        ("/translate", "POST", "200"),
        ("/models/{name}", "GET", "200"),
        ("/models/{name}", "GET", "404"),
        ("/models", "HEAD", "200"),
        ("/page", "GET", "200"),
    }
    for route, method, status in wanted:
        assert counted(found, route, method, status) == 1, (route, method, status)
    assert found.get("recast_request_seconds_count", {"route": "/models/{name}", "method": "GET"}) == 2


def test_problems_are_counted_by_code(serve: Start, picture: bytes) -> None:
    """Problems are counted by code, those of a full queue and of the rate too."""
    client = serve(settings(rate="3/hour"), Failing(Overloaded("full", retry_after=1)))
    client.post("/translate?domains=blond", content=picture)
    client.post("/translate?domains=nonsense", content=picture)
    client.post("/translate?domains=blond", content=b"no picture")
    client.post("/translate?domains=blond", content=picture)
    codes = {"overloaded", "unknown-domain", "unsupported-media-type", "rate-limited"}
    found = figures(client, 4)
    assert {code: found.get("recast_problems_total", {"code": code}) for code in codes} == dict.fromkeys(codes, 1)


def test_what_goes_wrong_here_is_counted(serve: Start, picture: bytes) -> None:
    """An unforeseen error is counted as a 500."""
    client = serve(settings(), Failing(RuntimeError("a bug")))
    client.post("/translate?domains=blond", content=picture)
    found = figures(client, 1)
    assert counted(found, "/translate", "POST", "500") == 1
    assert found.get("recast_problems_total", {"code": "internal-error"}) == 1


def test_labels_do_not_grow_with_what_is_sent(serve: Start) -> None:
    """Unknown paths, methods and names never become labels."""
    client = serve(settings())
    for path in ("/nothing", "/models/made-up", "/jobs/made-up", "/page/made-up", "/%2e%2e/made-up"):
        for method in ("GET", "DELETE", "PROPFIND"):
            client.request(method, path)
    found = figures(client, 15)
    known = {"other", "/models/{name}", "/jobs/{id}", "/page", "/metrics"}
    assert found.labels("recast_requests_total", "route") <= known
    assert found.labels("recast_requests_total", "method") == {"GET", "DELETE", "other"}
    assert "made-up" not in client.get("/metrics").text


def test_hang_ups_are_counted(serve: Start, picture: bytes) -> None:
    """A client that hangs up before the answer is counted with the status 499."""
    stuck = Stuck()
    client = serve(settings(deadline_s=3600), stuck)
    with connected(client) as connection:
        head = ["POST /translate?domains=blond HTTP/1.1", "Host: test", f"Content-Length: {len(picture)}", "", ""]
        connection.sendall("\r\n".join(head).encode() + picture)
        assert stuck.begun.wait(WAIT_S)
    assert counted(figures(client, 1), "/translate", "POST", "499") == 1


in_one = partial(alone, settings=EngineSettings(device="cpu", threads=1), limits=Limits())


@pytest.fixture
def process(store: Store, tmp_path: Path) -> Iterator[Process]:
    """The common parts of a service that sends webhooks."""
    secret = SecretStr("whsec_" + base64.b64encode(bytes(32)).decode())
    jobs = JobSettings(storage=str(tmp_path), webhook_secret=secret, webhook_private=True)
    with Process(store, jobs) as opened:
        yield opened


@asynccontextmanager
async def translating(process: Process, translator: Translator, picture: bytes) -> AsyncIterator[None]:
    """A block after one picture was translated."""
    pipeline = process.pipeline(process.store, translator, Limits(), 1)
    try:
        await pipeline.translate(picture, Wish(domains=("blond",)), deadline=time.monotonic() + 60)
        yield
    finally:
        pipeline.close()


def test_a_service_alone_shows_its_device(process: Process, picture: bytes) -> None:
    """A service alone has metrics of stages, batches, bundles and the provider."""

    async def scenario() -> Figures:
        async with in_one(process) as backend, translating(process, backend.translator, picture):
            return Figures(process.metrics.registry.text())

    found = asyncio.run(scenario())
    stages = ("decode", "queue", "infer", "compose", "encode")
    assert [found.get("recast_stage_seconds_count", {"stage": stage}) for stage in stages] == [1] * 5
    assert found.get("recast_bundle_info", {"bundle": "toy@1", "state": "served"}) == 1
    assert found.labels("recast_provider_info", "provider") == {"CPUExecutionProvider"}
    assert found.get("recast_depth_pictures") is not None
    assert "recast_workers" not in found.names


def test_a_service_alone_tells_of_its_jobs(process: Process, picture: bytes) -> None:
    """Chunks, pictures and webhooks are counted, a chunk is a trace, and the log's lines about a job have its id."""
    log = logging.getLogger("worker.jobs.webhooks")
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(JsonLines())
    log.addHandler(handler)

    async def scenario(url: str) -> None:
        pictures = {"good.png": picture, "bad.png": b"no picture"}
        job = await put_job(process.storage, pictures, job_id="a-job", webhook=url)
        async with in_one(process) as backend:
            await backend.runner.wake(job.id)
            while not Figures(process.metrics.registry.text()).sum("recast_webhooks_total"):
                await asyncio.sleep(0.02)

    with collecting() as collector, receiver(500) as hook:
        tracer = OpenTelemetry(collector.endpoint, "test")
        process.tracer = tracer
        asyncio.run(asyncio.wait_for(scenario(hook.url()), 60))
        tracer.close()
    log.removeHandler(handler)
    found = Figures(process.metrics.registry.text())
    assert found.get("recast_chunks_total") == 1
    for outcome in ("done", "unsupported-media-type"):
        assert found.get("recast_job_pictures_total", {"outcome": outcome}) == 1
    assert found.get("recast_webhooks_total", {"result": "failed"})
    chunk = collector.named("chunk")
    assert chunk.attributes == {"recast.job_id": "a-job", "recast.chunk": 0}
    assert collector.below(chunk) == ["picture", "picture"]
    assert {json.loads(line)["job_id"] for line in handler.stream.getvalue().splitlines()} == {"a-job"}


def test_a_service_with_workers_shows_its_own_part(process: Process) -> None:
    """A service with a broker has metrics of its workers, here none, and of bundles, but of no device."""

    async def scenario() -> Figures:
        async with with_workers(process, queue=QueueSettings(broker="redis://127.0.0.1:1/0")) as backend:
            with pytest.raises(NotReady):
                await backend.translator.ready()
            return Figures(process.metrics.registry.text())

    found = asyncio.run(scenario())
    assert (found.get("recast_workers"), found.get("recast_depth_pictures")) == (0, 0)
    assert found.labels("recast_bundle_info", "bundle") == {"toy@1", "flip@1", "face-detector@1"}
    assert "recast_provider" not in found.names
