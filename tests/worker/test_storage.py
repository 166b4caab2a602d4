"""Storage keeps whole objects or none, in a folder and in a bucket alike, and fails quickly and discreetly."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from support.objectstores import new_bucket, s3_environment, s3_server

from worker import storage as module
from worker.errors import InvalidParameter
from worker.storage import Storage, StorageError, open_storage

T = TypeVar("T")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An S3 server on this machine."""
    with s3_server() as url:
        yield url


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The place of a storage: a folder, or a folder of a bucket."""
    if request.param == "folder":
        return str(tmp_path / "storage")
    endpoint: str = request.getfixturevalue("endpoint")
    for name, value in s3_environment(endpoint).items():
        monkeypatch.setenv(name, value)
    return new_bucket(endpoint)


def run(work: Coroutine[Any, Any, T]) -> T:
    """What the coroutine returns."""
    return asyncio.run(work)


async def paths(storage: Storage, folder: str = "") -> list[str]:
    """The paths of all objects below a folder, sorted."""
    return sorted([stored.path async for stored in storage.list(folder)])


def test_what_was_put_is_there_until_it_is_deleted(place: str) -> None:
    """Another opening of the same place finds the last bytes put, and nothing any more once they are deleted."""

    async def main() -> None:
        first, second = open_storage(place), open_storage(place)
        assert await first.put("jobs/1/a", b"old")
        assert await first.put("jobs/1/a", b"newer")
        assert await first.put("open/1", b"")
        assert (await second.get("jobs/1/a"), await second.get("open/1")) == (b"newer", b"")
        assert await second.has("jobs/1/a")
        assert [(stored.path, stored.size) async for stored in second.list("jobs")] == [("jobs/1/a", 5)]
        await second.delete("jobs/1/a")
        await second.delete("jobs/1/a")
        assert await first.get("jobs/1/a") is None
        assert not await first.has("jobs/1/a")
        assert await first.stream("jobs/1/a") is None
        assert await paths(first) == ["open/1"]

    run(main())


def test_a_new_object_is_put_by_exactly_one(place: str) -> None:
    """Of many parallel puts with new=True one returns True, and its bytes are those that stay."""

    async def main() -> None:
        storages = [open_storage(place) for _ in range(3)]
        for round in range(3):
            path, callers = f"jobs/{round}/job.json", range(9)
            won = await asyncio.gather(*(storages[n % 3].put(path, b"%d" % n, new=True) for n in callers))
            assert won.count(True) == 1
            assert await storages[0].get(path) == b"%d" % won.index(True)

    run(main())


def test_a_reader_sees_the_old_object_or_the_new_one(place: str) -> None:
    """While an object is put again and again with other bytes, every read gives one of them whole."""

    async def main() -> None:
        storage = open_storage(place)
        versions = [bytes([letter]) * 300_000 for letter in b"abc"]
        await storage.put("x", versions[0])

        async def read() -> bytes | None:
            pieces = await storage.stream("x")
            return None if pieces is None else b"".join([piece async for piece in pieces])

        for _ in range(4):
            found = await asyncio.gather(*(work for data in versions for work in (storage.put("x", data), read())))
            assert all(seen in versions for seen in found[1::2])

    run(main())


def test_a_process_killed_while_it_puts_leaves_whole_objects_only(tmp_path: Path) -> None:
    """After kill -9 in the middle of many puts every object listed is whole, and clear leaves nothing on the disk."""
    script = (
        "import asyncio, sys\n"
        "from worker.storage import open_storage\n"
        "async def main():\n"
        "    storage = open_storage(sys.argv[1])\n"
        "    for n in range(10_000):\n"
        "        await asyncio.gather(*(storage.put(f'jobs/1/{n}-{k}', b'x' * 500_000) for k in range(4)))\n"
        "        print(n, flush=True)\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(5):
            assert process.stdout.readline()
        process.send_signal(signal.SIGKILL)

    async def main() -> None:
        storage = open_storage(str(tmp_path))
        sizes = [stored.size async for stored in storage.list("jobs/1")]
        assert len(sizes) >= 20
        assert set(sizes) == {500_000}
        await storage.clear("jobs/1")

    run(main())
    assert [path for path in tmp_path.rglob("*") if path.name != "jobs"] == []


def test_list_and_clear_keep_to_their_folder(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder whose name begins with another's is not in it; clear takes all pages of one and leaves the other."""
    monkeypatch.setattr(module, "_PAGE", 3)

    async def main() -> None:
        storage = open_storage(place)
        inside = [f"jobs/1/inputs/{number}" for number in range(8)]
        await asyncio.gather(*(storage.put(path, b"x") for path in [*inside, "jobs/12/a", "jobs/1/b"]))
        assert await paths(storage, "jobs/1") == sorted([*inside, "jobs/1/b"])
        await storage.clear("jobs/1/inputs")
        assert await paths(storage) == ["jobs/1/b", "jobs/12/a"]
        await storage.clear("jobs/3")
        assert await paths(storage, "jobs/3") == []

    run(main())


