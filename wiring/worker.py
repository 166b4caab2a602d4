"""What `recast work` runs: a Celery worker in threads, whose messages all meet in one batcher before one device.

The main thread is Celery's: it fetches messages and hands each to a thread, which waits while the event loop's thread
has the work done. The worker says that it is there when it is warm, and for as long as all of this makes progress.
"""

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Coroutine
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from celery import Celery
from celery.app import trace
from celery.worker import state
from celery.worker.consumer import Consumer
from redis.asyncio import Redis

from models.bundle.store import Store
from service.schemas import JobSummary
from worker.embedded import Embedded
from worker.engine.library import Library
from worker.engine.session import ProviderMissing, has_gpu
from worker.exposition import Registry
from worker.jobs.board import Board
from worker.jobs.chunks import Chunks
from worker.jobs.dispatch import Dispatch
from worker.jobs.queued import Shift
from worker.jobs.roots import Roots
from worker.jobs.webhooks import Courier
from worker.metrics import Metrics
from worker.pipeline import Pipeline
from worker.queue import beats, broker
from worker.queue.app import BROKEN, BULK, INTERACTIVE, WEBHOOKS, Places, Post, create_app
from worker.queue.beats import BEAT_S, Beat
from worker.queue.broker import Letterbox
from worker.queue.lines import MOST_TOGETHER
from worker.queue.tasks import EventLoop, Health, Inference, add_tasks
from worker.settings import EngineSettings, JobSettings, Limits, QueueSettings
from worker.storage import open_storage
from worker.tracing import SILENT, Tracer

STUCK = 70
"""The exit code of a worker whose device is stuck."""

IDLE_S = 10.0
"""Seconds in which a worker with free places must have asked for messages, or it counts as stuck."""

PICTURES_AT_ONCE = 64
"""Pictures of jobs in memory."""

_WEBHOOKS = 4  # deliveries at a time; they wait for others and cost nothing
_GIVE_UP_S = 5.0
_log = logging.getLogger(__name__)


def work(
    store: Store,
    engine: EngineSettings,
    queue: QueueSettings,
    jobs: JobSettings,
    limits: Limits,
    tracer: Tracer = SILENT,
) -> int:
    """Works until SIGTERM or SIGINT, and returns the exit code; the process is its own: it takes Celery's globals.

    Raises InvalidParameter without a broker, ProviderMissing where the GPU that is asked for does not work,
    StorageError where there is no storage, and OSError where the port is taken.
    """
    signal.signal(signal.SIGTERM, _exit)
    with ExitStack() as stack:
        parts = _parts(stack, store, engine, queue, jobs, limits, tracer)
        _warm_up(store, parts.library, engine.device)
        return _Work(queue, parts).run(stack)


@dataclass(frozen=True)
class _Parts:
    name: str
    metrics: Metrics
    places: Places
    app: Celery
    client: Redis
    loop: EventLoop
    library: Library
    embedded: Embedded
    inference: Inference
    shift: Shift


def _parts(
    stack: ExitStack,
    store: Store,
    engine: EngineSettings,
    queue: QueueSettings,
    jobs: JobSettings,
    limits: Limits,
    tracer: Tracer,
) -> _Parts:
    name, metrics = uuid.uuid4().hex, Metrics(Registry())
    url = broker.check(queue.broker)
    storage, roots = open_storage(jobs.storage), Roots(jobs.roots)
    loop = EventLoop()
    stack.callback(loop.close)
    # What a worker has fetched has been admitted already, so here nothing is refused.
    most = max(engine.max_queue, 2 * engine.max_batch * MOST_TOGETHER)
    library = Library(store, engine)
    roomy = engine.model_copy(update={"max_queue": most})
    embedded = Embedded(library, roomy, observe=metrics.batch, tracer=tracer)
    metrics.watch_depth(lambda: embedded.depth)
    metrics.watch_library(library, store.snapshot)
    stack.callback(lambda: loop.begin(embedded.close()).result())
    # Twice a batch, or messages of one picture each could not fill it while the one before runs.
    places = Places({INTERACTIVE: max(4, 2 * embedded.rows_at_once), BULK: queue.bulk, WEBHOOKS: _WEBHOOKS})
    app = create_app(queue, places)
    stack.callback(app.close)
    post = Post(app)
    stack.callback(post.close)
    client = broker.connect_async(url)
    stack.callback(lambda: loop.begin(client.aclose()).result())
    letterbox = Letterbox(broker.connect(url))
    stack.callback(letterbox.close)
    pipeline = Pipeline(store, embedded.bulk, limits, threads=engine.threads, observe=metrics.picture, tracer=tracer)
    stack.callback(pipeline.close)
    courier = Courier(storage, jobs, describe=JobSummary.of, observe=metrics.webhook)
    stack.callback(courier.close)
    chunks = Chunks(storage, roots, pipeline, at_once=PICTURES_AT_ONCE, observe=metrics.chunk, tracer=tracer)
    shift = Shift(name, client, post, Dispatch(Board(storage), client, post), chunks, courier)
    inference = Inference(letterbox, library, embedded)
    return _Parts(name, metrics, places, app, client, loop, library, embedded, inference, shift)


def _warm_up(store: Store, library: Library, device: str) -> None:
    """Returns when every bundle is loaded and warm, or refused; raises ProviderMissing where a GPU was asked for."""
    if device.startswith("cuda") and not has_gpu(device):
        raise ProviderMissing(
            f"the device is {device}, but this onnxruntime knows no GPU; install onnxruntime-gpu, or choose auto or cpu"
        )
    store.watch(library.follow)
    reason = library.settle()
    if reason and device.startswith("cuda") and library.refused:
        raise ProviderMissing(f"the device is {device}, and nothing can be loaded on it: {reason}")
    if reason:
        _log.warning("nothing can be translated yet: %s", reason)


