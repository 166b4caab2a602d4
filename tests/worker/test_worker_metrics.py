"""Metrics of pictures, batches and jobs, read back as Prometheus reads them."""

import asyncio
import math
import re
from pathlib import Path

import numpy as np
import pytest
from support.bundles import flip_bundle, toy_bundle
from support.figures import Figures
from support.stored import memory, put_job

from models.bundle.store import Store
from worker.embedded import Embedded
from worker.engine.batcher import Batch
from worker.engine.library import Library
from worker.errors import NotReady
from worker.exposition import Registry
from worker.jobs import layout
from worker.jobs.board import Board
from worker.jobs.layout import Delivery, Finished, Outcome
from worker.metrics import Metrics
from worker.settings import EngineSettings


@pytest.fixture
def metrics() -> Metrics:
    """Metrics of a process of its own."""
    return Metrics(Registry())


def figures(metrics: Metrics) -> Figures:
    """What Prometheus would read at this moment."""
    return Figures(metrics.registry.text())


def test_every_stage_of_a_picture_is_timed(metrics: Metrics) -> None:
    """Each stage of a picture goes into the bucket of its duration."""
    metrics.picture({"decode": 0.004, "infer": 0.2})
    metrics.picture({"decode": 0.04, "infer": 0.2})
    found = figures(metrics)
    assert found.get("recast_stage_seconds_count", {"stage": "decode"}) == 2
    assert found.get("recast_stage_seconds_bucket", {"stage": "decode", "le": "0.005"}) == 1
    assert found.get("recast_stage_seconds_sum", {"stage": "infer"}) == pytest.approx(0.4)


def test_batches_are_counted_by_why_they_left(metrics: Metrics) -> None:
    """Size, wait, duration and failures of batches are kept; a reason that never occurred is there with 0."""
    metrics.batch(Batch(items=3, rows=4, reason="size", waited_s=0.02, took_s=0.2, failed=1))
    found = figures(metrics)
    counts = {reason: found.get("recast_batches_total", {"reason": reason}) for reason in ("size", "idle", "wait")}
    assert counts == {"size": 1, "idle": 0, "wait": 0}
    assert found.get("recast_batch_pictures_sum") == 4
    assert found.get("recast_batch_wait_seconds_sum") == 0.02
    assert found.get("recast_batch_seconds_sum") == 0.2
    assert found.get("recast_batch_failures_total") == 1


def test_pictures_of_jobs_are_counted_by_outcome(metrics: Metrics) -> None:
    """A finished chunk counts once, and each of its pictures as done or under its error's code."""
    bad = Outcome(name="b.png", code="too-large", reason="it is")
    metrics.chunk(Finished(outcomes=(Outcome(name="a.png", output="a.png"), bad, bad)))
    found = figures(metrics)
    assert found.get("recast_chunks_total") == 1
    assert found.get("recast_job_pictures_total", {"outcome": "done"}) == 1
    assert found.get("recast_job_pictures_total", {"outcome": "too-large"}) == 2


def test_webhooks_are_counted_by_how_attempts_end(metrics: Metrics) -> None:
    """An attempt delivers, fails with another to come, or is the last one."""
    for delivery in (Delivery(delivered_at=1.0), Delivery(reason="no"), Delivery(reason="no"), Delivery(dead_at=2.0)):
        metrics.webhook(delivery)
    found = figures(metrics)
    ends = {end: found.get("recast_webhooks_total", {"result": end}) for end in ("delivered", "failed", "dead")}
    assert ends == {"delivered": 1, "failed": 2, "dead": 1}


def test_names_follow_prometheus_rules(metrics: Metrics) -> None:
    """Counters end in _total, durations are seconds, everything else of ours names its unit or what it counts."""
    metrics.picture({"decode": 0.1})
    metrics.watch_depth(lambda: 0)
    found = figures(metrics)
    assert all(re.fullmatch("(recast|process)_[a-z_]+", name) for name in found.names)
    counters = [sample.name for each in found.metrics if each.type == "counter" for sample in each.samples]
    assert counters
    assert all(name.endswith("_total") for name in counters)
    assert all("seconds" in each.name or "pictures" in each.name for each in found.metrics if each.type == "histogram")
    assert not any(name.endswith("_created") for name in found.names)


def test_processes_share_nothing(metrics: Metrics) -> None:
    """Two sets of metrics in one process are independent."""
    Metrics(Registry()).batch(Batch(1, 1, "idle", 0.0, 0.1, 0))
    assert figures(metrics).get("recast_batch_pictures_count") == 0


def test_gauges_are_read_at_each_scrape(metrics: Metrics) -> None:
    """Watched values are read at each scrape, and appear only if they are watched."""
    assert "recast_workers" not in figures(metrics).names
    workers = [3]
    metrics.watch_workers(lambda: workers[0])
    assert figures(metrics).get("recast_workers") == 3
    workers[0] = 2
    assert figures(metrics).get("recast_workers") == 2


def test_a_device_shows_what_it_serves(metrics: Metrics, tmp_path: Path) -> None:
    """Bundles served, refused by the store and refused by the runtime, the provider, and real batches are there."""
    toy_bundle(tmp_path)
    broken = flip_bundle(tmp_path)
    (tmp_path / "nonsense").mkdir()
    (tmp_path / "nonsense" / "bundle.json").write_text("{}")
    store, settings = Store([tmp_path]), EngineSettings(device="cpu", threads=1)
    for graph in broken.manifest.graphs:
        broken.graph(graph).write_bytes(b"no graph any more")
    library = Library(store, settings)
    embedded = Embedded(library, settings, observe=metrics.batch)
    metrics.watch_library(library, store.snapshot)
    metrics.watch_depth(lambda: embedded.depth)
    toy = store.snapshot().get("toy")
    assert toy is not None

    async def translate() -> None:
        pixels, labels = np.zeros((2, 32, 32, 3), np.uint8), np.zeros((2, 6), np.float32)
        with pytest.raises(NotReady):
            await embedded.run(broken, next(iter(broken.manifest.graphs)), {"pixels": pixels}, deadline=math.inf)
        await embedded.run(toy, "generator", {"pixels": pixels, "labels": labels}, deadline=math.inf)

    asyncio.run(translate())
    found = figures(metrics)
    asyncio.run(embedded.close())
    shown = {
        name: found.get("recast_bundle_info", {"bundle": name, "state": "refused"}) for name in ("flip@1", "nonsense")
    }
    assert shown == {"flip@1": 1, "nonsense": 1}
    assert found.get("recast_bundle_info", {"bundle": "toy@1", "state": "served"}) == 1
    assert found.get("recast_provider_info", {"provider": "CPUExecutionProvider"}) == 1
    after = figures(metrics)  # a batch is reported after its pictures are answered
    assert (after.get("recast_batch_pictures_sum"), after.get("recast_depth_pictures")) == (2, 0)


def test_open_jobs_are_counted_in_storage(metrics: Metrics) -> None:
    """The open jobs are counted; before the first count the value is NaN."""

    async def scenario() -> tuple[float | None, float | None]:
        storage = memory()
        for name in ("a", "b"):
            await put_job(storage, {"x.png": b""}, job_id=name)
            await storage.put(layout.open_mark(name), b"")
        watching = asyncio.ensure_future(metrics.watch_jobs(Board(storage)))
        await asyncio.sleep(0)
        before = figures(metrics).get("recast_jobs_open")
        while math.isnan(figures(metrics).get("recast_jobs_open") or 0.0):
            await asyncio.sleep(0)
        watching.cancel()
        return before, figures(metrics).get("recast_jobs_open")

    before, after = asyncio.run(scenario())
    assert before is not None
    assert math.isnan(before)
    assert after == 2
