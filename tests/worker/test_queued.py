"""Jobs over Redis: handed out, done and ended, whatever gets lost; in this process, then in real ones."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis
from obstore.store import MemoryStore
from support.bundles import flip_bundle
from support.pictures import noise, png
from support.redis import Server, serving
from support.stored import Counting, finished, memory, outputs, put_finished, put_job
from support.workers import SLOW, working

from worker.errors import NotReady
from worker.jobs import layout, queued
from worker.jobs.board import Board
from worker.jobs.dispatch import AHEAD, Dispatch
from worker.jobs.layout import Job
from worker.jobs.queued import Queued, Shift
from worker.queue import beats, broker
from worker.queue.app import Post, create_app
from worker.queue.beats import Beat
from worker.settings import QueueSettings
from worker.storage import Storage, StorageError, open_storage

PATIENCE_S = 60.0
PICTURES = {f"{number:02}.png": png(noise(16, 16, seed=number)) for number in range(24)}


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "CHUNK", 2)


@dataclass
class Plan:
    """Stands in for Chunks: commits each chunk, unless it is set to fail; `done` has the order."""

    storage: Storage
    done: list[tuple[str, int]] = field(default_factory=list)
    errors: dict[int, list[Exception]] = field(default_factory=dict)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    async def do(self, job: Job, number: int) -> None:
        if await self.storage.has(layout.cancelled(job.id)):
            return
        self.done.append((job.id, number))
        await self.gate.wait()
        if waiting := self.errors.get(number):
            raise waiting.pop(0)
        await put_finished(self.storage, job, number, done=min(layout.CHUNK, job.pictures - number * layout.CHUNK))


@dataclass
class Deliveries:
    """Stands in for Courier: `owed` are due until they are delivered."""

    owed: list[str] = field(default_factory=list)
    delivered: list[str] = field(default_factory=list)

    async def due(self) -> list[str]:
        return list(self.owed)

    async def deliver(self, job_id: str) -> None:
        self.owed.remove(job_id)
        self.delivered.append(job_id)


class Worker:
    """One worker's part in jobs; the test passes it the messages."""

    def __init__(self, server: Server, storage: Storage, name: str = "worker") -> None:
        self.storage, self.plan, self.deliveries = storage, Plan(storage), Deliveries()
        self.board = Board(storage)
        self.client = server.client()
        self.connected = broker.connect_async(server.url)
        self.post = Post(create_app(QueueSettings(broker=server.url)))
        self.dispatch = Dispatch(self.board, self.connected, self.post)
        parts: Any = self.plan, self.deliveries
        self.shift = Shift(name, self.connected, self.post, self.dispatch, *parts)

    async def beat(self, *, bulk: int = 1) -> None:
        """Says that it does so many chunks at a time."""
        await beats.say(self.connected, Beat(name="worker", bulk=bulk))

    def messages(self, queue: str = "bulk") -> list[tuple[Any, ...]]:
        """Takes all messages out of a queue: their arguments, the oldest first."""
        found = []
        while data := self.client.rpop(f"recast:{queue}"):
            assert isinstance(data, bytes)
            found.append(tuple(json.loads(base64.b64decode(json.loads(data)["body"]))[0]))
        return found

    async def work(self) -> None:
        """Does all chunks that are handed out, also those that follow, until none is left."""
        while messages := self.messages():
            for message in messages:
                await self.shift.chunk(*message)

    async def close(self) -> None:
        """Lets the connections go."""
        self.post.close()
        self.client.close()
        await self.connected.aclose()


Test = Callable[[Worker], Awaitable[None]]


@pytest.fixture
def play(server: Server) -> Callable[[Test], None]:
    """Runs a test with a worker over the empty Redis and a storage in memory."""

    def run(test: Test, storage: Storage | None = None) -> None:
        async def inside() -> None:
            worker = Worker(server, storage or memory())
            try:
                await test(worker)
            finally:
                await worker.close()

        asyncio.run(inside())

    return run


def some(count: int) -> dict[str, bytes]:
    """A number of pictures."""
    return {f"{number}.png": b"" for number in range(count)}


def test_jobs_are_done_to_the_end(play: Callable[[Test], None]) -> None:
    """Each chunk is handed out once, the job ends when its last one is finished, and Redis keeps nothing for long."""

    async def test(worker: Worker) -> None:
        job = await put_job(worker.storage, some(9))
        await worker.beat()
        await worker.dispatch.look()
        await worker.work()
        assert sorted(worker.plan.done) == [("job", number) for number in range(5)]
        assert (await worker.board.status("job")).state == "done"
        assert await worker.board.open_jobs() == []
        assert job.chunks == 5
        keys = worker.client.keys("*")
        assert not [key for key in keys if b"ticket" in key]
        assert all(worker.client.pttl(key) > 0 for key in keys if b"_kombu" not in key)

    play(test)


