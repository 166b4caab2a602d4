"""Sends webhooks when jobs end: one signed POST each, repeated until the receiver takes it.

Signed as Standard Webhooks 1.0 says; docs/webhooks.md is written for the receiver.
"""

import asyncio
import base64
import logging
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from pydantic import BaseModel, SecretStr
from pydantic_core import to_json
from standardwebhooks import Webhook

from worker.caller import Caller, CallError
from worker.errors import InvalidParameter, UnknownJob
from worker.jobs import layout
from worker.jobs.board import Board, Status
from worker.jobs.layout import Delivery
from worker.logs import set_ids
from worker.settings import JobSettings
from worker.storage import Storage

EVERY_S = 2.0
"""Seconds between two searches for due webhooks."""

AT_ONCE = 8
"""Deliveries under way at a time: receivers that hang hold up few others, and not for long."""

_AGAIN = frozenset({408, 425, 429, *range(500, 600)})  # answers that may change: everything else is final
_KEY_BYTES = range(24, 65)  # as Standard Webhooks asks
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pace:
    """How long the waits between attempts are, seconds."""

    first_s: float = 5.0
    """The longest wait before the second attempt; it doubles with each. A wait is drawn between 0 and the longest."""
    longest_s: float = 3600.0
    """The longest wait of all, also where the receiver asks for more."""
    give_up_s: float = 24 * 3600.0
    """How long after the first attempt the last one may be."""


PACE = Pace()


