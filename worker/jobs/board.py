"""State and progress of jobs, computed from storage, and their end; keeps nothing between two calls.

A call costs one listing of the job's finished chunks, and one of the open jobs, but never a listing of all jobs.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from worker.errors import UnknownJob
from worker.jobs import layout
from worker.jobs.layout import Begun, End, Finished, Job, Outcome, State
from worker.storage import Storage, Stored

WINDOW_S = 60.0
"""The rate is measured over this many last seconds, or since the beginning if no chunk was finished in them."""

CHUNKS = 16
"""Chunks whose pictures `outcomes` lists at a time."""


@dataclass(frozen=True)
class Mark:
    """A finished chunk, as its path describes it."""

    number: int
    done: int
    failed: int
    put_at: float
    """Seconds since 1970, UTC."""
    path: str


@dataclass(frozen=True)
class Status:
    """A job at one moment."""

    job: Job
    state: State
    done: int
    """Pictures translated."""
    failed: int
    """Pictures that can't be translated."""
    begun_at: float | None = None
    """When its first chunk was begun, seconds since 1970, UTC; None for a job that has ended."""
    ended_at: float | None = None
    """Seconds since 1970, UTC. A cancelled job gets it shortly after its state."""
    position: int | None = None
    """How many open jobs come before it; None unless it is queued."""
    rate: float | None = None
    """Pictures per second; None unless it is running and something is finished."""
    seconds_left: float | None = None
    """At this rate."""


class Board:
    """The jobs of one storage."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def job(self, job_id: str) -> Job:
        """The stored Job. Raises UnknownJob."""
        found = await self._storage.get(layout.job(job_id))
        if found is None:
            raise UnknownJob(
                f"there is no job {job_id}, or it was removed: jobs are kept for some days after their end"
            )
        return Job.model_validate_json(found)

    async def status(self, job_id: str) -> Status:
        """How far a job has come. Raises UnknownJob."""
        return await self._status(job_id, None)

    async def statuses(self, *, limit: int, before: str | None = None) -> list[Status]:
        """The open jobs, then those that have ended, each the newest first: `limit` of them after job `before`.

        Raises UnknownJob where there is no job `before`.
        """
        waiting = await self.open_jobs()
        found: list[Status] = []
        async with aclosing(self._newest(waiting, before)) as newest:
            while ids := await _take(newest, limit - len(found)):
                answers = await asyncio.gather(*(self._status(each, waiting) for each in ids), return_exceptions=True)
                for answer in answers:
                    if isinstance(answer, Status):
                        found.append(answer)
                    elif not isinstance(answer, UnknownJob):  # it is just being removed, or accepted
                        raise answer
        return found

    async def failures(self, job_id: str, limit: int) -> list[Outcome]:
        """The first `limit` pictures that could not be translated, in the job's order."""
        marks = [mark for mark in await finished_chunks(self._storage, job_id) if mark.failed][:limit]
        records = await asyncio.gather(*(read_finished(self._storage, mark) for mark in marks))
        return [outcome for record in records for outcome in record.outcomes if outcome.output is None][:limit]

    async def outcomes(self, job: Job, first: int) -> tuple[list[Outcome], int | None]:
        """The outcomes of a few chunks from number `first` on, in order, and the number to continue with.

        The list stops before an unfinished chunk, so that a client that continues later misses nothing. Once the job
        has ended, unfinished chunks are skipped, and after the last chunk the number is None.
        """
        over = await self._end(job.id) is not None
        marks = [mark for mark in await finished_chunks(self._storage, job.id) if mark.number >= first]
        shown = [mark for place, mark in enumerate(marks[:CHUNKS]) if over or mark.number == first + place]
        records = await asyncio.gather(*(read_finished(self._storage, mark) for mark in shown))
        listed = [outcome for record in records for outcome in record.outcomes]
        return listed, None if over and len(shown) == len(marks) else shown[-1].number + 1 if shown else first

    async def open_jobs(self) -> list[str]:
        """The ids of the jobs that have not ended, the oldest first."""
        return await _oldest_first(self._storage.list(layout.OPEN))

    async def unfinished(self, job: Job) -> list[int]:
        """The numbers of the chunks that are not finished, in order."""
        finished = {mark.number for mark in await finished_chunks(self._storage, job.id)}
        return [number for number in range(job.chunks) if number not in finished]

    async def cancel(self, job_id: str) -> Status:
        """Marks a job as cancelled, unless it has ended; `conclude` then ends it. Raises UnknownJob."""
        status = await self.status(job_id)
        if status.ended_at is not None:
            return status
        await self._storage.put(layout.cancelled(job_id), b"")
        return await self.status(job_id)

    async def conclude(self, job: Job) -> End | None:
        """Ends a job whose chunks are all finished, or that is cancelled; returns None for a job that goes on.

        A process that is killed in the middle leaves the open mark, and concluding again does the rest.
        """
        end = await self._end(job.id)
        if end is None:
            marks, cancelled = await asyncio.gather(
                finished_chunks(self._storage, job.id), self._storage.has(layout.cancelled(job.id))
            )
            if len(marks) < job.chunks and not cancelled:
                return None
            done, failed = _count(marks)
            state: Literal["done", "failed", "cancelled"] = "cancelled" if cancelled else "done" if done else "failed"
            end = End(state=state, at=time.time(), done=done, failed=failed)
            if job.webhook:  # before the End, so that a kill between the two forgets no webhook
                await self._storage.put(layout.hook_mark(job.id), b"")
            if not await self._storage.put(layout.done(job.id), end.bytes(), new=True):
                # Another process was quicker, or a repeated put finds its own first try: the stored End counts.
                end = await self._end(job.id)
                if end is None:
                    return None
        await self._storage.put(layout.ended_mark(job.id, _day(end.at)), b"")
        await self._storage.delete(layout.open_mark(job.id))
        return end

    async def _status(self, job_id: str, waiting: Sequence[str] | None) -> Status:
        job, end = await asyncio.gather(self.job(job_id), self._end(job_id))
        if end is not None:
            return Status(job, end.state, end.done, end.failed, ended_at=end.at)
        marks, begun_at, cancelled = await asyncio.gather(
            finished_chunks(self._storage, job_id), self._begun_at(job_id), self._storage.has(layout.cancelled(job_id))
        )
        done, failed = _count(marks)
        if cancelled:
            return Status(job, "cancelled", done, failed, begun_at)
        if begun_at is None:
            waiting = await self.open_jobs() if waiting is None else waiting
            position = waiting.index(job_id) if job_id in waiting else None
            return Status(job, "queued", done, failed, position=position)
        rate = rate_of(marks, begun_at, time.time())
        left = None if rate is None else (job.pictures - done - failed) / rate
        return Status(job, "running", done, failed, begun_at, rate=rate, seconds_left=left)

    async def _end(self, job_id: str) -> End | None:
        found = await self._storage.get(layout.done(job_id))
        return None if found is None else End.model_validate_json(found)

    async def _begun_at(self, job_id: str) -> float | None:
        # The first chunk is nearly always begun first, and reading its mark is cheaper than listing thousands.
        if found := await self._storage.get(layout.begun(job_id, 0)):
            return Begun.model_validate_json(found).at
        async for stored in self._storage.list(layout.begun_folder(job_id)):
            return stored.put_at.timestamp()
        return None

    async def _newest(self, waiting: Sequence[str], before: str | None) -> AsyncGenerator[str, None]:
        """Job ids in the order of `statuses`."""
        last: str | None = None  # the day on which `before` ended
        if before is None or before in waiting:
            for job_id in reversed(waiting[: None if before is None else waiting.index(before)]):
                yield job_id
        elif end := await self._end(before):
            last = _day(end.at)
        else:
            raise UnknownJob(f"there is no job {before} to go on after, or it was removed; begin with the newest")
        for day in reversed(await self._storage.folders(layout.ENDED)):
            if last is not None and day > last:
                continue
            ended = await _oldest_first(self._storage.list(f"{layout.ENDED}/{day}"))
            for job_id in reversed(ended[: ended.index(before) if day == last and before in ended else None]):
                if job_id not in waiting:  # else it has ended just now, and came among the open ones already
                    yield job_id