def test_so_much_is_handed_out_as_the_workers_can_do(play: Callable[[Test], None]) -> None:
    """The queue's length depends on the number of workers, not on the jobs, and the jobs take turns."""

    async def test(worker: Worker) -> None:
        for name in ("a", "b", "c"):
            await put_job(worker.storage, some(100), job_id=name)
        await worker.dispatch.look()
        assert worker.messages() == []  # nobody is there
        await worker.beat(bulk=3)
        for _ in range(3):
            await worker.dispatch.look()
        messages = worker.messages()
        assert len(messages) == 3 * AHEAD
        assert {name: [number for other, number in messages if other == name] for name in "abc"} == {
            name: [0, 1, 2, 3] for name in "abc"
        }

    play(test)


def test_who_finishes_a_chunk_hands_out_the_next(play: Callable[[Test], None]) -> None:
    """Work goes on without a tick, and other services hear of every commit."""

    async def test(worker: Worker) -> None:
        await put_job(worker.storage, some(20))
        await worker.beat()
        await worker.dispatch.look()
        first, *others = worker.messages()
        with worker.client.pubsub(ignore_subscribe_messages=True) as channel:  # type: ignore[no-untyped-call]
            channel.subscribe(broker.JOBS)
            assert channel.get_message(timeout=5) is None
            await worker.shift.chunk(*first)
            assert channel.get_message(timeout=5)["data"] == b"job"
        assert [number for _, number in others] == [1, 2, 3]
        assert worker.messages() == [("job", 4)]

    play(test)


def test_a_message_that_comes_twice_is_done_once(play: Callable[[Test], None]) -> None:
    """While a chunk is being done, a worker that gets its message again leaves it alone."""

    async def test(worker: Worker) -> None:
        await put_job(worker.storage, some(2))
        await worker.beat()
        await worker.dispatch.look()
        (message,) = worker.messages()
        worker.plan.gate.clear()
        doing = asyncio.create_task(worker.shift.chunk(*message))
        while not worker.plan.done:
            await asyncio.sleep(0)
        await worker.shift.chunk(*message)
        worker.plan.gate.set()
        await doing
        assert worker.plan.done == [("job", 0)]

    play(test)


def test_a_failed_chunk_is_done_again(play: Callable[[Test], None], caplog: pytest.LogCaptureFixture) -> None:
    """An error that may pass pauses the job, whose turn goes to the next; after the pause the chunk is done again."""

    async def test(worker: Worker) -> None:
        await put_job(worker.storage, some(6), job_id="bad")
        worker.plan.errors[1] = [NotReady("not now")]
        await worker.beat()
        await worker.dispatch.look()
        await worker.work()
        assert (await worker.dispatch.tickets.state("bad")).paused
        await put_job(worker.storage, some(2), job_id="good")
        await worker.dispatch.look()
        assert worker.messages() == [("good", 0)]
        worker.client.delete(broker.pause("bad"))
        await worker.dispatch.look()
        await worker.work()
        assert (await worker.board.status("bad")).state == "done"
        assert worker.plan.done.count(("bad", 1)) == 2

    play(test)
    assert any("chunk 1 of job bad failed" in record.message for record in caplog.records)


def test_a_killed_workers_chunk_comes_back(play: Callable[[Test], None]) -> None:
    """When a ticket is no longer renewed, its chunk alone is handed out again."""

    async def test(worker: Worker) -> None:
        await put_job(worker.storage, some(6))
        await worker.beat()
        await worker.dispatch.look()
        lost, *others = worker.messages()
        assert await worker.dispatch.tickets.take("job", 0, "killed")
        for message in others:
            await worker.shift.chunk(*message)
        await worker.dispatch.look()
        assert worker.messages() == []
        worker.client.zadd(broker.TICKETS, {"job:0": 1})
        await worker.dispatch.look()
        assert worker.messages() == [lost] == [("job", 0)]
        await worker.shift.chunk(*lost)
        assert (await worker.board.status("job")).state == "done"

    play(test)


def test_a_worker_that_stops_gives_its_chunk_back(play: Callable[[Test], None]) -> None:
    """A chunk that is cancelled in the middle is handed out at once, without a pause."""

    async def test(worker: Worker) -> None:
        await put_job(worker.storage, some(2))
        await worker.beat()
        await worker.dispatch.look()
        (message,) = worker.messages()
        worker.plan.gate.clear()
        doing = asyncio.create_task(worker.shift.chunk(*message))
        while not worker.plan.done:
            await asyncio.sleep(0)
        await worker.shift.abandon()
        await doing
        await worker.dispatch.look()
        assert worker.messages() == [message]

    play(test)


