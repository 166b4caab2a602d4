"""What a service has asked of the workers and was not answered yet: requests, their messages, and lines of them."""

import asyncio
import time
import uuid
from collections import deque
from dataclasses import dataclass, field

from worker.translator import Done


@dataclass(eq=False, slots=True)
class Line:
    """Requests that can share a batch: those that wait for company, and those on their way."""

    waiting: "deque[Asked]" = field(default_factory=deque)
    open: int = 0
    """Requests, waiting or on their way."""
    on_way: int = 0
    """Messages."""
    stirred: bool = False
    """Whether it is looked after in this turn of the event loop already."""


@dataclass(eq=False, slots=True)
class Message:
    """Requests that were posted together."""

    line: Line
    left: int
    """Those that are not answered yet."""
    told: int
    """Bytes of replies that may be told at once."""
    hold: asyncio.TimerHandle | None = None
    """Ends the time for which it counts as on its way; None when it counts no longer."""
    posted: float = field(default_factory=time.monotonic)


@dataclass(eq=False, slots=True)
class Asked:
    """A request, and who waits for its answer; to be made in the event loop."""

    data: bytes
    reply_bytes: int
    """What its reply will take."""
    deadline: float
    line: Line
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    answer: "asyncio.Future[Done]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    message: Message | None = None
    """What it was posted in; None while it waits."""
    tried_again: bool = False
    """Whether it was posted once more since a worker fell silent."""

    def end(self, reply: Done | Exception) -> None:
        """Answers it, unless it is answered, late or cancelled."""
        if not self.answer.done():
            if isinstance(reply, Done):
                self.answer.set_result(reply)
            else:
                self.answer.set_exception(reply)
