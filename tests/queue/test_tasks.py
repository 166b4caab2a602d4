"""A worker's inference in this process, with a real Redis, real bundles, and a device that the test holds."""

import asyncio
import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from support.bundles import flip_bundle
from support.graphs import failing_bundle
from support.redis import Server, serving

from models.bundle.store import Store
from worker.embedded import Embedded
from worker.engine.engine import Engine
from worker.engine.library import Library
from worker.errors import EngineError, NotReady
from worker.queue import broker
from worker.queue.broker import Letterbox, Parcel
from worker.queue.parcels import pack_order, read_reply
from worker.queue.tasks import EventLoop, Inference
from worker.settings import EngineSettings
from worker.translator import Array, Arrays, Done, Order

PATIENCE_S = 20.0
SERVICE = "service"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with a bundle that works and one that does not load."""
    folder = tmp_path_factory.mktemp("store")
    flip_bundle(folder)
    failing_bundle(folder)
    return Store([folder])


class Device:
    """Holds every run until it is let go, and keeps the level of each picture that it was given."""

    def __init__(self, run: Callable[[Engine, str, Arrays], dict[str, Array]]) -> None:
        self.levels: list[int] = []
        self._run = run
        self.started = threading.Semaphore(0)
        self.allowed = threading.Event()

    def run(self, engine: Engine, graph: str, inputs: Arrays) -> dict[str, Array]:
        self.levels += [int(picture[0, 0, 0]) for picture in inputs["pixels"]]
        self.started.release()
        assert self.allowed.wait(PATIENCE_S)
        return self._run(engine, graph, inputs)


@dataclass
class Desk:
    """A worker's inference, with both ends of its letterbox."""

    letterbox: Letterbox
    inference: Inference
    device: Device
    threads: ThreadPoolExecutor

    def begin(self, *ids: str) -> "Future[None]":
        """Handles a message as Celery would hand it out; the future is done when the message is."""
        return self.threads.submit(self.inference.answer, list(ids), SERVICE, False)

    def send(self, request_id: str, level: int, *, bundle: str = "flip@1", left_ms: int = 60_000) -> None:
        """An order to invert a plain picture."""
        pixels = np.full((1, 32, 32, 3), level, np.uint8)
        data = pack_order(Order(bundle, "zebra", {"pixels": pixels}, math.inf))
        self.letterbox.send([Parcel(request_id, left_ms, data)], most=100)

    def reply(self, request_id: str) -> Done | Exception:
        """Its reply."""
        (data,) = self.letterbox.fetch([request_id])
        assert data is not None
        return read_reply(data)


