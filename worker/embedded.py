"""Translator in this process: every request goes through one batcher, since one device runs one batch at a time.

Bundles are loaded outside the batcher's thread, so that an order for a cold bundle does not hold up the others.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

import numpy as np

from models.bundle.archive import Bundle
from worker.engine.batcher import Batch, Batcher, Closed, Expired, Full
from worker.engine.engine import Engine
from worker.engine.library import RETRY_S, Library
from worker.engine.session import cores, has_gpu
from worker.errors import EngineError, NotReady, Overloaded, TimedOut
from worker.settings import EngineSettings
from worker.tracing import SILENT, Tracer
from worker.translator import Arrays, Done, Order, Translator, overloaded, timed_out


class Embedded(Translator):
    """Runs the library's engines in this process; one event loop may use it, and `close` closes the library too."""

    def __init__(
        self,
        library: Library,
        settings: EngineSettings,
        *,
        observe: Callable[[Batch], None] = lambda batch: None,
        tracer: Tracer = SILENT,
    ) -> None:
        """Starts loading the store's bundles in the background; `observe` gets each batch, in another thread."""
        self._library, self._tracer = library, tracer
        self._rows_at_once = _rows_at_once(settings)
        self._batcher: Batcher[_Job, Done] = Batcher(
            _run,
            # The engine stands for the bundle's version: it is leased, so no other object has its id meanwhile.
            key=lambda job: (id(job.engine), job.order.kind),
            weight=lambda job: job.order.rows,
            max_batch=self._rows_at_once,
            max_wait=settings.max_wait_ms / 1000,
            max_queue=settings.max_queue,
            observe=observe,
        )
        library.follow()

    async def run(self, bundle: Bundle, graph: str, inputs: Arrays, *, deadline: float) -> Done:
        """As Translator says; cancelling the call removes the order from the queue.

        `queue_s` counts from the call and includes loading a cold bundle; `infer_s` is the time of the whole batch.
        Raises EngineError where the graph itself fails.
        """
        return await self._do(bundle, Order(bundle.ref, graph, inputs, deadline))

    async def ready(self) -> None:
        """Returns once each bundle of the start is warm or refused; raises NotReady until then."""
        if reason := self._library.unready():
            raise NotReady(reason)

    async def close(self) -> None:
        """Fails waiting orders with NotReady, finishes the running batch and unloads everything."""
        await asyncio.to_thread(self._batcher.close, drain=False)
        await asyncio.to_thread(self._library.close)

    @property
    def bulk(self) -> Translator:
        """The same device for background work, whose orders give way to others. Closing it does nothing."""
        return _Bulk(self)

    @property
    def depth(self) -> int:
        """Pictures that wait or run."""
        return self._batcher.depth

    @property
    def rate(self) -> float | None:
        """Pictures done per second of work, averaged over the last batches; None before the first is done."""
        return self._batcher.rate

    @property
    def busy_s(self) -> float:
        """Seconds that the running batch has taken so far; 0 while none runs."""
        return self._batcher.busy_s

    @property
    def rows_at_once(self) -> int:
        """Pictures of one batch, at most."""
        return self._rows_at_once

    def submit(self, bundle: Bundle, orders: Sequence[Order]) -> list[Future[Done]]:
        """For threads: queues orders together, so that they may share batches; waits only while a bundle is loaded.

        A future that is cancelled before its turn is not run; one that fails has EngineError, or an error that
        `translator_error` turns into a Translator's. Raises NotReady, Overloaded.
        """
        try:
            with self._library.engine(bundle) as engine:
                return self._queue(engine, orders, urgent=True)
        except EngineError as error:
            raise NotReady(str(error), retry_after=RETRY_S) from error
        except (Full, Closed) as error:
            raise translator_error(error, bundle) from error

    async def _do(self, bundle: Bundle, order: Order, *, urgent: bool = True) -> Done:
        left = order.deadline - time.monotonic()
        try:
            if left <= 0:
                raise TimeoutError
            async with asyncio.timeout(left):
                engine = await self._lease(bundle)
                try:
                    (future,) = self._queue(engine, [order], urgent=urgent)
                finally:
                    self._library.release(engine)
                return await asyncio.wrap_future(future)
        except (TimeoutError, Expired, Full, Closed) as error:
            raise translator_error(error, bundle) from error

    async def _lease(self, bundle: Bundle) -> Engine:
        try:
            while (engine := self._library.lease(bundle)) is None:
                # Shielded: a caller that gives up must not cancel the load for the others.
                await asyncio.shield(asyncio.wrap_future(self._library.load(bundle)))
        except EngineError as error:
            raise NotReady(str(error), retry_after=RETRY_S) from error
        return engine

    def _queue(self, engine: Engine, orders: Sequence[Order], *, urgent: bool) -> list[Future[Done]]:
        """Queues orders for a leased engine; each takes a lease of its own."""
        jobs = [(_Job(engine, order), order.deadline) for order in orders]
        futures = self._batcher.submit_all(jobs, urgent=urgent)
        for future, order in zip(futures, orders, strict=True):
            if trace := order.trace or self._tracer.traceparent():
                future.add_done_callback(partial(self._record, trace))
            # Released when the batch is done, even if the caller gave up before: until then the engine is in use.
            self._library.lease(engine.bundle)
            future.add_done_callback(lambda _: self._library.release(engine))
        return futures

    def _record(self, trace: str, future: Future[Done]) -> None:
        if not future.cancelled() and not future.exception():
            done = future.result()
            self._tracer.record_batch(done.queue_s, done.infer_s, within=trace)


class _Bulk(Translator):
    def __init__(self, embedded: Embedded) -> None:
        self._embedded = embedded

    async def run(self, bundle: Bundle, graph: str, inputs: Arrays, *, deadline: float) -> Done:
        return await self._embedded._do(bundle, Order(bundle.ref, graph, inputs, deadline), urgent=False)

    async def ready(self) -> None:
        await self._embedded.ready()

    async def close(self) -> None:
        """Does nothing: the device belongs to the Embedded."""


def translator_error(error: Exception, bundle: Bundle) -> TimedOut | Overloaded | NotReady:
    """The Translator's error for an error of the batcher."""
    if isinstance(error, Full):
        return overloaded(error.depth, error.rate)
    if isinstance(error, Closed):
        return NotReady("this service is shutting down")
    return timed_out(bundle.ref)


@dataclass(frozen=True, eq=False)
class _Job:
    engine: Engine
    order: Order


def _rows_at_once(settings: EngineSettings) -> int:
    # Measured: on a CPU larger batches gain nothing, and every order of a batch waits for all of it.
    if has_gpu(settings.device):
        return settings.max_batch
    return min(settings.max_batch, settings.threads or cores())


def _run(jobs: Sequence[_Job]) -> list[Done]:
    started = time.monotonic()
    orders = [job.order for job in jobs]
    # The inputs of a single order need no copy.
    inputs = {
        kind: array if len(orders) == 1 else np.concatenate([order.inputs[kind] for order in orders])
        for kind, array in orders[0].inputs.items()
    }
    outputs = jobs[0].engine.run(orders[0].graph, inputs)
    took = time.monotonic() - started
    done, start = [], 0
    for order in orders:
        rows = slice(start, start := start + order.rows)
        part = {kind: array[rows] for kind, array in outputs.items()}
        done.append(Done(part, started - order.arrived, took))
    return done
