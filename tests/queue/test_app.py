"""The Celery application: turns of the queues, messages, and what happens to them when Redis dies."""

import base64
import json
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from support.redis import serving

from worker.errors import InvalidParameter
from worker.queue.app import (
    BULK,
    IN_A_ROW,
    INFER,
    INTERACTIVE,
    QUEUES,
    WEBHOOKS,
    Channel,
    Places,
    Post,
    Turns,
    create_app,
)
from worker.queue.broker import FAILURES, PREFIX
from worker.settings import QueueSettings


class Taken(Places):
    """Places of which the test sets how many are taken."""

    def __init__(self) -> None:
        super().__init__(dict.fromkeys(QUEUES, 2))
        self.counts: Counter[str] = Counter()

    @property
    def taken(self) -> Counter[str]:
        return self.counts


@pytest.fixture
def places() -> Taken:
    """Two places for each queue, none taken."""
    return Taken()


@pytest.fixture
def turns(places: Taken) -> Turns:
    """The turns of a worker that consumes all queues."""
    made = Turns(places)
    made.update([WEBHOOKS, BULK, INTERACTIVE])
    return made


def test_interactive_comes_first(turns: Turns) -> None:
    """The interactive queue is asked first, in whatever order queues are consumed."""
    assert turns.consume(3) == [INTERACTIVE, BULK, WEBHOOKS]


def test_bulk_is_never_starved(turns: Turns) -> None:
    """After IN_A_ROW interactive messages the other queues are asked first, once; then the count begins anew."""
    for _ in range(2):
        for _ in range(IN_A_ROW):
            assert turns.consume(3)[0] == INTERACTIVE
            turns.rotate(INTERACTIVE)
        assert turns.consume(3) == [BULK, WEBHOOKS, INTERACTIVE]
        turns.rotate(BULK)


def test_interactive_goes_on_where_nothing_else_waits(turns: Turns) -> None:
    """If the other queues have nothing in their turn, the interactive one has its full row again."""
    for _ in range(IN_A_ROW + 1):
        turns.rotate(INTERACTIVE)
    assert turns.consume(3)[0] == INTERACTIVE


def test_a_queue_without_places_is_left_out(turns: Turns, places: Taken) -> None:
    """Bulk and webhooks take their own threads, interactive messages any free one; a full worker asks for nothing."""
    places.counts = Counter({BULK: 2, INTERACTIVE: 1})
    assert turns.consume(3) == [INTERACTIVE, WEBHOOKS]
    places.counts[INTERACTIVE] = 3
    assert turns.consume(3) == [INTERACTIVE, WEBHOOKS]
    places.counts[WEBHOOKS] = 1
    assert turns.consume(3) == []
    assert places.free == []


def test_asking_is_noted(turns: Turns, places: Taken) -> None:
    """Each request for messages notes its time, and that the broker answers."""
    places.asked_at, places.connected = 0.0, False
    turns.consume(3)
    assert places.asked_at > 0.0
    assert places.connected


def test_a_message_is_json_in_its_queue(tmp_path: Path) -> None:
    """A posted message lies in the task's own queue, as JSON."""
    with serving(tmp_path) as server, server.client() as client:
        post = Post(create_app(QueueSettings(broker=server.url)))
        post.send(INFER, ["a", "b"], "service")
        post.close()
        (message,) = client.lrange("recast:interactive", 0, -1)
    read = json.loads(message)
    assert (read["content-type"], read["headers"]["task"]) == ("application/json", INFER)
    assert json.loads(base64.b64decode(read["body"]))[0] == [["a", "b"], "service"]


def test_a_broker_is_needed() -> None:
    """Without a broker, creating the application is InvalidParameter."""
    with pytest.raises(InvalidParameter):
        create_app(QueueSettings(broker=None))


def test_a_certificate_is_checked(tmp_path: Path) -> None:
    """rediss:// means TLS with a valid certificate; an unknown authority is accepted only if it is configured."""
    certificate = _certify(tmp_path)
    with serving(tmp_path, tls=True) as server:
        stranger = Post(create_app(QueueSettings(broker=server.url)))
        with pytest.raises(FAILURES, match="CERTIFICATE_VERIFY_FAILED"):
            stranger.send(INFER, ["a"], "service")
        friend = Post(create_app(QueueSettings(broker=f"{server.url}?ssl_ca_certs={certificate}")))
        friend.send(INFER, ["a"], "service")
        for post in (stranger, friend):
            post.close()


def _certify(folder: Path) -> Path:
    """A certificate for localhost that vouches for itself, with its key beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    pem = serialization.Encoding.PEM
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, *private))
    (folder / "certificate.pem").write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(pem))
    return folder / "certificate.pem"


@pytest.mark.parametrize("name", ["queue_declare", "_put"])
def test_a_moment_without_redis_costs_no_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A message is posted though its connection breaks, if a new one can be made at once."""
    whole = getattr(Channel, name)
    calls = 0

    def breaks_once(self: Channel, *words: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise redis.ConnectionError("the server closed the connection")
        return whole(self, *words, **named)

    monkeypatch.setattr(Channel, name, breaks_once)
    with serving(tmp_path) as server, server.client() as client:
        app = create_app(QueueSettings(broker=server.url))
        post = Post(app)
        post.send(INFER, ["one"], "somebody")
        assert client.llen(PREFIX + INTERACTIVE) == 1
        post.close()
    app.close()


def test_a_dead_broker_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A channel that closes without Redis writes its unfinished message nowhere."""
    files = tmp_path / "files"
    files.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(files))
    with serving(tmp_path / "redis") as server:
        app = create_app(QueueSettings(broker=server.url))
        post = Post(app)
        post.send(INFER, ["one"], "somebody")
        post.close()
        with app.connection_for_read() as connection:
            channel = connection.channel()
            message = channel.basic_get(INTERACTIVE)
            assert message is not None
            server.kill()
            channel.close()
    app.close()
    assert list(files.iterdir()) == []