def test_a_flushed_redis_loses_nothing(play: Callable[[Test], None]) -> None:
    """After a flush in the middle the job goes on from what storage knows, and only what was lost is done again."""

    async def test(worker: Worker) -> None:
        await put_job(worker.storage, some(20))
        await worker.beat()
        await worker.dispatch.look()
        for message in worker.messages()[:2]:
            await worker.shift.chunk(*message)
        worker.client.flushall()
        await worker.beat()
        await worker.dispatch.look()
        await worker.work()
        assert (await worker.board.status("job")).state == "done"
        assert sorted(worker.plan.done) == [("job", number) for number in range(10)]

    play(test)


def test_a_cancelled_job_ends_at_once(play: Callable[[Test], None], server: Server) -> None:
    """Waking a cancelled job ends it, and its queued chunks are not done."""

    async def test(worker: Worker) -> None:
        await put_job(worker.storage, some(20))
        await worker.beat()
        async with _queued(server, worker.storage) as runner:
            await runner.wake("job")
            first, *others = worker.messages()
            await worker.shift.chunk(*first)
            await worker.board.cancel("job")
            await runner.wake("job")
            status = await worker.board.status("job")
            assert (status.state, status.done) == ("cancelled", 2)
            for message in [*others, *worker.messages()]:
                await worker.shift.chunk(*message)
            assert worker.plan.done == [first]
            assert worker.messages() == []

    play(test)


def test_a_job_that_is_gone_is_left_alone(play: Callable[[Test], None]) -> None:
    """A message of a job that was removed meanwhile does nothing, and leaves no ticket."""

    async def test(worker: Worker) -> None:
        await worker.shift.chunk("gone", 0)
        assert worker.plan.done == []
        assert not worker.client.exists(broker.TICKETS, broker.ticket("gone:0"))

    play(test)


def test_a_long_job_costs_no_more_for_each_chunk(server: Server) -> None:
    """Finished chunks are not listed after every chunk: a job ten times as long costs ten times as much."""

    async def listed(chunks: int) -> int:
        storage = Counting(MemoryStore())
        worker = Worker(server, storage)
        await put_job(storage, some(2 * chunks))
        await worker.beat()
        for _ in range(3):
            await worker.dispatch.look()
        await worker.work()
        assert (await worker.board.status("job")).state == "done"
        await worker.close()
        worker_listings = [path for method, path in storage.asked if (method, path) == ("list", "jobs/job/chunks")]
        with server.client() as client:
            client.flushall()
        return len(worker_listings)

    assert asyncio.run(listed(60)) == asyncio.run(listed(6)) <= 6


def test_a_tick_is_done_by_one(play: Callable[[Test], None]) -> None:
    """Only one of the processes looks after the jobs every two seconds."""

    async def test(worker: Worker) -> None:
        assert await worker.dispatch.tick()
        assert not await worker.dispatch.tick()

    play(test)


def test_webhooks_are_handed_out_once(play: Callable[[Test], None]) -> None:
    """A due webhook is posted, not again while it waits, but again if it is still due after the attempt."""

    async def test(worker: Worker) -> None:
        worker.deliveries.owed = ["a", "b"]
        for _ in range(2):
            await worker.shift.post_webhooks()
        assert worker.messages("webhooks") == [("a",), ("b",)]
        await worker.shift.webhook("a")
        await worker.shift.post_webhooks()
        assert worker.messages("webhooks") == []
        assert worker.deliveries.delivered == ["a"]
        worker.deliveries.owed.append("a")
        await worker.shift.post_webhooks()
        assert worker.messages("webhooks") == [("a",)]

    play(test)


