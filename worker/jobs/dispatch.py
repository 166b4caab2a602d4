"""Gives the chunks of open jobs to the workers: enough to keep them busy, few enough to keep the queue short.

A chunk that is not finished has either had no ticket yet, its number being `next` or higher, or it has one, which
lapses unless the worker that does the chunk renews it. Lapsed tickets are given again, so chunks come back from workers
that were killed and messages that got lost. Nothing here is the truth: a worker that is given a finished chunk does
nothing.
"""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from worker.errors import UnknownJob
from worker.jobs.board import Board
from worker.jobs.layout import Job
from worker.jobs.runner import JOBS_IN_TURN
from worker.queue import beats, broker
from worker.queue.app import BULK, CHUNK, Post
from worker.queue.beats import Crew

TICK_S = 2.0
"""Seconds between two looks at the open jobs, by whichever process is first."""

AHEAD = 4
"""Tickets that may be out for each chunk that the workers can do at a time."""

QUEUED_S = 120
"""Seconds until a ticket lapses that no worker has taken."""

TAKEN_S = 15
"""Seconds until a ticket lapses that its worker does not renew."""

RENEW_S = 5
"""Seconds between two renewals."""

LOST_S = 5
"""Seconds after which a ticket that no worker has taken is given again if the queue is empty: its message is lost."""

LONGEST_PAUSE_S = 60
"""Seconds of the longest pause of a job whose chunks fail; the first is one second, and each failure doubles it."""

FORGET_S = 3600
"""Seconds after which Redis forgets what it knows of a job."""

_REMEMBERED = 64  # jobs, which never change


class Dispatch:
    """Hands out chunks, in any process; one event loop may use it. Raises what is in broker.FAILURES, and StorageError.

    A tick every TICK_S seconds looks after what got lost; between ticks, a worker that finishes a chunk hands out the
    next one.
    """

    def __init__(self, board: Board, client: Redis, post: Post) -> None:
        self._board, self._client, self._post = board, client, post
        self.tickets = Tickets(client)
        self._jobs: dict[str, Job] = {}
        self._turn = 0

    async def tick(self) -> bool:
        """Looks after all jobs, unless another process has just done so; returns whether this one did."""
        # Shorter than a tick, so that the mark is gone when the next tick is due.
        if not await self._client.set(broker.TICK, b"", nx=True, px=int(TICK_S * 900)):
            return False
        await self.look()
        return True

    async def look(self) -> None:
        """Ends jobs that have nothing left to do, gives lost chunks again, and hands out chunks for all free places."""
        await self._publish(await self.tickets.give_again())
        crew = Crew()
        await beats.hear(self._client, crew)
        jobs: list[Job] = []  # the first open ones that have something to do
        for job_id in await self._board.open_jobs():
            try:
                job = await self.job(job_id)
                if await self._wants_turn(job):
                    jobs.append(job)
            except UnknownJob:  # it is just being accepted, or removed
                continue
            if len(jobs) == JOBS_IN_TURN:
                break
        places = sum(beat.bulk for beat in crew.beats)
        await self.tickets.put_schedule(Schedule(tuple((job.id, job.chunks) for job in jobs), AHEAD * places))
        await self.fill()

    async def fill(self) -> None:
        """Hands out chunks, one of each job in turn, until as many tickets are out as may be."""
        schedule = await self.tickets.schedule()
        if schedule is None or not schedule.jobs:
            return
        # Another job is the first each time, so that a few free places serve all jobs in turn.
        self._turn += 1
        start = self._turn % len(schedule.jobs)
        jobs = [*schedule.jobs[start:], *schedule.jobs[:start]]
        given: list[tuple[str, int]] = []
        while jobs:
            job_id, chunks = jobs.pop(0)
            number = await self.tickets.give(job_id, chunks, schedule.most)
            if number is not None:
                given.append((job_id, number))
                jobs.append((job_id, chunks))
        await self._publish(given)

    async def conclude(self, job: Job) -> bool:
        """Ends a job that has nothing left to do, and tells all services; returns whether it has ended."""
        if await self._board.conclude(job) is None:
            return False
        self._jobs.pop(job.id, None)
        await self.say(job.id)
        return True

    async def job(self, job_id: str) -> Job:
        """The stored Job. Raises UnknownJob."""
        if job_id not in self._jobs:
            if len(self._jobs) >= _REMEMBERED:
                self._jobs.clear()
            self._jobs[job_id] = await self._board.job(job_id)
        return self._jobs[job_id]

    async def say(self, job_id: str) -> None:
        """Tells all services that something of a job may have changed."""
        await self._client.publish(broker.JOBS, job_id)

    async def _wants_turn(self, job: Job) -> bool:
        """Whether a job wants a turn; asks storage when Redis knows nothing of it, or all tickets have ended."""
        state = await self.tickets.state(job.id)
        if state.next is None or (state.next >= job.chunks and not state.out):
            if await self.conclude(job):
                return False
            unfinished = await self._board.unfinished(job)
            await self.tickets.begin(job.id, min(unfinished, default=job.chunks))
        return not state.paused

    async def _publish(self, given: list[tuple[str, int]]) -> None:
        def send() -> None:
            for job_id, number in given:
                self._post.send(CHUNK, job_id, number)

        if given:
            await asyncio.to_thread(send)  # Celery's producer blocks


