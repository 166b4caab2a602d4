"""A service that needs no other process: it translates, does its jobs and delivers its webhooks itself."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from service.schemas import JobSummary
from wiring.serving import Place, beside
from worker.embedded import Embedded
from worker.engine.library import Library
from worker.jobs.board import Board
from worker.jobs.chunks import Chunks
from worker.jobs.layout import End, Job
from worker.jobs.runner import Local, Runner
from worker.jobs.webhooks import Courier
from worker.translator import Translator

CHUNKS_AT_ONCE = 2
"""Chunks under way: while one is being written, the other is computed."""

PICTURES_AT_ONCE = 64
"""Pictures of jobs in memory."""


@asynccontextmanager
async def alone(place: Place) -> AsyncIterator[tuple[Translator, Runner]]:
    """Translator and runner in this process; jobs give way to those who wait for one picture."""
    library = Library(place.store, place.engine)
    translator = Embedded(library, place.engine, observe=place.metrics.batch, tracer=place.tracer)
    place.store.watch(library.follow)
    pipeline = place.pipeline(translator.bulk)
    chunks = Chunks(
        place.storage,
        place.roots,
        pipeline,
        at_once=PICTURES_AT_ONCE,
        observe=place.metrics.chunk,
        tracer=place.tracer,
    )
    courier = Courier(place.storage, place.jobs, describe=JobSummary.of, observe=place.metrics.webhook)
    place.metrics.watch_library(library, place.store.snapshot)
    place.metrics.watch_depth(lambda: translator.depth)
    runner = Local(Board(place.storage), chunks, ended=partial(_tell, courier), at_once=CHUNKS_AT_ONCE)
    try:
        async with beside(courier.rounds()):
            await runner.start()
            yield translator, runner
    finally:
        await runner.close()
        courier.close()
        pipeline.close()
        await translator.close()


async def _tell(courier: Courier, job: Job, _: End) -> None:
    """The first attempt at the webhook, at once; the rounds make the others."""
    if job.webhook:
        await courier.deliver(job.id)
