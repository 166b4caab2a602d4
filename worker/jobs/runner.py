"""The one door to doing jobs: whoever accepts or follows one can't tell in which process its pictures are done."""

from collections.abc import AsyncGenerator
from typing import Protocol


class Runner(Protocol):
    """Gets jobs done that storage knows; forgetting everything it knows itself loses nothing."""

    async def wake(self, job_id: str) -> None:
        """Says that a job was accepted, or cancelled; saying it twice, or of a job that is over, does no harm."""

    def news(self, job_id: str) -> AsyncGenerator[None, None]:
        """Yields at once, then whenever something of the job may have changed, and at least every NEWS_S seconds.

        It ends when the runner is closed. Close it, as with contextlib.aclosing, to end it before.
        """

    async def close(self) -> None:
        """Stops at once; what is begun is begun again at the next start."""


NEWS_S = 10.0
"""Seconds after which news are given without any, so that nobody waits for ever for news that got lost."""
