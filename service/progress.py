"""How far a job is, for those who ask and for those who listen; both are told what storage says at that moment."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import anyio
from sse_starlette import EventSourceResponse, ServerSentEvent

from service.parts import Jobs
from service.schemas import JobSummary
from worker.errors import RecastError
from worker.jobs.board import Status

PING_S = 10
"""Seconds between the comments that keep a quiet connection open."""
PAUSE_S = 0.2
"""Seconds between two events at least: asking storage how far a job is costs more the more pictures it has."""
FAREWELL_S = 1.0
"""Seconds that a stream may take to end when the server stops."""


def summary(status: Status, root: str) -> JobSummary:
    """A job at one moment; `root` is the path that the service is mounted at, as in ASGI's root_path."""
    return JobSummary.of(status, root)


def stream(jobs: Jobs, job_id: str, root: str, last: str | None) -> EventSourceResponse:
    """The job's events until it is over, the client is gone, or the server stops.

    `last` is the id that the client has from an earlier stream: it is told nothing that it knows.
    """
    stopping = anyio.Event()
    told = _told(jobs, job_id, root, last, stopping)
    return EventSourceResponse(told, ping=PING_S, shutdown_event=stopping, shutdown_grace_period=FAREWELL_S)


async def _told(
    jobs: Jobs, job_id: str, root: str, last: str | None, stopping: anyio.Event
) -> AsyncIterator[ServerSentEvent]:
    said: object = None
    async with aclosing(_news(jobs, job_id, stopping)) as news:
        async for _ in news:
            try:
                status = await jobs.board.status(job_id)
            except RecastError:
                return  # The storage is away, or the job: the client asks again, and is answered by a problem.
            seen = str(status.done + status.failed)
            now = status.state, seen, status.position
            if status.ended_at is not None:
                yield _event("end", seen, summary(status, root))
                return
            if now != said and not (said is None and seen == last):
                yield _event("progress", seen, summary(status, root))
            said = now
            await asyncio.sleep(PAUSE_S)


async def _news(jobs: Jobs, job_id: str, stopping: anyio.Event) -> AsyncGenerator[None, None]:
    """The runner's news, until the server stops: then the stream ends as a whole one, not as a broken one."""
    stopped = asyncio.ensure_future(stopping.wait())
    async with aclosing(jobs.runner.news(job_id)) as news:
        coming = asyncio.ensure_future(_next(news))
        try:
            while True:
                await asyncio.wait((coming, stopped), return_when=asyncio.FIRST_COMPLETED)
                if stopped.done() or not coming.result():
                    return
                yield
                coming = asyncio.ensure_future(_next(news))
        finally:
            for task in (coming, stopped):
                task.cancel()
            await asyncio.gather(coming, stopped, return_exceptions=True)


async def _next(news: AsyncIterator[None]) -> bool:
    """Whether there is any more."""
    async for _ in news:
        return True
    return False


def _event(name: str, seen: str, data: JobSummary) -> ServerSentEvent:
    return ServerSentEvent(data.model_dump_json(), event=name, id=seen)