@dataclass(frozen=True)
class Schedule:
    """The open jobs whose chunks are given in turn, each with its number of chunks, and how many tickets may be out."""

    jobs: tuple[tuple[str, int], ...]
    most: int


@dataclass(frozen=True)
class TicketState:
    """How far a job's tickets have come."""

    next: int | None
    """The first chunk that has had none; None: unknown."""
    out: int
    """How many are out."""
    paused: bool


class Tickets:
    """The tickets of one broker; one event loop may use it. Its methods raise RedisError."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def put_schedule(self, schedule: Schedule) -> None:
        """Makes a schedule known to all processes, for a few seconds."""
        await self._client.set(broker.OPEN, json.dumps([schedule.jobs, schedule.most]), ex=broker.ALIVE_S)

    async def schedule(self) -> Schedule | None:
        """The schedule, if a process made one within the last seconds."""
        found = await self._client.get(broker.OPEN)
        if found is None:
            return None
        jobs, most = json.loads(found)
        return Schedule(tuple((str(job_id), int(chunks)) for job_id, chunks in jobs), int(most))

    async def state(self, job_id: str) -> TicketState:
        """How far a job's tickets have come."""
        first, out, paused = await self._run(_STATE, job_id)
        return TicketState(None if first is None else int(first), int(out), bool(paused))

    async def begin(self, job_id: str, first: int) -> None:
        """Lets tickets be given from chunk number `first` on; those that are out stay out."""
        await self._run(_BEGIN, job_id, first)

    async def give(self, job_id: str, chunks: int, most: int) -> int | None:
        """Gives a ticket for the job's next chunk and returns its number; None if there is none, or `most` are out."""
        number = await self._run(_GIVE, job_id, chunks, most)
        return None if number is None else int(number)

    async def give_again(self) -> list[tuple[str, int]]:
        """Gives lapsed tickets, and those of lost messages, once more: their jobs and chunks."""
        works = await self._run(_AGAIN, "")
        pairs = (work.decode().rsplit(":", 1) for work in works)
        return [(job_id, int(number)) for job_id, number in pairs]

    async def take(self, job_id: str, number: int, worker: str) -> bool:
        """Takes a chunk's ticket; False: another worker does the chunk already."""
        return bool(await self._run(_TAKE, job_id, number, worker))

    async def renew(self, job_id: str, number: int, worker: str) -> None:
        """Keeps a ticket from lapsing, also one that Redis has forgotten meanwhile."""
        await self._run(_RENEW, job_id, number, worker)

    async def end(self, job_id: str, number: int, chunks: int) -> bool:
        """Ends the ticket of a finished chunk; whether it was the job's last, as far as Redis knows."""
        return bool(await self._run(_END, job_id, number, chunks))

    async def give_back(self, job_id: str, number: int, *, failed: bool) -> None:
        """Ends the ticket of an unfinished chunk; after a failure the job pauses."""
        await self._run(_BACK, job_id, number, int(failed))

    async def _run(self, script: str, job_id: str, *words: str | int) -> Any:
        keys = [broker.TICKETS, broker.next_chunk(job_id), broker.pause(job_id), broker.PREFIX + BULK]
        return await self._client.eval(_HEAD + script, len(keys), *keys, broker.ticket(""), job_id, *words)


