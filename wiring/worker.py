"""`recast work`: a Celery worker in threads, whose messages meet in one batcher before one device.

Celery's main thread fetches messages and hands each to a thread, which waits for the event loop's thread to do the
work. The worker sends beats when it is warm, and as long as it makes progress.
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
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

from celery import Celery
from celery.app import trace
from celery.worker import state
from celery.worker.consumer import Consumer
from redis.asyncio import Redis

from wiring.engine import Engine, engine
from wiring.process import Process
from worker.engine.library import Library
from worker.engine.session import ProviderMissing, has_gpu
from worker.jobs.board import Board
from worker.jobs.dispatch import Dispatch
from worker.jobs.queued import Shift
from worker.metrics import Metrics
from worker.queue import beats, broker
from worker.queue.app import BROKEN, BULK, INTERACTIVE, WEBHOOKS, Places, Post, create_app
from worker.queue.beats import BEAT_S, Beat
from worker.queue.broker import Letterbox
from worker.queue.lines import MOST_TOGETHER
from worker.queue.tasks import EventLoop, Health, Inference, add_tasks
from worker.settings import EngineSettings, Limits, QueueSettings

STUCK = 70
"""The exit code of a worker whose device is stuck."""

IDLE_S = 10.0
"""Seconds without a request for messages after which a worker with free places counts as stuck."""

_WEBHOOKS = 4  # deliveries at a time; they mostly wait for others' servers
_GIVE_UP_S = 5.0
_log = logging.getLogger(__name__)


def work(process: Process, settings: EngineSettings, queue: QueueSettings, limits: Limits) -> int:
    """Works until SIGTERM or SIGINT, and returns the exit code. It sets Celery's globals, so call it once a process.

    Raises InvalidParameter without a broker, ProviderMissing if the GPU of the settings does not work, and OSError if
    the port is taken.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(os.EX_OK))
    with ExitStack() as stack:
        parts = _parts(stack, process, settings, queue, limits)
        _warm_up(parts.engine.library, settings.device)
        return _Work(queue, parts).run(stack)


@dataclass(frozen=True)
class _Parts:
    name: str
    metrics: Metrics
    places: Places
    app: Celery
    client: Redis
    loop: EventLoop
    engine: Engine
    inference: Inference
    shift: Shift


def _parts(
    stack: ExitStack, process: Process, settings: EngineSettings, queue: QueueSettings, limits: Limits
) -> _Parts:
    """Makes the worker's parts. At the end the connections close first, then the engine, then the event loop."""
    name, url = uuid.uuid4().hex, broker.check(queue.broker)
    loop = EventLoop()
    stack.callback(loop.close)
    # The services have admitted every picture that a worker fetches, so its own queue must never refuse one.
    most = max(settings.max_queue, 2 * settings.max_batch * MOST_TOGETHER)
    opened = AsyncExitStack()
    roomy = engine(process, settings.model_copy(update={"max_queue": most}), limits)
    parts = loop.begin(opened.enter_async_context(roomy)).result()
    stack.callback(lambda: loop.begin(opened.aclose()).result())
    # Twice a batch: else messages of one picture each could not fill the next batch while one runs.
    places = Places({INTERACTIVE: max(4, 2 * parts.embedded.rows_at_once), BULK: queue.bulk, WEBHOOKS: _WEBHOOKS})
    app = create_app(queue, places)
    stack.callback(app.close)
    post = Post(app)
    stack.callback(post.close)
    client = broker.connect_async(url)
    stack.callback(lambda: loop.begin(client.aclose()).result())
    letterbox = Letterbox(broker.connect(url))
    stack.callback(letterbox.close)
    dispatch = Dispatch(Board(process.storage), client, post)
    shift = Shift(name, client, post, dispatch, parts.chunks, parts.courier)
    inference = Inference(letterbox, parts.library, parts.embedded)
    return _Parts(name, process.metrics, places, app, client, loop, parts, inference, shift)


