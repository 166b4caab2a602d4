"""Translator over Redis and Celery: orders that arrive while messages are on their way leave together in the next one.

No thread waits for an answer: threads only post and fetch, a subscription tells which replies are ready, and each order
has a future that is registered before it is posted. An order that may be lost with a worker is posted once more, but
not twice: it might be what kills workers.
"""

import asyncio
import logging
import math
import time
import uuid
from collections.abc import Callable, Coroutine, Hashable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from functools import partial
from typing import Any, TypeVar

from models.bundle.archive import Bundle
from models.bundle.ports import PICTURES
from worker.errors import EngineError, NotReady, Overloaded
from worker.logs import current_ids
from worker.queue import beats, broker
from worker.queue.app import INFER, Post, create_app
from worker.queue.beats import BEAT_S, LOST_S, Beat, Crew
from worker.queue.broker import FAILURES, Letterbox, Parcel
from worker.queue.lines import Line, Message, Pending, share
from worker.queue.parcels import ParcelError, pack_order, read_reply
from worker.settings import QueueSettings
from worker.tracing import SILENT, Tracer
from worker.translator import Arrays, Done, Order, Translator, overloaded, timed_out

ON_WAY = 4
"""Messages of one kind on their way at a time, for each worker; further orders wait for the next message."""

HOLD_S = 2.0
"""Seconds after which a message no longer counts as on its way: a lost one must not hold up the others."""

NO_WORKER_RETRY_S = 10.0
"""What Retry-After says while no worker answers, seconds."""

T = TypeVar("T")

_RETRY_S = 0.5
_log = logging.getLogger(__name__)


