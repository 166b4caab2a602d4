"""The backend of a service with a broker: its workers. Apart from wiring.service, which must load without Celery."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from wiring.process import Backend, Process
from worker.jobs.board import Board
from worker.jobs.queued import Queued
from worker.queue.offer import Offer
from worker.queue.remote import Remote
from worker.settings import QueueSettings


@asynccontextmanager
async def with_workers(process: Process, *, queue: QueueSettings) -> AsyncIterator[Backend]:
    """Sends pictures and jobs to the workers that share broker and storage; the broker need not answer yet."""
    async with AsyncExitStack() as stack:
        remote = Remote(queue, tracer=process.tracer)
        stack.push_async_callback(remote.close)
        runner = Queued(Board(process.storage), queue)
        stack.push_async_callback(runner.close)
        offer = Offer(process.store, lambda: remote.beats)
        process.follow(offer.follow)
        process.metrics.watch_store(offer.snapshot)
        process.metrics.watch_depth(lambda: remote.depth)
        process.metrics.watch_workers(lambda: remote.workers)
        # Both return at once: a service without its broker starts all the same, and answers 503 until the broker does.
        await remote.start()
        await runner.start()
        yield Backend(remote, runner, offer)
