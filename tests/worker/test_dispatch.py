"""Tickets, against a real Redis: every chunk is given, none to two workers, and lost ones are given again."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import pytest
import redis
from support.redis import Server

from worker.jobs.dispatch import LONGEST_PAUSE_S, QUEUED_S, TAKEN_S, Schedule, Tickets
from worker.queue import broker

T = TypeVar("T")

LATE_MS = 1.0
"""A moment long ago, in the score of a lapsed ticket."""


@pytest.fixture
def client(server: Server) -> Iterator[redis.Redis]:
    """The test's own client of the empty Redis."""
    with server.client() as connected:
        yield connected


@pytest.fixture
def run(server: Server, client: redis.Redis) -> "Run":
    """Runs a test's coroutine function with tickets in the empty Redis."""
    return Run(server)


class Run:
    """Runs coroutine functions with tickets."""

    def __init__(self, server: Server) -> None:
        self._url = server.url

    def __call__(self, test: Callable[[Tickets], Awaitable[T]]) -> T:
        async def connected() -> T:
            client = broker.connect_async(self._url)
            try:
                return await test(Tickets(client))
            finally:
                await client.aclose()

        return asyncio.run(connected())


async def given(tickets: Tickets, *, chunks: int, most: int) -> list[int]:
    """The chunks of job `j` that are given now."""
    numbers = []
    while (number := await tickets.give("j", chunks, most)) is not None:
        numbers.append(number)
    return numbers


def test_chunks_are_given_in_order_and_so_many_at_a_time(run: Run) -> None:
    """No more tickets are out than may be; each that ends makes room for the next chunk, until all have had one."""

    async def test(tickets: Tickets) -> None:
        await tickets.begin("j", 0)
        assert await given(tickets, chunks=5, most=3) == [0, 1, 2]
        assert not await tickets.end("j", 1, 5)
        assert await given(tickets, chunks=5, most=3) == [3]
        for number in (0, 2):
            assert not await tickets.end("j", number, 5)
        assert await given(tickets, chunks=5, most=3) == [4]
        issued = await tickets.state("j")
        assert (issued.next, issued.out, issued.paused) == (5, 2, False)

    run(test)


def test_nothing_is_given_of_a_job_that_is_not_known(run: Run) -> None:
    """After a flush, tickets must be begun again from what storage knows."""

    async def test(tickets: Tickets) -> None:
        assert await given(tickets, chunks=5, most=3) == []
        assert (await tickets.state("j")).next is None

    run(test)


def test_a_chunk_is_taken_by_one(run: Run) -> None:
    """A second take of the same chunk fails, also by the same worker."""

    async def test(tickets: Tickets) -> None:
        await tickets.begin("j", 0)
        await tickets.give("j", 1, 1)
        assert await tickets.take("j", 0, "a")
        assert not await tickets.take("j", 0, "b")
        assert not await tickets.take("j", 0, "a")

    run(test)


def test_ending_the_last_ticket_returns_true(run: Run) -> None:
    """Ending a job's last ticket returns True once all its chunks have had one, whatever other jobs have."""

    async def test(tickets: Tickets) -> None:
        await tickets.begin("j", 0)
        await tickets.begin("jj", 0)
        await given(tickets, chunks=2, most=9)
        await tickets.give("jj", 1, 9)
        assert not await tickets.end("j", 1, 2)
        assert await tickets.end("j", 0, 2)

    run(test)


def test_lapsed_tickets_are_given_again(run: Run, client: redis.Redis) -> None:
    """A chunk whose ticket is no longer renewed is given again; others are not."""

    async def test(tickets: Tickets) -> None:
        await tickets.begin("j", 0)
        await given(tickets, chunks=2, most=9)
        for number in (0, 1):
            await tickets.take("j", number, "killed")
        client.zadd(broker.TICKETS, {"j:1": LATE_MS})
        assert await tickets.give_again() == [("j", 1)]
        assert await tickets.give_again() == []
        assert await tickets.take("j", 1, "other")

    run(test)


def test_a_lost_message_is_given_again_when_the_queue_is_empty(run: Run, client: redis.Redis) -> None:
    """A ticket without its message is given again before it lapses; while messages wait, it waits too."""

    async def test(tickets: Tickets) -> None:
        await tickets.begin("j", 0)
        await given(tickets, chunks=2, most=9)
        await tickets.take("j", 0, "busy")
        old = float(client.zscore(broker.TICKETS, "j:1") or 0.0) - 6000
        client.zadd(broker.TICKETS, {"j:0": old, "j:1": old})
        client.lpush("recast:bulk", "a message")
        assert await tickets.give_again() == []
        client.delete("recast:bulk")
        assert await tickets.give_again() == [("j", 1)]

    run(test)


def test_renewing_keeps_a_ticket(run: Run, client: redis.Redis) -> None:
    """A renewed ticket lapses later, is there again after a flush, and is never taken from another worker."""

    async def test(tickets: Tickets) -> None:
        await tickets.begin("j", 0)
        await tickets.give("j", 1, 9)
        await tickets.take("j", 0, "a")
        client.pexpire(broker.ticket("j:0"), 100)
        await tickets.renew("j", 0, "b")
        assert client.pttl(broker.ticket("j:0")) <= 100
        await tickets.renew("j", 0, "a")
        assert client.pttl(broker.ticket("j:0")) > 1000 * (TAKEN_S - 5)
        client.flushall()
        await tickets.renew("j", 0, "a")
        assert not await tickets.take("j", 0, "b")

    run(test)


def test_what_is_given_back_is_given_again(run: Run) -> None:
    """A chunk that was given back is the next one to be given, and later ones that are out stay out."""

    async def test(tickets: Tickets) -> None:
        await tickets.begin("j", 0)
        await given(tickets, chunks=3, most=9)
        await tickets.take("j", 1, "a")
        await tickets.give_back("j", 1, failed=False)
        assert await given(tickets, chunks=3, most=9) == [1]

    run(test)


def test_a_job_that_fails_pauses_longer_and_longer(run: Run, client: redis.Redis) -> None:
    """Failures pause the whole job, each pause doubles the last one up to a minute, and a success begins anew."""

    async def test(tickets: Tickets) -> None:
        await tickets.begin("j", 0)
        lengths = []
        for _ in range(8):
            await tickets.give_back("j", 0, failed=True)
            await tickets.give_back("j", 0, failed=True)  # of the same time
            assert (await tickets.state("j")).paused
            assert await given(tickets, chunks=2, most=9) == []
            lengths.append(_pause(client))
            client.set(broker.pause("j"), f"0 {lengths[-1]}")  # it is over
        assert lengths == [1, 2, 4, 8, 16, 32, LONGEST_PAUSE_S, LONGEST_PAUSE_S]
        assert await given(tickets, chunks=2, most=9) == [0, 1]
        await tickets.end("j", 0, 2)
        await tickets.give_back("j", 1, failed=True)
        assert _pause(client) == 1

    run(test)


def test_the_schedule_is_known_to_all(run: Run) -> None:
    """One process reads the schedule that another made."""

    async def test(tickets: Tickets) -> None:
        assert await tickets.schedule() is None
        schedule = Schedule((("j", 3), ("k", 1)), 8)
        await tickets.put_schedule(schedule)
        assert await tickets.schedule() == schedule

    run(test)


def test_every_key_ends_by_itself(run: Run, client: redis.Redis) -> None:
    """Every key of tickets has a time to live, and a ticket the documented one."""

    async def test(tickets: Tickets) -> None:
        await tickets.put_schedule(Schedule((("j", 3),), 8))
        await tickets.begin("j", 0)
        await given(tickets, chunks=3, most=9)
        await tickets.take("j", 1, "a")
        await tickets.give_back("j", 2, failed=True)

    run(test)
    keys = client.keys("*")
    assert len(keys) == 6
    assert all(client.pttl(key) > 0 for key in keys)
    assert client.ttl(broker.ticket("j:0")) in range(QUEUED_S - 20, QUEUED_S + 1)
    assert client.ttl(broker.ticket("j:1")) in range(TAKEN_S + 1)


def _pause(client: redis.Redis) -> int:
    """How long job `j` pauses, seconds."""
    found = client.get(broker.pause("j"))
    assert isinstance(found, bytes)
    return int(found.split()[1])