class Remote(Translator):
    """Lets the workers of the broker run graphs; one event loop may use it, from `start` to `close`."""

    def __init__(self, settings: QueueSettings, *, tracer: Tracer = SILENT) -> None:
        """Connects to nothing yet. Raises InvalidParameter where the settings name no broker."""
        self._settings, self._tracer = settings, tracer
        self._messages = Post(create_app(settings))
        url = broker.check(settings.broker)
        self._letterbox = Letterbox(broker.connect(url))
        self._client = broker.connect_async(url)
        self._name = uuid.uuid4().hex
        self._crew = Crew()
        self._threads = ThreadPoolExecutor(3, thread_name_prefix="remote")
        self._lines: dict[Hashable, Line] = {}  # by bundle and the kind of the orders
        self._pending: dict[str, Pending] = {}
        self._gone: list[str] = []  # posted orders whose callers gave up
        self._channel_bytes = 0  # bytes of replies that may come on the channel
        self._under_way = 0  # in all services, when this one posted last
        self._trouble: str | None = "the queue between service and workers was not reached yet"
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def start(self) -> None:
        """Begins to listen; returns at once even if the broker does not answer: then `ready` says so."""
        self._begin(self._listen())

    async def run(self, bundle: Bundle, graph: str, inputs: Arrays, *, deadline: float) -> Done:
        """As Translator says; cancelling the call withdraws the order. Raises EngineError where the graph fails."""
        began = time.monotonic()
        origin = current_ids().get("request_id")
        order = Order(bundle.ref, graph, inputs, deadline, request_id=origin, trace=self._tracer.traceparent())
        if deadline <= began:
            raise timed_out(order.bundle)
        await self.ready()
        crew = self._crew.beats
        if not any(order.bundle in beat.bundles for beat in crew):
            reasons = {beat.refused[order.bundle] for beat in crew if order.bundle in beat.refused}
            lacking = f"no worker has {order.bundle}: their stores lack it, or it has not arrived yet"
            raise NotReady("; ".join(sorted(reasons)) or lacking, retry_after=NO_WORKER_RETRY_S)
        # Refused at once if those that wait here already can't all be posted.
        waiting = sum(len(line.waiting) for line in self._lines.values())
        if waiting and waiting + self._under_way >= self._settings.max_in_flight:
            raise self._overloaded(waiting + self._under_way)
        kind = order.bundle, order.kind
        if kind not in self._lines:  # kinds come and go with bundles: forget the lines that are empty
            self._lines = {kind: line for kind, line in self._lines.items() if line.waiting or line.on_way}
        line = self._lines.setdefault(kind, Line())
        pending = Pending(pack_order(order), _reply_bytes(bundle, order), deadline, line)
        self._pending[pending.id] = pending
        try:
            async with asyncio.timeout(deadline - began):
                line.waiting.append(pending)
                line.open += 1
                self._schedule(line)
                done = await pending.answer
        except TimeoutError as error:
            raise timed_out(order.bundle) from error
        finally:
            self._forget(pending)
        # All time that was not computing was waiting, the way there and back included.
        return Done(done.outputs, max(0.0, time.monotonic() - began - done.infer_s), done.infer_s)

    async def ready(self) -> None:
        """Returns while a worker answers; raises NotReady with the reason otherwise."""
        if self._closed:
            raise NotReady("this service is shutting down")
        if self._trouble:
            raise NotReady(self._trouble, retry_after=broker.SILENT_RETRY_S)
        if not any(beat.bundles for beat in self._crew.beats):
            why = "no worker has a bundle that loads" if self._crew.beats else "no worker answers"
            raise NotReady(why, retry_after=NO_WORKER_RETRY_S)

    async def close(self) -> None:
        """Fails waiting orders with NotReady, and closes the connections; the workers stay."""
        self._closed = True
        for pending in list(self._pending.values()):
            pending.end(NotReady("this service is shutting down"))
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        await asyncio.to_thread(self._messages.close)
        self._letterbox.close()
        await self._client.aclose()

    @property
    def depth(self) -> int:
        """Orders that are not answered yet, here and on their way."""
        return len(self._pending)

    @property
    def beats(self) -> list[Beat]:
        """The last beat of each living worker; may be called from any thread."""
        return self._crew.beats

    @property
    def workers(self) -> int:
        """How many workers are alive."""
        return len(self._crew.beats)

    def _overloaded(self, under_way: int) -> Overloaded:
        return overloaded(under_way, sum(beat.rate or 0.0 for beat in self._crew.beats))

    def _schedule(self, line: Line) -> None:
        """Posts the waiting orders soon: those of the same turn of the event loop leave together."""
        if not line.scheduled:
            line.scheduled = True
            asyncio.get_running_loop().call_soon(self._post, line)

    def _post(self, line: Line) -> None:
        line.scheduled = False
        crew = self._crew.beats
        while line.waiting and line.on_way < ON_WAY * max(1, len(crew)):
            together = [line.waiting.popleft() for _ in range(min(len(line.waiting), share(crew, line.open)))]
            size = sum(pending.reply_bytes for pending in together)
            at_once = size <= broker.CHANNEL_BYTES and self._channel_bytes + size <= broker.CHANNEL_BYTES_IN_ALL
            message = Message(line, len(together), size if at_once else 0)
            self._channel_bytes += message.channel_bytes
            line.on_way += 1
            message.hold = asyncio.get_running_loop().call_later(HOLD_S, self._release, message)
            for pending in together:
                pending.message = message
            self._begin(self._send(together, at_once=at_once))

    async def _send(self, together: list[Pending], *, at_once: bool) -> None:
        now = time.monotonic()
        # At least 1 ms: Redis refuses a time to live of 0.
        parcels = [
            Parcel(pending.id, max(1, int((pending.deadline - now) * 1000)), pending.data) for pending in together
        ]

        def post() -> int:
            admitted, self._under_way = self._letterbox.send(parcels, most=self._settings.max_in_flight)
            if admitted:
                self._messages.send(INFER, [parcel.id for parcel in parcels[:admitted]], self._name, at_once)
            return admitted

        try:
            admitted = await self._in_thread(post)
        except FAILURES as error:
            _log.warning("%d orders could not be posted: %s", len(together), error)
            for pending in together:
                pending.end(broker.translator_error(error))
            self._withdraw([pending.id for pending in together])
        else:
            for pending in together[admitted:]:
                pending.end(self._overloaded(self._under_way))

    def _forget(self, pending: Pending) -> None:
        """Forgets an order that is answered, late or cancelled."""
        del self._pending[pending.id]
        pending.line.open -= 1
        if pending.message is None:
            pending.line.waiting.remove(pending)
            return
        self._count_off(pending.message)
        if pending.answer.cancelled():
            self._withdraw([pending.id])

    def _count_off(self, message: Message) -> None:
        message.left -= 1
        if not message.left:
            self._channel_bytes -= message.channel_bytes
            self._release(message)

    def _release(self, message: Message) -> None:
        if message.hold is not None:
            message.hold.cancel()
            message.hold = None
            message.line.on_way -= 1
            self._schedule(message.line)

    def _withdraw(self, ids: list[str]) -> None:
        """Withdraws orders, those of the same turn of the event loop together."""

        async def flush() -> None:
            await asyncio.sleep(0)
            gone, self._gone = self._gone, []
            with suppress(*FAILURES):  # they end at their deadlines too
                await self._in_thread(partial(self._letterbox.withdraw, gone))

        if not self._gone:
            self._begin(flush())
        self._gone += ids

    async def _listen(self) -> None:
        while True:
            try:
                async with aclosing(broker.listen(self._client, broker.replies(self._name), broker.WORKERS)) as heard:
                    async for message in heard:
                        await self._hear(message)
            except FAILURES as error:
                trouble = str(broker.translator_error(error))
                if self._trouble != trouble:
                    _log.warning("the broker does not answer; trying again every half second: %s", error)
                self._trouble = trouble
            await asyncio.sleep(_RETRY_S)

    async def _hear(self, message: tuple[str, bytes] | None) -> None:
        """Handles what came on a channel; None: listening has begun, and earlier messages may have been missed."""
        if message is None:
            await beats.hear(self._client, self._crew)
            # Redis may have lost what was posted, or be another one.
            self._begin(self._post_again([pending for pending in self._pending.values() if pending.message]))
            self._trouble = None
            return
        channel, data = message
        if channel == broker.WORKERS:
            self._crew.hear(data)
            if self._crew.lost_another():
                self._begin(self._try_again())
            # A new worker makes room for messages.
            for line in self._lines.values():
                self._schedule(line)
            return
        try:
            replies = broker.read_replies(data)
        except ValueError as error:
            _log.warning("a message on %s is not one of replies: %s", channel, error)
            return
        for request_id, reply in replies.items():
            if reply is not None:
                self._end(request_id, _read_reply(reply))
        if ready := [request_id for request_id, reply in replies.items() if reply is None]:
            self._begin(self._fetch(ready))

    def _end(self, request_id: str, reply: Done | Exception) -> None:
        if pending := self._pending.get(request_id):
            pending.end(reply)

    async def _try_again(self) -> None:
        """Posts again, once, the orders that a killed worker may have had; if another one has them, no harm is done."""
        old = time.monotonic() - LOST_S + BEAT_S
        lost = [
            pending
            for pending in self._pending.values()
            if pending.message and pending.message.posted < old and not pending.tried_again
        ]
        for pending in lost:
            pending.tried_again = True
        await self._post_again(lost)

    async def _post_again(self, posted: list[Pending]) -> None:
        """Fetches what was answered meanwhile, and posts the rest again."""
        await self._fetch([pending.id for pending in posted])
        for pending in posted:
            if pending.message and not pending.answer.done():
                self._count_off(pending.message)
                pending.message = None
                pending.line.waiting.append(pending)
                self._schedule(pending.line)

    async def _fetch(self, ids: list[str]) -> None:
        """Answers orders whose replies are ready."""
        while wanted := [request_id for request_id in ids if request_id in self._pending]:
            try:
                replies = await self._in_thread(partial(self._read_replies, wanted))
            except FAILURES:
                await asyncio.sleep(_RETRY_S)
                continue
            for request_id, reply in replies.items():
                self._end(request_id, reply)
            return

    def _read_replies(self, ids: list[str]) -> dict[str, Done | Exception]:
        found = zip(ids, self._letterbox.fetch(ids), strict=True)
        return {request_id: _read_reply(data) for request_id, data in found if data is not None}

    async def _in_thread(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _read_reply(data: bytes) -> Done | Exception:
    try:
        return read_reply(data)
    except ParcelError as error:
        _log.warning("a reply can't be read: %s", error)
        return EngineError(f"a worker's reply can't be read: {error}")


def _reply_bytes(bundle: Bundle, order: Order) -> int:
    """Bytes of the order's outputs; an order of a few numbers may ask for large pictures."""
    picture, total = bundle.manifest.picture, 0
    sides = order.inputs["pixels"].shape[1:3] if "pixels" in order.inputs else ()
    for port in bundle.manifest.graphs[order.graph].outputs:
        values = order.rows * math.prod(axis or 1 for axis in picture.row(port, sides))
        total += values if port.kind in PICTURES else 4 * values
    return total
