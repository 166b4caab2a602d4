"""The parts of every long-lived process: a store that it follows, storage, metrics and traces.

No process can forget to follow its store, since Process starts that with its block and stops it at the end.
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
    """The parts that service and worker share; as a context manager it watches the store, and closes it at the end.

    Close what is built on these parts before the context ends; the command line closes the tracer after it.
    """

    def __init__(self, store: Store, jobs: JobSettings, tracer: Tracer = SILENT) -> None:
        """Raises StorageError or InvalidParameter if the storage or a root of the settings can't be opened."""
        self.store, self.jobs, self.tracer = store, jobs, tracer
        self.storage, self.roots = open_storage(jobs.storage), Roots(jobs.roots)
        self.metrics = Metrics(Registry())
        self._followers: list[Callable[[Snapshot], None]] = []

    def __enter__(self) -> Self:
        def tell(snapshot: Snapshot) -> None:
            for follower in self._followers:
                follower(snapshot)

        self.store.watch(tell)
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()

    def follow(self, on_change: Callable[[Snapshot], None]) -> None:
        """Calls `on_change` with every later snapshot of the store, in the thread that watches it."""
        self._followers.append(on_change)

    def pipeline(self, bundles: Bundles, translator: Translator, limits: Limits, threads: int) -> Pipeline:
        """A pipeline with metrics and traces, which the caller closes; `threads` as in EngineSettings."""
        return Pipeline(bundles, translator, limits, threads=threads, observe=self.metrics.picture, tracer=self.tracer)

    def courier(self) -> Courier:
        """A courier with metrics, which the caller closes; its webhooks have a job's JSON as the service answers it."""
        return Courier(self.storage, self.jobs, describe=JobSummary.of, observe=self.metrics.webhook)


@dataclass(frozen=True)
class Backend:
    """What translates a service's pictures and runs its jobs, and the bundles that it offers."""

    translator: Translator
    runner: Runner
    bundles: Bundles


@asynccontextmanager
async def background(work: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """Runs work without an end of its own beside the block, and cancels it at the end of the block."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
