"""What the janitor removes and when, what it never removes, and that a kill in the middle does no harm."""

import asyncio
import logging
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from obstore.store import MemoryStore
from support.stored import NO_ROOTS, Counting, Killed, Mortal, memory, paths, put_finished, put_job

from worker.errors import UnknownJob
from worker.jobs import janitor, layout
from worker.jobs.board import Board
from worker.jobs.intake import Intake
from worker.jobs.janitor import Janitor
from worker.jobs.layout import End, Job
from worker.settings import JobSettings, Limits
from worker.storage import Storage, StorageError, open_storage
from worker.wish import Wish

DAY = 86_400.0
HOOK = "https://example.com/hook"


def run(test: Coroutine[Any, Any, None]) -> None:
    """One test, in an event loop of its own."""
    asyncio.run(asyncio.wait_for(test, 60))


def settings(days: float = 7.0) -> JobSettings:
    """Settings that come from nowhere but here."""
    return JobSettings.model_construct(job_days=days, job_pictures=10, job_bytes=1000)


def in_days(days: float, storage: Storage, *, kept: float = 7.0) -> Janitor:
    """A janitor whose clock is so many days ahead."""
    return Janitor(storage, settings(kept), clock=lambda: time.time() + days * DAY)


async def put_over(storage: Storage, job_id: str, *, at: float | None = None) -> Job:
    """A job that has ended, with everything that a job may have."""
    job = await put_job(storage, {"a.png": b"a"}, job_id=job_id, webhook=HOOK)
    await storage.put(f"{layout.outputs(job_id)}/a.png", b"made")
    await storage.put(layout.begun(job_id, 0), b"{}")
    await put_finished(storage, job, 0, done=1)
    if at is not None:
        await storage.put(layout.done(job_id), End(state="done", at=at, done=1, failed=0).bytes())
    await Board(storage).conclude(job)
    for path in (layout.cancelled(job_id), layout.webhook(job_id), layout.dead_mark(job_id)):
        await storage.put(path, b"{}")
    return job


def intake(storage: Storage) -> Intake:
    """The intake of jobs."""
    return Intake(storage, NO_ROOTS, settings(), Limits())


@pytest.mark.parametrize("kept", [7.0, 0.25])
def test_a_job_is_removed_so_long_after_its_end(kept: float) -> None:
    """Until its day everything of a job stays, afterwards nothing; open jobs stay however old they are."""

    async def test() -> None:
        storage = memory()
        open_job = await put_job(storage, {"a.png": b"a"}, job_id="open", created=0.0)
        of_open = await paths(storage)
        await put_over(storage, "over")
        everything = await paths(storage)
        assert await in_days(kept - 0.01, storage, kept=kept).sweep() == 0
        assert await paths(storage) == everything
        assert await in_days(kept + 0.01, storage, kept=kept).sweep() == 1
        assert await paths(storage) == of_open
        with pytest.raises(UnknownJob):
            await Board(storage).status("over")
        assert (await Board(storage).status(open_job.id)).state == "queued"

    run(test())


def test_only_days_that_are_due_are_looked_at() -> None:
    """A sweep lists neither later days nor the jobs that are kept."""

    async def costs(kept: int) -> int:
        storage = Counting(MemoryStore())
        for number in range(kept):
            await put_over(storage, f"job{number}", at=time.time() + 2 * DAY * number)
        storage.asked.clear()
        assert await in_days(7.5, storage).sweep() == 1
        return len(storage.asked)

    async def test() -> None:
        assert await costs(2) == await costs(12)

    run(test())


def test_outputs_in_a_folder_of_the_users_own_stay(tmp_path: Path) -> None:
    """A job's destination is the user's: nothing in it is removed with the job."""

    async def test() -> None:
        storage = memory()
        job = await put_job(storage, {"a.png": b"a"}, destination="out")
        (tmp_path / "a.png").write_bytes(b"made")
        await put_finished(storage, job, 0, done=1)
        await Board(storage).conclude(job)
        assert await in_days(8, storage).sweep() == 1
        assert await paths(storage) == []
        assert (tmp_path / "a.png").read_bytes() == b"made"

    run(test())


@pytest.mark.parametrize("after", [False, True])
def test_a_removal_that_is_broken_off_goes_on(after: bool) -> None:
    """If a sweep is killed, at any point, the next one removes the rest, and never leaves a job without its End."""

    async def test() -> None:
        for change in range(1, 30):
            store = MemoryStore()
            storage = Storage(store)
            await put_over(storage, "job")
            mortal = Mortal(store, change=change, after=after)
            try:
                await in_days(8, mortal).sweep()
            except Killed:
                left = await paths(storage)
                assert layout.done("job") not in left or layout.job("job") in left
                assert await in_days(8, storage).sweep() == (0 if not left else 1)
                assert await paths(storage) == []
            else:
                assert change > 10
                return
        raise AssertionError("the sweep never came to its end")

    run(test())


