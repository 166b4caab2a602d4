"""What service and workers keep in Redis, against a real one: parcels, admission, beats and channels."""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import msgpack
import pytest
import redis
from support.redis import Server, serving

from worker.errors import InvalidParameter, NotReady, Overloaded
from worker.queue import beats, broker
from worker.queue.beats import Beat, Crew
from worker.queue.broker import Letterbox, Parcel


@pytest.fixture
def client(server: Server) -> Iterator[redis.Redis]:
    """The test's own client of the empty Redis."""
    with server.client() as connected:
        yield connected


@pytest.fixture
def letterbox(server: Server, client: redis.Redis) -> Iterator[Letterbox]:
    """Parcels in the empty Redis."""
    opened = Letterbox(broker.connect(server.url))
    yield opened
    opened.close()


def parcels(*ids: str, left_ms: int = 60_000) -> list[Parcel]:
    """Parcels that hold their names."""
    return [Parcel(each, left_ms, each.encode()) for each in ids]


def test_a_request_is_taken_once_with_the_time_it_has_left(letterbox: Letterbox) -> None:
    """A worker takes the orders as they were sent; a second worker finds none."""
    assert letterbox.send(parcels("a", "b"), most=10) == (2, 2)
    taken = letterbox.take(["b", "none", "a"])
    assert [(parcel.id, parcel.data) for parcel in taken] == [("b", b"b"), ("a", b"a")]
    assert all(50_000 < parcel.left_ms <= 60_000 for parcel in taken)
    assert letterbox.take(["a", "b"]) == []


def test_a_late_request_is_gone(letterbox: Letterbox, client: redis.Redis) -> None:
    """An order whose time is up can't be taken, and no longer counts as under way."""
    letterbox.send(parcels("late", left_ms=1), most=10)
    while client.exists(broker.incoming("late")):
        pass
    assert letterbox.take(["late"]) == []
    assert letterbox.send(parcels("next"), most=10) == (1, 1)


def test_no_more_are_under_way_than_may_be(letterbox: Letterbox, client: redis.Redis) -> None:
    """Of orders that come together the first are admitted, the others leave nothing behind; an answer makes room."""
    assert letterbox.send(parcels("a"), most=2) == (1, 1)
    assert letterbox.send(parcels("b", "c"), most=2) == (1, 2)
    assert letterbox.send(parcels("c"), most=2) == (0, 2)
    assert not client.exists(broker.incoming("c"))
    letterbox.answer("service", {"a": b"done"})
    assert letterbox.send(parcels("c"), most=2) == (1, 2)


def test_a_reply_is_announced_and_fetched_once(letterbox: Letterbox, client: redis.Redis) -> None:
    """The service's channel says which replies are ready, and fetching takes them out."""
    with client.pubsub(ignore_subscribe_messages=True) as channel:  # type: ignore[no-untyped-call]
        channel.subscribe(broker.replies("service"))
        assert channel.get_message(timeout=5) is None
        letterbox.answer("service", {"a": b"1", "b": b"2"})
        message = channel.get_message(timeout=5)
    assert message is not None
    assert broker.read_replies(message["data"]) == {"a": None, "b": None}
    assert letterbox.fetch(["b", "none", "a"]) == [b"2", None, b"1"]
    assert letterbox.fetch(["a", "b"]) == [None, None]


def test_replies_may_come_on_the_channel(letterbox: Letterbox, client: redis.Redis) -> None:
    """Replies sent at once come on the channel, leave nothing in Redis, and end their orders."""
    letterbox.send(parcels("a", "b"), most=10)
    with client.pubsub(ignore_subscribe_messages=True) as channel:  # type: ignore[no-untyped-call]
        channel.subscribe(broker.replies("service"))
        assert channel.get_message(timeout=5) is None
        letterbox.answer("service", {"a": b"1", "b": b"2"}, at_once=True)
        message = channel.get_message(timeout=5)
    assert message is not None
    assert broker.read_replies(message["data"]) == {"a": b"1", "b": b"2"}
    assert not client.exists(broker.FLIGHT, broker.outgoing("a"))


@pytest.mark.parametrize("data", [b"", b"words", b"\x80\x80", msgpack.packb([1]), msgpack.packb({"a": 1})])
def test_bytes_without_replies_are_refused(data: bytes) -> None:
    """A stranger's bytes on a service's channel raise ValueError."""
    with pytest.raises(ValueError, match="are not a message of replies"):
        broker.read_replies(data)


def test_pixels_are_in_no_file(tmp_path: Path) -> None:
    """Redis writes no pixels into its append-only file."""
    secret = b"a face" * 1000
    with serving(tmp_path) as server:
        letterbox = Letterbox(broker.connect(server.url))
        letterbox.send([Parcel("a", 60_000, secret), Parcel("b", 60_000, secret)], most=10)
        assert [parcel.data for parcel in letterbox.take(["a"])] == [secret]
        letterbox.answer("service", {"a": secret})
        letterbox.answer("service", {"b": secret}, at_once=True)
        assert letterbox.fetch(["a"]) == [secret]
        with server.client() as client:
            client.set("other", b"no face at all")
        letterbox.close()
    written = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert b"no face at all" in written
    assert b"a face" not in written.replace(b"no face at all", b"")


