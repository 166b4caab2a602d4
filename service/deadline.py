"""Work for a client that may hang up or wait no longer; what nobody waits for is cancelled, not finished."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from worker.errors import TimedOut

T = TypeVar("T")


async def awaited(work: Coroutine[Any, Any, T], request: Request, *, deadline: float) -> T:
    """The result of `work`, if it comes before `deadline` (`time.monotonic()`) and the client is there to take it.

    The request's body must have been read: what comes after it can only be the hang-up.

    Raises:
        TimedOut: the deadline passed.
        ClientDisconnect: the client hung up.
    """
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_hang_up(request))
    try:
        await asyncio.wait((working, gone), timeout=left(deadline), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientDisconnect if gone.done() else late()
    finally:
        working.cancel()
        gone.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


def left(deadline: float) -> float:
    """Seconds until a deadline of `time.monotonic()`, at least 0."""
    return max(0.0, deadline - time.monotonic())


def late() -> TimedOut:
    """The error of a deadline that passed."""
    return TimedOut(
        "the deadline passed before the picture was ready, and the work is dropped; ask again when there is less to do"
    )


async def _hang_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue
