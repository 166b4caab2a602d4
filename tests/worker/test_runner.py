"""Jobs done in this process: in fair turns, despite errors, and to the end wherever the process is killed."""

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from obstore.store import MemoryStore
from support.bundles import flip_bundle
from support.pictures import noise, png
from support.stored import (
    Ended,
    InProcess,
    Mortal,
    finished,
    memory,
    outputs,
    paths,
    put_begun,
    put_finished,
    put_job,
    running,
)

from models.bundle.store import Store
from worker.errors import NotReady, UnknownJob
from worker.jobs import chunks, layout
from worker.jobs import runner as module
from worker.jobs.board import Board
from worker.jobs.layout import End, Job
from worker.jobs.runner import Local
from worker.pipeline import Pipeline
from worker.storage import Storage, open_storage
from worker.wish import Wish

PICTURES = {f"{name}.png": png(noise(16, 16, seed=ord(name))) for name in "abcd"}
HOOK = "https://example.com/hook"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store of the flip bundle."""
    folder = tmp_path_factory.mktemp("store")
    flip_bundle(folder)
    return Store([folder])


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "CHUNK", 2)


class Plan:
    """Stands in for Chunks: commits each chunk, unless it is set to fail or to wait; `done` has the order."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.done: list[tuple[str, int]] = []
        self.errors: dict[tuple[str, int], list[Exception]] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun = asyncio.Event()
        self.most = self.now = 0

    async def do(self, job: Job, number: int) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        self.begun.set()
        try:
            await self.gate.wait()
            if await self.storage.has(layout.cancelled(job.id)):
                return
            self.done.append((job.id, number))
            if waiting := self.errors.get((job.id, number)):
                raise waiting.pop(0)
            await put_finished(self.storage, job, number, done=min(layout.CHUNK, job.pictures - number * layout.CHUNK))
        finally:
            self.now -= 1


def run(test: Coroutine[Any, Any, None]) -> None:
    """One test, in an event loop of its own."""
    asyncio.run(asyncio.wait_for(test, 60))


def over(plan: Plan, ended: Ended, *, at_once: int = 1) -> Local:
    """A runner over a plan."""
    return Local(Board(plan.storage), plan, ended=ended, at_once=at_once)  # type: ignore[arg-type]


def names(count: int) -> dict[str, bytes]:
    """Pictures of which only the names matter."""
    return {f"{number}.png": b"" for number in range(count)}


async def killed_and_done(
    pipeline: Pipeline, pictures: dict[str, bytes], *, change: int, after: bool
) -> tuple[bool, Storage, Job, list[tuple[str, End]]]:
    """Runs a job, kills its process at a change, and goes on in another; returns whether it was killed at all."""
    store = MemoryStore()
    storage, mortal, ended = Storage(store), Mortal(store, change=change, after=after), Ended()
    job = await put_job(storage, pictures, webhook=HOOK)
    async with running(mortal, pipeline, ended=ended):
        dead = asyncio.ensure_future(mortal.dead.wait())
        whole = asyncio.ensure_future(ended.wait())
        await asyncio.wait((dead, whole), return_when=asyncio.FIRST_COMPLETED)
        killed = mortal.dead.is_set()
        dead.cancel()
        whole.cancel()
    if killed:
        ended = Ended()
        async with running(storage, pipeline, ended=ended):
            if await storage.has(layout.open_mark(job.id)):
                await ended.wait()
    return killed, storage, job, ended.jobs