@pytest.fixture
def desk(server: Server, store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A worker's inference over an empty Redis, whose device is free until a test holds it."""
    device = Device(Engine.run)
    device.allowed.set()
    monkeypatch.setattr(Engine, "run", lambda *arguments: device.run(*arguments))
    settings = EngineSettings(device="cpu", threads=8, max_batch=8)
    library = Library(store, settings)
    embedded = Embedded(library, settings)
    letterbox = Letterbox(broker.connect(server.url))
    with ThreadPoolExecutor(4) as threads:
        yield Desk(letterbox, Inference(letterbox, library, embedded), device, threads)
        device.allowed.set()
    asyncio.run(embedded.close())
    letterbox.close()


def level(reply: Done | Exception) -> int:
    """The level of the plain picture that came back."""
    assert isinstance(reply, Done), reply
    return int(reply.outputs["translated"][0, 0, 0, 0])


def test_the_requests_of_a_message_share_a_batch(desk: Desk) -> None:
    """The orders of one message are answered after one run of the device, each with its own picture."""
    for number in range(4):
        desk.send(f"r{number}", number)
    desk.begin("r0", "r1", "r2", "r3").result(PATIENCE_S)
    assert [level(desk.reply(f"r{number}")) for number in range(4)] == [255, 254, 253, 252]
    assert desk.device.started.acquire(blocking=False)
    assert not desk.device.started.acquire(blocking=False)


def test_what_is_gone_is_not_computed(desk: Desk, server: Server) -> None:
    """Orders that expired or were withdrawn before are not run; the others are answered."""
    desk.send("late", 1, left_ms=1)
    for request_id in ("withdrawn", "stays"):
        desk.send(request_id, 2)
    desk.letterbox.withdraw(["withdrawn"])
    with server.client() as client:
        while client.exists(broker.incoming("late")):
            pass
    desk.begin("late", "withdrawn", "stays").result(PATIENCE_S)
    assert level(desk.reply("stays")) == 253
    assert desk.device.levels == [2]


def test_one_that_expires_in_the_worker_is_not_computed(desk: Desk) -> None:
    """An order whose time is up while it waits for the device is dropped when its turn comes."""
    desk.device.allowed.clear()
    desk.send("runs", 1)
    running = desk.begin("runs")
    assert desk.device.started.acquire(timeout=PATIENCE_S)
    desk.send("late", 2, left_ms=200)
    late = desk.begin("late")
    while not desk.inference._waiting.keys() >= {"late"} and not late.done():
        pass
    line = desk.inference._translator._batcher._line
    while not all(entry.is_late(time.monotonic()) for entry in line._entries[True]):
        pass
    desk.device.allowed.set()
    for future in (running, late):
        future.result(PATIENCE_S)
    assert desk.device.levels == [1]


def test_one_that_is_withdrawn_in_the_worker_is_not_computed(desk: Desk, server: Server) -> None:
    """A withdrawn order leaves the batcher of the worker that has it."""

    async def test() -> None:
        desk.device.allowed.clear()
        desk.send("runs", 1)
        running = desk.begin("runs")
        assert await asyncio.to_thread(desk.device.started.acquire, timeout=PATIENCE_S)
        async with _following(desk, server):
            desk.send("dropped", 2)
            dropped = desk.begin("dropped")
            while not desk.inference._waiting.keys() >= {"dropped"}:
                await asyncio.sleep(0)
            desk.letterbox.withdraw(["dropped"])
            await asyncio.to_thread(dropped.result, PATIENCE_S)
        desk.device.allowed.set()
        await asyncio.to_thread(running.result, PATIENCE_S)

    asyncio.run(test())
    assert desk.device.levels == [1]


def test_a_bundle_that_is_not_here_is_not_ready(desk: Desk) -> None:
    """An order for a bundle that the worker lacks or can't load is NotReady; its neighbours are answered."""
    desk.send("unknown", 1, bundle="flip@7")
    desk.send("refused", 1, bundle="failing@1")
    desk.send("good", 3)
    desk.begin("unknown", "refused", "good").result(PATIENCE_S)
    unknown, refused = desk.reply("unknown"), desk.reply("refused")
    assert isinstance(unknown, NotReady)
    assert "flip@7 has not reached" in str(unknown)
    assert isinstance(refused, NotReady)
    assert "failing@1: graph 'generator'" in str(refused)
    assert level(desk.reply("good")) == 252


def test_what_is_no_request_fails_alone(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """Bytes that are not an order, and inputs that the bundle can't take, fail alone, with a line in the log."""
    pixels = np.zeros((1, 32, 32, 3), np.uint8)
    odd = pack_order(Order("flip@1", "lion", {"pixels": pixels}, math.inf))
    desk.letterbox.send([Parcel("garbage", 60_000, b"garbage"), Parcel("odd", 60_000, odd)], most=100)
    desk.send("good", 3)
    desk.begin("garbage", "odd", "good").result(PATIENCE_S)
    for request_id, words in {"garbage": "7 bytes are no order", "odd": "unexpected ValueError"}.items():
        reply = desk.reply(request_id)
        assert isinstance(reply, EngineError)
        assert str(reply).startswith(words)
    assert level(desk.reply("good")) == 252
    assert [record.levelname for record in caplog.records if "an order failed" in record.message] == ["ERROR"] * 2


def test_a_worker_that_stops_answers_what_waits(desk: Desk) -> None:
    """`drop_all` answers waiting orders with NotReady."""
    desk.device.allowed.clear()
    desk.send("runs", 1)
    running = desk.begin("runs")
    assert desk.device.started.acquire(timeout=PATIENCE_S)
    desk.send("waits", 2)
    waiting = desk.begin("waits")
    while not desk.inference._waiting.keys() >= {"waits"}:
        pass
    desk.inference.drop_all()
    waiting.result(PATIENCE_S)
    assert isinstance(desk.reply("waits"), NotReady)
    desk.device.allowed.set()
    running.result(PATIENCE_S)
    assert level(desk.reply("runs")) == 254


def test_a_reply_waits_until_the_broker_is_back(desk: Desk, tmp_path: Path, store: Store) -> None:
    """A reply that is ready while Redis is down is put there once it is up again."""
    with serving(tmp_path) as server:
        desk.letterbox = Letterbox(broker.connect(server.url))
        desk.inference._letterbox = desk.letterbox
        desk.device.allowed.clear()
        desk.send("r", 1)
        running = desk.begin("r")
        assert desk.device.started.acquire(timeout=PATIENCE_S)
        server.kill()
        desk.device.allowed.set()
        server.start()
        running.result(PATIENCE_S)
        assert level(desk.reply("r")) == 254
        desk.letterbox.close()


@asynccontextmanager
async def _following(desk: Desk, server: Server) -> AsyncIterator[None]:
    """While the worker follows withdrawn orders."""
    client = broker.connect_async(server.url)
    following = asyncio.create_task(desk.inference.follow_drops(client))
    with server.client() as other:
        while not other.pubsub_numsub(broker.DROPPED)[0][1]:
            await asyncio.sleep(0)
    try:
        yield
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        await client.aclose()


def test_coroutines_run_there() -> None:
    """A coroutine begun from any thread runs in the loop's own, and returns its result or its error."""

    async def where() -> str:
        return threading.current_thread().name

    async def wrong() -> None:
        raise ArithmeticError("wrong")

    loop = EventLoop()
    assert loop.begin(where()).result() == "loop"
    with pytest.raises(ArithmeticError):
        loop.begin(wrong()).result()
    loop.close()


def test_closing_cancels_what_runs_there() -> None:
    """close() cancels what runs and returns when all of it has ended, `finally` included."""
    ended: list[str] = []

    async def endless(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(name)

    loop = EventLoop()
    futures = [loop.begin(endless(name)) for name in "ab"]
    loop.close()
    assert sorted(ended) == ["a", "b"]
    assert all(future.cancelled() for future in futures)
