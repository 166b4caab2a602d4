"""A worker's side of the queue: its tasks, the way of an order through it (parcel, batcher, parcel), and its health."""

import asyncio
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import aclosing, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from celery import Celery
from redis import RedisError
from redis.asyncio import Redis

from models.bundle.archive import Bundle
from worker.embedded import Embedded, translator_error
from worker.engine.batcher import Closed, Expired
from worker.engine.library import Library
from worker.errors import EngineError, NotReady, RecastError
from worker.exposition import MEDIA_TYPE, Registry
from worker.queue import broker
from worker.queue.app import CHUNK, INFER, WEBHOOK
from worker.queue.broker import Letterbox, Parcel
from worker.queue.parcels import ParcelError, pack_reply, read_order
from worker.translator import Done, Order

T = TypeVar("T")

_RETRY_S = 0.2
_LATE_S = 5.0  # an order that expires in the queue is answered only when the next batch is formed

_log = logging.getLogger(__name__)

Answers = SimpleQueue[tuple[str, Done | BaseException]]


def add_tasks(
    app: Celery,
    infer: Callable[[list[str], str, bool], None],
    chunk: Callable[[str, int], None],
    webhook: Callable[[str], None],
) -> None:
    """Adds a worker's tasks to its application; each runs in a thread of the pool until its message is done."""

    def infer_task(ids: list[str], service: str, at_once: bool) -> None:
        infer(ids, service, at_once)

    def chunk_task(job_id: str, number: int) -> None:
        chunk(job_id, number)

    def webhook_task(job_id: str) -> None:
        webhook(job_id)

    app.task(infer_task, name=INFER, shared=False)
    app.task(chunk_task, name=CHUNK, shared=False)
    app.task(webhook_task, name=WEBHOOK, shared=False)


class Inference:
    """Takes orders out of Redis, computes them and puts the replies there as they come; for threads."""

    def __init__(self, letterbox: Letterbox, library: Library, translator: Embedded) -> None:
        self._letterbox, self._library, self._translator = letterbox, library, translator
        self._waiting: dict[str, Future[Done]] = {}
        self._origins: dict[str, str | None] = {}  # the HTTP request of each order

    def answer(self, ids: list[str], service: str, at_once: bool) -> None:
        """Answers the orders of one message to a service; `at_once` as in Letterbox.answer."""
        parcels = self._letterbox.take(ids)
        until = time.monotonic() + max((parcel.left_ms for parcel in parcels), default=0) / 1000
        answers: Answers = SimpleQueue()
        self._begin(parcels, answers)
        left = {parcel.id for parcel in parcels}
        while left:
            # Waits for one answer, then takes all others that are ready; raises Empty if none comes in time.
            ready = dict([answers.get(timeout=max(0.0, until + _LATE_S - time.monotonic()))])
            with suppress(Empty):
                while True:
                    ready |= [answers.get_nowait()]
            left -= ready.keys()
            self._post(service, ready, until, at_once)

    async def follow_drops(self, client: Redis) -> None:
        """Drops withdrawn orders, until it is cancelled; those that it misses end at their deadlines."""
        while True:
            with suppress(*broker.FAILURES):
                async with aclosing(broker.listen(client, broker.DROPPED)) as heard:
                    async for message in heard:
                        for request_id in message[1].decode(errors="replace").split(",") if message else ():
                            self._drop(request_id)
            await asyncio.sleep(_RETRY_S)

    def drop_all(self) -> None:
        """Answers every waiting order with NotReady."""
        for request_id in list(self._waiting):  # a copy: the futures' callbacks change it
            self._drop(request_id)

    def _drop(self, request_id: str) -> None:
        if future := self._waiting.get(request_id):
            future.cancel()

    def _begin(self, parcels: list[Parcel], answers: Answers) -> None:
        orders: defaultdict[str, list[tuple[str, Order]]] = defaultdict(list)
        for parcel in parcels:
            try:
                order = read_order(parcel.data, deadline=time.monotonic() + parcel.left_ms / 1000)
            except ParcelError as error:
                answers.put((parcel.id, error))
                continue
            self._origins[parcel.id] = order.request_id
            orders[order.bundle].append((parcel.id, order))
        for ref, pairs in orders.items():
            try:
                bundle = self._library.find(ref)
                if bundle is None:
                    raise NotReady(f"{ref} has not reached all workers yet")
                futures = self._translator.submit(bundle, [order for _, order in pairs])
            except Exception as error:  # whatever is wrong with one bundle, the orders for others go on
                for request_id, _ in pairs:
                    answers.put((request_id, error))
                continue
            for (request_id, _), future in zip(pairs, futures, strict=True):
                self._waiting[request_id] = future
                future.add_done_callback(partial(self._put_answer, request_id, bundle, answers))

    def _put_answer(self, request_id: str, bundle: Bundle, answers: Answers, future: Future[Done]) -> None:
        self._waiting.pop(request_id, None)
        if future.cancelled():
            answers.put((request_id, NotReady("the worker was stopped, or the order withdrawn")))
        elif isinstance(error := future.exception(), (Expired, Closed)):
            answers.put((request_id, translator_error(error, bundle)))
        else:
            answers.put((request_id, error or future.result()))

    def _post(self, service: str, ready: dict[str, Done | BaseException], until: float, at_once: bool) -> None:
        packed = {}
        for order_id, answer in ready.items():
            origin = self._origins.pop(order_id, None)
            if not isinstance(answer, Done | RecastError):
                trace = None if isinstance(answer, EngineError | ParcelError) else answer
                _log.error("an order failed: %s", answer, exc_info=trace, extra={"request_id": origin})
            packed[order_id] = pack_reply(answer)
        while True:
            try:
                return self._letterbox.answer(service, packed, at_once=at_once)
            except RedisError as error:
                if time.monotonic() >= until:
                    _log.error("%d replies could not be put into Redis in time: %s", len(packed), error)
                    return
                time.sleep(_RETRY_S)


class EventLoop:
    """An asyncio event loop in a thread of its own, which runs until `close()`: no other thread waits for it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="loop", daemon=True)
        self._thread.start()

    def begin(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Begins a coroutine there; cancelling the future cancels it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        """Cancels what runs there, and returns when all of it has ended."""

        async def cancel_others() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        self.begin(cancel_others()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Health:
    """A small HTTP port for probes and Prometheus, until it is closed.

    /healthz answers 200, or 503 and the reason; /metrics answers in Prometheus's text format.
    """

    def __init__(self, port: int, problem: Callable[[], str | None], registry: Registry) -> None:
        """`problem` returns what is wrong, or None. Raises OSError if the port is taken."""

        class Handler(BaseHTTPRequestHandler):
            timeout = 10  # seconds: a silent client must not hold a thread

            def do_GET(self) -> None:
                if self.path == "/healthz":
                    reason = problem()
                    self._answer(503 if reason else 200, "text/plain; charset=utf-8", f"{reason or 'ok'}\n".encode())
                elif self.path == "/metrics":
                    self._answer(200, MEDIA_TYPE, registry.text())
                else:
                    self._answer(404, "text/plain; charset=utf-8", b"/healthz and /metrics are here\n")

            def log_message(self, format: str, *args: object) -> None:
                """Logs nothing: probes come every few seconds."""

            def _answer(self, status: int, media_type: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", media_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._server = ThreadingHTTPServer(("", port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    def close(self) -> None:
        """Frees the port."""
        self._server.shutdown()
        self._server.server_close()