def test_a_withdrawn_request_is_gone(letterbox: Letterbox, client: redis.Redis) -> None:
    """A withdrawn order can't be taken, its place is free, and a worker that has it hears of it."""
    letterbox.send(parcels("a", "b", "c"), most=10)
    with client.pubsub(ignore_subscribe_messages=True) as channel:  # type: ignore[no-untyped-call]
        channel.subscribe(broker.DROPPED)
        assert channel.get_message(timeout=5) is None
        letterbox.withdraw(["a", "c"])
        message = channel.get_message(timeout=5)
    assert message is not None
    assert message["data"] == b"a,c"
    assert [parcel.id for parcel in letterbox.take(["a", "b", "c"])] == ["b"]
    assert client.zrange(broker.FLIGHT, 0, -1) == [b"b"]


def test_every_key_ends_by_itself(letterbox: Letterbox, client: redis.Redis, server: Server) -> None:
    """Every key of orders, replies and beats has a time to live."""
    letterbox.send(parcels("a", "b"), most=10)
    letterbox.answer("service", {"a": b"done"})
    asyncio.run(_say(server, Beat(name="w")))
    keys = client.keys("*")
    assert len(keys) == 6
    assert all(client.pttl(key) > 0 for key in keys)


def test_workers_are_known_by_their_beats(server: Server, client: redis.Redis) -> None:
    """A process that comes later learns which workers live and how old their beats are, without those that leave."""
    now = 0.0
    crew = Crew(clock=lambda: now)
    for beat in (Beat(name="a", rate=7.0), Beat(name="b"), Beat(name="b", leaves=True)):
        asyncio.run(_say(server, beat))
    asyncio.run(_hear(server, crew))
    assert crew.beats == [Beat(name="a", rate=7.0)]
    now = broker.ALIVE_S + 1.0
    assert crew.beats == []


def test_what_is_no_beat_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """A stranger's bytes on the workers' channel are logged, and change nothing."""
    crew = Crew()
    for words in (b"", b"[]", b'{"rate": 1}', b"\xff", b'{"name": "a", "bundles": 7}'):
        crew.hear(words)
    assert crew.beats == []
    assert len(caplog.records) == 5


def test_a_listener_knows_when_it_may_have_missed_messages(server: Server, client: redis.Redis) -> None:
    """A listener gets None first, then messages, and None again after a break of the connection."""

    async def listen() -> None:
        connected = broker.connect_async(server.url)
        async with aclosing(broker.listen(connected, "one", "two")) as heard:
            assert await anext(heard) is None
            client.publish("two", "words")
            assert await anext(heard) == ("two", b"words")
            client.client_kill_filter(_type="pubsub")
            assert await anext(heard) is None
            client.publish("one", "more")
            assert await anext(heard) == ("one", b"more")
        await connected.aclose()

    asyncio.run(listen())


def test_a_listener_says_when_the_broker_is_gone(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A killed Redis raises one of FAILURES."""

    async def listen(server: Server) -> None:
        connected = broker.connect_async(server.url)
        async with aclosing(broker.listen(connected, "one")) as heard:
            assert await anext(heard) is None
            server.kill()
            with pytest.raises(broker.FAILURES):
                await anext(heard)
        await connected.aclose()

    with serving(tmp_path_factory.mktemp("killed")) as server:
        asyncio.run(listen(server))


@pytest.mark.parametrize("url", [None, "", "localhost:6379", "http://localhost", "amqp://localhost"])
def test_a_broker_that_is_none_is_refused(url: str | None) -> None:
    """Only a Redis URL is accepted, and the error says what to set."""
    with pytest.raises(InvalidParameter, match="RECAST_BROKER"):
        broker.check(url)


def test_trouble_names_no_host() -> None:
    """The error for strangers says that the broker does not answer or has no memory left, and nothing else."""
    silent = broker.translator_error(redis.ConnectionError("Error 111 connecting to 10.0.0.7:6379"))
    full = broker.translator_error(
        redis.exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'.")
    )
    assert isinstance(silent, NotReady)
    assert isinstance(full, Overloaded)
    assert "10.0.0.7" not in str(silent)
    assert silent.retry_after == full.retry_after == broker.SILENT_RETRY_S


async def _say(server: Server, beat: Beat) -> None:
    client = broker.connect_async(server.url)
    await beats.say(client, beat)
    await client.aclose()


async def _hear(server: Server, crew: Crew) -> None:
    client = broker.connect_async(server.url)
    await beats.hear(client, crew)
    await client.aclose()
