"""States and progress of jobs, computed from what is stored; and their end, which a kill can only delay."""

import asyncio
import time
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from obstore.store import MemoryStore
from support.stored import Counting, Killed, Mortal, memory, paths, put_begun, put_finished, put_job

from worker.errors import UnknownJob
from worker.jobs import board, layout
from worker.jobs.board import Board, Mark
from worker.jobs.layout import End, Job
from worker.storage import Storage

HOOK = "https://example.com/hook"


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "CHUNK", 2)


def run(test: Coroutine[Any, Any, None]) -> None:
    """One test, in an event loop of its own."""
    asyncio.run(asyncio.wait_for(test, 60))


def names(count: int) -> dict[str, bytes]:
    """Pictures of which only the names matter."""
    return {f"{number}.png": b"" for number in range(count)}


async def put_ended(storage: Storage, job_id: str, *, days: int = 0, at: float | None = None) -> Job:
    """A job that ended so many days ago."""
    job = await put_job(storage, names(1), job_id=job_id)
    when = time.time() - days * 86_400 if at is None else at
    await storage.put(layout.done(job_id), End(state="done", at=when, done=1, failed=0).bytes())
    assert await Board(storage).conclude(job) is not None
    return job


# --- states


def test_a_job_goes_through_its_states() -> None:
    """Queued until a chunk is begun, running until the last one is finished and the job concluded, then done."""

    async def test() -> None:
        storage = memory()
        board = Board(storage)
        job = await put_job(storage, names(5))
        queued = await board.status("job")
        assert (queued.state, queued.done, queued.failed, queued.position) == ("queued", 0, 0, 0)
        assert (queued.begun_at, queued.ended_at, queued.rate, queued.seconds_left) == (None, None, None, None)
        await put_begun(storage, job, 0, at=123.0)
        running = await board.status("job")
        assert (running.state, running.position, running.begun_at, running.rate) == ("running", None, 123.0, None)
        await put_finished(storage, job, 0, done=1, failed=1)
        await put_finished(storage, job, 2, done=1)
        half = await board.status("job")
        assert (half.state, half.done, half.failed) == ("running", 2, 1)
        assert await board.unfinished(job) == [1]
        assert await board.conclude(job) is None
        await put_finished(storage, job, 1, done=2)
        end = await board.conclude(job)
        assert end is not None
        assert (end.state, end.done, end.failed) == ("done", 4, 1)
        over = await board.status("job")
        assert (over.state, over.done, over.failed, over.ended_at) == ("done", 4, 1, end.at)
        assert over.job == job

    run(test())


def test_a_job_runs_whichever_chunk_was_begun() -> None:
    """A job is running once any of its chunks was begun, even if not the first one."""

    async def test() -> None:
        storage = memory()
        job = await put_job(storage, names(5))
        await put_begun(storage, job, 1)
        status = await Board(storage).status("job")
        assert status.state == "running"
        assert status.begun_at == pytest.approx(time.time(), abs=60)

    run(test())


def test_a_job_without_any_output_has_failed() -> None:
    """A job that has ended without a translated picture is failed, not done."""

    async def test() -> None:
        storage = memory()
        job = await put_job(storage, names(2))
        await put_finished(storage, job, 0, done=0, failed=2)
        end = await Board(storage).conclude(job)
        assert end is not None
        assert (end.state, end.done, end.failed) == ("failed", 0, 2)

    run(test())


def test_cancelling_ends_a_job_and_keeps_what_is_finished() -> None:
    """A job is cancelled from the mark on; its end counts what was finished, and cancelling again changes nothing."""

    async def test() -> None:
        storage = memory()
        board = Board(storage)
        job = await put_job(storage, names(6))
        await put_begun(storage, job, 0)
        await put_finished(storage, job, 0, done=1, failed=1)
        status = await board.cancel("job")
        assert (status.state, status.done, status.failed, status.ended_at) == ("cancelled", 1, 1, None)
        end = await board.conclude(job)
        assert end is not None
        assert (end.state, end.done, end.failed) == ("cancelled", 1, 1)
        assert (await board.cancel("job")).ended_at == end.at

    run(test())


def test_a_job_that_is_over_stays_as_it_is() -> None:
    """Cancelling a job that is done leaves it done, and leaves no mark."""

    async def test() -> None:
        storage = memory()
        await put_ended(storage, "job")
        assert (await Board(storage).cancel("job")).state == "done"
        assert not await storage.has(layout.cancelled("job"))

    run(test())


