"""The outputs of a job: one by its name and nothing else, and a ZIP of all that is never whole in memory."""

import asyncio
import io
import json
import subprocess
import tracemalloc
import zipfile
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile

import pytest
from obstore.store import MemoryStore
from support.stored import NO_ROOTS, memory, put_finished, put_job

from worker.errors import UnknownResult
from worker.jobs import layout, results
from worker.jobs.layout import Finished, Job, Outcome
from worker.jobs.roots import Roots
from worker.storage import Storage, open_storage

NAMES = ["first.png", "a folder/zweite Ä.webp", "deep/er/x%20#?.jpg"]


def run(test: Coroutine[Any, Any, None]) -> None:
    """One test, in an event loop of its own."""
    asyncio.run(asyncio.wait_for(test, 60))


async def zipped(storage: Storage, job: Job, roots: Roots = NO_ROOTS) -> bytes:
    """The whole ZIP."""
    return b"".join([piece async for piece in results.archive(storage, roots, job)])


async def given(storage: Storage, job: Job, name: str, roots: Roots = NO_ROOTS) -> tuple[bytes, str]:
    """One output whole, and its media type."""
    pieces, media_type = await results.picture(storage, roots, job, name)
    return b"".join([piece async for piece in pieces]), media_type


async def put_outputs(storage: Storage, job: Job, number: int, outputs: dict[str, bytes], *failed: str) -> None:
    """A finished chunk with these outputs, and these that failed."""
    outcomes = [Outcome(name=f"{name}.in", output=name) for name in outputs]
    outcomes += [Outcome(name=name, code="unreadable-image", reason=f"{name} is “bad”") for name in failed]
    for name, data in outputs.items():
        await storage.put(f"{layout.outputs(job.id)}/{name}", data)
    record = Finished(outcomes=tuple(outcomes))
    await storage.put(layout.finished(job.id, number, record), record.bytes())


def content(data: bytes) -> dict[str, bytes]:
    """The files of a ZIP in order, each checked against its checksum."""
    with ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert {entry.compress_type for entry in archive.infolist()} == {ZIP_STORED}
        return {name: archive.read(name) for name in archive.namelist()}


