"""Translator in this process: every request goes through one batcher, since one device runs one batch at a time.

Bundles are loaded outside the batcher's thread, so that a request for a cold bundle keeps nobody else waiting.
"""

import asyncio
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.bundle.archive import Bundle
from worker.engine.batcher import Batch, Batcher, Closed, Expired, Full
from worker.engine.engine import Engine
from worker.engine.library import RETRY_S, Library
from worker.engine.session import EngineError, cores, has_gpu
from worker.errors import NotReady, Overloaded, TimedOut
from worker.settings import EngineSettings
from worker.translator import Translated, Translator

UNKNOWN_RATE_RETRY_S = 1.0
"""What Retry-After says before the first batch is done, seconds."""


class Embedded(Translator):
    """Runs the library's engines in this process; one event loop may use it, and `close` takes the library along."""

    def __init__(
        self,
        library: Library,
        settings: EngineSettings,
        *,
        observe: Callable[[Batch], None] = lambda batch: None,
    ) -> None:
        """Starts loading the store's bundles in the background; `observe` is told of each batch, in its own thread."""
        self._library = library
        self._batcher: Batcher[_Job, _Done] = Batcher(
            _run,
            key=_key,
            weight=lambda job: len(job.pixels),
            max_batch=_rows_at_once(settings),
            max_wait=settings.max_wait_ms / 1000,
            max_queue=settings.max_queue,
            observe=observe,
        )
        library.follow()

    async def translate(
        self,
        bundle: Bundle,
        graph: str,
        pixels: NDArray[np.uint8],
        labels: NDArray[np.float32] | None,
        *,
        deadline: float,
    ) -> Translated:
        """As Translator says; cancelling the call takes the work out of the queue.

        `queue_s` counts from the call, so it holds the loading of a cold bundle; `infer_s` is the whole batch's.
        Raises EngineError where the graph itself fails.
        """
        done = await self._do(bundle, graph, pixels, labels, deadline)
        return Translated(done.rows, done.queue_s, done.infer_s)

    async def classify(self, bundle: Bundle, pixels: NDArray[np.uint8], *, deadline: float) -> NDArray[np.float32]:
        """As Translator says."""
        done = await self._do(bundle, None, pixels, None, deadline)
        return done.rows

    async def ready(self) -> None:
        """Returns when the bundles that were there at the start are warm, or refused; raises NotReady until then."""
        if reason := self._library.unready():
            raise NotReady(reason)

    async def close(self) -> None:
        """Fails what waits with NotReady, finishes the batch that runs, and unloads everything."""
        await asyncio.to_thread(self._batcher.close, drain=False)
        await asyncio.to_thread(self._library.close)

    @property
    def depth(self) -> int:
        """Pictures taken in and not answered yet, waiting and running."""
        return self._batcher.depth

    @property
    def rate(self) -> float | None:
        """Pictures done per second of work, averaged over the last batches; None before the first is done."""
        return self._batcher.rate

    async def _do(
        self,
        bundle: Bundle,
        graph: str | None,
        pixels: NDArray[np.uint8],
        labels: NDArray[np.float32] | None,
        deadline: float,
    ) -> "_Done":
        arrived = time.monotonic()
        try:
            if deadline <= arrived:
                raise TimeoutError
            async with asyncio.timeout(deadline - arrived):
                engine = await self._lease(bundle)
                return await self._queue(_Job(engine, graph, pixels, labels, arrived), deadline)
        except (TimeoutError, Expired) as error:
            raise TimedOut(f"{bundle.ref} did not answer within the time allowed; the work is dropped") from error
        except Full as full:
            retry_after = UNKNOWN_RATE_RETRY_S if full.rate is None else full.depth / full.rate
            raise Overloaded(
                f"{full.depth} pictures are under way, and no more may wait", retry_after=retry_after
            ) from full
        except Closed as error:
            raise NotReady("this service is shutting down") from error

    async def _lease(self, bundle: Bundle) -> Engine:
        try:
            while (engine := self._library.lease(bundle)) is None:
                # Shielded: who gives up must not cancel the load for the others.
                await asyncio.shield(asyncio.wrap_future(self._library.load(bundle)))
        except EngineError as error:
            raise NotReady(str(error), retry_after=RETRY_S) from error
        return engine

    async def _queue(self, job: "_Job", deadline: float) -> "_Done":
        try:
            future = self._batcher.submit(job, deadline)
        except BaseException:
            self._library.release(job.engine)
            raise
        # Not when this coroutine ends: cancelled or not, the engine is in use until its batch is done.
        future.add_done_callback(lambda _: self._library.release(job.engine))
        return await asyncio.wrap_future(future)


@dataclass(frozen=True, eq=False)
class _Job:
    engine: Engine
    graph: str | None  # None: classify
    pixels: NDArray[np.uint8]
    labels: NDArray[np.float32] | None
    arrived: float


@dataclass(frozen=True, eq=False)
class _Done:
    rows: NDArray[Any]  # uint8 pixels, or float32 probabilities
    queue_s: float
    infer_s: float


def _rows_at_once(settings: EngineSettings) -> int:
    # On a CPU larger batches were measured to gain nothing, and whoever shares one waits for all of it.
    if has_gpu(settings.device):
        return settings.max_batch
    return min(settings.max_batch, settings.threads or cores())


def _key(job: _Job) -> Hashable:
    # The engine stands for the bundle's version: it is leased, so no other object has its id meanwhile.
    labels = None if job.labels is None else job.labels.shape[1:]
    return id(job.engine), job.graph, job.pixels.shape[1:], labels


def _run(jobs: Sequence[_Job]) -> list[_Done]:
    started = time.monotonic()
    first = jobs[0]
    pixels = np.concatenate([job.pixels for job in jobs])
    rows: NDArray[Any]
    if first.graph is None:
        rows = first.engine.classify(pixels)
    else:
        labels = [job.labels for job in jobs if job.labels is not None]
        rows = first.engine.translate(first.graph, pixels, np.concatenate(labels) if labels else None)
    took = time.monotonic() - started
    ends = np.cumsum([len(job.pixels) for job in jobs])[:-1]
    parts = np.split(rows, ends)
    return [_Done(part, started - job.arrived, took) for part, job in zip(parts, jobs, strict=True)]
