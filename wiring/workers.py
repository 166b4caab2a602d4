"""A service whose pictures and jobs are done by the workers that share its broker and its storage."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from wiring.serving import Place
from worker.jobs.board import Board
from worker.jobs.queued import Queued
from worker.jobs.runner import Runner
from worker.queue.remote import Remote
from worker.translator import Translator


@asynccontextmanager
async def with_workers(place: Place) -> AsyncIterator[tuple[Translator, Runner]]:
    """Translator and runner over the broker; it need not be there yet."""
    translator = Remote(place.queue, tracer=place.tracer)
    runner = Queued(Board(place.storage), place.queue)
    place.metrics.watch_store(place.store.snapshot)
    place.metrics.watch_depth(lambda: translator.depth)
    place.metrics.watch_workers(lambda: translator.workers)
    try:
        await translator.start()
        await runner.start()
        yield translator, runner
    finally:
        await runner.close()
        await translator.close()