@pytest.mark.parametrize("after", [False, True])
def test_a_job_survives_a_kill_at_every_change(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    """Whatever put or delete was the last before a kill, a new process ends the job as if nothing had happened."""
    monkeypatch.setattr(chunks, "Probe", InProcess)
    pictures = {**PICTURES, "bad.png": b"\x89PNG\r\n\x1a\n"}

    async def test() -> None:
        undisturbed = await killed_and_done(pipeline, pictures, change=1_000_000, after=after)
        assert not undisturbed[0]
        expected = await outputs(undisturbed[1], undisturbed[2])
        lie = await paths(undisturbed[1])
        killed, kills = True, 0
        while killed:
            killed, storage, job, ends = await killed_and_done(pipeline, pictures, change=kills + 1, after=after)
            kills += killed
            assert [outcome.name for outcome in await finished(storage, job)] == list(pictures)
            status = await Board(storage).status(job.id)
            assert (status.state, status.done, status.failed) == ("done", 4, 1)
            assert {end.at for _, end in ends} <= {status.ended_at}
            assert await outputs(storage, job) == expected
            assert await paths(storage) == lie
        # 3 chunks begun and finished, 4 outputs, the hook, the End, the ended mark, the open mark that goes.
        assert kills == 3 + 4 + 3 + 4

    run(test())


def test_open_jobs_are_taken_up_where_they_were_left() -> None:
    """A new runner does the open jobs in storage, and only their unfinished chunks."""

    async def test() -> None:
        storage = memory()
        job = await put_job(storage, names(6))
        await put_begun(storage, job, 0)
        await put_finished(storage, job, 0, done=2)
        plan, ended = Plan(storage), Ended()
        runner = over(plan, ended)
        await runner.start()
        await ended.wait()
        await runner.close()
        assert plan.done == [("job", 1), ("job", 2)]
        assert [(job_id, end.state, end.done) for job_id, end in ended.jobs] == [("job", "done", 6)]
        assert await paths(storage, layout.OPEN) == []

    run(test())


def test_waking_begins_a_job_at_once() -> None:
    """Waking an idle runner begins the job, without another look into storage for open jobs."""

    async def test() -> None:
        storage = memory()
        plan, ended = Plan(storage), Ended()
        runner = over(plan, ended)
        await runner.start()
        for job_id in ("one", "two"):
            await put_job(storage, names(2), job_id=job_id)
            await runner.wake(job_id)
            await ended.wait(len(ended.jobs) + 1)
        await runner.close()
        assert plan.done == [("one", 0), ("two", 0)]

    run(test())


def test_jobs_take_turns() -> None:
    """The first four open jobs share the work chunk by chunk, so a short one does not wait for a long one."""

    async def test() -> None:
        storage = memory()
        plan, ended = Plan(storage), Ended()
        for job_id, pictures in (("a", 8), ("b", 4), ("c", 2), ("d", 2), ("e", 2)):
            await put_job(storage, names(pictures), job_id=job_id)
        runner = over(plan, ended)
        await runner.start()
        await ended.wait(5)
        await runner.close()
        assert "".join(job_id for job_id, _ in plan.done) == "abcdeabaa"

    run(test())


def test_no_more_chunks_run_than_may() -> None:
    """No more than two chunks are done at a time, also when many jobs wait."""

    async def test() -> None:
        storage = memory()
        plan, ended = Plan(storage), Ended()
        for job_id in "abc":
            await put_job(storage, names(8), job_id=job_id)
        runner = over(plan, ended, at_once=2)
        await runner.start()
        await ended.wait(3)
        await runner.close()
        assert plan.most == 2
        assert len(plan.done) == 12

    run(test())


def test_a_chunk_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Errors of any kind are logged; other jobs go on meanwhile, and the chunk is done in the end."""
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.001)

    async def test() -> None:
        storage = memory()
        plan, ended = Plan(storage), Ended()
        plan.errors["bad", 0] = [NotReady("no model yet"), ValueError("a bug"), NotReady("no model yet")]
        await put_job(storage, names(4), job_id="bad")
        await put_job(storage, names(4), job_id="good")
        runner = over(plan, ended)
        await runner.start()
        await ended.wait(2)
        await runner.close()
        assert plan.done[:2] == [("bad", 0), ("good", 0)]
        assert plan.done.count(("bad", 0)) == 4
        assert {job_id: end.done for job_id, end in ended.jobs} == {"bad": 4, "good": 4}

    with caplog.at_level(logging.WARNING):
        run(test())
    assert [record.exc_info is not None for record in caplog.records] == [False, True, False]
    assert "chunk 0 of job bad failed, and is tried again: no model yet" in caplog.text


def test_a_job_that_always_fails_pauses_longer_and_longer() -> None:
    """Each error without a success between doubles the pause, up to its limit."""
    job = Job(id="job", created=0.0, wish=Wish(domains=("zebra",)), pictures=2, upload="upload")

    async def test() -> None:
        plan = Plan(memory())
        plan.errors["job", 0] = [NotReady("no model yet") for _ in range(9)]
        runner, turn, pauses = over(plan, Ended()), module._Turn("job"), []
        for _ in range(9):
            turn.running = 1
            await runner._do(turn, job, 0)
            pauses.append(turn.pause_s)
            assert not turn.can_run(asyncio.get_running_loop().time())
        assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
        turn.running = 1
        await runner._do(turn, job, 0)
        assert turn.pause_s == 0

    run(test())


def test_stuck_jobs_do_not_hold_up_others() -> None:
    """Jobs that fail whenever they are tried give their turns to those behind them, even if there are many."""

    async def test() -> None:
        storage = memory()
        plan, ended = Plan(storage), Ended()
        for number in range(module.JOBS_IN_TURN + 2):
            plan.errors[f"stuck{number}", 0] = [NotReady("no such model") for _ in range(100)]
            await put_job(storage, names(2), job_id=f"stuck{number}")
        await put_job(storage, names(2), job_id="good")
        runner = over(plan, ended)
        await runner.start()
        await ended.wait()
        await runner.close()
        assert [job_id for job_id, _ in ended.jobs] == ["good"]

    run(test())


def test_a_cancelled_job_ends_without_its_other_chunks() -> None:
    """After a cancellation no chunk is begun, and the job ends when the one under way has stopped."""

    async def test() -> None:
        storage = memory()
        plan, ended = Plan(storage), Ended()
        await put_job(storage, names(20))
        runner = over(plan, ended)
        plan.gate.clear()
        await runner.start()
        await plan.begun.wait()
        assert (await Board(storage).cancel("job")).state == "cancelled"
        await runner.wake("job")
        plan.gate.set()
        await ended.wait()
        await runner.close()
        assert plan.done == []
        assert ended.jobs[0][1].state == "cancelled"
        assert await paths(storage, layout.OPEN) == []

    run(test())


def test_closing_leaves_everything_to_the_next_start() -> None:
    """Closing stops running chunks at once, and another runner does the rest."""

    async def test() -> None:
        storage = memory()
        plan, ended = Plan(storage), Ended()
        await put_job(storage, names(4))
        plan.gate.clear()
        runner = over(plan, ended)
        await runner.start()
        await plan.begun.wait()
        await runner.close()
        assert (plan.now, ended.jobs) == (0, [])
        plan.gate.set()
        runner = over(plan, ended)
        await runner.start()
        await ended.wait()
        await runner.close()
        assert plan.done == [("job", 0), ("job", 1)]

    run(test())


def test_news_come_with_every_chunk_and_the_end() -> None:
    """News come at once, then when something happens, and end when the runner is closed; other jobs make none."""

    async def test() -> None:
        storage = memory()
        plan, ended = Plan(storage), Ended()
        plan.gate.clear()
        await put_job(storage, names(4))
        runner, board = over(plan, ended), Board(storage)
        seen = []
        async with aclosing(runner.news("job")) as news:
            await anext(news)
            await runner.start()
            await runner.wake("other")
            plan.gate.set()
            async for _ in news:
                status = await board.status("job")
                seen.append((status.done, status.ended_at is not None))
                if seen[-1][1]:
                    break
        assert seen[-1] == (4, True)
        assert [done for done, _ in seen] == sorted(done for done, _ in seen)
        assert not runner._news._followers
        waiting = asyncio.ensure_future(_count(runner, "other"))
        while not runner._news._followers:
            await asyncio.sleep(0)
        await runner.close()
        assert await waiting == 1

    run(test())


async def _count(runner: Local, job_id: str) -> int:
    return len([None async for _ in runner.news(job_id)])


def test_news_come_also_without_any(monkeypatch: pytest.MonkeyPatch) -> None:
    """News come after a while even if nothing happens."""
    monkeypatch.setattr(module, "NEWS_S", 0.001)

    async def test() -> None:
        runner, heard = over(Plan(memory()), Ended()), 0
        async with aclosing(runner.news("job")) as news:
            async for _ in news:
                heard += 1
                if heard == 3:
                    break
        assert heard == 3

    run(test())


def test_a_storage_that_is_away_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A runner that can't look for open jobs, nor take one up, does so as soon as storage answers."""
    monkeypatch.setattr(module, "LOOK_S", 0.001)
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.001)

    async def test() -> None:
        plan, ended = Plan(memory()), Ended()
        await put_job(plan.storage, names(2))
        board = Shy(plan.storage, times=3)
        runner = Local(board, plan, ended=ended, at_once=1)  # type: ignore[arg-type]
        await runner.start()
        await ended.wait()
        await runner.close()
        assert plan.done == [("job", 0)]
        assert board.times == {"open_jobs": 0, "job": 0, "conclude": 0}

    run(test())


