"""The Celery application that service and workers share: queues, transport, and whose turn it is.

It keeps no results: outputs come back through keys of our own, and the state of a job is in storage. A lost message
does no lasting harm: an order ends at its deadline, and the ticket of a chunk lapses.
"""

import logging
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from queue import Empty
from typing import Any

from celery import Celery
from celery.worker import state
from kombu.entity import Queue
from kombu.pools import ProducerPool
from kombu.transport import redis as kombu_redis

from worker.queue import broker
from worker.settings import QueueSettings

INTERACTIVE = "interactive"
BULK = "bulk"
WEBHOOKS = "webhooks"
QUEUES = (INTERACTIVE, BULK, WEBHOOKS)
"""In the order in which a worker asks them."""

INFER = "recast.infer"
CHUNK = "recast.chunk"
WEBHOOK = "recast.webhook"
TASKS = {INFER: INTERACTIVE, CHUNK: BULK, WEBHOOK: WEBHOOKS}
"""Each task's queue."""

IN_A_ROW = 8
"""Messages that the first queue may give in a row; then a worker asks the others first, once."""

BROKEN: tuple[type[Exception], ...] = tuple(
    error
    for error in (*kombu_redis.Transport.connection_errors, *kombu_redis.Transport.channel_errors)
    if error is not KeyError
)
"""Errors of a broken connection. Kombu counts KeyError too, but a bad message raises that as well."""

_SENDERS = 4
_TLS = {"ssl_cert_reqs": "required"}  # by default kombu trusts every certificate
_LOOK_S = 0.1  # which queues are asked changes when a chunk ends, and that shows with the next look

_log = logging.getLogger(__name__)


class Channel(kombu_redis.Channel):
    """Kombu's channel, but an unreadable message is logged instead of ending the worker that fetched it.

    Such a message is gone from its queue already.
    """

    # What a worker has begun is no longer a message: it is finished, or comes back by its ticket. Kombu would post it
    # again when the connection breaks, and without Redis would write it to a file that nothing reads.
    do_restore = False

    def _brpop_read(self) -> Any:  # type: ignore[override]  # Kombu's takes options, and never gives any
        try:
            return super()._brpop_read()  # type: ignore[no-untyped-call]
        except Empty:
            raise
        except BROKEN:
            raise
        except Exception as error:
            _log.error("an unreadable message was dropped from a queue: %r", error)
            return True


class Transport(kombu_redis.Transport):
    """Kombu's Redis transport, with these channels."""

    Channel = Channel


@dataclass
class Places:
    """How many messages of each queue a worker handles at a time, when it last asked for more, and whether it could.

    Interactive messages may also take the free places of others, so their queue is always asked: a queue that is not
    asked waits until the next look, and an interactive message must not.
    """

    most: Mapping[str, int]
    asked_at: float = field(default_factory=time.monotonic)
    connected: bool = True

    @property
    def taken(self) -> Counter[str]:
        """Messages of each queue that are being handled."""
        return Counter(TASKS.get(request.name, INTERACTIVE) for request in list(state.requests.values()))

    @property
    def free(self) -> list[str]:
        """The queues of which it could handle more."""
        taken = self.taken
        if taken.total() >= sum(self.most.values()):
            return []
        return [queue for queue in QUEUES if queue == INTERACTIVE or taken[queue] < self.most[queue]]


class Turns:
    """Which queues kombu asks next, in order: only those with free places, so that none takes a place of another."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._queues: list[str] = []
        self._in_a_row = 0

    def update(self, queues: list[str]) -> None:
        """Notes the queues that can be asked."""
        self._queues = list(queues)

    def consume(self, n: int) -> list[str]:
        """The queues to ask now."""
        self._places.asked_at, self._places.connected = time.monotonic(), True
        asked = [queue for queue in self._places.free if queue in self._queues]
        return asked[1:] + asked[:1] if self._in_a_row >= IN_A_ROW else asked

    def rotate(self, last_used: str) -> str:
        """Notes which queue gave a message."""
        self._in_a_row = self._in_a_row + 1 if last_used == INTERACTIVE and self._in_a_row < IN_A_ROW else 0
        return last_used


def create_app(settings: QueueSettings, places: Places | None = None) -> Celery:
    """The application over the settings' broker; `places` for a worker. Raises InvalidParameter without a broker."""
    url = broker.check(settings.broker)
    app = Celery("recast", broker=url, set_as_current=False)
    transport: dict[str, object] = {
        "global_keyprefix": broker.PREFIX,
        # A killed worker takes its messages along. Kombu would bring them back after minutes, when requests have long
        # ended; chunks and webhooks come back sooner, when their tickets lapse. Without this, a message costs half.
        "ack_emulation": False,
        "health_check_interval": 10,
        "socket_timeout": 10,
        "socket_connect_timeout": 3,
        "socket_keepalive": True,
        "priority_steps": [0],  # one list a queue: no message has a priority
        "polling_interval": _LOOK_S,
    }
    if places is not None:
        transport["queue_order_strategy"] = partial(Turns, places)
    app.conf.update(
        broker_transport=Transport,
        broker_transport_options=transport,
        broker_use_ssl=_TLS if url.startswith("rediss:") else None,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_channel_error_retry=True,
        task_queues=[Queue(name) for name in QUEUES],
        task_default_queue=INTERACTIVE,
        task_create_missing_queues=False,
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        # A message holds its place until its task has ended, not only until it begins.
        task_acks_late=True,
        task_publish_retry_policy={"max_retries": 1, "interval_start": 0.05, "interval_step": 0, "interval_max": 0.05},
        # A worker fetches only what it can begin: other workers may have a free place.
        worker_prefetch_multiplier=1,
        worker_enable_prefetch_count_reduction=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        # Remote control and events are messages that nothing here reads.
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
    )
    return app


class Post:
    """Puts messages into their queues, over connections of its own; safe to use from any thread."""

    def __init__(self, app: Celery) -> None:
        """Connects to nothing yet."""
        self._app = app
        self._connections = app.connection_for_write().Pool(_SENDERS)
        self._producers = ProducerPool(connections=self._connections, limit=_SENDERS)

    def send(self, task: str, *words: str | int | list[str]) -> None:
        """A message for a task, given its arguments; raises what is in broker.FAILURES, within seconds."""
        with self._producers.acquire(block=True) as producer:
            # Declares nothing, since Redis makes a list of the first message. If a connection broke while Kombu
            # declares, Kombu would open another, and then post over the one that it has just closed.
            self._app.send_task(task, words, queue=TASKS[task], producer=producer, declare=[])

    def close(self) -> None:
        """Lets the connections go."""
        self._producers.force_close_all()
        self._connections.force_close_all()