def _warm_up(library: Library, device: str) -> None:
    """Waits until every bundle is warm or refused; raises ProviderMissing if the GPU of the settings does not work."""
    if device.startswith("cuda") and not has_gpu(device):
        raise ProviderMissing(
            f"the device is {device}, but this onnxruntime knows no GPU; install onnxruntime-gpu, or choose auto or cpu"
        )
    reason = library.settle()
    # On a CPU a worker without a usable bundle waits for one; a GPU on which nothing loads is taken for broken.
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
        """Works until a signal comes; returns the exit code."""
        if self._queue.worker_port:
            stack.callback(Health(self._queue.worker_port, self.ailing, self._parts.metrics.registry).close)
        parts = self._parts
        add_tasks(parts.app, parts.inference.answer, self._task(parts.shift.chunk), self._task(parts.shift.webhook))
        trace.setup_worker_optimizations(parts.app, parts.name)
        state.should_stop = state.should_terminate = None
        # Celery's worker fetches messages in the thread that starts it, which is this one. Our own beats replace what
        # mingle, gossip and heartbeat do.
        worker = parts.app.WorkController(
            hostname=f"recast-{parts.name}",
            pool="threads",
            concurrency=sum(parts.places.most.values()),
            consumer_cls=_patient(parts.places),
            without_mingle=True,
            without_gossip=True,
            without_heartbeat=True,
        )
        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, self._stop)
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        background = (self._beat(), parts.shift.rounds(), parts.inference.follow_drops(parts.client))
        running = [parts.loop.begin(each) for each in background]
        gc.freeze()  # imported modules are never garbage, and each collection that scans them takes 30 ms
        try:
            worker.start()
        finally:
            self._stopped.set()
            for each in running:
                each.cancel()
        return int(worker.exitcode or 0)

    def ailing(self) -> str | None:
        """Why the worker makes no progress; None: it does."""
        parts, now = self._parts, time.monotonic()
        busy_s = parts.engine.embedded.busy_s
        if busy_s >= self._queue.stuck_s:
            return f"a batch has been running for {busy_s:.0f} s"
        silent = now - parts.places.asked_at
        if silent > IDLE_S and parts.places.connected and parts.places.free:
            return f"no message has been asked for in {silent:.0f} s"
        return None

    def _task(self, work: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
        """A function for Celery's threads that runs the coroutine in the event loop and waits for it."""

        def call(*arguments: Any) -> None:
            self._parts.loop.begin(work(*arguments)).result()

        return call

    def _stop(self, *_: object) -> None:
        """Fetches no more messages; begun work has `drain_s` to end, or until the second signal."""
        if self._stopped.is_set():
            return self._abandon()

        async def leave() -> None:
            """Tells the services that this worker takes nothing new."""
            with suppress(*broker.FAILURES):
                await beats.say(self._parts.client, Beat(name=self._parts.name, leaves=True))

        _log.warning("told to stop: begun work has %g s to end", self._queue.drain_s)
        self._stopped.set()
        state.should_stop = os.EX_OK  # Celery reads it between messages, and then leaves its loop
        self._parts.loop.begin(leave())
        _later(self._queue.drain_s, self._abandon)

    def _abandon(self) -> None:
        """Gives begun work back to other workers; a thread that still runs dies with the process."""
        self._parts.inference.drop_all()
        self._parts.loop.begin(self._parts.shift.abandon())
        _later(_GIVE_UP_S, partial(os._exit, os.EX_TEMPFAIL))

    def _watch(self) -> None:
        # A thread inside a stuck driver can't be ended, so the process must be: sys.exit would wait for it.
        while not self._stopped.wait(min(1.0, self._queue.stuck_s / 4)):
            busy_s = self._parts.engine.embedded.busy_s
            if busy_s >= self._queue.stuck_s:
                _log.critical("a batch has been running for %.0f s: the device is stuck, and the worker exits", busy_s)
                os._exit(STUCK)

    async def _beat(self) -> None:
        """Says every BEAT_S that the worker lives and what it can do, for as long as it makes progress."""
        library, embedded = self._parts.engine.library, self._parts.engine.embedded
        while True:
            if ailing := self.ailing():
                _log.error("the worker makes no progress: %s", ailing)
            elif not self._stopped.is_set():
                beat = Beat(
                    name=self._parts.name,
                    version=version("recast"),
                    # Versions that have left the store, too: services ask for them until all workers have the next one.
                    bundles=tuple(dict.fromkeys((*library.served, *library.loaded))),
                    refused=library.refused,
                    providers=library.providers,
                    rows=embedded.rows_at_once,
                    rate=embedded.rate,
                    bulk=self._queue.bulk,
                )
                try:
                    await beats.say(self._parts.client, beat)
                except broker.FAILURES as error:  # the thread that fetches messages warns
                    _log.info("a beat could not be sent: %s", error)
                except Exception:
                    _log.exception("a beat failed")
            await asyncio.sleep(BEAT_S)


def _patient(places: Places) -> type:
    """Celery's consumer with two changes: it tries a silent broker every second for ever, and no message ends it."""

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
                    _log.error("a foreign message was dropped from a queue: %r", error)
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
