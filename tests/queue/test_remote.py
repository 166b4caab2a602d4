"""The translator over Redis, first with a worker that the test plays, then with real worker processes."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support.bundles import flip_bundle, toy_bundle, toy_picture, toy_translated
from support.graphs import SIZE, failing_bundle, square_root_bundle
from support.redis import Server, serving
from support.services import png
from support.workers import SLOW, working

from models.bundle.archive import Bundle
from models.bundle.store import Store
from worker.embedded import Embedded
from worker.engine.library import Library
from worker.errors import EngineError, NotReady, Overloaded, TimedOut
from worker.pipeline import Pipeline
from worker.queue import beats, broker, remote
from worker.queue.beats import Beat
from worker.queue.broker import Letterbox, Parcel
from worker.queue.lines import COMPANY
from worker.queue.parcels import pack_reply, read_order
from worker.queue.remote import ON_WAY, Remote
from worker.settings import EngineSettings, Limits, QueueSettings
from worker.translator import Done, Translator
from worker.wish import Wish

PATIENCE_S = 20.0

Asking = asyncio.Task[Done]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with bundles that work, and one that does not load."""
    made = tmp_path_factory.mktemp("store")
    for make in (flip_bundle, toy_bundle, square_root_bundle, failing_bundle):
        make(made)
    return made


@pytest.fixture(scope="module")
def flip(folder: Path) -> Bundle:
    """The bundle that inverts."""
    found = Store([folder]).snapshot().get("flip@1")
    assert found is not None
    return found


class Played:
    """A worker that the test plays: it sends beats, and takes the posted messages."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.client = server.client()
        self.letterbox = Letterbox(self.client)
        self.at_once = False

    async def beat(
        self,
        *,
        name: str = "played",
        rows: int = 64,
        rate: float | None = None,
        bundles: tuple[str, ...] = ("flip@1",),
        leaves: bool = False,
    ) -> None:
        """Sends a beat: that it is there, or that it leaves."""
        client = broker.connect_async(self._server.url)
        refused = {"bad@1": "bad@1 is bad"}
        await beats.say(client, Beat(name=name, rows=rows, rate=rate, bundles=bundles, refused=refused, leaves=leaves))
        await client.aclose()

    async def message(self) -> tuple[list[str], str]:
        """Takes the next message: the ids of its orders, and its service; sets `at_once` as the message has it."""
        found = await asyncio.to_thread(self.client.brpop, ["recast:interactive"], PATIENCE_S)
        assert found is not None, "nothing was posted"
        (ids, service, self.at_once), _, _ = json.loads(base64.b64decode(json.loads(found[1])["body"]))
        return ids, service

    def take(self, ids: list[str]) -> list[Parcel]:
        """The parcels of these orders."""
        return self.letterbox.take(ids)

    def answer(self, parcels: list[Parcel], service: str, *, at_once: bool = False) -> None:
        """Inverts them."""
        if parcels:
            self.letterbox.answer(service, {parcel.id: _inverted(parcel) for parcel in parcels}, at_once=at_once)

    async def work(self) -> list[str]:
        """Answers one message and returns its ids."""
        ids, service = await self.message()
        self.answer(self.take(ids), service)
        return ids


Test = Callable[[Remote, Played], Awaitable[None]]


@pytest.fixture
def play(server: Server) -> "Play":
    """Runs a test with a translator and a played worker."""
    return Play(server)


class Play:
    """Runs coroutine functions of a translator and a played worker that has beaten once."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def __call__(self, test: Test, *, rows: int = 64, rate: float | None = None, most: int = 100) -> None:
        async def both() -> None:
            worker = Played(self._server)
            await worker.beat(rows=rows, rate=rate)
            async with _remote(self._server, most=most) as translator:
                await _ready(translator)
                await test(translator, worker)
            worker.letterbox.close()

        asyncio.run(both())


def soon(seconds: float = PATIENCE_S) -> float:
    """A deadline."""
    return time.monotonic() + seconds


def ask(translator: Translator, bundle: Bundle, level: int = 0, *, deadline: float | None = None) -> Asking:
    """A running call that inverts a plain picture."""
    pixels = np.full((1, 32, 32, 3), level, np.uint8)
    work = translator.run(bundle, "zebra", {"pixels": pixels}, deadline=deadline or soon())
    return asyncio.ensure_future(work)


