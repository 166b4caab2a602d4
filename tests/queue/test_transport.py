"""What Kombu does with messages when Redis dies: those that are being posted, and those that a worker has fetched."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
import redis
from support.redis import serving

from worker.queue.app import INFER, INTERACTIVE, Post, create_app
from worker.queue.broker import PREFIX
from worker.queue.transport import Channel
from worker.settings import QueueSettings


@pytest.mark.parametrize("name", ["queue_declare", "_put"])
def test_a_moment_without_redis_costs_no_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A connection that breaks while a message is posted, and can be made anew at once, is no failure."""
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
    """A channel with a message under way that closes when Redis is gone writes the message nowhere."""
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