class Courier:
    """Delivers webhooks; their state is in storage, so any process may make the next attempt.

    An attempt whose process was killed is repeated with the same `webhook-id`.
    """

    def __init__(
        self,
        storage: Storage,
        settings: JobSettings,
        *,
        describe: Callable[[Status], BaseModel],
        caller: Caller | None = None,
        pace: Pace = PACE,
        clock: Callable[[], float] = time.time,
        draw: Callable[[], float] = random.random,
        observe: Callable[[Delivery], None] = lambda delivery: None,
    ) -> None:
        """`describe` gives a job as the service's JSON, links included; `observe` is called after each attempt.

        `clock` gives seconds since 1970, `draw` numbers from 0 to 1.
        """
        self._storage = storage
        self._board = Board(storage)
        self._secret = settings.webhook_secret
        self._describe = describe
        self._caller = caller or Caller(private=settings.webhook_private)
        self._pace = pace
        self._clock = clock
        self._draw = draw
        self._observe = observe
        self._waiting: dict[str, float] = {}

    def check(self, url: str) -> None:
        """Raises InvalidParameter unless webhooks can be sent from here, and to this URL; looks no name up."""
        _keys(self._secret)
        self._caller.target(url)

    async def state(self, job_id: str) -> Delivery | None:
        """How far a job's webhook has come; None before the first attempt."""
        found = await self._storage.get(layout.webhook(job_id))
        return Delivery.model_validate_json(found) if found else None

    async def due(self) -> list[str]:
        """The jobs whose webhook is to be attempted now, the one that has waited longest first."""
        now = self._clock()
        known = {job_id: at for job_id, at in self._waiting.items() if at > now}
        waiting: dict[str, float] = {}
        due: dict[str, float] = {}
        async for stored in self._storage.list(layout.HOOKS):
            job_id = stored.path.rpartition("/")[2]
            if job_id in known:
                waiting[job_id] = known[job_id]
                continue
            delivery = await self.state(job_id) or Delivery()
            if delivery.next_at <= now:
                due[job_id] = delivery.next_at
            elif delivery.reason:  # else an attempt is under way, and the next may be due before this one's term
                waiting[job_id] = delivery.next_at
        self._waiting = waiting
        return sorted(due, key=due.__getitem__)

    async def deliver(self, job_id: str) -> float | None:
        """Makes the attempt that is due; returns the seconds until the next one, None if there will be none.

        Raises StorageError. It may be called at any time, and again.
        """
        mark = layout.hook_mark(job_id)
        if not await self._storage.has(mark):
            return None
        delivery = await self.state(job_id) or Delivery()
        if not delivery.over:
            if (wait := delivery.next_at - self._clock()) > 0:
                return wait
            try:
                status = await self._board.status(job_id)
            except UnknownJob:
                await self._storage.delete(mark)
                return None
            if status.ended_at is None:
                return self._pace.first_s
            delivery = await self._attempt(status, delivery)
            if not delivery.over:
                return max(0.0, delivery.next_at - self._clock())
        if delivery.dead_at is not None:
            await self._storage.put(layout.dead_mark(job_id), b"")
        await self._storage.delete(mark)
        return None

    async def rounds(self) -> None:
        """Delivers due webhooks, some at a time, until it is cancelled; logs errors and tries again.

        For a process that delivers by itself; with a broker, workers share the work by messages.
        """
        slots = asyncio.Semaphore(AT_ONCE)

        async def deliver(job_id: str) -> None:
            set_ids(job_id=job_id)
            async with slots:
                try:
                    await self.deliver(job_id)
                except Exception:
                    _log.exception("the webhook of job %s could not be tried", job_id)

        while True:
            try:
                due = await self.due()
            except Exception:
                _log.exception("looking for webhooks failed")
                due = []
            await asyncio.gather(*map(deliver, due))
            await asyncio.sleep(EVERY_S)

    def close(self) -> None:
        """Stops its threads; nothing can be delivered afterwards."""
        self._caller.close()

    async def _attempt(self, status: Status, before: Delivery) -> Delivery:
        began = self._clock()
        delivery = Delivery(
            attempts=before.attempts + 1,
            first_at=before.first_at or began,
            next_at=began + 2 * self._caller.total_s,  # until then no other process begins an attempt
        )
        path = layout.webhook(status.job.id)
        await self._storage.put(path, delivery.bytes())
        delivery = await self._outcome(status, delivery)
        await self._storage.put(path, delivery.bytes())
        self._observe(delivery)
        if delivery.reason:
            _log.warning("the webhook of job %s failed: %s", status.job.id, delivery.reason)
        return delivery

    async def _outcome(self, status: Status, delivery: Delivery) -> Delivery:
        """Sends the webhook, and returns its new state."""
        ended = datetime.fromtimestamp(status.ended_at or 0.0, UTC)
        body = to_json({"type": f"job.{status.state}", "timestamp": ended, "data": self._describe(status)})
        # The header has whole seconds, and the signature covers the header.
        at = datetime.fromtimestamp(int(self._clock()), UTC)
        try:
            signatures = [key.sign(status.job.id, at, body.decode()) for key in _keys(self._secret)]
            headers = {
                "webhook-id": status.job.id,
                "webhook-timestamp": str(int(at.timestamp())),
                "webhook-signature": " ".join(signatures),
            }
            response = await self._caller.post(self._caller.target(status.job.webhook or ""), body, headers)
        except InvalidParameter as error:  # the job was accepted under other settings, which may come back
            return self._fail(delivery, str(error), again=True)
        except CallError as error:
            _log.info("the webhook of job %s: %s", status.job.id, error.detail)
            return self._fail(delivery, str(error), again=not error.forbidden)
        delivery = delivery.model_copy(update={"status": response.status})
        if 200 <= response.status < 300:
            return delivery.model_copy(update={"delivered_at": self._clock()})
        reason = f"the receiver answered {response.status}"
        asked = _seconds(response.retry_after, self._clock())
        return self._fail(delivery, reason, again=response.status in _AGAIN, asked=asked)

    def _fail(self, delivery: Delivery, reason: str, *, again: bool, asked: float = 0.0) -> Delivery:
        now = self._clock()
        longest = min(self._pace.longest_s, self._pace.first_s * 2.0 ** min(delivery.attempts - 1, 60))
        # Drawn over the whole range, so that webhooks that failed together do not come back together.
        wait = max(self._draw() * longest, min(asked, self._pace.longest_s))
        if again and now + wait > delivery.first_at + self._pace.give_up_s:
            again, reason = False, f"given up after {delivery.attempts} attempts; in the last one, {reason}"
        update = {"next_at": now + wait} if again else {"next_at": now, "dead_at": now}
        return delivery.model_copy(update={"reason": reason, **update})


def _keys(secret: SecretStr | None) -> list[Webhook]:
    """The keys to sign with, old and new; InvalidParameter where there is none, or a bad one."""
    texts = secret.get_secret_value().split() if secret else []
    if not texts:
        raise InvalidParameter("no webhook can be sent from here: RECAST_WEBHOOK_SECRET is not set")
    keys = []
    for text in texts:
        prefix, _, encoded = text.partition("_")
        try:
            key = base64.b64decode(encoded, validate=True) if prefix == "whsec" else b""
        except ValueError:
            key = b""
        if len(key) not in _KEY_BYTES:
            raise InvalidParameter(
                "no webhook can be sent from here: RECAST_WEBHOOK_SECRET is not `whsec_` and 24 to 64 bytes in base64"
            )
        keys.append(Webhook(key))
    return keys


def _seconds(retry_after: str, now: float) -> float:
    """A Retry-After, which is a number of seconds or a date, as seconds from now; 0 for anything else."""
    if re.fullmatch("[0-9]{1,9}", retry_after):
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).replace(tzinfo=UTC).timestamp() - now)
    except ValueError:
        return 0.0
