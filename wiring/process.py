"""What every process that runs on has: a store that it follows, storage, figures and traces.

A process that is assembled here can't forget to follow its store: that begins with the block and ends with it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

from models.bundle.store import Bundles, Snapshot, Store
from service.schemas import JobSummary
from worker.exposition import Registry
from worker.jobs.roots import Roots
from worker.jobs.runner import Runner
from worker.jobs.webhooks import Courier
from worker.metrics import Metrics
from worker.pipeline import Pipeline
from worker.settings import JobSettings, Limits
from worker.storage import open_storage
from worker.tracing import SILENT, Tracer
from worker.translator import Translator


class Process:
    """The parts that service and worker have in common; a context in which the store is watched, and then closed.

    What is built on top must be closed before the context ends; the tracer is closed by whoever made it, after that.
    """

    def __init__(self, store: Store, jobs: JobSettings, tracer: Tracer = SILENT) -> None:
        """Raises StorageError or InvalidParameter where the settings name a storage or roots that can't be opened."""
        self.store, self.jobs, self.tracer = store, jobs, tracer
        self.storage, self.roots = open_storage(jobs.storage), Roots(jobs.roots)
        self.metrics = Metrics(Registry())
        self._followers: list[Callable[[Snapshot], None]] = []

    def __enter__(self) -> Self:
        self.store.watch(self._changed)
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()

    def follow(self, on_change: Callable[[Snapshot], None]) -> None:
        """Has `on_change` called with every later snapshot of the store, in the thread that watches it."""
        self._followers.append(on_change)

    def pipeline(self, bundles: Bundles, translator: Translator, limits: Limits, threads: int) -> Pipeline:
        """Pictures through this translator, counted and traced; `threads` as in EngineSettings. To be closed."""
        return Pipeline(bundles, translator, limits, threads=threads, observe=self.metrics.picture, tracer=self.tracer)

    def courier(self) -> Courier:
        """Delivers webhooks with a job's JSON as the service answers it; counted. To be closed."""
        return Courier(self.storage, self.jobs, describe=JobSummary.of, observe=self.metrics.webhook)

    def _changed(self, snapshot: Snapshot) -> None:
        for follower in self._followers:
            follower(snapshot)


@dataclass(frozen=True)
class Backend:
    """Who translates a service's pictures and does its jobs, and the bundles that can be asked for."""

    translator: Translator
    runner: Runner
    bundles: Bundles


@asynccontextmanager
async def beside(work: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """Runs work that has no end of its own beside the block."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
