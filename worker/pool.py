"""Threads for the CPU work on pictures. When too much waits, new pictures are refused, but never those under way."""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from worker.errors import Overloaded

T = TypeVar("T")

_FIRST_GUESS_S = 0.1  # what one function takes, until some were measured
_NEWEST = 0.1  # weight of the newest measurement in the running mean


class Pool:
    """Runs functions in `threads` threads (0: one for each core); one event loop may use it."""

    def __init__(self, threads: int, *, waiting_per_thread: int = 32) -> None:
        """Starts no thread before the first function comes."""
        self._threads = threads or os.cpu_count() or 1
        self._most = waiting_per_thread * self._threads
        self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="pictures")
        self._lock = threading.Lock()
        self._waiting = 0
        self._seconds = _FIRST_GUESS_S

    async def admit(self, function: Callable[[], T]) -> T:
        """As `run`, for the first work on a picture. Raises Overloaded at once if too much waits already."""
        with self._lock:
            waiting, retry_after = self._waiting, self._waiting * self._seconds / self._threads
        if waiting >= self._most:
            raise Overloaded(f"{waiting} pictures wait to be worked on, and no more may", retry_after=retry_after)
        return await self.run(function)

    async def run(self, function: Callable[[], T]) -> T:
        """The function's result. Cancelling takes it out of the queue; once begun, it runs to its end."""

        def begin() -> T:
            with self._lock:
                self._waiting -= 1
            started = time.monotonic()
            try:
                return function()
            finally:
                with self._lock:
                    self._seconds += _NEWEST * (time.monotonic() - started - self._seconds)

        def ended(future: "Future[T]") -> None:
            if future.cancelled():  # then it never began
                with self._lock:
                    self._waiting -= 1

        with self._lock:
            self._waiting += 1
        future = self._executor.submit(begin)
        future.add_done_callback(ended)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Cancels what waits, and returns when what has begun is done."""
        self._executor.shutdown(cancel_futures=True)
