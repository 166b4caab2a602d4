"""Jobs with a broker: `Queued` is the service's runner, `Shift` what a worker does for jobs.

The service hands out chunks, the workers do them and hand out the next ones, and both hear through Redis what changed.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager, suppress

from redis.asyncio import Redis

from worker.errors import RecastError, UnknownJob
from worker.jobs.board import Board
from worker.jobs.chunks import Chunks
from worker.jobs.dispatch import RENEW_S, TICK_S, Dispatch
from worker.jobs.runner import News, Runner, report
from worker.jobs.webhooks import Courier
from worker.logs import set_ids
from worker.queue import broker
from worker.queue.app import WEBHOOK, WEBHOOKS, Post, create_app
from worker.queue.broker import FAILURES
from worker.settings import QueueSettings

WAKE_S = 3.0
"""Seconds that a request to start or cancel a job waits for a broker that hangs."""

WEBHOOKS_OUT = 16
"""Webhooks that one round puts into the queue, at most."""

_RETRY_S = 1.0
_WEBHOOK_S = 60  # until a webhook whose message got lost is posted again
_log = logging.getLogger(__name__)


class Queued(Runner):
    """Has the workers that share broker and storage do the open jobs; one event loop may use it."""

    def __init__(self, board: Board, settings: QueueSettings) -> None:
        """Connects to nothing yet. Raises InvalidParameter where the settings name no broker."""
        self._post = Post(create_app(settings))
        self._client = broker.connect_async(broker.check(settings.broker))
        self._dispatch = Dispatch(board, self._client, self._post)
        self._news = News()
        self._listening: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to listen for news; returns at once, also where the broker does not answer."""
        self._listening = asyncio.create_task(self._listen())

    async def wake(self, job_id: str) -> None:
        """See Runner. If the broker does not answer, the workers find the change in storage."""
        self._news.tell(job_id)
        try:
            async with asyncio.timeout(WAKE_S):
                if not await self._dispatch.conclude(await self._dispatch.job(job_id)):
                    await self._dispatch.say(job_id)
                await self._dispatch.look()
        except (*FAILURES, RecastError) as error:
            _log.warning("job %s waits until the workers look for it: %s", job_id, str(error) or "the broker hangs")

    def news(self, job_id: str) -> AsyncGenerator[None, None]:
        """See Runner."""
        return self._news.follow(job_id)

    async def close(self) -> None:
        """See Runner; the workers go on."""
        if self._listening:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        self._news.close()
        await asyncio.to_thread(self._post.close)
        await self._client.aclose()

    async def _listen(self) -> None:
        while True:
            with suppress(*FAILURES):
                async with aclosing(broker.listen(self._client, broker.JOBS)) as heard:
                    async for message in heard:
                        # None: the connection is new, and anything may have happened before it.
                        self._news.tell(message[1].decode(errors="replace") if message else None)
            await asyncio.sleep(_RETRY_S)


class Shift:
    """One worker's part in jobs: chunks, webhooks, and rounds to look after all jobs; one event loop may use it."""

    def __init__(self, name: str, client: Redis, post: Post, dispatch: Dispatch, chunks: Chunks, courier: Courier):
        """`name` is the worker's own, new at each start."""
        self._name, self._client, self._post = name, client, post
        self._dispatch, self._chunks, self._courier = dispatch, chunks, courier
        self._doing: set[asyncio.Task[None]] = set()

    async def chunk(self, job_id: str, number: int) -> None:
        """Does a chunk, unless another worker does it; if it fails, its ticket brings it back."""
        set_ids(job_id=job_id)
        doing = asyncio.ensure_future(self._chunk(job_id, number))
        self._doing.add(doing)
        doing.add_done_callback(self._doing.discard)
        try:
            await doing
        except (*FAILURES, RecastError) as error:
            report(f"chunk {number} of job {job_id} was not finished", error)
        except asyncio.CancelledError:
            _log.info("chunk %d of job %s is left to another worker", number, job_id)

    async def abandon(self) -> None:
        """Gives back the chunks under way; calls of `chunk` return when that is done."""
        for doing in self._doing:
            doing.cancel()

    async def webhook(self, job_id: str) -> None:
        """Makes one attempt to deliver a webhook."""
        set_ids(job_id=job_id)
        try:
            await self._courier.deliver(job_id)
        except RecastError as error:
            report(f"the webhook of job {job_id} could not be tried", error)
        finally:
            await self._client.delete(broker.ticket(f"{WEBHOOKS}:{job_id}"))

    async def rounds(self) -> None:
        """Looks after all jobs and webhooks, taking turns with the other workers, until cancelled."""
        while True:
            try:
                if await self._dispatch.tick():
                    await self.post_webhooks()
            except FAILURES as error:
                _log.info("looking after the jobs failed: %s", error)  # the fetching of messages warns already
            except Exception as error:
                report("looking after the jobs failed, and is tried again", error)
            await asyncio.sleep(TICK_S)

    async def post_webhooks(self) -> None:
        """Puts the webhooks that are due into the queue, except those that are in it already."""
        for job_id in (await self._courier.due())[:WEBHOOKS_OUT]:
            if await self._client.set(broker.ticket(f"{WEBHOOKS}:{job_id}"), b"", nx=True, ex=_WEBHOOK_S):
                await asyncio.to_thread(self._post.send, WEBHOOK, job_id)

    async def _chunk(self, job_id: str, number: int) -> None:
        tickets = self._dispatch.tickets
        if not await tickets.take(job_id, number, self._name):
            return
        try:
            job = await self._dispatch.job(job_id)
            async with self._keep_ticket(job_id, number):
                await self._chunks.do(job, number)
        except BaseException as error:  # also CancelledError: the ticket goes back before the worker stops
            if isinstance(error, UnknownJob):
                await tickets.end(job_id, number, 0)
                return
            await tickets.give_back(job_id, number, failed=isinstance(error, Exception))
            if not isinstance(error, Exception):
                raise
            report(f"chunk {number} of job {job_id} failed, and is tried again", error)
        else:
            if await tickets.end(job.id, number, job.chunks):
                await self._dispatch.conclude(job)
            await self._dispatch.say(job.id)
            await self._dispatch.fill()

    @asynccontextmanager
    async def _keep_ticket(self, job_id: str, number: int) -> AsyncGenerator[None, None]:
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