_HEAD = f"""
{broker.NOW}
local queued, taken = {QUEUED_S * 1000}, {TAKEN_S * 1000}
local job, number = ARGV[2], ARGV[3]

local function lend(work, holder, ms)
    redis.call('SET', ARGV[1] .. work, holder, 'PX', ms)
    redis.call('ZADD', KEYS[1], now + ms, work)
    redis.call('PEXPIRE', KEYS[1], {FORGET_S * 1000})
end

local function drop(work)
    redis.call('DEL', ARGV[1] .. work)
    redis.call('ZREM', KEYS[1], work)
end

local function follow(first)
    redis.call('SET', KEYS[2], first, 'EX', {FORGET_S})
end

local function out()
    local count = 0
    for _, work in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
        if string.sub(work, 1, #job + 1) == job .. ':' then count = count + 1 end
    end
    return count
end

local function pause()
    local till, length = string.match(redis.call('GET', KEYS[3]) or '0 0', '(%d+) (%d+)')
    return tonumber(till) > now, tonumber(length), till
end

local function halt(length)
    local pauses, _, till = pause()
    till = pauses and till or string.format('%.0f', now + length * 1000)
    redis.call('SET', KEYS[3], till .. ' ' .. length, 'PX', {2 * LONGEST_PAUSE_S * 1000})
end
"""
"""What every script begins with. KEYS: tickets, next, pause, the queue. ARGV: the prefix of tickets, job, number."""

_STATE = """
return {redis.call('GET', KEYS[2]), out(), pause() and 1 or 0}
"""

_BEGIN = """
follow(number)
"""

_GIVE = """
local chunks, most = tonumber(ARGV[3]), tonumber(ARGV[4])
local first = tonumber(redis.call('GET', KEYS[2]) or chunks)
if pause() or first >= chunks or redis.call('ZCARD', KEYS[1]) >= most then return false end
for each = first, chunks - 1 do
    local work = job .. ':' .. each
    if redis.call('EXISTS', ARGV[1] .. work) == 0 then
        follow(each + 1)
        lend(work, 'queued', queued)
        return each
    end
end
follow(chunks)
return false
"""

_AGAIN = f"""
local empty = redis.call('LLEN', KEYS[4]) == 0
local works, again = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES'), {{}}
for i = 1, #works, 2 do
    local work, left = works[i], works[i + 1] - now
    local lost = empty and left < queued - {LOST_S * 1000} and redis.call('GET', ARGV[1] .. work) == 'queued'
    if left <= 0 or lost then
        lend(work, 'queued', queued)
        again[#again + 1] = work
    end
end
return again
"""

_TAKE = """
local work = job .. ':' .. number
local holder = redis.call('GET', ARGV[1] .. work)
if holder and holder ~= 'queued' then return 0 end
lend(work, ARGV[4], taken)
return 1
"""

_RENEW = """
local work = job .. ':' .. number
local holder = redis.call('GET', ARGV[1] .. work)
if not holder or holder == 'queued' or holder == ARGV[4] then lend(work, ARGV[4], taken) end
"""

_END = """
drop(job .. ':' .. number)
if pause() then halt(0) else redis.call('DEL', KEYS[3]) end
local first = tonumber(redis.call('GET', KEYS[2]) or 0)
return first >= tonumber(ARGV[4]) and out() == 0 and 1 or 0
"""

_BACK = f"""
drop(job .. ':' .. number)
local first = tonumber(redis.call('GET', KEYS[2]) or number)
follow(math.min(first, tonumber(number)))
local pauses, length = pause()
if ARGV[4] == '1' and not pauses then halt(math.max(1, math.min(2 * length, {LONGEST_PAUSE_S}))) end
"""
