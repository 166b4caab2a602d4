"""The pool refuses new pictures when too many wait, never those under way, and forgets what was cancelled."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

import pytest

from worker.errors import Overloaded
from worker.pool import Pool


class Gate:
    """A function for the pool that stays in its thread until the test opens the gate."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()

    def __call__(self) -> str:
        self.entered.set()
        assert self.opened.wait(30)
        return "done"


async def busy(pool: Pool) -> tuple[Gate, "asyncio.Task[str]"]:
    """Occupies the pool's one thread until the gate is opened."""
    gate = Gate()
    task = asyncio.create_task(pool.run(gate))
    await asyncio.to_thread(gate.entered.wait, 30)
    return gate, task


async def begun(*coroutines: Coroutine[Any, Any, str]) -> list["asyncio.Task[str]"]:
    """The coroutines as tasks that have come as far as they can."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


def test_a_function_runs_in_another_thread_and_its_result_comes_back() -> None:
    """The event loop's own thread does none of the work."""

    async def main() -> None:
        pool = Pool(2)
        assert await pool.admit(threading.get_ident) != threading.get_ident()
        with pytest.raises(ZeroDivisionError):
            await pool.run(lambda: 1 // 0)
        pool.close()

    asyncio.run(main())


def test_new_work_is_refused_when_too_much_waits_and_old_work_is_not() -> None:
    """One new picture more than may wait is refused at once, with a time to come back."""

    async def main() -> None:
        pool = Pool(1, waiting_per_thread=2)
        gate, first = await busy(pool)
        waiting = await begun(pool.admit(lambda: "a"), pool.admit(lambda: "b"))
        with pytest.raises(Overloaded) as refusal:
            await pool.admit(lambda: "c")
        assert refusal.value.retry_after is not None
        assert refusal.value.retry_after > 0
        under_way = await begun(pool.run(lambda: "d"))
        gate.opened.set()
        assert await asyncio.gather(first, *waiting, *under_way) == ["done", "a", "b", "d"]
        assert await pool.admit(lambda: "e") == "e"
        pool.close()

    asyncio.run(main())


def test_cancelled_work_is_never_done_and_makes_room() -> None:
    """A function that is cancelled while it waits is not run, and no longer counts as waiting."""

    async def main() -> None:
        pool = Pool(1, waiting_per_thread=1)
        gate, first = await busy(pool)
        done: list[str] = []

        def work() -> str:
            done.append("cancelled")
            return "cancelled"

        (waiting,) = await begun(pool.admit(work))
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        (successor,) = await begun(pool.admit(lambda: "successor"))
        gate.opened.set()
        assert [await first, await successor] == ["done", "successor"]
        pool.close()
        assert done == []

    asyncio.run(main())


def test_closing_cancels_what_waits() -> None:
    """Closing ends what has begun and cancels the rest."""

    async def main() -> None:
        pool = Pool(1)
        gate, first = await busy(pool)
        (waiting,) = await begun(pool.admit(lambda: "never"))
        gate.opened.set()
        await asyncio.to_thread(pool.close)
        assert await first == "done"
        results = [*await asyncio.gather(waiting, return_exceptions=True)]
        assert results == ["never"] or isinstance(results[0], asyncio.CancelledError)

    asyncio.run(main())