class Shy(Board):
    """A board each of whose calls fails a few times before it works."""

    def __init__(self, storage: Storage, *, times: int) -> None:
        super().__init__(storage)
        self.times = dict.fromkeys(("open_jobs", "job", "conclude"), times)

    async def open_jobs(self) -> list[str]:
        self._fail("open_jobs")
        return await super().open_jobs()

    async def job(self, job_id: str) -> Job:
        self._fail("job")
        return await super().job(job_id)

    async def conclude(self, job: Job) -> End | None:
        self._fail("conclude")
        return await super().conclude(job)

    def _fail(self, call: str) -> None:
        if self.times[call]:
            self.times[call] -= 1
            raise NotReady("the storage is away")


def test_a_mark_without_a_job_is_passed_over() -> None:
    """An open mark without a job.json does not stop other jobs, and the job is done when `wake` is called."""

    async def test() -> None:
        storage = memory()
        plan, ended = Plan(storage), Ended()
        await storage.put(layout.open_mark("late"), b"")
        await put_job(storage, names(2))
        runner = over(plan, ended)
        await runner.start()
        await ended.wait()
        await put_job(storage, names(2), job_id="late")
        await runner.wake("late")
        await ended.wait(2)
        await runner.close()
        assert plan.done == [("job", 0), ("late", 0)]

    run(test())


