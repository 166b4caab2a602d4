"""A service's orders that no worker has answered yet, the messages that carry them, and the lines in which they wait.

A message holds enough orders to pay for it, and few enough that every worker has something to do.
"""

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil

from worker.queue.beats import Beat
from worker.translator import Done

MOST_TOGETHER = 64
"""Orders in one message, at most."""

SHARE_S = 0.05
"""Seconds of a worker's work that a message may hold (or one batch), so that no worker has all while others idle."""

COMPANY = 8
"""Orders that leave together even if nothing else is on its way: a message costs about as much as they do."""


@dataclass(eq=False, slots=True)
class Line:
    """Orders that can share a batch: those that wait for a message, and those on their way."""

    waiting: "deque[Pending]" = field(default_factory=deque)
    open: int = 0
    """Orders, waiting or on their way."""
    on_way: int = 0
    """Messages."""
    scheduled: bool = False
    """Whether its orders will be posted in this turn of the event loop already."""


@dataclass(eq=False, slots=True)
class Message:
    """Orders that were posted together."""

    line: Line
    left: int
    """Orders that are not answered yet."""
    channel_bytes: int
    """Bytes of replies that may come on the channel itself."""
    hold: asyncio.TimerHandle | None = None
    """Ends the time for which it counts as on its way; None when that is over."""
    posted: float = field(default_factory=time.monotonic)


@dataclass(eq=False, slots=True)
class Pending:
    """An order as bytes, and the future of its answer; made in the event loop."""

    data: bytes
    reply_bytes: int
    """What its reply will take."""
    deadline: float
    line: Line
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    answer: "asyncio.Future[Done]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    message: Message | None = None
    """The message that it was posted in; None while it waits."""
    tried_again: bool = False
    """Whether it was posted once more after a worker fell silent."""

    def end(self, reply: Done | Exception) -> None:
        """Answers it, unless it is answered, late or cancelled."""
        if not self.answer.done():
            if isinstance(reply, Done):
                self.answer.set_result(reply)
            else:
                self.answer.set_exception(reply)


def share(crew: Sequence[Beat], orders: int) -> int:
    """Orders in one message, if `orders` of them wait or are on their way.

    As many as a worker does in SHARE_S, or one batch; if there are few, half of a worker's share, so that one half
    travels while the other one is computed.
    """
    rows = max((beat.rows for beat in crew), default=1)
    rates = [beat.rate for beat in crew if beat.rate]
    fast = int(SHARE_S * sum(rates) / len(rates)) if rates else 0
    half = ceil(orders / (2 * max(1, len(crew))))
    return min(max(rows, fast), max(half, COMPANY), MOST_TOGETHER)
