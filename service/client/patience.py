"""When a call that failed is made again: a restarted service or a broken line is waited out, for a while."""

import random
import time
from typing import Any

from service.client.calls import Call
from service.client.errors import ClientError, Problem, Unreachable

_FIRST_S = 0.1
_LONGEST_S = 10.0
_BUSY = (429, 503)


class Patience:
    """For one call: the pauses between its attempts, which grow until one succeeds."""

    def __init__(self, seconds: float) -> None:
        """`seconds`: how long, from the first failure in a row."""
        self._seconds = seconds
        self.renew()

    def renew(self) -> None:
        """An attempt has succeeded."""
        self._ends: float | None = None
        self._pause = _FIRST_S

    def pause(self, call: Call[Any], error: ClientError) -> float:
        """Seconds until the next attempt; raises the error where another would be in vain, or come too late."""
        if not _passing(call, error):
            raise error
        now = time.monotonic()
        if self._ends is None:
            self._ends = now + self._seconds
        asked = error.retry_after if isinstance(error, Problem) else None
        pause = max(asked or 0.0, self._pause * random.uniform(0.5, 1.0))
        if now + pause > self._ends:
            raise error
        self._pause = min(2 * self._pause, _LONGEST_S)
        return pause


def _passing(call: Call[Any], error: ClientError) -> bool:
    """Whether it may pass by itself, and doing it again does no harm."""
    if isinstance(error, Problem):
        return error.status in _BUSY or (error.status >= 500 and call.method == "GET")
    return isinstance(error, Unreachable) and (call.again or not error.sent)