def test_a_job_that_vanishes_is_forgotten() -> None:
    """A job that is removed while its chunks are done is forgotten, not tried for ever."""

    async def test() -> None:
        storage = memory()
        plan, ended = Plan(storage), Ended()
        await put_job(storage, names(4), job_id="gone")
        plan.errors["gone", 0] = [UnknownJob("gone")]
        runner = over(plan, ended)
        plan.gate.clear()
        await runner.start()
        await plan.begun.wait()
        await storage.clear(layout.folder("gone"))
        await storage.delete(layout.open_mark("gone"))
        plan.gate.set()
        await put_job(storage, names(2))
        await runner.wake("job")
        await ended.wait()
        await runner.wake("gone")
        while runner._turns:
            await asyncio.sleep(0)
        await runner.close()
        assert plan.done == [("gone", 0), ("job", 0)]

    run(test())


def test_the_ended_callback_may_fail(caplog: pytest.LogCaptureFixture) -> None:
    """An error in the `ended` callback is logged, and the next job is done."""

    async def test() -> None:
        storage = memory()
        plan, ended = Plan(storage), Ended()

        async def failing(job: Job, end: End) -> None:
            await ended(job, end)
            raise ValueError("nobody listens")

        for job_id in "ab":
            await put_job(storage, names(2), job_id=job_id)
        runner = Local(Board(storage), plan, ended=failing, at_once=1)  # type: ignore[arg-type]
        await runner.start()
        await ended.wait(2)
        await runner.close()
        assert plan.done == [("a", 0), ("b", 0)]

    run(test())
    assert "nobody listens" in caplog.text


def test_a_folder_on_disk_is_enough(pipeline: Pipeline, tmp_path: Path) -> None:
    """With a real folder: pictures in, translated pictures out, and no open mark is left."""

    async def test() -> None:
        storage, ended = open_storage(str(tmp_path)), Ended()
        job = await put_job(storage, PICTURES)
        async with running(storage, pipeline, at_once=2, ended=ended):
            await ended.wait()
        assert sorted(await outputs(storage, job)) == sorted(PICTURES)
        assert (tmp_path / layout.done(job.id)).exists()
        assert list((tmp_path / layout.OPEN).iterdir()) == []

    run(test())
