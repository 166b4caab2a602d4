"""An event loop in a thread of its own: what is begun there, and what becomes of it when it is closed."""

import asyncio
import threading

import pytest

from worker.queue.eventloop import EventLoop


def test_coroutines_run_there() -> None:
    """What is begun from any thread runs in the loop's own, and gives its result, or its error, back."""

    async def where() -> str:
        return threading.current_thread().name

    async def wrong() -> None:
        raise ArithmeticError("wrong")

    loop = EventLoop()
    assert loop.begin(where()).result() == "loop"
    with pytest.raises(ArithmeticError):
        loop.begin(wrong()).result()
    loop.close()


def test_closing_cancels_what_runs_there() -> None:
    """close() returns when all that was begun has ended, its last words included."""
    ended: list[str] = []

    async def endless(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(name)

    loop = EventLoop()
    futures = [loop.begin(endless(name)) for name in "ab"]
    loop.close()
    assert sorted(ended) == ["a", "b"]
    assert all(future.cancelled() for future in futures)