def test_a_job_that_is_nowhere_is_unknown() -> None:
    """A folder without job.json is no job, whatever else is in it."""

    async def test() -> None:
        storage = memory()
        board = Board(storage)
        await storage.put(layout.open_mark("half"), b"")
        for call in (board.job, board.status, board.cancel):
            with pytest.raises(UnknownJob, match="half"):
                await call("half")
        assert not await storage.has(layout.cancelled("half"))

    run(test())


def test_a_chunk_that_two_have_finished_counts_once() -> None:
    """If a chunk has two records, the better one counts, in every count and list."""

    async def test() -> None:
        storage = memory()
        board = Board(storage)
        job = await put_job(storage, names(4))
        await put_begun(storage, job, 0)
        await put_finished(storage, job, 0, done=1, failed=1)
        await put_finished(storage, job, 0, done=2)
        status = await board.status("job")
        assert (status.done, status.failed) == (2, 0)
        assert await board.failures("job", 100) == []
        assert await board.unfinished(job) == [1]
        await put_finished(storage, job, 1, done=2)
        end = await board.conclude(job)
        assert end is not None
        assert end.done == 4

    run(test())


def test_failures_come_in_order_up_to_a_limit() -> None:
    """The first pictures that failed, with their names and reasons; only records with failures are read."""

    async def test() -> None:
        storage = Counting(MemoryStore())
        job = await put_job(storage, names(8))
        for number, failed in enumerate((1, 0, 2, 1)):
            await put_finished(storage, job, number, done=2 - failed, failed=failed)
        storage.asked.clear()
        failures = await Board(storage).failures("job", 3)
        assert [failure.name for failure in failures] == ["0-fail-0.jpg", "2-fail-0.jpg", "2-fail-1.jpg"]
        assert {(failure.code, failure.reason) for failure in failures} == {("unreadable-image", "bad")}
        assert not any(path.endswith("00001-2-0") for _, path in storage.asked)

    run(test())


# --- position, rate, time left


def test_the_position_counts_the_older_open_jobs() -> None:
    """A queued job's position counts the open jobs that were accepted before it, and no others."""

    async def test() -> None:
        storage = memory()
        board = Board(storage)
        await put_ended(storage, "over")
        for job_id in "zyx":
            await put_job(storage, names(2), job_id=job_id)
        assert await board.open_jobs() == ["z", "y", "x"]
        assert [(await board.status(job_id)).position for job_id in "zyx"] == [0, 1, 2]
        await board.conclude((await board.cancel("z")).job)
        assert [(await board.status(job_id)).position for job_id in "yx"] == [0, 1]

    run(test())


def mark(number: int, put_at: float, pictures: int = 30) -> Mark:
    """A finished chunk with two failed pictures."""
    return Mark(number, pictures - 2, 2, put_at, "")


@pytest.mark.parametrize(
    ("marks", "begun_at", "rate"),
    [
        ([], 0.0, None),
        ([mark(0, 990.0)], 980.0, 30 / 20),
        ([mark(0, 100.0), mark(1, 950.0), mark(2, 999.0)], 0.0, 60 / 60),
        ([mark(0, 100.0), mark(1, 900.0)], 0.0, 60 / 1000),
        ([mark(0, 1000.0)], 1000.0, None),
        ([mark(0, 1003.0)], 1002.0, None),
    ],
    ids=["nothing", "short", "last-minute", "slow", "at-once", "clock-behind"],
)
def test_the_rate_is_that_of_the_last_minute(marks: list[Mark], begun_at: float, rate: float | None) -> None:
    """Pictures per second since the beginning or over the last minute; slow jobs are measured over all their time."""
    assert board.rate_of(marks, begun_at, 1000.0) == rate


def test_the_time_left_follows_from_the_rate() -> None:
    """The time left is that of the unfinished pictures at the current rate."""

    async def test() -> None:
        storage = memory()
        job = await put_job(storage, names(10))
        await put_begun(storage, job, 0, at=time.time() - 10)
        await put_finished(storage, job, 0, done=1, failed=1)
        status = await Board(storage).status("job")
        assert status.rate == pytest.approx(0.2, rel=0.9)
        assert status.rate is not None
        assert status.seconds_left == pytest.approx(8 / status.rate)

    run(test())


# --- lists