async def finished_chunks(storage: Storage, job_id: str) -> list[Mark]:
    """The finished chunks of a job by number; a chunk that was finished twice counts once, always with one record."""
    marks: dict[int, Mark] = {}
    async for stored in storage.list(layout.finished_folder(job_id)):
        if counts := layout.counts(stored.path):
            mark = Mark(*counts, stored.put_at.timestamp(), stored.path)
            known = marks.get(mark.number, mark)
            marks[mark.number] = max(known, mark, key=lambda each: (each.done, each.path))
    return [marks[number] for number in sorted(marks)]


async def read_finished(storage: Storage, mark: Mark) -> Finished:
    """The record of a finished chunk; without outcomes if the job is just being removed."""
    found = await storage.get(mark.path)
    return Finished(outcomes=()) if found is None else Finished.model_validate_json(found)


def _count(marks: Sequence[Mark]) -> tuple[int, int]:
    return sum(mark.done for mark in marks), sum(mark.failed for mark in marks)


def rate_of(marks: Sequence[Mark], begun_at: float, now: float) -> float | None:
    """Pictures per second of a job, see WINDOW_S; None while nothing is finished."""
    recent = [mark for mark in marks if mark.put_at > now - WINDOW_S]
    since = max(begun_at, now - WINDOW_S) if recent else begun_at
    pictures = sum(_count(recent or marks))
    return pictures / (now - since) if pictures and now > since else None


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()


async def _oldest_first(listing: AsyncIterator[Stored]) -> list[str]:
    marks = sorted([(stored.put_at, stored.path.rpartition("/")[2]) async for stored in listing])
    return [job_id for _, job_id in marks]


async def _take(source: AsyncIterator[str], most: int) -> list[str]:
    """The next items, at most `most`."""
    taken: list[str] = []
    while len(taken) < most and (each := await anext(source, None)) is not None:
        taken.append(each)
    return taken