def test_a_name_that_can_not_be_read_is_in_the_error(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object that another program stored under an impossible name is named in the error of a listing."""
    for name, value in s3_environment(endpoint).items():
        monkeypatch.setenv(name, value)
    url = new_bucket(endpoint)
    odd = f"{endpoint}/{url.removeprefix('s3://')}/photos//1.jpg"
    httpx.put(odd, content=b"x", timeout=60).raise_for_status()
    with pytest.raises(InvalidParameter, match=r'"some/folder/photos//1\.jpg".*rename it'):
        run(paths(open_storage(url), "photos"))


def test_nothing_above_the_storage_is_cleared(tmp_path: Path) -> None:
    """Neither the storage itself nor a folder above it can be cleared."""
    (tmp_path / "other").mkdir()
    storage = open_storage(str(tmp_path / "storage"))
    for folder in ("../other", "a/../../other", "", "."):
        with pytest.raises(ValueError, match="not a folder in the storage"):
            run(storage.clear(folder))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "storage"]


def test_a_cleared_folder_takes_its_empty_parents_along(tmp_path: Path) -> None:
    """Clearing on disk removes folders that become empty, except the topmost, and touches no others."""

    async def main() -> None:
        storage = open_storage(str(tmp_path))
        for path in ("jobs/1/inputs/u/0", "jobs/2/inputs/u/0", "jobs/2/job.json"):
            await storage.put(path, b"x")
        await storage.clear("jobs/1/inputs/u")
        await storage.clear("jobs/2/inputs/u")

    run(main())
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*"))
    assert left == ["jobs", "jobs/2", "jobs/2/job.json"]


def test_the_last_mark_leaves_its_folder(tmp_path: Path) -> None:
    """A folder on disk stays when its last object is deleted: removing it could make another put fail."""

    async def main() -> None:
        storage = open_storage(str(tmp_path))
        await storage.put("open/1", b"")
        await storage.delete("open/1")
        assert await paths(storage) == []

    run(main())
    assert (tmp_path / "open").is_dir()


def test_a_large_object_is_streamed_in_pieces(place: str) -> None:
    """A stream gives the object's bytes in order, no piece nearly the whole."""

    async def main() -> None:
        storage = open_storage(place)
        data = bytes(range(256)) * 20_000
        await storage.put("x", data)
        pieces = await storage.stream("x")
        assert pieces is not None
        found = [piece async for piece in pieces]
        assert b"".join(found) == data
        assert max(map(len, found)) < len(data) / 2

    run(main())


@pytest.mark.parametrize("path", ["../x", "a/../../x", "a//b", "a\x01b", "a\udc80b", "x" * 3000, "jobs/1/y", "jobs"])
def test_what_can_be_no_object_is_not_there(place: str, path: str) -> None:
    """Paths that strangers invent, through files or out of the storage, find no object and raise nothing."""

    async def main() -> None:
        storage = open_storage(place)
        await storage.put("jobs/1", b"x")
        assert await storage.get(path) is None
        assert await storage.stream(path) is None
        assert not await storage.has(path)

    run(main())


def test_a_full_disk_is_a_storage_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A put on a full disk fails without a path in its text, leaves nothing, and a smaller one succeeds."""
    full = tmp_path / "full"
    full.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(full)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a disk that is small enough to be filled")

    async def main() -> None:
        storage = open_storage(str(full))
        with pytest.raises(StorageError) as caught:
            await storage.put("jobs/1", bytes(1_000_000))
        assert str(caught.value) == "the storage of jobs can't write at the moment"
        assert caught.value.retry_after
        assert "No space left" in caplog.text
        assert await storage.put("jobs/2", b"x")
        assert await paths(storage) == ["jobs/2"]
        assert sum(path.stat().st_size for path in full.rglob("*") if path.is_file()) == 1

    try:
        run(main())
    finally:
        subprocess.run(["umount", str(full)], check=True)


def refusing(monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    """A bound port on which nobody listens, as the S3 server."""
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    for name, value in s3_environment(f"http://127.0.0.1:{bound.getsockname()[1]}").items():
        monkeypatch.setenv(name, value)
    return bound


@pytest.mark.parametrize("answers", ["no", "never"])
def test_a_bucket_that_does_not_answer_is_a_storage_error(answers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a server that is down, or accepts connections and says nothing, every method fails without naming it."""
    monkeypatch.setitem(module._CLIENT, "read_timeout", "100ms")
    monkeypatch.setitem(module._RETRIES, "max_retries", 1)

    async def main() -> None:
        storage = open_storage("s3://bucket/folder")
        work = [
            storage.put("x", b"x"),
            storage.put("x", b"x", new=True),
            storage.get("x"),
            storage.has("x"),
            storage.stream("x"),
            storage.delete("x"),
            storage.clear("x"),
            paths(storage),
        ]
        errors = await asyncio.gather(*work, return_exceptions=True)
        assert {type(error) for error in errors} == {StorageError}
        assert {str(error) for error in errors} == {
            f"the storage of jobs can't {does} at the moment" for does in ("read", "write")
        }

    with refusing(monkeypatch) as server:
        if answers == "never":
            server.listen()
        run(main())


def test_nothing_waits_for_minutes() -> None:
    """A bucket counts as unreachable after seconds; the library's own limit is three minutes."""
    assert module._CLIENT["connect_timeout"] == "3s"
    assert module._RETRIES["max_retries"] <= 2
    assert module._RETRIES["retry_timeout"].total_seconds() <= 10


@pytest.mark.parametrize("where", ["ftp://host/folder", "s3://", "/dev/null/folder"])
def test_a_place_that_is_none_is_refused_at_once(where: str) -> None:
    """Opening a bad place fails, and names it."""
    with pytest.raises(StorageError, match="can't be opened"):
        open_storage(where)