def unzipped(data: bytes, folder: Path) -> None:
    """Has unzip test a ZIP."""
    file = folder / "results.zip"
    file.write_bytes(data)
    done = subprocess.run(["unzip", "-t", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_zip_has_every_output_under_its_name(tmp_path: Path) -> None:
    """Outputs come in the job's order, as they are, and the list of failures last; any unzip can read it."""

    async def test() -> None:
        storage = memory()
        job = await put_job(storage, dict.fromkeys(map(str, range(6)), b""))
        await put_outputs(storage, job, 0, {name: name.encode() * 999 for name in NAMES[:2]}, "one.png")
        await put_outputs(storage, job, 1, {NAMES[2]: b"third"}, "two.png", "three.png")
        data = await zipped(storage, job)
        files = content(data)
        assert list(files) == [*NAMES, results.FAILURES]
        assert files[NAMES[1]] == NAMES[1].encode() * 999
        assert json.loads(files[results.FAILURES]) == [
            {"name": name, "code": "unreadable-image", "reason": f"{name} is “bad”"}
            for name in ("one.png", "two.png", "three.png")
        ]
        unzipped(data, tmp_path)
        assert await zipped(storage, job) == data

    run(test())


def test_a_zip_without_failures_has_no_list_of_them() -> None:
    """If every picture was translated, the ZIP has pictures only."""

    async def test() -> None:
        storage = memory()
        job = await put_job(storage, {"1": b""})
        await put_outputs(storage, job, 0, {"a.png": b"a"})
        assert content(await zipped(storage, job)) == {"a.png": b"a"}

    run(test())


def test_the_zip_of_a_running_job_has_what_is_finished() -> None:
    """Outputs of an unfinished chunk are not in the ZIP; without a finished chunk it is empty."""

    async def test() -> None:
        storage = memory()
        job = await put_job(storage, {"1": b""})
        await storage.put(f"{layout.outputs(job.id)}/early.png", b"early")
        with ZipFile(io.BytesIO(await zipped(storage, job))) as archive:
            assert archive.namelist() == []
        await put_outputs(storage, job, 0, {"a.png": b"a"})
        assert list(content(await zipped(storage, job))) == ["a.png"]

    run(test())


def test_a_chunk_that_two_have_finished_is_sent_once() -> None:
    """No name comes twice, even if two workers have finished its chunk."""

    async def test() -> None:
        storage = memory()
        job = await put_job(storage, {"1": b"", "2": b""})
        await put_outputs(storage, job, 0, {"a.png": b"a"}, "b.png")
        await put_outputs(storage, job, 0, {"a.png": b"a", "b.png": b"b"})
        assert content(await zipped(storage, job)) == {"a.png": b"a", "b.png": b"b"}

    run(test())


def test_a_missing_output_is_listed() -> None:
    """If a user has removed outputs from a destination, the ZIP lists them, and has the others."""

    async def test() -> None:
        storage = memory()
        job = await put_job(storage, {"1": b""})
        await put_outputs(storage, job, 0, {"a.png": b"a", "b.png": b"b"}, "c.png")
        await storage.delete(f"{layout.outputs(job.id)}/a.png")
        files = content(await zipped(storage, job))
        assert files["b.png"] == b"b"
        failures = json.loads(files[results.FAILURES])
        assert [(each["name"], each["code"]) for each in failures] == [
            ("c.png", "unreadable-image"), ("a.png.in", "unknown-result")
        ]  # fmt: skip

    run(test())


def test_the_zip_comes_piece_by_piece() -> None:
    """Neither one large output nor many small ones are ever whole in memory."""
    piece = bytes(100_000)
    opened = []

    class Large(Storage):
        async def stream(self, path: str) -> AsyncIterator[bytes] | None:
            async def pieces() -> AsyncIterator[bytes]:
                for _ in range(300):
                    yield piece

            opened.append(path)
            return pieces()

    async def test() -> None:
        storage = Large(MemoryStore())
        job = await put_job(storage, {"1": b""})
        await put_finished(storage, job, 0, done=2)
        total = 0
        async for part in results.archive(storage, NO_ROOTS, job):
            if not total:
                tracemalloc.start()
            assert len(opened) == 1 + (total > 300 * len(piece)), "an output is opened when its turn comes"
            total += len(part)
            assert len(part) < 4 * len(piece)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert total > 600 * len(piece)
        assert peak < 20 * len(piece)

    run(test())


def test_a_zip_may_be_larger_than_old_ones_can(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Beyond 65,535 files or 4 GiB, here 3 files and 1000 bytes, the ZIP is of the 64-bit kind, and still whole."""
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 3)
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1000)
    outputs = {f"{number}.png": bytes([number]) * 400 for number in range(8)}

    async def test() -> None:
        storage = memory()
        job = await put_job(storage, {"1": b""})
        await put_outputs(storage, job, 0, outputs)
        data = await zipped(storage, job)
        assert b"PK\x06\x06" in data, "the end record of the 64-bit kind"
        assert content(data) == outputs
        unzipped(data, tmp_path)

    run(test())


def test_who_hangs_up_leaves_nothing_behind() -> None:
    """A ZIP that is not read to its end is closed without an error, and nothing goes on making it."""

    async def test() -> None:
        storage = memory()
        job = await put_job(storage, {"1": b""})
        await put_outputs(storage, job, 0, {f"{number}.png": bytes(100_000) for number in range(3)})
        before = asyncio.all_tasks()
        archive = results.archive(storage, NO_ROOTS, job)
        await anext(aiter(archive))
        await archive.aclose()
        assert asyncio.all_tasks() == before

    run(test())


def test_one_output_comes_by_its_name() -> None:
    """A single output comes as its bytes and the media type of its suffix."""

    async def test() -> None:
        storage = memory()
        job = await put_job(storage, {"1": b""})
        await put_outputs(storage, job, 0, {name: name.encode() for name in NAMES})
        for name, media_type in zip(NAMES, ("image/png", "image/webp", "image/jpeg"), strict=True):
            assert await given(storage, job, name) == (name.encode(), media_type)

    run(test())


@pytest.mark.parametrize(
    "name",
    [
        "other.png",
        "",
        "a.json",
        "../job.json",
        "../outputs/a.png",
        "../../other/outputs/a.png",
        "a.png/../a.png",
        "./a.png",
        "/a.png",
        "b//a.png",
        "a.png/",
        "a.png\0",
        "a\n.png",
        "a" * 5000 + ".png",
    ],
)
def test_no_other_name_gives_anything(name: str, tmp_path: Path) -> None:
    """Only pictures below the job's own folder are given out, whatever the name, on any storage."""

    async def test() -> None:
        for storage in (memory(), open_storage(str(tmp_path))):
            job = await put_job(storage, {"1": b""})
            other = await put_job(storage, {"1": b""}, job_id="other")
            await put_outputs(storage, job, 0, {"a.png": b"a", "b/a.png": b"b"})
            await storage.put(f"{layout.outputs(job.id)}/a.json", b"{}")
            await put_outputs(storage, other, 0, {"a.png": b"of another job"})
            with pytest.raises(UnknownResult):
                await results.picture(storage, NO_ROOTS, job, name)

    run(test())


def test_results_in_a_folder_of_the_users_own(tmp_path: Path) -> None:
    """Outputs in a destination are found there, unless its root is no longer configured."""
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "a.png").write_bytes(b"a")
    (tmp_path / "b.png").write_bytes(b"b")
    roots = Roots({"out": str(tmp_path)})

    async def test() -> None:
        storage = memory()
        for destination, name in (("out/made", "a.png"), ("out", "b.png")):
            job = await put_job(storage, {"1": b""}, destination=destination, job_id=name[0])
            record = Finished(outcomes=(Outcome(name="in.png", output=name),))
            await storage.put(layout.finished(job.id, 0, record), record.bytes())
            assert await given(storage, job, name, roots) == (name[:1].encode(), "image/png")
            assert content(await zipped(storage, job, roots)) == {name: name[:1].encode()}
            with pytest.raises(UnknownResult, match="can't reach"):
                await given(storage, job, name)
            with pytest.raises(UnknownResult, match="can't reach"):
                results.archive(storage, NO_ROOTS, job)

    run(test())
