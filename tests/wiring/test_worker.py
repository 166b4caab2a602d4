"""`recast work` as a real process: its start, the faults that it survives, and its end."""

import importlib.metadata
import json
import math
import os
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from support.bundles import flip_bundle
from support.graphs import failing_bundle
from support.redis import Server, serving
from support.workers import SLOW, working

from wiring.worker import STUCK
from worker.errors import NotReady
from worker.queue import broker
from worker.queue.app import INFER, Post, create_app
from worker.queue.beats import Beat
from worker.queue.broker import Letterbox, Parcel
from worker.queue.parcels import pack_order, read_reply
from worker.settings import QueueSettings
from worker.translator import Done, Order

PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a bundle that works and one that does not load."""
    made = tmp_path_factory.mktemp("store")
    flip_bundle(made)
    failing_bundle(made)
    return made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One Redis for the module."""
    with serving(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def server(shared: Server) -> Server:
    """The same, empty."""
    with shared.client() as client:
        client.flushall()
    return shared


class Service:
    """The service's side of the broker, played by the test."""

    def __init__(self, server: Server) -> None:
        self.client = server.client()
        self._letterbox = Letterbox(self.client)
        self._post = Post(create_app(QueueSettings(broker=server.url)))

    def ask(self, *levels: int) -> list[str]:
        """Posts one message of requests to invert plain pictures; their ids."""
        parcels = []
        for level in levels:
            pixels = np.full((1, 32, 32, 3), level, np.uint8)
            data = pack_order(Order("flip@1", "zebra", {"pixels": pixels}, math.inf))
            parcels.append(Parcel(uuid.uuid4().hex, 60_000, data))
        self._letterbox.send(parcels, most=1000)
        ids = [parcel.id for parcel in parcels]
        self._post.send(INFER, ids, "service", False)
        return ids

    def answer(self, request_id: str) -> Done | Exception:
        """Waits for the answer to a request."""
        until = time.monotonic() + PATIENCE_S
        while (data := self._letterbox.fetch([request_id])[0]) is None:
            assert time.monotonic() < until, "nothing was answered"
            time.sleep(0.02)
        return read_reply(data)

    def level(self, request_id: str) -> int:
        """The level of the plain picture that came back."""
        reply = self.answer(request_id)
        assert isinstance(reply, Done), reply
        return int(reply.outputs["translated"][0, 0, 0, 0])

    def beats(self) -> list[Beat]:
        """The workers' last beats."""
        found = [self.client.get(key) for key in self.client.keys(broker.worker("*"))]
        return [Beat.model_validate_json(data) for data in found if isinstance(data, bytes)]

    def wait_until_taken(self) -> None:
        """Waits until workers have fetched all messages."""
        until = time.monotonic() + PATIENCE_S
        while self.client.keys("recast:in:*"):
            assert time.monotonic() < until, "nobody took it"
            time.sleep(0.02)

    def close(self) -> None:
        """Closes the connections."""
        self._post.close()
        self._letterbox.close()


@pytest.fixture
def service(server: Server) -> Iterator[Service]:
    """A service over the empty Redis."""
    played = Service(server)
    yield played
    played.close()


def test_it_says_what_it_has(server: Server, service: Service, folder: Path, tmp_path: Path) -> None:
    """A worker's first beat has its bundles, the refused ones with the reason, and its providers; then it works."""
    with working(tmp_path, server, folder, settings={"bulk": "3"}):
        (beat,) = service.beats()
        assert (beat.bundles, beat.providers, beat.bulk) == (("flip@1",), ("CPUExecutionProvider",), 3)
        assert beat.version == importlib.metadata.version("recast")
        assert "values that are not finite" in beat.refused["failing@1"]
        ids = service.ask(1, 2, 3)
        assert [service.level(each) for each in ids] == [254, 253, 252]


def test_foreign_messages_stop_nothing(server: Server, service: Service, folder: Path, tmp_path: Path) -> None:
    """A foreign message gives a line in the log and is removed, and the work goes on."""
    with working(tmp_path, server, folder) as worker:
        for queue in ("interactive", "bulk", "webhooks"):
            for foreign in _foreign():
                service.client.lpush(f"recast:{queue}", foreign)
        assert service.level(service.ask(1)[0]) == 254
        until = time.monotonic() + PATIENCE_S
        while service.client.exists("recast:interactive", "recast:bulk", "recast:webhooks"):
            assert time.monotonic() < until
            time.sleep(0.02)
        assert service.level(service.ask(2)[0]) == 253
        assert worker.stop() == 0
        assert worker.log.count("was dropped from a queue") >= 15
    assert not service.client.exists("recast:interactive", "recast:bulk", "recast:webhooks")


def test_it_answers_probes(server: Server, folder: Path, tmp_path: Path) -> None:
    """A worker's port answers /healthz and /metrics, and nothing else."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with working(tmp_path, server, folder, settings={"worker_port": str(port)}):
        alive, metrics, other = (httpx.get(f"http://127.0.0.1:{port}/{path}") for path in ("healthz", "metrics", "x"))
    assert (alive.status_code, alive.text) == (200, "ok\n")
    assert metrics.status_code == 200
    assert "# TYPE" in metrics.text
    assert other.status_code == 404


def test_it_waits_for_the_broker(folder: Path, tmp_path: Path) -> None:
    """A worker without Redis logs it and tries again; it works when Redis comes, also after Redis was killed."""
    server = Server(tmp_path)
    try:
        with working(tmp_path / "worker", server, folder, ready=False) as worker:
            worker.wait_for("the broker does not answer, and is tried every second")
            for _ in range(2):
                server.start()
                service = Service(server)
                assert service.level(service.ask(1)[0]) == 254
                service.close()
                server.kill()
            assert worker.stop() == 0
    finally:
        server.kill()


def test_it_finishes_what_is_begun(server: Server, service: Service, folder: Path, tmp_path: Path) -> None:
    """On SIGTERM a worker answers its requests, says that it leaves, and leaves later messages to others."""
    with working(tmp_path, server, folder, prelude=SLOW.format(seconds=1.5)) as worker:
        begun = service.ask(1)
        service.wait_until_taken()
        worker.process.terminate()
        worker.wait_for("told to stop")
        until = time.monotonic() + PATIENCE_S
        while not all(beat.leaves for beat in service.beats()):
            assert time.monotonic() < until
        later = [service.ask(2)[0] for _ in range(3)]
        assert service.level(begun[0]) == 254
        assert worker.process.wait(PATIENCE_S) == 0
    # The first may have been on its way already; that one is answered.
    answered = service.client.exists(*map(broker.outgoing, later))
    assert (
        service.client.llen("recast:interactive") == service.client.exists(*map(broker.incoming, later)) == 3 - answered
    )
    assert answered <= 1


def test_a_drain_has_an_end(server: Server, service: Service, folder: Path, tmp_path: Path) -> None:
    """When the time to stop is up, waiting requests are answered NotReady, and a running one does not delay the end."""
    settings = {"drain_s": "0.2", "max_batch": "1"}
    with working(tmp_path, server, folder, prelude=SLOW.format(seconds=60), settings=settings) as worker:
        ids = service.ask(1, 2)
        service.wait_until_taken()
        worker.process.terminate()
        assert isinstance(service.answer(ids[1]), NotReady)
        assert worker.process.wait(PATIENCE_S) == os.EX_TEMPFAIL


def test_a_stuck_device_ends_the_worker(server: Server, service: Service, folder: Path, tmp_path: Path) -> None:
    """A worker whose batch runs too long logs that its device is stuck, and exits."""
    with working(tmp_path, server, folder, prelude=SLOW.format(seconds=60), settings={"stuck_s": "0.5"}) as worker:
        service.ask(1)
        assert worker.process.wait(PATIENCE_S) == STUCK
        assert "the device is stuck" in worker.log


def test_a_gpu_that_is_not_there_is_refused(server: Server, folder: Path, tmp_path: Path) -> None:
    """A worker with `--device cuda:0` does not start without a GPU, and says what to do."""
    with working(tmp_path, server, folder, ready=False, settings={"device": "cuda:0"}) as worker:
        assert worker.process.wait(PATIENCE_S) != 0
        assert "ProviderMissing" in worker.log
        assert "choose auto or cpu" in worker.log or "RECAST_DEVICE=cpu" in worker.log


def test_an_empty_store_is_filled_later(server: Server, service: Service, tmp_path: Path) -> None:
    """A worker without bundles has beats without bundles; one that appears in its store is in its next beats."""
    store = tmp_path / "store"
    store.mkdir()
    with working(tmp_path / "worker", server, store):
        assert [beat.bundles for beat in service.beats()] == [()]
        flip_bundle(store)
        until = time.monotonic() + PATIENCE_S
        while [beat.bundles for beat in service.beats()] != [("flip@1",)]:
            assert time.monotonic() < until
            time.sleep(0.05)
        assert service.level(service.ask(1)[0]) == 254


def _foreign() -> list[bytes | str]:
    properties = {"delivery_info": {"exchange": "", "routing_key": "bulk"}, "delivery_tag": "x"}
    ours = {
        "body": "[[], {}, {}]",
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"task": INFER, "id": "1", "lang": "py"},
        "properties": properties,
    }
    return [
        b"\xff\xfe",
        "garbage{",
        "17",
        json.dumps({"a": 1}),
        json.dumps(ours | {"body": '["too short"]'}),
        json.dumps(ours | {"headers": None}),
        json.dumps(ours | {"headers": {"task": "someone.elses", "id": "1", "lang": "py"}}),
        json.dumps(ours | {"headers": {"task": ["x"]}}),
        json.dumps(ours | {"body": "gAIu", "content-type": "application/x-python-serialize"}),
        json.dumps(ours | {"body": '[["neither", "three", "arguments"], {}, {}]'}),
    ]
