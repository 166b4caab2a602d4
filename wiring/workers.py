"""The workers behind a broker, as a service's backend and for doctor; both must load without Celery, so it is apart."""

import importlib.metadata
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from urllib.parse import urlsplit

from wiring.doctor import Finding
from wiring.process import Backend, Process
from worker.errors import InvalidParameter
from worker.jobs.board import Board
from worker.jobs.queued import Queued
from worker.queue import beats, broker
from worker.queue.beats import Crew
from worker.queue.offer import Offer
from worker.queue.remote import Remote
from worker.settings import QueueSettings

_POLICY = "noeviction"


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


async def examine_broker(url: str) -> list[Finding]:
    """Checks the broker, its policy when memory is full, and the workers that answer through it."""
    try:
        checked = broker.check(url)
        async with aclosing(broker.connect_async(checked)) as client:
            facts, limits = await client.info(), await client.info("memory")
            crew = Crew()
            await beats.hear(client, crew)
    except (InvalidParameter, ValueError, *broker.FAILURES) as error:
        return [Finding("broker", False, True, str(error))]
    policy = limits["maxmemory_policy"]
    # Any other policy lets a full Redis evict keys, and so messages that wait.
    warning = "" if policy == _POLICY else f"; with maxmemory-policy {policy} it may drop work: set {_POLICY}"
    where = f"{urlsplit(checked).hostname}, Redis {facts['redis_version']}{warning}"
    here = importlib.metadata.version("recast")
    workers = [
        f"{', '.join(beat.bundles) or 'no bundle'} on {', '.join(beat.providers) or 'nothing'}"
        + ("" if beat.version == here else f", of version {beat.version or 'unknown'} where this is {here}")
        for beat in crew.beats
    ]
    answer = f"{len(workers)}: {'; '.join(workers)}" if workers else "none answers; `recast work` starts one"
    return [Finding("broker", not warning, False, where), Finding("workers", bool(workers), False, answer)]
