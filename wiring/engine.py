"""An engine in this process, the jobs that it runs, and a service that needs no other process.

A service whose workers run the models does not import this module, so it needs no ONNX Runtime.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from models.bundle.store import Snapshot, Store
from wiring.process import Backend, Process, background
from worker.embedded import Embedded
from worker.engine.library import Library
from worker.jobs.board import Board
from worker.jobs.chunks import Chunks
from worker.jobs.layout import End, Job
from worker.jobs.runner import Local
from worker.jobs.webhooks import Courier
from worker.settings import EngineSettings, Limits

CHUNKS_AT_ONCE = 2
"""Chunks that a service alone works on: it computes one while it writes the outputs of the other."""

PICTURES_AT_ONCE = 64
"""Pictures of jobs in memory."""


@dataclass(frozen=True)
class Engine:
    """The loaded models of a store, and what runs jobs with them."""

    library: Library
    embedded: Embedded
    chunks: Chunks
    courier: Courier


@asynccontextmanager
async def engine(process: Process, settings: EngineSettings, limits: Limits) -> AsyncIterator[Engine]:
    """Loads the store's bundles and their later changes; single pictures come before those of jobs.

    At the end, webhooks and pictures of jobs stop first, then the current batch finishes, then bundles are unloaded.
    """
    async with AsyncExitStack() as stack:
        library = Library(process.store, settings)
        embedded = Embedded(library, settings, observe=process.metrics.batch, tracer=process.tracer)
        stack.push_async_callback(embedded.close)
        # Embedded has begun to load the store's present bundles; the library loads later changes as they come.
        process.follow(library.follow)
        process.metrics.watch_library(library, process.store.snapshot)
        process.metrics.watch_depth(lambda: embedded.depth)
        pipeline = process.pipeline(_StoreAndLoaded(process.store, library), embedded.bulk, limits, settings.threads)
        stack.callback(pipeline.close)
        chunks = Chunks(
            process.storage,
            process.roots,
            pipeline,
            at_once=PICTURES_AT_ONCE,
            patience_days=process.jobs.job_days,
            observe=process.metrics.chunk,
            tracer=process.tracer,
        )
        courier = process.courier()
        stack.callback(courier.close)
        yield Engine(library, embedded, chunks, courier)


@asynccontextmanager
async def alone(process: Process, *, settings: EngineSettings, limits: Limits) -> AsyncIterator[Backend]:
    """Translates pictures, runs jobs and delivers webhooks in the service's own process."""
    async with engine(process, settings, limits) as parts, AsyncExitStack() as stack:

        async def tell(job: Job, _: End) -> None:
            """Makes the first attempt at the webhook at once; the courier's rounds make the others."""
            if job.webhook:
                await parts.courier.deliver(job.id)

        # The runner ends before the engine. It cancels its chunks, and finds their jobs in storage at the next start.
        runner = Local(Board(process.storage), parts.chunks, ended=tell, at_once=CHUNKS_AT_ONCE)
        stack.push_async_callback(runner.close)
        await stack.enter_async_context(background(parts.courier.rounds()))
        await runner.start()
        yield Backend(parts.embedded, runner, process.store)


@dataclass(frozen=True)
class _StoreAndLoaded:
    """The store's bundles, then those that left it but are still loaded, for jobs that began with an old version."""

    store: Store
    library: Library

    def snapshot(self) -> Snapshot:
        """The store's bundles come first, so that a name without `@version` means one of them if there is one."""
        now = self.store.snapshot()
        present = {bundle.ref for bundle in now.bundles}
        left = [self.library.find(ref) for ref in self.library.loaded if ref not in present]
        return Snapshot((*now.bundles, *(bundle for bundle in left if bundle is not None)), now.refused)
