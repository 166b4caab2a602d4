"""Tells whoever asked for it that a job is over: one signed POST, repeated until it is taken.

Signed as Standard Webhooks 1.0 says; docs/webhooks.md is written for the receiver.
"""

import base64
import logging
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from pydantic import SecretStr
from pydantic_core import to_json
from standardwebhooks import Webhook

from worker.caller import Answer, Caller, CallError
from worker.errors import InvalidParameter, UnknownJob
from worker.jobs import layout
from worker.jobs.board import Board, Status
from worker.jobs.layout import Delivery
from worker.settings import JobSettings
from worker.storage import Storage

_AGAIN = frozenset({408, 425, 429, *range(500, 600)})
_KEY_BYTES = range(24, 65)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pace:
    """How long the waits between attempts are, seconds."""

    first_s: float = 5.0
    """The longest before the second attempt; it doubles with each, and a wait is drawn between 0 and that."""
    longest_s: float = 3600.0
    """The longest of all, also where the receiver asks for more."""
    give_up_s: float = 24 * 3600.0
    """How long after the first attempt the last one may be."""


PACE = Pace()


class Courier:
    """Delivers webhooks; what became of each is in storage, so that any process may make the next attempt.

    Who is killed in the middle of an attempt leaves it to be repeated, with the same `webhook-id`.
    """

    def __init__(
        self,
        storage: Storage,
        settings: JobSettings,
        *,
        describe: Callable[[Status], object],
        caller: Caller | None = None,
        pace: Pace = PACE,
        clock: Callable[[], float] = time.time,
        draw: Callable[[], float] = random.random,
        observe: Callable[[Delivery], None] = lambda delivery: None,
    ) -> None:
        """`describe` gives the job as the service shows it, as something that pydantic can write.

        `clock` gives seconds since 1970, `draw` numbers from 0 to 1; `observe` is told of each attempt.
        """
        self._describe = describe
        self._storage = storage
        self._board = Board(storage)
        self._secret = settings.webhook_secret
        self._caller = caller or Caller(private=settings.webhook_private)
        self._pace = pace
        self._clock = clock
        self._draw = draw
        self._observe = observe
        self._waiting: dict[str, float] = {}

    def check(self, url: str) -> None:
        """Raises InvalidParameter unless webhooks can be sent from here, and to such a URL; looks no name up."""
        _keys(self._secret)
        self._caller.target(url)

    async def state(self, job_id: str) -> Delivery | None:
        """How far a job's webhook has come; None: no attempt was begun yet."""
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
        """Makes the attempt that is due; None: nothing is owed any more, else seconds until the next one is due.

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

    def close(self) -> None:
        """Lets its threads go; for when nothing is delivered any more."""
        self._caller.close()

    def payload(self, status: Status) -> bytes:
        """What is sent about a job that is over, as JSON."""
        ended = None if status.ended_at is None else datetime.fromtimestamp(status.ended_at, UTC)
        return to_json({"type": f"job.{status.state}", "timestamp": ended, "data": self._describe(status)})

    async def _attempt(self, status: Status, before: Delivery) -> Delivery:
        began = self._clock()
        delivery = Delivery(
            attempts=before.attempts + 1,
            first_at=before.first_at or began,
            next_at=began + 2 * self._caller.total_s,  # until then nobody begins another one beside it
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
        try:
            answer = await self._send(status)
        except InvalidParameter as error:  # it was accepted under other settings, which may come back
            return self._failed(delivery, str(error), again=True)
        except CallError as error:
            _log.info("the webhook of job %s: %s", status.job.id, error.detail)
            return self._failed(delivery, str(error), again=not error.forbidden)
        delivery = delivery.model_copy(update={"status": answer.status})
        if 200 <= answer.status < 300:
            return delivery.model_copy(update={"delivered_at": self._clock()})
        reason = f"the receiver answered {answer.status}"
        asked = _seconds(answer.retry_after, self._clock())
        return self._failed(delivery, reason, again=answer.status in _AGAIN, asked=asked)

    def _failed(self, delivery: Delivery, reason: str, *, again: bool, asked: float = 0.0) -> Delivery:
        now = self._clock()
        longest = min(self._pace.longest_s, self._pace.first_s * 2.0 ** min(delivery.attempts - 1, 60))
        # Drawn over the whole range, so that what failed together does not come back together.
        wait = max(self._draw() * longest, min(asked, self._pace.longest_s))
        if again and now + wait > delivery.first_at + self._pace.give_up_s:
            again, reason = False, f"given up after {delivery.attempts} attempts; in the last one, {reason}"
        update = {"next_at": now + wait} if again else {"next_at": now, "dead_at": now}
        return delivery.model_copy(update={"reason": reason, **update})

    async def _send(self, status: Status) -> Answer:
        keys = _keys(self._secret)
        url = self._caller.target(status.job.webhook or "")
        body = self.payload(status)
        at = datetime.fromtimestamp(int(self._clock()), UTC)
        headers = {
            "webhook-id": status.job.id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": " ".join(key.sign(status.job.id, at, body.decode()) for key in keys),
        }
        return await self._caller.post(url, body, headers)


def _keys(secret: SecretStr | None) -> list[Webhook]:
    texts = secret.get_secret_value().split() if secret else []
    if not texts:
        raise InvalidParameter("no webhook can be sent from here: RECAST_WEBHOOK_SECRET is not set")
    keys = [_key(text) for text in texts]
    if not all(len(key) in _KEY_BYTES for key in keys):
        raise InvalidParameter(
            "no webhook can be sent from here: RECAST_WEBHOOK_SECRET is not `whsec_` and 24 to 64 bytes in base64"
        )
    return [Webhook(key) for key in keys]


def _key(text: str) -> bytes:
    prefix, _, encoded = text.partition("_")
    try:
        return base64.b64decode(encoded, validate=True) if prefix == "whsec" else b""
    except ValueError:
        return b""


def _seconds(retry_after: str, now: float) -> float:
    """A Retry-After, which is a number of seconds or a date, as seconds from now; 0 for anything else."""
    if re.fullmatch("[0-9]{1,9}", retry_after):
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).replace(tzinfo=UTC).timestamp() - now)
    except ValueError:
        return 0.0
