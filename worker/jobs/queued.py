"""Runner of a service whose workers are elsewhere: it hands out chunks, and hears from Redis what became of them."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

from worker.errors import RecastError
from worker.jobs.board import Board
from worker.jobs.dispatch import Dispatch
from worker.jobs.runner import NEWS_S, Runner
from worker.queue import broker
from worker.queue.app import Post, create_app
from worker.queue.broker import FAILURES
from worker.settings import QueueSettings

WAKE_S = 3.0
"""Seconds that whoever sends or cancels a job waits for a broker that hangs."""

_RETRY_S = 1.0
_log = logging.getLogger(__name__)


class Queued(Runner):
    """Has the workers that share broker and storage do the open jobs; one event loop may use it."""

    def __init__(self, board: Board, settings: QueueSettings) -> None:
        """Connects to nothing yet. Raises InvalidParameter where the settings name no broker."""
        self._post = Post(create_app(settings))
        self._client = broker.connect_async(broker.check(settings.broker))
        self._dispatch = Dispatch(board, self._client, self._post)
        self._listeners: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._listening: asyncio.Task[None] | None = None
        self._closed = False

    async def start(self) -> None:
        """Begins to listen for news; returns at once, also where the broker does not answer."""
        self._listening = asyncio.create_task(self._listen())

    async def wake(self, job_id: str) -> None:
        """As Runner says. What can't be said now, since the broker does not answer, the workers find in storage."""
        self._tell(job_id)
        try:
            async with asyncio.timeout(WAKE_S):
                if not await self._dispatch.conclude(await self._dispatch.job(job_id)):
                    await self._dispatch.say(job_id)
                await self._dispatch.look()
        except (*FAILURES, RecastError) as error:
            _log.warning("job %s waits until the workers look for it: %s", job_id, str(error) or "the broker hangs")

    async def news(self, job_id: str) -> AsyncGenerator[None, None]:
        """As Runner says."""
        stirred = asyncio.Event()
        self._listeners[job_id].add(stirred)
        try:
            while not self._closed:
                yield
                with suppress(TimeoutError):
                    async with asyncio.timeout(NEWS_S):
                        await stirred.wait()
                stirred.clear()
        finally:
            self._listeners[job_id].discard(stirred)
            if not self._listeners[job_id]:
                del self._listeners[job_id]

    async def close(self) -> None:
        """As Runner says; the workers go on."""
        self._closed = True
        if self._listening:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        for job_id in list(self._listeners):
            self._tell(job_id)
        await asyncio.to_thread(self._post.close)
        await self._client.aclose()

    async def _listen(self) -> None:
        while True:
            with suppress(*FAILURES):
                async with aclosing(broker.listen(self._client, broker.JOBS)) as heard:
                    async for said in heard:
                        for job_id in [said[1].decode(errors="replace")] if said else list(self._listeners):
                            self._tell(job_id)
            await asyncio.sleep(_RETRY_S)

    def _tell(self, job_id: str) -> None:
        for stirred in self._listeners.get(job_id, ()):
            stirred.set()
