"""What one worker does for jobs: the chunks and webhooks that it is handed, and its rounds to look after all others."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from redis.asyncio import Redis

from worker.errors import RecastError, UnknownJob
from worker.jobs.chunks import Chunks
from worker.jobs.dispatch import TICK_S, Dispatch
from worker.jobs.layout import Job
from worker.jobs.tickets import RENEW_S
from worker.jobs.webhooks import Courier
from worker.logs import bear
from worker.queue import broker
from worker.queue.app import WEBHOOK, WEBHOOKS, Post
from worker.queue.broker import FAILURES

WEBHOOKS_OUT = 16
"""Webhooks that wait in the queue at a time, at most, as far as one round adds to them."""

_WEBHOOK_S = 60
_log = logging.getLogger(__name__)


class Shift:
    """One worker's part in jobs; one event loop may use it."""

    def __init__(self, name: str, client: Redis, post: Post, dispatch: Dispatch, chunks: Chunks, courier: Courier):
        """`name` is the worker's own, new at each start."""
        self._name, self._client, self._post = name, client, post
        self._dispatch, self._chunks, self._courier = dispatch, chunks, courier
        self._doing: set[asyncio.Task[None]] = set()

    async def chunk(self, job_id: str, number: int) -> None:
        """Does a chunk, unless somebody else does it already; where that fails, its ticket sees to the rest."""
        bear(job_id=job_id)
        doing = asyncio.ensure_future(self._chunk(job_id, number))
        self._doing.add(doing)
        doing.add_done_callback(self._doing.discard)
        try:
            await doing
        except (*FAILURES, RecastError) as error:
            _report(f"chunk {number} of job {job_id} was not seen through", error)
        except asyncio.CancelledError:
            _log.info("chunk %d of job %s is left to another worker", number, job_id)

    async def abandon(self) -> None:
        """Gives back the chunks that are begun; whoever waits for them goes on when that is done."""
        for doing in self._doing:
            doing.cancel()

    async def webhook(self, job_id: str) -> None:
        """Makes one attempt to deliver a webhook."""
        bear(job_id=job_id)
        try:
            await self._courier.deliver(job_id)
        except RecastError as error:
            _report(f"the webhook of job {job_id} could not be tried", error)
        finally:
            await self._client.delete(broker.ticket(f"{WEBHOOKS}:{job_id}"))

    async def rounds(self) -> None:
        """Looks after all jobs and webhooks every now and then, in turn with the other workers, until cancelled."""
        while True:
            try:
                if await self._dispatch.tick():
                    await self._hooks()
            except FAILURES as error:
                _log.info("looking after the jobs failed: %s", error)  # whoever fetches messages warns
            except Exception as error:
                _report("looking after the jobs failed, and is tried again", error)
            await asyncio.sleep(TICK_S)

    async def _chunk(self, job_id: str, number: int) -> None:
        tickets = self._dispatch.tickets
        if not await tickets.take(job_id, number, self._name):
            return
        try:
            job = await self._dispatch.job(job_id)
            async with self._renewed(job_id, number):
                await self._chunks.do(job, number)
        except BaseException as error:
            if isinstance(error, UnknownJob):
                await tickets.end(job_id, number, 0)
                return
            await tickets.give_back(job_id, number, failed=isinstance(error, Exception))
            if not isinstance(error, Exception):
                raise
            _report(f"chunk {number} of job {job_id} failed, and is tried again", error)
        else:
            await self._commit(job, number)

    async def _commit(self, job: Job, number: int) -> None:
        if await self._dispatch.tickets.end(job.id, number, job.chunks):
            await self._dispatch.conclude(job)
        await self._dispatch.say(job.id)
        await self._dispatch.fill()

    async def _hooks(self) -> None:
        for job_id in (await self._courier.due())[:WEBHOOKS_OUT]:
            if await self._client.set(broker.ticket(f"{WEBHOOKS}:{job_id}"), b"", nx=True, ex=_WEBHOOK_S):
                await asyncio.to_thread(self._post.send, WEBHOOK, job_id)

    @asynccontextmanager
    async def _renewed(self, job_id: str, number: int) -> AsyncGenerator[None, None]:
        """Renews a ticket as long as the block lasts."""

        async def renew() -> None:
            while True:
                await asyncio.sleep(RENEW_S)
                with suppress(*FAILURES):
                    await self._dispatch.tickets.renew(job_id, number, self._name)

        renewing = asyncio.create_task(renew())
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)


def _report(what: str, error: Exception) -> None:
    # What the project's own errors say is all there is to know; of others the place matters.
    _log.warning("%s: %s", what, error, exc_info=None if isinstance(error, RecastError) else error)
