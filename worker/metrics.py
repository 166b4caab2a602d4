"""Metrics of pictures, batches and jobs, in any process; docs/operations.md lists them.

Label values are few and known beforehand: stages, reasons, codes, and the store's bundles; never what a user sent.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Protocol, get_args

from prometheus_client import Counter, Histogram, Info

from models.bundle.store import Snapshot
from worker.engine.batcher import Batch, Reason
from worker.exposition import SECONDS, Registry, Values
from worker.jobs.board import Board
from worker.jobs.layout import Delivery, Finished

LOOK_S = 15.0
"""Seconds between two counts of the open jobs in storage."""

_log = logging.getLogger(__name__)


class Loaded(Protocol):
    """The part of a Library that is shown."""

    @property
    def served(self) -> tuple[str, ...]:
        """`name@version` of each bundle that can be used."""

    @property
    def refused(self) -> dict[str, str]:
        """`name@version` of those that did not load, and why."""

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers that graphs run on."""


class Metrics:
    """Its methods are passed as `observe`; all except `watch_...` may be called from any thread."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._stages = Histogram(
            "recast_stage_seconds",
            "Duration of each stage of a translated picture, all calls of the device together.",
            ["stage"],
            buckets=SECONDS,
            registry=registry,
        )
        self._batches = Counter(
            "recast_batches",
            "Batches that were run, by the reason why they were closed.",
            ["reason"],
            registry=registry,
        )
        self._pictures = Histogram(
            "recast_batch_pictures", "Pictures in a batch.", buckets=[2**n for n in range(9)], registry=registry
        )
        self._run = Histogram(
            "recast_batch_seconds", "Duration of a batch on the device.", buckets=SECONDS, registry=registry
        )
        self._waited = Histogram(
            "recast_batch_wait_seconds",
            "Time that the oldest picture of a batch had waited.",
            buckets=SECONDS,
            registry=registry,
        )
        self._failures = Counter("recast_batch_failures", "Calls of the device that failed.", registry=registry)
        self._chunks = Counter("recast_chunks", "Chunks of jobs that were finished here.", registry=registry)
        self._outcomes = Counter(
            "recast_job_pictures",
            "Pictures of jobs that were finished here: done, or the code of the error.",
            ["outcome"],
            registry=registry,
        )
        self._webhooks = Counter(
            "recast_webhooks", "Attempts to deliver a webhook, by their result.", ["result"], registry=registry
        )
        # These series begin at 0: Prometheus's rate() misses the first count of a series that appears with it.
        for reason in get_args(Reason):
            self._batches.labels(reason)
        for result in ("delivered", "failed", "dead"):
            self._webhooks.labels(result)
        self._outcomes.labels("done")
        Info("recast_build", "Which version of Recast runs.", registry=registry).info({"version": version("recast")})

    def picture(self, seconds: Mapping[str, float]) -> None:
        """A picture was translated; `seconds` by stage."""
        for stage, took in seconds.items():
            self._stages.labels(stage).observe(took)

    def batch(self, batch: Batch) -> None:
        """A batch was run."""
        self._batches.labels(batch.reason).inc()
        self._pictures.observe(batch.rows)
        self._run.observe(batch.took_s)
        self._waited.observe(batch.waited_s)
        self._failures.inc(batch.failed)

    def chunk(self, finished: Finished) -> None:
        """A chunk of a job was finished."""
        self._chunks.inc()
        for outcome in finished.outcomes:
            self._outcomes.labels(outcome.code or "done").inc()

    def webhook(self, delivery: Delivery) -> None:
        """An attempt to deliver a webhook has ended."""
        delivered, dead = delivery.delivered_at is not None, delivery.dead_at is not None
        self._webhooks.labels("delivered" if delivered else "dead" if dead else "failed").inc()

    def watch_depth(self, depth: Callable[[], int]) -> None:
        """Shows how many pictures are under way; the function is called at each scrape."""
        self._show(
            "recast_depth_pictures",
            "Pictures waiting and running; in a service with a broker, calls of its workers.",
            lambda: {(): depth()},
        )

    def watch_workers(self, workers: Callable[[], int]) -> None:
        """Shows how many workers are alive."""
        self._show(
            "recast_workers",
            "Workers that a service with a broker has heard of within the last 10 seconds.",
            lambda: {(): workers()},
        )

    def watch_library(self, library: Loaded, snapshot: Callable[[], Snapshot]) -> None:
        """Shows which bundles are served and refused, and where their graphs run."""
        self._show(
            "recast_provider_info",
            "1 for each of ONNX Runtime's execution providers that graphs really run on.",
            lambda: {(name,): 1 for name in library.providers},
            "provider",
        )
        self._watch_bundles(lambda: _states(library.served, [*library.refused, *_refused(snapshot())]))

    def watch_store(self, snapshot: Callable[[], Snapshot]) -> None:
        """Shows which bundles a service knows; its workers serve them."""
        self._watch_bundles(lambda: _states([bundle.ref for bundle in snapshot().bundles], _refused(snapshot())))

    async def watch_jobs(self, board: Board) -> None:
        """Shows how many jobs are open, counted every LOOK_S seconds until it is cancelled."""
        count = math.nan
        self._show(
            "recast_jobs_open",
            "Jobs in storage that have not ended, the same in every service; NaN: storage does not answer.",
            lambda: {(): count},
        )
        while True:
            try:
                count = len(await board.open_jobs())
            except Exception as error:
                _log.warning("the open jobs can't be counted: %s", error)
                count = math.nan
            await asyncio.sleep(LOOK_S)

    def _watch_bundles(self, values: Callable[[], Values]) -> None:
        self._show("recast_bundle_info", "1 for each bundle, and whether it is served.", values, "bundle", "state")

    def _show(self, name: str, text: str, values: Callable[[], Values], *labels: str) -> None:
        self.registry.show(name, text, labels, values)


def _refused(snapshot: Snapshot) -> list[str]:
    return [refused.folder for refused in snapshot.refused]


def _states(served: "list[str] | tuple[str, ...]", refused: list[str]) -> Values:
    states = {"served": served, "refused": refused}
    return {(name, state): 1.0 for state, names in states.items() for name in names}