def test_jobs_are_listed_the_newest_first_page_by_page() -> None:
    """Open jobs, then ended ones by the day of their end; every page goes on where the one before it stopped."""

    async def test() -> None:
        storage = memory()
        board = Board(storage)
        for job_id, days in (("old", 30), ("week1", 7), ("week2", 7), ("today1", 0), ("today2", 0)):
            await put_ended(storage, job_id, days=days)
        for job_id in ("open1", "open2"):
            await put_job(storage, names(2), job_id=job_id)
        await storage.put(layout.open_mark("no job yet"), b"")
        everything = ["open2", "open1", "today2", "today1", "week2", "week1", "old"]
        assert [status.job.id for status in await board.statuses(limit=50)] == everything
        for size in (1, 2, 3, 7):
            pages: list[str] = []
            while page := await board.statuses(limit=size, before=pages[-1] if pages else None):
                assert len(page) <= size
                pages += [status.job.id for status in page]
            assert pages == everything
        with pytest.raises(UnknownJob, match="nowhere"):
            await board.statuses(limit=1, before="nowhere")

    run(test())


def test_a_job_that_has_just_ended_is_listed_once() -> None:
    """Between its two marks a job is both open and ended; a list has it once."""

    async def test() -> None:
        storage = memory()
        job = await put_ended(storage, "job")
        await storage.put(layout.open_mark(job.id), b"")
        assert [status.job.id for status in await Board(storage).statuses(limit=5)] == ["job"]

    run(test())


def test_a_call_costs_the_same_however_many_jobs_are_kept() -> None:
    """Neither one job's status nor a page of the list reads jobs that it does not show."""

    async def costs(kept: int) -> list[tuple[int, int]]:
        storage = Counting(MemoryStore())
        board = Board(storage)
        for number in range(kept):
            await put_ended(storage, f"kept{number}", days=1 + number)
        await put_ended(storage, "ended")
        job = await put_job(storage, names(4), job_id="open")
        await put_begun(storage, job, 0)
        await put_finished(storage, job, 0, done=2)
        found = []
        for call in (board.status("open"), board.status("ended"), board.statuses(limit=2), board.open_jobs()):
            storage.asked.clear()
            storage.listed = 0
            await call
            found.append((len(storage.asked), storage.listed))
        return found

    async def test() -> None:
        assert await costs(1) == await costs(40)

    run(test())


# --- the end


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("cancelled", [False, True])
def test_an_end_that_is_broken_off_is_brought_to_its_end(after: bool, cancelled: bool) -> None:
    """If concluding is killed, at any point, the open mark stays, and concluding again gives the same End."""

    async def test() -> None:
        for change in range(1, 10):
            store = MemoryStore()
            storage, mortal = Storage(store), Mortal(store, change=change, after=after)
            job = await put_job(storage, names(2), webhook=HOOK)
            await put_finished(storage, job, 0, done=2)
            if cancelled:
                await Board(storage).cancel("job")
            try:
                await Board(mortal).conclude(job)
            except Killed:
                ended = await storage.get(layout.done("job"))
                assert await storage.has(layout.open_mark("job")) or (change == 4 and after)
                assert ended is None or await storage.has(layout.hook_mark("job")), "the hook is owed before the End"
                end = await Board(storage).conclude(job)
                assert end is not None
                assert ended in (None, end.bytes())
            else:
                assert change == 5
                break
            assert end.state == ("cancelled" if cancelled else "done")
            day = datetime.fromtimestamp(end.at, UTC).date()
            assert await paths(storage, layout.ENDED) == [layout.ended_mark("job", day.isoformat())]
            assert await paths(storage, layout.HOOKS) == [layout.hook_mark("job")]
            assert await paths(storage, layout.OPEN) == []

    run(test())


def test_an_end_lies_at_the_day_it_was() -> None:
    """Concluding again days later files the job under the day of its end, not under today."""

    async def test() -> None:
        storage = memory()
        at = datetime.now(UTC) - timedelta(days=3)
        await put_ended(storage, "job", at=at.timestamp())
        assert await paths(storage, layout.ENDED) == [f"ended/{at.date().isoformat()}/job"]

    run(test())


def test_two_that_conclude_agree() -> None:
    """Two processes that conclude at once both get the End that is stored; without a webhook there is no hook mark."""

    async def test() -> None:
        storage = memory()
        job = await put_job(storage, names(2))
        await put_finished(storage, job, 0, done=2)
        ends = await asyncio.gather(*(Board(storage).conclude(job) for _ in range(4)))
        stored = await storage.get(layout.done("job"))
        assert {end.bytes() for end in ends if end} == {stored}
        assert None not in ends
        assert await paths(storage, layout.HOOKS) == []

    run(test())
