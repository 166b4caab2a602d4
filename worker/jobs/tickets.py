"""Who does which chunk: tickets in Redis, so that the queue holds little however long a job is, and nothing is lost.

A chunk that is not finished has either had no ticket yet, its number being `next` or higher, or it has one, which
lapses unless whoever does the chunk renews it. Lapsed tickets are given again, so chunks come back from workers that
were killed and messages that got lost. Nothing here is the truth: who is given a chunk that is finished does nothing.
"""

import json
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from worker.queue import broker
from worker.queue.app import BULK

QUEUED_S = 120
"""Seconds until a ticket lapses that nobody has taken."""

TAKEN_S = 15
"""Seconds until a ticket lapses that is not renewed by who has taken it."""

RENEW_S = 5
"""Seconds between two renewals."""

LOST_S = 5
"""Seconds after which a ticket that nobody has taken is given again while the queue is empty: its message is lost."""

LONGEST_PAUSE_S = 60
"""The longest pause of a job whose chunks fail, in seconds; the first is one second, and each failure doubles it."""

FORGET_S = 3600
"""Seconds after which what is noted of a job is forgotten."""


@dataclass(frozen=True)
class Plan:
    """The open jobs whose chunks are given out in turn, with how many each has, and how many tickets may be out."""

    jobs: tuple[tuple[str, int], ...]
    most: int


@dataclass(frozen=True)
class Progress:
    """How far a job's tickets have come."""

    next: int | None
    """The first chunk that has had none; None: that is not known."""
    out: int
    """How many are out."""
    pauses: bool


class Tickets:
    """The tickets of one broker; one event loop may use it. Its methods raise RedisError."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def plan(self, plan: Plan) -> None:
        """Lets everybody know the plan, for a while."""
        await self._client.set(broker.OPEN, json.dumps([plan.jobs, plan.most]), ex=broker.ALIVE_S)

    async def planned(self) -> Plan | None:
        """The plan, if somebody made one within the last seconds."""
        found = await self._client.get(broker.OPEN)
        if found is None:
            return None
        jobs, most = json.loads(found)
        return Plan(tuple((str(job_id), int(chunks)) for job_id, chunks in jobs), int(most))

    async def progress(self, job_id: str) -> Progress:
        """How far a job's tickets have come."""
        first, out, pauses = await self._run(_PROGRESS, job_id)
        return Progress(None if first is None else int(first), int(out), bool(pauses))

    async def begin(self, job_id: str, first: int) -> None:
        """Has tickets given from chunk number `first` on; those that are out are left alone."""
        await self._run(_BEGIN, job_id, first)

    async def give(self, job_id: str, chunks: int, most: int) -> int | None:
        """A ticket for the job's next chunk, whose number is returned; None if there is none, or `most` are out."""
        number = await self._run(_GIVE, job_id, chunks, most)
        return None if number is None else int(number)

    async def give_again(self) -> list[tuple[str, int]]:
        """Gives lapsed tickets, and those of lost messages, once more: their jobs and chunks."""
        works = await self._run(_AGAIN, "")
        pairs = (work.decode().rsplit(":", 1) for work in works)
        return [(job_id, int(number)) for job_id, number in pairs]

    async def take(self, job_id: str, number: int, worker: str) -> bool:
        """Takes a chunk's ticket; False: somebody does the chunk already."""
        return bool(await self._run(_TAKE, job_id, number, worker))

    async def renew(self, job_id: str, number: int, worker: str) -> None:
        """Keeps a ticket from lapsing, also one that was forgotten meanwhile."""
        await self._run(_RENEW, job_id, number, worker)

    async def end(self, job_id: str, number: int, chunks: int) -> bool:
        """Ends a ticket whose chunk is finished; whether it was the job's last, as far as is known here."""
        return bool(await self._run(_END, job_id, number, chunks))

    async def give_back(self, job_id: str, number: int, *, failed: bool) -> None:
        """Ends a ticket whose chunk is not finished; after a failure the job pauses."""
        await self._run(_BACK, job_id, number, int(failed))

    async def _run(self, script: str, job_id: str, *words: str | int) -> Any:
        keys = [broker.TICKETS, broker.next_chunk(job_id), broker.pause(job_id), broker.PREFIX + BULK]
        return await self._client.eval(script, len(keys), *keys, broker.ticket(""), job_id, *words)


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
"""KEYS: tickets, next, pause, the queue's list. ARGV: where tickets lie, the job, and most often a chunk's number."""

_PROGRESS = (
    _HEAD
    + """
return {redis.call('GET', KEYS[2]), out(), pause() and 1 or 0}
"""
)

_BEGIN = (
    _HEAD
    + """
follow(number)
"""
)

_GIVE = (
    _HEAD
    + """
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
)

_AGAIN = (
    _HEAD
    + f"""
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
)

_TAKE = (
    _HEAD
    + """
local work = job .. ':' .. number
local holder = redis.call('GET', ARGV[1] .. work)
if holder and holder ~= 'queued' then return 0 end
lend(work, ARGV[4], taken)
return 1
"""
)

_RENEW = (
    _HEAD
    + """
local work = job .. ':' .. number
local holder = redis.call('GET', ARGV[1] .. work)
if not holder or holder == 'queued' or holder == ARGV[4] then lend(work, ARGV[4], taken) end
"""
)

_END = (
    _HEAD
    + """
drop(job .. ':' .. number)
if pause() then halt(0) else redis.call('DEL', KEYS[3]) end
local first = tonumber(redis.call('GET', KEYS[2]) or 0)
return first >= tonumber(ARGV[4]) and out() == 0 and 1 or 0
"""
)

_BACK = (
    _HEAD
    + f"""
drop(job .. ':' .. number)
local first = tonumber(redis.call('GET', KEYS[2]) or number)
follow(math.min(first, tonumber(number)))
local pauses, length = pause()
if ARGV[4] == '1' and not pauses then halt(math.max(1, math.min(2 * length, {LONGEST_PAUSE_S}))) end
"""
)
