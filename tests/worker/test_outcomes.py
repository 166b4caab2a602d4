"""What became of a job's pictures, page by page, for clients that fetch results as they come."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from support.stored import memory, put_finished, put_job

from worker.jobs import board, layout
from worker.jobs.board import Board
from worker.jobs.layout import Job


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "CHUNK", 2)
    monkeypatch.setattr(board, "CHUNKS", 2)


def run(test: Coroutine[Any, Any, None]) -> None:
    """One test, in an event loop of its own."""
    asyncio.run(asyncio.wait_for(test, 60))


async def listed(there: Board, job: Job, first: int = 0) -> tuple[list[str], int | None]:
    """The names of the next page, and the number to go on with."""
    outcomes, following = await there.outcomes(job, first)
    return [outcome.name for outcome in outcomes], following


def test_a_running_job_is_listed_as_far_as_all_before_is_finished() -> None:
    """A chunk under way holds back the later ones, so that a client that goes on from there misses none."""

    async def test() -> None:
        storage = memory()
        there, job = Board(storage), await put_job(storage, dict.fromkeys("abcdef", b""))
        assert await listed(there, job) == ([], 0)
        await put_finished(storage, job, 2, done=2)
        assert await listed(there, job) == ([], 0)
        await put_finished(storage, job, 0, done=1, failed=1)
        assert await listed(there, job) == (["0-0.jpg", "0-fail-0.jpg"], 1)
        assert await listed(there, job, 1) == ([], 1)
        await put_finished(storage, job, 1, done=2)
        assert await listed(there, job, 1) == (["1-0.jpg", "1-1.jpg", "2-0.jpg", "2-1.jpg"], 3)
        assert await listed(there, job, 3) == ([], 3)
        assert await there.conclude(job) is not None
        assert await listed(there, job, 3) == ([], None)

    run(test())


def test_a_cancelled_job_is_listed_without_what_was_never_done() -> None:
    """After the job's end unfinished chunks hold nothing back, and the list ends."""

    async def test() -> None:
        storage = memory()
        there, job = Board(storage), await put_job(storage, dict.fromkeys("abcdefgh", b""))
        for number in (0, 2, 3):
            await put_finished(storage, job, number, done=1)
        await there.cancel(job.id)
        assert await there.conclude(job) is not None
        assert await listed(there, job) == (["0-0.jpg", "2-0.jpg"], 3)
        assert await listed(there, job, 3) == (["3-0.jpg"], None)

    run(test())