class _Work:
    """A warm worker from its first beat to its end."""

    def __init__(self, queue: QueueSettings, parts: _Parts) -> None:
        self._queue, self._parts = queue, parts
        self._stopped = threading.Event()

    def run(self, stack: ExitStack) -> int:
        """Works until a signal comes; the exit code."""
        if self._queue.worker_port:
            stack.callback(Health(self._queue.worker_port, self.ailing, self._parts.metrics.registry).close)
        parts = self._parts
        add_tasks(parts.app, parts.inference.answer, self._task(parts.shift.chunk), self._task(parts.shift.webhook))
        worker = _controller(parts)
        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, self._stop)
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        beside = (self._beat(), parts.shift.rounds(), parts.inference.follow_drops(parts.client))
        running = [parts.loop.begin(each) for each in beside]
        gc.freeze()  # what was imported is never garbage, and looking through it again and again costs 30 ms each time
        try:
            worker.start()
        finally:
            self._stopped.set()
            for each in running:
                each.cancel()
        return int(worker.exitcode or 0)

    def ailing(self) -> str | None:
        """What keeps the worker from working; None: nothing."""
        parts, now = self._parts, time.monotonic()
        if parts.embedded.busy_s >= self._queue.stuck_s:
            return f"a batch has been running for {parts.embedded.busy_s:.0f} s"
        silent = now - parts.places.asked_at
        if silent > IDLE_S and parts.places.connected and parts.places.free:
            return f"no message has been asked for in {silent:.0f} s"
        return None

    def _task(self, work: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
        """The coroutine function as one to be called in a thread."""

        def call(*arguments: Any) -> None:
            self._parts.loop.begin(work(*arguments)).result()

        return call

    def _stop(self, *_: object) -> None:
        """Fetches no more; what is begun has `drain_s`, or until the second signal."""
        if self._stopped.is_set():
            return self._abandon()
        _log.warning("told to stop: what is begun has %g s", self._queue.drain_s)
        self._stopped.set()
        state.should_stop = os.EX_OK
        self._parts.loop.begin(self._part())
        _later(self._queue.drain_s, self._abandon)

    def _abandon(self) -> None:
        """Gives back what is begun; a thread that then still runs is left behind."""
        self._parts.inference.drop_all()
        self._parts.loop.begin(self._parts.shift.abandon())
        _later(_GIVE_UP_S, partial(os._exit, os.EX_TEMPFAIL))

    def _watch(self) -> None:
        while not self._stopped.wait(min(1.0, self._queue.stuck_s / 4)):
            busy_s = self._parts.embedded.busy_s
            if busy_s >= self._queue.stuck_s:
                _log.critical("a batch has been running for %.0f s: the device is stuck, and the worker exits", busy_s)
                os._exit(STUCK)

    async def _beat(self) -> None:
        while True:
            if ailing := self.ailing():
                _log.error("the worker makes no progress: %s", ailing)
            elif not self._stopped.is_set():
                try:
                    await beats.say(self._parts.client, self._now())
                except broker.FAILURES as error:  # whoever fetches messages warns
                    _log.info("a beat was not heard: %s", error)
                except Exception:
                    _log.exception("a beat failed")
            await asyncio.sleep(BEAT_S)

    async def _part(self) -> None:
        with suppress(*broker.FAILURES):
            await beats.say(self._parts.client, Beat(name=self._parts.name, leaves=True))

    def _now(self) -> Beat:
        library, embedded = self._parts.library, self._parts.embedded
        return Beat(
            name=self._parts.name,
            bundles=library.served,
            refused=library.refused,
            providers=library.providers,
            rows=embedded.rows_at_once,
            rate=embedded.rate,
            bulk=self._queue.bulk,
        )


def _controller(parts: _Parts) -> Any:
    """Celery's worker, which fetches messages in the thread that starts it."""
    trace.setup_worker_optimizations(parts.app, parts.name)
    state.should_stop = state.should_terminate = None
    return parts.app.WorkController(
        hostname=f"recast-{parts.name}",
        pool="threads",
        concurrency=sum(parts.places.most.values()),
        consumer_cls=_patient(parts.places),
        without_mingle=True,
        without_gossip=True,
        without_heartbeat=True,
    )


def _patient(places: Places) -> type:
    """Celery's consumer, but it tries a silent broker every second, however long, and survives every message."""

    class Patient(Consumer):  # type: ignore[misc]
        def ensure_connected(self, conn: Any) -> Any:
            self.first_connection_attempt = False
            return conn.ensure_connection(
                failed, None, interval_start=1, interval_step=0, interval_max=1, callback=state.maybe_shutdown
            )

        def create_task_handler(self) -> Callable[[Any], None]:
            handle = super().create_task_handler()

            def careful(message: Any) -> None:
                try:
                    handle(message)
                except BROKEN:
                    raise
                except Exception as error:
                    _log.error("a message that is not ours was left out of a queue: %r", error)
                    message.reject_log_error(_log, self.connection_errors)

            return careful

    def failed(error: Exception, _: float) -> None:
        if places.connected:
            _log.warning("the broker does not answer, and is tried every second: %s", error)
        places.connected = False

    return Patient


def _later(seconds: float, function: Callable[[], object]) -> None:
    timer = threading.Timer(seconds, function)
    timer.daemon = True
    timer.start()


def _exit(*_: object) -> None:
    sys.exit(os.EX_OK)
