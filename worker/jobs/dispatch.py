"""Gives the chunks of open jobs to the workers, so many at a time that none waits for work and the queue stays short.

Any process may do it at any time. A tick every two seconds looks after what got lost; between ticks, whoever finishes a
chunk hands out the next.
"""

import asyncio

from redis.asyncio import Redis

from worker.errors import UnknownJob
from worker.jobs.board import Board
from worker.jobs.layout import Job
from worker.jobs.local import JOBS_IN_TURN
from worker.jobs.tickets import Plan, Tickets
from worker.queue import beats, broker
from worker.queue.app import CHUNK, Post
from worker.queue.beats import Crew

TICK_S = 2.0
"""Seconds between two looks at the open jobs, by whichever process is first."""

AHEAD = 4
"""Tickets that may be out for each chunk that the workers can do at a time."""

_REMEMBERED = 64  # jobs, which never change


class Dispatch:
    """Hands out chunks; one event loop may use it. Its methods raise what is in broker.FAILURES, and StorageError."""

    def __init__(self, board: Board, client: Redis, post: Post) -> None:
        self._board, self._client, self._post = board, client, post
        self.tickets = Tickets(client)
        self._jobs: dict[str, Job] = {}
        self._turn = 0

    async def tick(self) -> bool:
        """Looks after everything, unless another process has just done so; whether this one did."""
        if not await self._client.set(broker.TICK, b"", nx=True, px=int(TICK_S * 900)):
            return False
        await self.look()
        return True

    async def look(self) -> None:
        """Ends what is over, gives again what got lost, and hands out what there are places for."""
        await self._publish(await self.tickets.give_again())
        crew = Crew()
        await beats.hear(self._client, crew)
        jobs = await self._in_turn()
        await self.tickets.plan(
            Plan(tuple((job.id, job.chunks) for job in jobs), AHEAD * sum(beat.bulk for beat in crew.beats))
        )
        await self.fill()

    async def fill(self) -> None:
        """Hands out chunks, the jobs in turn taking one each, until as many tickets are out as may be."""
        plan = await self.tickets.planned()
        if plan is None or not plan.jobs:
            return
        self._turn += 1
        start = self._turn % len(plan.jobs)
        jobs = [*plan.jobs[start:], *plan.jobs[:start]]
        given: list[tuple[str, int]] = []
        while jobs:
            job_id, chunks = jobs.pop(0)
            number = await self.tickets.give(job_id, chunks, plan.most)
            if number is not None:
                given.append((job_id, number))
                jobs.append((job_id, chunks))
        await self._publish(given)

    async def conclude(self, job: Job) -> bool:
        """Ends a job if it is over, and says so; whether it is."""
        if await self._board.conclude(job) is None:
            return False
        self._jobs.pop(job.id, None)
        await self.say(job.id)
        return True

    async def job(self, job_id: str) -> Job:
        """What is asked. Raises UnknownJob."""
        if job_id not in self._jobs:
            if len(self._jobs) >= _REMEMBERED:
                self._jobs.clear()
            self._jobs[job_id] = await self._board.job(job_id)
        return self._jobs[job_id]

    async def say(self, job_id: str) -> None:
        """Tells all services that something of a job may have changed."""
        await self._client.publish(broker.JOBS, job_id)

    async def _in_turn(self) -> list[Job]:
        """The first open jobs that have something to do, after ending those that are over."""
        waiting = await self._board.open_jobs()
        jobs: list[Job] = []
        for job_id in waiting:
            try:
                job = await self.job(job_id)
                if await self._goes_on(job):
                    jobs.append(job)
            except UnknownJob:  # it is just being accepted, or removed
                continue
            if len(jobs) == JOBS_IN_TURN:
                break
        return jobs

    async def _goes_on(self, job: Job) -> bool:
        """Whether a job wants a turn; storage is asked when nothing is known of it, or all tickets are through."""
        progress = await self.tickets.progress(job.id)
        if progress.next is None or (progress.next >= job.chunks and not progress.out):
            if await self.conclude(job):
                return False
            unfinished = await self._board.unfinished(job)
            await self.tickets.begin(job.id, min(unfinished, default=job.chunks))
        return not progress.pauses

    async def _publish(self, given: list[tuple[str, int]]) -> None:
        if given:
            await asyncio.to_thread(self._send, given)

    def _send(self, given: list[tuple[str, int]]) -> None:
        for job_id, number in given:
            self._post.send(CHUNK, job_id, number)