def test_the_folders_on_a_disk_go_too(tmp_path: Path) -> None:
    """A disk keeps no empty folder of a removed job or upload."""

    async def test() -> None:
        storage = open_storage(str(tmp_path))
        await put_over(storage, "over")
        upload = await intake(storage).begin(Wish(domains=("zebra",)))
        await upload.add("a.png", b"a")
        await upload._puts.wait()
        await in_days(8, storage).sweep()
        assert await paths(storage) == []
        assert list((tmp_path / "jobs").iterdir()) == []

    run(test())


def test_an_upload_that_was_left_behind_is_removed() -> None:
    """What a killed upload stored is removed a day later, not before; never what became a job."""

    async def test() -> None:
        storage = memory()
        entrance = intake(storage)
        accepted = await entrance.begin(Wish(domains=("zebra",)))
        await accepted.add("a.png", b"a")
        job, new = await accepted.commit()
        assert new
        of_job = await paths(storage)
        assert not any(path.startswith(layout.UPLOADS) for path in of_job)
        # Killed after its job.json, before its mark went.
        await storage.put(layout.upload_mark(job.id, job.upload), b"")
        left = await entrance.begin(Wish(domains=("zebra",)))
        await left.add("b.png", b"b")
        await left._puts.wait()
        everything = await paths(storage)
        await in_days(0.9, storage).sweep()
        assert await paths(storage) == everything
        await in_days(1.1, storage).sweep()
        assert await paths(storage) == of_job

    run(test())


def test_an_upload_that_lost_a_race_goes_alone() -> None:
    """Of two uploads with one Idempotency-Key, what the one left behind is removed, and the other's job stays whole."""

    async def test() -> None:
        storage = memory()
        entrance = intake(storage)
        loser = await entrance.begin(Wish(domains=("zebra",)), key="key")
        await loser.add("a.png", b"a")
        await loser._puts.wait()
        winner = await entrance.begin(Wish(domains=("zebra",)), key="key")
        await winner.add("a.png", b"a")
        job, _ = await winner.commit()
        await in_days(2, storage).sweep()
        assert await storage.get(layout.picture(job.id, job.upload, 0)) == b"a"
        assert {path.split("/")[3] for path in await paths(storage, f"{layout.folder(job.id)}/inputs")} == {job.upload}
        assert await paths(storage, layout.UPLOADS) == []

    run(test())


def test_a_mark_of_a_job_that_never_came_is_removed() -> None:
    """An open mark without a job.json is removed after a day; the marks of jobs stay."""

    async def test() -> None:
        storage = memory()
        await put_job(storage, {"a.png": b"a"})
        await storage.put(layout.open_mark("never"), b"")
        await in_days(0.9, storage).sweep()
        assert await Board(storage).open_jobs() == ["job", "never"]
        await in_days(1.1, storage).sweep()
        assert await Board(storage).open_jobs() == ["job"]

    run(test())


def test_a_job_that_comes_while_its_mark_is_removed_keeps_it() -> None:
    """Between the look for job.json and the removal of an old mark the job may be accepted: its mark is put again."""

    class Late(Storage):
        async def delete(self, path: str) -> None:
            if path == layout.open_mark("job"):
                await put_job(Storage(self._store), {"a.png": b"a"})
            await super().delete(path)

    async def test() -> None:
        storage = Late(MemoryStore())
        await storage.put(layout.open_mark("job"), b"")
        await in_days(2, storage).sweep()
        assert await Board(storage).open_jobs() == ["job"]

    run(test())


def test_a_storage_that_is_away_ends_no_janitor(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A sweep that fails is logged, and the next one comes at its time."""
    monkeypatch.setattr(janitor, "SWEEP_S", 0.001)

    class Away(Storage):
        away = 2

        async def folders(self, folder: str) -> list[str]:
            if self.away:
                self.away -= 1
                raise StorageError("the storage is away")
            return list(await super().folders(folder))

    async def test() -> None:
        storage = Away(MemoryStore())
        await put_over(storage, "job")
        sweeping = asyncio.ensure_future(in_days(8, storage).run())
        while await paths(storage):
            await asyncio.sleep(0.001)
        sweeping.cancel()

    with caplog.at_level(logging.ERROR):
        run(test())
    assert len(caplog.records) == 2