def level(done: Done) -> int:
    """The level of the plain picture that comes back."""
    return int(done.outputs["translated"][0, 0, 0, 0])


def test_a_single_order_leaves_at_once(play: Play, flip: Bundle) -> None:
    """A single order leaves at once, and its reply has its times."""

    async def test(translator: Remote, worker: Played) -> None:
        asking = ask(translator, flip, 1)
        assert len(await worker.work()) == 1
        done = await asking
        assert (level(done), done.infer_s) == (254, 2**-20)
        assert done.queue_s > 0

    play(test)


def test_replies_of_little_come_at_once(play: Play, flip: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replies are to come on the channel itself, unless they are long or too many are on their way."""
    one = 32 * 32 * 3
    monkeypatch.setattr(broker, "CHANNEL_BYTES", one)
    monkeypatch.setattr(broker, "CHANNEL_BYTES_IN_ALL", 2 * one)

    async def test(translator: Remote, worker: Played) -> None:
        asking, asked = [], []
        for _ in range(3):
            asking.append(ask(translator, flip, 1))
            asked.append((*await worker.message(), worker.at_once))
        assert [at_once for *_, at_once in asked] == [True, True, False]
        for ids, service, at_once in asked:
            worker.answer(worker.take(ids), service, at_once=at_once)
        assert [level(done) for done in await asyncio.gather(*asking)] == [254] * 3
        pair = [ask(translator, flip, number) for number in (1, 2)]
        await worker.work()
        assert not worker.at_once
        assert [level(done) for done in await asyncio.gather(*pair)] == [254, 253]
        worker.client.publish(broker.replies(translator._name), b"garbage")
        alone = ask(translator, flip, 3)
        await worker.work()
        assert worker.at_once
        assert level(await alone) == 252

    play(test)


def test_orders_that_come_together_leave_together(play: Play, flip: Bundle) -> None:
    """Orders of one turn of the event loop are one message, and each gets its own picture."""

    async def test(translator: Remote, worker: Played) -> None:
        asking = [ask(translator, flip, number) for number in range(COMPANY)]
        assert len(await worker.work()) == COMPANY
        assert [level(done) for done in await asyncio.gather(*asking)] == [255 - number for number in range(COMPANY)]

    play(test)


def test_half_travels_while_half_is_computed(play: Play, flip: Bundle) -> None:
    """More orders than COMPANY leave in two messages, although one could hold them all."""

    async def test(translator: Remote, worker: Played) -> None:
        asking = [ask(translator, flip, number) for number in range(4 * COMPANY)]
        assert sorted([len(await worker.work()) for _ in range(2)]) == [2 * COMPANY, 2 * COMPANY]
        await asyncio.gather(*asking)

    play(test)


def test_what_waits_leaves_together_when_an_answer_comes(play: Play, flip: Bundle) -> None:
    """While ON_WAY messages are on their way, orders wait, and become one message as soon as one is answered."""

    async def test(translator: Remote, worker: Played) -> None:
        first = []
        for number in range(ON_WAY):
            first.append(ask(translator, flip, number))
            await asyncio.sleep(0.01)
        more = [ask(translator, flip, 100 + number) for number in range(COMPANY)]
        messages = [await worker.message() for _ in range(ON_WAY)]
        assert [len(ids) for ids, _ in messages] == [1] * ON_WAY
        assert not worker.client.llen("recast:interactive")
        for ids, service in messages[:1]:
            worker.answer(worker.take(ids), service)
        assert len(await worker.work()) == COMPANY
        assert [level(done) for done in await asyncio.gather(*more)] == [155 - number for number in range(COMPANY)]
        for ids, service in messages[1:]:
            worker.answer(worker.take(ids), service)
        await asyncio.gather(*first)

    play(test)


def test_a_slow_worker_gets_no_more_than_a_batch(play: Play, flip: Bundle) -> None:
    """If a picture takes long, a message holds one batch, so that other workers get their share."""

    async def test(translator: Remote, worker: Played) -> None:
        asking = [ask(translator, flip) for _ in range(7)]
        assert sorted([len(await worker.work()) for _ in range(4)]) == [1, 2, 2, 2]
        await asyncio.gather(*asking)

    play(test, rows=2, rate=10.0)


def test_different_work_is_not_mixed(play: Play, flip: Bundle) -> None:
    """Orders that can't share a batch share no message, and don't wait for one another."""

    async def test(translator: Remote, worker: Played) -> None:
        pixels = np.zeros((1, 64, 32, 3), np.uint8)
        asking = [
            ask(translator, flip),
            asyncio.ensure_future(translator.run(flip, "horse", {"pixels": pixels[:, :32]}, deadline=soon())),
            asyncio.ensure_future(translator.run(flip, "zebra", {"pixels": pixels}, deadline=soon())),
        ]
        assert [len(await worker.work()) for _ in range(3)] == [1, 1, 1]
        await asyncio.gather(*asking)

    play(test)


def test_a_lost_message_does_not_hold_up_the_others(play: Play, flip: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages without an answer, as those of a killed worker, stop counting after HOLD_S; the next ones leave."""
    monkeypatch.setattr(remote, "HOLD_S", 0.05)

    async def test(translator: Remote, worker: Played) -> None:
        lost = []
        for _ in range(ON_WAY):
            lost.append(ask(translator, flip))
            await worker.message()
        asking = ask(translator, flip, 1)
        await worker.work()
        assert level(await asking) == 254
        for each in lost:
            each.cancel()

    play(test)


def test_a_deadline_is_kept(play: Play, flip: Bundle) -> None:
    """An order without an answer in time raises TimedOut, and no worker finds it any more."""

    async def test(translator: Remote, worker: Played) -> None:
        with pytest.raises(TimedOut, match="flip@1 did not answer"):
            await ask(translator, flip, deadline=soon(0.3))
        ids, _ = await worker.message()
        assert worker.take(ids) == []
        await _until(lambda: not worker.client.exists(broker.FLIGHT))

    play(test)


def test_a_passed_deadline_costs_nothing(play: Play, flip: Bundle) -> None:
    """An order after its deadline is not posted."""

    async def test(translator: Remote, worker: Played) -> None:
        with pytest.raises(TimedOut):
            await ask(translator, flip, deadline=soon(-1))
        assert not worker.client.exists(broker.FLIGHT, "recast:interactive")

    play(test)


def test_a_request_is_withdrawn_when_the_client_hangs_up(play: Play, flip: Bundle) -> None:
    """Cancelling withdraws an order before a worker has it, and frees its place."""

    async def test(translator: Remote, worker: Played) -> None:
        asking = ask(translator, flip)
        ids, _ = await worker.message()
        asking.cancel()
        await _until(lambda: not worker.client.exists(broker.FLIGHT))
        assert worker.take(ids) == []
        with pytest.raises(asyncio.CancelledError):
            await asking

    play(test)


def test_a_request_that_still_waits_here_is_never_posted(play: Play, flip: Bundle) -> None:
    """An order that is cancelled while it waits leaves the line; the others go on."""

    async def test(translator: Remote, worker: Played) -> None:
        gone, stays = ask(translator, flip, 1), ask(translator, flip, 2)
        gone.cancel()
        await asyncio.sleep(0)
        assert len(await worker.work()) == 1
        assert level(await stays) == 253

    play(test)


def test_a_full_queue_is_overloaded_at_once(play: Play, flip: Bundle) -> None:
    """Beyond `max_in_flight`, Retry-After is the number of orders under way over the workers' rate."""

    async def test(translator: Remote, worker: Played) -> None:
        elsewhere = [Parcel(f"other{number}", 60_000, b"") for number in range(3)]
        worker.letterbox.send(elsewhere, most=100)
        asking = ask(translator, flip, 1)
        ids, service = await worker.message()
        with pytest.raises(Overloaded, match="4 pictures are under way") as caught:
            await ask(translator, flip, 2)
        assert caught.value.retry_after == pytest.approx(4 / 8.0)
        worker.answer(worker.take(ids), service)
        assert level(await asking) == 254
        fits = ask(translator, flip, 3)
        await worker.work()
        assert level(await fits) == 252

    play(test, rate=8.0, most=4)


def test_what_waits_here_counts_too(play: Play, flip: Bundle) -> None:
    """A service takes in no more orders than may be under way, waiting ones included."""

    async def test(translator: Remote, worker: Played) -> None:
        asking = []
        for _ in range(ON_WAY):
            asking.append(ask(translator, flip))
            await worker.message()
        asking += [ask(translator, flip) for _ in range(4)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await ask(translator, flip)
        for each in asking:
            each.cancel()

    play(test, most=2 * ON_WAY)


def test_a_bundle_that_no_worker_has_is_not_ready(play: Play, flip: Bundle, folder: Path) -> None:
    """An order for a bundle that no worker can run fails at once: with the reason, or because no worker has it."""
    toy = Store([folder]).snapshot().get("toy@1")
    assert toy is not None

    async def test(translator: Remote, worker: Played) -> None:
        with pytest.raises(NotReady, match="no worker has toy@1"):
            await translator.run(toy, "classifier", {"pixels": np.zeros((1, 32, 32, 3), np.uint8)}, deadline=soon())
        await worker.beat(bundles=("bad@1",))
        refused = flip.manifest.model_copy(update={"name": "bad"})
        await worker.beat(bundles=("flip@1",))
        with pytest.raises(NotReady, match="bad@1 is bad"):
            await ask(translator, Bundle(flip.folder, refused))

    play(test)


def test_without_workers_it_is_not_ready(server: Server, flip: Bundle) -> None:
    """The service is ready from a worker's first beat until the worker leaves."""

    async def test() -> None:
        worker = Played(server)
        async with _remote(server) as translator:
            await _until(lambda: translator._trouble is None)
            with pytest.raises(NotReady, match="no worker answers"):
                await translator.ready()
            with pytest.raises(NotReady):
                await ask(translator, flip)
            await worker.beat(bundles=())
            await _until(lambda: translator.workers == 1)
            with pytest.raises(NotReady, match="no worker has a bundle"):
                await translator.ready()
            await worker.beat()
            await _ready(translator)
            await beats.say(translator._client, Beat(name="played", leaves=True))
            await _until(lambda: translator.workers == 0)
        worker.letterbox.close()

    asyncio.run(test())


@pytest.mark.parametrize("error", [NotReady("a"), Overloaded("b", retry_after=3), TimedOut("c"), EngineError("d")])
def test_a_workers_error_is_raised_here(play: Play, flip: Bundle, error: Exception) -> None:
    """An error in the worker is the same error here, as if the engine were in this process."""

    async def test(translator: Remote, worker: Played) -> None:
        asking = ask(translator, flip)
        (request_id,), service = await worker.message()
        worker.letterbox.answer(service, {request_id: pack_reply(error)})
        with pytest.raises(type(error), match=str(error)):
            await asking

    play(test)


def test_a_reply_that_is_none_is_an_engine_error(play: Play, flip: Bundle) -> None:
    """Bytes that can't be read end the order with an error that says so."""

    async def test(translator: Remote, worker: Played) -> None:
        asking = ask(translator, flip)
        (request_id,), service = await worker.message()
        worker.letterbox.answer(service, {request_id: b"garbage"})
        with pytest.raises(EngineError, match=r"reply can't be read: .* bytes are no reply"):
            await asking

    play(test)


def test_a_reply_that_was_not_heard_of_is_found(play: Play, flip: Bundle) -> None:
    """After a break of the subscription, the service fetches replies that came meanwhile."""

    async def test(translator: Remote, worker: Played) -> None:
        asking = ask(translator, flip, 1)
        ids, _ = await worker.message()
        worker.answer(worker.take(ids), "nobody")
        worker.client.client_kill_filter(_type="pubsub")
        assert level(await asking) == 254

    play(test)


def test_what_redis_lost_is_posted_again(play: Play, flip: Bundle) -> None:
    """An order that Redis lost is posted again when the connection is back."""

    async def test(translator: Remote, worker: Played) -> None:
        asking = ask(translator, flip, 1)
        await worker.message()
        worker.client.flushall()
        worker.client.client_kill_filter(_type="pubsub")
        await worker.work()
        assert level(await asking) == 254

    play(test)


def test_a_broker_that_comes_late_is_found(tmp_path: Path, flip: Bundle) -> None:
    """The service starts without Redis and says that the queue does not answer; it works when Redis comes."""

    async def test(server: Server) -> None:
        async with _remote(server) as translator:
            with pytest.raises(NotReady, match=r"not reached yet|does not answer"):
                await translator.ready()
            with pytest.raises(NotReady):
                await ask(translator, flip)
            await _until(lambda: "does not answer" in str(translator._trouble))
            server.start()
            worker = Played(server)
            await worker.beat()
            await _ready(translator)
            asking = ask(translator, flip, 1)
            await worker.work()
            assert level(await asking) == 254
            worker.letterbox.close()

    server = Server(tmp_path)
    try:
        asyncio.run(test(server))
    finally:
        server.kill()


def test_redis_may_be_killed_in_the_middle(tmp_path: Path, flip: Bundle) -> None:
    """An order under way gets its picture when a killed Redis is up again; new ones fail cleanly meanwhile."""

    async def test(server: Server) -> None:
        worker = Played(server)
        await worker.beat()
        async with _remote(server) as translator:
            await _ready(translator)
            asking = ask(translator, flip, 1)
            await worker.message()
            server.kill()
            with pytest.raises((NotReady, TimedOut)):
                await ask(translator, flip, 2, deadline=soon(5))
            await _until(lambda: translator._trouble is not None)
            server.start()
            await worker.beat()
            parcels: list[Parcel] = []
            while not parcels:  # the first message may be there again: Redis has found it in its file
                ids, service = await worker.message()
                parcels = worker.take(ids)
            worker.answer(parcels, service)
            assert level(await asking) == 254
        worker.letterbox.close()

    with serving(tmp_path) as server:
        asyncio.run(test(server))


def test_a_hanging_redis_does_not_hold_up_deadlines(tmp_path: Path, flip: Bundle) -> None:
    """If Redis hangs, an order still ends at its deadline; when it goes on, new ones are answered."""

    async def test(server: Server) -> None:
        worker = Played(server)
        await worker.beat()
        async with _remote(server) as translator:
            await _ready(translator)
            server.hang()
            with pytest.raises(TimedOut):
                await ask(translator, flip, 1, deadline=soon(0.5))
            server.go_on()
            asking = ask(translator, flip, 2)
            while not asking.done():
                await (worker.work() if worker.client.llen("recast:interactive") else asyncio.sleep(0.01))
            assert level(await asking) == 253
        worker.letterbox.close()

    with serving(tmp_path) as server:
        asyncio.run(test(server))


def test_a_redis_without_memory_is_overloaded(tmp_path: Path, flip: Bundle) -> None:
    """Without memory in Redis an order raises Overloaded with a time to come back; with memory again it works."""

    async def test(server: Server) -> None:
        worker = Played(server)
        await worker.beat()
        async with _remote(server) as translator:
            await _ready(translator)
            worker.client.config_set("maxmemory", 1)
            with pytest.raises(Overloaded, match="no memory left") as caught:
                await ask(translator, flip, 1)
            assert caught.value.retry_after
            worker.client.config_set("maxmemory", 0)
            asking = ask(translator, flip, 2)
            await worker.work()
            assert level(await asking) == 253
        worker.letterbox.close()

    with serving(tmp_path) as server:
        asyncio.run(test(server))


def test_close_fails_what_waits(play: Play, flip: Bundle) -> None:
    """Closing ends waiting orders, and refuses later ones, with NotReady."""

    async def test(translator: Remote, worker: Played) -> None:
        asking = ask(translator, flip)
        await worker.message()
        await translator.close()
        with pytest.raises(NotReady, match="shutting down"):
            await asking
        with pytest.raises(NotReady):
            await ask(translator, flip)

    play(test)


def test_a_real_worker_translates_as_this_process_does(server: Server, folder: Path, tmp_path: Path) -> None:
    """Pixels, probabilities, errors and whole pictures are the same over the broker as with the engine here."""
    store = Store([folder])

    async def test() -> None:
        engine = EngineSettings(device="cpu", threads=1)
        embedded = Embedded(Library(store, engine), engine)
        async with _remote(server) as translator:
            await _ready(translator)
            await _exact(store, translator)
            pictures = []
            for each in (embedded, translator):
                pipeline = Pipeline(store, each, Limits(), threads=1)
                answer = await pipeline.translate(png({"smiling"}), Wish(domains=("blond,-smiling",)), deadline=soon())
                pictures.append((answer.data, answer.domains))
                pipeline.close()
            assert pictures[0] == pictures[1]
        await embedded.close()

    with working(tmp_path, server, folder):
        asyncio.run(test())


def test_what_a_killed_worker_had_in_hand_is_done_by_another(
    server: Server, folder: Path, flip: Bundle, tmp_path: Path
) -> None:
    """After kill -9 in the middle of its orders, the next worker answers them within the deadline."""

    async def test() -> None:
        async with _remote(server) as translator:
            with working(tmp_path / "one", server, folder, prelude=SLOW.format(seconds=60)) as worker:
                await _ready(translator)
                asking = ask(translator, flip, 1, deadline=soon(30))
                with server.client() as client:
                    await _until(lambda: client.zcard(broker.FLIGHT) == 1 and not client.keys("recast:in:*"))
                worker.kill()
            with working(tmp_path / "two", server, folder):
                assert level(await asking) == 254

    asyncio.run(test())


def test_what_workers_die_of_is_posted_twice_at_most(play: Play, flip: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """An order that two workers had when they fell silent is not given to a third."""
    for module in (beats, remote):
        monkeypatch.setattr(module, "LOST_S", 0.1)
    monkeypatch.setattr(remote, "BEAT_S", 0.0)

    async def test(translator: Remote, worker: Played) -> None:
        asking = ask(translator, flip, deadline=soon(3))
        for name in ("second", "third"):
            worker.take((await worker.message())[0])
            await asyncio.sleep(0.2)
            await worker.beat(name=name)
        with pytest.raises(TimedOut):
            await asking
        assert not worker.client.llen("recast:interactive")

    play(test)


def test_a_worker_that_leaves_is_not_missed(play: Play, flip: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that leaves finishes its orders, so nothing is posted again."""
    monkeypatch.setattr(beats, "LOST_S", 0.1)
    monkeypatch.setattr(remote, "LOST_S", 0.1)
    monkeypatch.setattr(remote, "BEAT_S", 0.0)

    async def test(translator: Remote, worker: Played) -> None:
        asking = ask(translator, flip)
        ids, service = await worker.message()
        parcels = worker.take(ids)
        await worker.beat(leaves=True)
        await asyncio.sleep(0.2)
        await worker.beat(name="second")
        await asyncio.sleep(0.2)
        assert not worker.client.llen("recast:interactive")
        worker.answer(parcels, service)
        assert level(await asking) == 255

    play(test)


async def _exact(store: Store, translator: Translator) -> None:
    """Asserts that the replies are the bundles' known translations."""
    toy, roots, failing = (store.snapshot().get(ref) for ref in ("toy@1", "roots@1", "failing@1"))
    assert toy is not None
    assert roots is not None
    assert failing is not None
    pixels = np.stack([np.asarray(toy_picture({"blond"})), np.asarray(toy_picture({"grey", "smiling"}))])
    labels = np.eye(6, dtype=np.float32)[[0, 5]]
    translated, seen = await asyncio.gather(
        translator.run(toy, "generator", {"pixels": pixels, "labels": labels}, deadline=soon()),
        translator.run(toy, "classifier", {"pixels": pixels}, deadline=soon()),
    )
    np.testing.assert_array_equal(translated.outputs["translated"], toy_translated(pixels, labels))
    np.testing.assert_array_equal(seen.outputs["logits"] > 0, [[0, 1, 0, 0, 0, 0], [0, 0, 0, 1, 1, 0]])
    with pytest.raises(EngineError, match="not finite"):
        await translator.run(roots, "generator", {"pixels": _plain(20)}, deadline=soon())
    with pytest.raises(NotReady, match="failing@1: graph 'generator' made values"):
        await translator.run(failing, "generator", {"pixels": _plain(20)}, deadline=soon())


def _plain(level: int) -> NDArray[np.uint8]:
    return np.full((1, SIZE, SIZE, 3), level, np.uint8)


def _inverted(parcel: Parcel) -> bytes:
    order = read_order(parcel.data, deadline=soon())
    return pack_reply(Done({"translated": 255 - order.inputs["pixels"]}, 0.0, 2**-20))


@asynccontextmanager
async def _remote(server: Server, *, most: int = 100) -> AsyncIterator[Remote]:
    translator = Remote(QueueSettings(broker=server.url, max_in_flight=most))
    await translator.start()
    try:
        yield translator
    finally:
        await translator.close()


async def _ready(translator: Translator) -> None:
    until = soon()
    while True:
        try:
            return await translator.ready()
        except NotReady:
            assert time.monotonic() < until
            await asyncio.sleep(0.01)


async def _until(happens: Callable[[], bool]) -> None:
    until = soon()
    while not happens():
        assert time.monotonic() < until
        await asyncio.sleep(0.01)
