"""`recast doctor`: what works here, over a real Redis and real folders."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
from support.commands import Recast
from support.redis import Server, serving

from worker.queue import beats, broker
from worker.queue.beats import Beat


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running Redis."""
    with serving(tmp_path_factory.mktemp("redis")) as started:
        yield started


def test_doctor_finds_the_store_and_its_bundles(recast_: Recast, toy_store: Path, tmp_path: Path) -> None:
    """doctor checks and names everything that serving needs, and does not make a missing storage."""
    said = recast_("doctor", "--store", toy_store, "--storage", tmp_path / "jobs")
    assert said.code == 0
    assert "bundle toy@1: every graph runs" in said.out
    assert "faces: found with face-detector@1" in said.out
    assert "bundle face-detector@1: every graph runs" in said.out
    assert "broker: none is set" in said.out
    assert "jobs will be made" in said.out
    assert not (tmp_path / "jobs").exists()


def test_doctor_names_the_workers_that_the_broker_hears(recast_: Recast, tmp_path: Path, server: Server) -> None:
    """doctor names each worker's bundles and providers, and its version if it is another one."""

    async def say() -> None:
        async with aclosing(broker.connect_async(server.url)) as client:
            beat = Beat(name="one", bundles=("toy@1",), providers=("CUDAExecutionProvider",), version="0.0.1")
            await beats.say(client, beat)

    asyncio.run(say())
    said = recast_("doctor", "--storage", tmp_path, "--broker", server.url)
    assert said.code == 0
    assert "broker: 127.0.0.1, Redis" in said.out
    assert "workers: 1: toy@1 on CUDAExecutionProvider, of version 0.0.1 where this is" in said.out


def test_doctor_warns_of_a_broker_that_throws_work_away(recast_: Recast, tmp_path: Path, server: Server) -> None:
    """A Redis that evicts keys when it is full fails the check."""
    server.client().config_set("maxmemory-policy", "allkeys-lru")
    said = recast_("doctor", "--storage", tmp_path, "--broker", server.url)
    assert "set noeviction" in said.out


def test_doctor_fails_where_the_broker_does_not_answer(recast_: Recast, tmp_path: Path) -> None:
    """With a broken part the exit code is 1, and the other parts are checked too."""
    said = recast_("doctor", "--storage", tmp_path, "--broker", "redis://127.0.0.1:1/0")
    assert said.code == 1
    assert "FAIL broker: " in said.out
    assert "bundle avatars@" in said.out


def test_doctor_fails_where_the_storage_can_not_be_written(recast_: Recast, tmp_path: Path) -> None:
    """A storage that is a file fails the check."""
    (tmp_path / "file").write_bytes(b"")
    said = recast_("doctor", "--storage", tmp_path / "file")
    assert (said.code, "FAIL storage: " in said.out) == (1, True)


def test_doctor_leaves_nothing_in_the_storage(recast_: Recast, tmp_path: Path) -> None:
    """doctor removes what it writes to try the storage."""
    said = recast_("doctor", "--storage", tmp_path)
    assert f"storage: {tmp_path} can be written to" in said.out
    assert list(tmp_path.iterdir()) == []


def test_only_a_service_with_a_broker_does_without_onnx_runtime(
    recast_: Recast, tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without onnxruntime doctor runs too, and says what needs it."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert recast_("doctor", "--storage", tmp_path).code == 1
    said = recast_("doctor", "--storage", tmp_path / "jobs", "--broker", server.url)
    assert said.code == 0
    assert "ONNX Runtime: not installed" in said.out
    assert "bundle avatars@3: can be read" in said.out


def test_doctor_runs_without_the_packages_of_the_queue(
    recast_: Recast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `make serve` installs is enough for doctor; with a broker it says what lacks."""
    for name in [name for name in sys.modules if name.startswith(("redis", "worker.queue", "wiring.workers"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)
    assert recast_("doctor", "--storage", tmp_path).code == 0
    said = recast_("doctor", "--storage", tmp_path, "--broker", "redis://127.0.0.1:1/0")
    assert said.code == 1
    assert "broker: the packages of the queue are not installed" in said.out