def test_storage_that_fails_stops_nothing(play: Callable[[Test], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """The next look repairs a chunk whose end could not be written to storage or Redis."""

    async def test(worker: Worker) -> None:
        await put_job(worker.storage, some(2))
        await worker.beat()
        await worker.dispatch.look()
        (message,) = worker.messages()
        conclude = worker.board.conclude

        async def broken(job: Job) -> None:
            raise StorageError("the storage of jobs can't write at the moment")

        monkeypatch.setattr(worker.board, "conclude", broken)
        await worker.shift.chunk(*message)
        monkeypatch.setattr(worker.board, "conclude", conclude)
        assert (await worker.board.status("job")).ended_at is None
        await worker.dispatch.look()
        assert (await worker.board.status("job")).state == "done"

    play(test)


def test_news_come_when_something_happens(play: Callable[[Test], None], server: Server) -> None:
    """News come at once, at each commit and after a break of the connection, and end with the runner."""

    async def test(worker: Worker) -> None:
        await put_job(worker.storage, some(4))
        await worker.beat()
        async with _queued(server, worker.storage) as runner, aclosing(runner.news("job")) as news:
            await anext(news)
            await _heard(worker.client, broker.JOBS)
            await anext(news)  # what may have been missed before
            await runner.wake("job")
            await anext(news)
            await worker.work()
            await anext(news)
            worker.client.client_kill_filter(_type="pubsub")
            await anext(news)
            await runner.close()
            assert [each async for each in news] == []

    play(test)


def test_a_hanging_redis_does_not_hold_up_waking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waking returns soon, whatever the broker does, and nothing is lost."""
    monkeypatch.setattr(queued, "WAKE_S", 0.2)

    async def test(server: Server) -> None:
        storage = memory()
        worker = Worker(server, storage)
        await worker.beat()
        async with _queued(server, storage) as runner:
            await put_job(storage, some(2))
            server.hang()
            await runner.wake("job")
            server.go_on()
            await worker.dispatch.look()
            await worker.work()
            assert (await worker.board.status("job")).state == "done"
        await worker.close()

    with serving(tmp_path) as server:
        asyncio.run(test(server))


def test_a_job_may_be_accepted_while_redis_is_down(tmp_path: Path) -> None:
    """Waking raises nothing, and the workers find the job when Redis is back."""

    async def test(server: Server) -> None:
        storage = memory()
        await put_job(storage, some(2))
        async with _queued(server, storage) as runner:
            await runner.wake("job")
        server.start()
        worker = Worker(server, storage)
        await worker.beat()
        await worker.dispatch.tick()
        await worker.work()
        assert (await worker.board.status("job")).state == "done"
        await worker.close()

    server = Server(tmp_path)
    try:
        asyncio.run(test(server))
    finally:
        server.kill()


def test_a_job_survives_everything(tmp_path: Path) -> None:
    """With a worker killed, and Redis killed and flushed, each picture has one output, the same as undisturbed."""
    store = tmp_path / "store"
    flip_bundle(store)
    prelude = "from worker.jobs import layout\nlayout.CHUNK = 2\n" + SLOW.format(seconds=0.05)
    settings = {"bulk": "2", "storage": str(tmp_path / "storage")}

    async def test(server: Server) -> None:
        storage = open_storage(settings["storage"])
        calm = await put_job(storage, PICTURES, job_id="calm")
        with working(tmp_path / "zero", server, store, prelude=prelude, settings=settings):
            await _until(storage, "calm", 24)
        rough = await put_job(storage, PICTURES, job_id="rough")
        with (
            server.client() as client,
            working(tmp_path / "one", server, store, prelude=prelude, settings=settings) as one,
        ):
            await _until(storage, "rough", 4)
            one.kill()
            client.zadd(broker.TICKETS, dict.fromkeys(client.zrange(broker.TICKETS, 0, -1), 1), xx=True)
            with working(tmp_path / "two", server, store, prelude=prelude, settings=settings) as two:
                await _until(storage, "rough", 8)
                server.kill()
                server.start()
                await _until(storage, "rough", 14)
                client.flushall()
                await _until(storage, "rough", 24)
                assert two.stop() == 0
        assert [outcome.output for outcome in await finished(storage, rough)] == list(PICTURES)
        assert await outputs(storage, rough) == await outputs(storage, calm)
        assert (await Board(storage).status("rough")).state == "done"

    with serving(tmp_path / "redis") as server:
        asyncio.run(test(server))


async def _until(storage: Storage, job_id: str, done: int) -> None:
    """Waits until so many of a job's pictures are translated; for all of them, until the job has ended."""
    until = time.monotonic() + PATIENCE_S
    while True:
        status = await Board(storage).status(job_id)
        if status.done >= done and (done < status.job.pictures or status.ended_at):
            return
        assert time.monotonic() < until, status
        await asyncio.sleep(0.02)


async def _heard(client: redis.Redis, channel: str) -> None:
    while not client.pubsub_numsub(channel)[0][1]:
        await asyncio.sleep(0)


@asynccontextmanager
async def _queued(server: Server, storage: Storage) -> AsyncIterator[Queued]:
    """A service's runner."""
    runner = Queued(Board(storage), QueueSettings(broker=server.url))
    await runner.start()
    try:
        yield runner
    finally:
        await runner.close()
