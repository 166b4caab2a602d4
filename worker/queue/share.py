"""How many requests travel in one message: enough to pay for it, few enough that all workers have something to do."""

from collections.abc import Sequence
from math import ceil

from worker.queue.beats import Beat

MOST_TOGETHER = 64
"""Requests in one message, at most."""

SHARE_S = 0.05
"""Seconds of one worker's work that a message may hold, or one batch, so that no worker has all while others idle."""

COMPANY = 8
"""Requests that leave together even where nothing else is on its way: a message costs about as much as they do."""


def share(crew: Sequence[Beat], asked: int) -> int:
    """Requests in one message, of `asked` that wait or are on their way.

    What a worker does in SHARE_S, or one batch; but if they are few, half of a worker's share of them, so that one half
    travels while the other one is computed.
    """
    rows = max((beat.rows for beat in crew), default=1)
    rates = [beat.rate for beat in crew if beat.rate]
    fast = int(SHARE_S * sum(rates) / len(rates)) if rates else 0
    half = ceil(asked / (2 * max(1, len(crew))))
    return min(max(rows, fast), max(half, COMPANY), MOST_TOGETHER)
