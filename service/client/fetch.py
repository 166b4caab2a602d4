"""Brings a job's results into a folder as they come, some at a time; what is there whole stays."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial

from service.client import calls
from service.client.calls import Call
from service.client.connection import Connection
from service.client.records import Failure, Fetched, Job
from service.client.shelf import Shelf

Progress = Callable[[Job, int], None]
"""Is told the job as it is now, and how many of its results lie in the folder."""

_AT_ONCE = 8
_PIECE = 1 << 20


class Fetch:
    """The results of one job, on their way."""

    def __init__(self, connection: Connection, shelf: Shelf, on_progress: Progress | None) -> None:
        self._connection = connection
        self._shelf = shelf
        self._on_progress = on_progress
        self._job: Job | None = None
        self._news = asyncio.Event()
        self._place: int | None = 0
        self._count = 0
        self._failures: list[Failure] = []

    async def follow(self, events: AsyncIterator[Job]) -> Fetched:
        """Fetches what is finished at each event of the job; when they end, that is everything."""
        watching = asyncio.create_task(self._watch(events))
        try:
            over = False
            while not over:
                await self._news.wait()
                self._news.clear()
                over = watching.done() and watching.result().over
                if self._job:
                    await self._finished(self._job.id)
            return await self._concluded(watching.result())
        finally:
            watching.cancel()
            await asyncio.wait({watching})

    async def _watch(self, events: AsyncIterator[Job]) -> Job:
        """The job when it is over."""
        try:
            async for self._job in events:
                self._tell()
                self._news.set()
        finally:
            self._news.set()
        assert self._job is not None, "the first event comes at once"
        return self._job

    async def _finished(self, job_id: str) -> None:
        before = -1
        while self._place is not None and self._place != before:
            page = await self._connection.send(calls.pictures(job_id, self._place))
            await self._all(job_id, page.outputs)
            self._failures += page.failures
            before, self._place = self._place, page.next

    async def _concluded(self, job: Job) -> Fetched:
        await asyncio.to_thread(self._shelf.finish)
        return Fetched(job, self._shelf.folder, self._count, tuple(self._failures))

    async def _all(self, job_id: str, names: tuple[str, ...]) -> None:
        waiting = iter(names)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_AT_ONCE):
                    group.create_task(self._some(job_id, waiting))
        except* Exception as errors:
            raise _first(errors) from None

    async def _some(self, job_id: str, waiting: Iterator[str]) -> None:
        for name in waiting:
            if not self._shelf.has(name):
                call = calls.result(job_id, name)
                await self._connection.patiently(call, partial(self._one, call, name))
            self._count += 1
            self._tell()

    async def _one(self, call: Call[None], name: str) -> None:
        part, held = self._shelf.part(), b""
        async with self._connection.open(call) as response:
            async for piece in response.aiter_bytes(_PIECE):
                # Only the last piece is shorter: most results go to the disk in one step.
                if held:
                    await asyncio.to_thread(self._shelf.write, part, held)
                held = piece
        await asyncio.to_thread(self._shelf.keep, name, part, held)

    def _tell(self) -> None:
        if self._on_progress and self._job:
            self._on_progress(self._job, self._count)


def _first(errors: BaseExceptionGroup[Exception]) -> Exception:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
