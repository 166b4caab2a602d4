"""The engines of a store's bundles: loaded on first use, unloaded by age, but never while they are leased.

A replaced bundle is a new bundle here: its engine is loaded and warmed beside the old one, which stays for the requests
that began with it.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from models.bundle.archive import Bundle
from models.bundle.store import Snapshot, Store
from worker.engine.engine import Engine
from worker.errors import EngineError
from worker.settings import EngineSettings

logger = logging.getLogger(__name__)

GRACE_S = 60.0
"""Seconds that an engine stays after its last use when its bundle has left the store: more than a request may take."""

RETRY_S = 30.0
"""Seconds before a bundle that did not load is tried again: perhaps only memory was short."""


class Library:
    """Engines by bundle, within `settings.cache_bytes` of graphs; safe to use from any thread.

    Only bundles that the store holds now count. Beyond the limit the least recently used engines are unloaded, never
    the one used last: a bundle that is larger than the limit is still served.
    """

    def __init__(self, store: Store, settings: EngineSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Loads nothing yet; `follow`, `load` and `engine` do."""
        self._store, self._settings, self._clock = store, settings, clock
        self._lock = threading.Lock()
        self._held: dict[Bundle, _Held] = {}  # the least recently used first
        self._loading: dict[Bundle, Future[None]] = {}
        self._refused: dict[Bundle, _Refusal] = {}
        self._opening: list[Future[None]] = []
        self._closed = False
        # One thread: two loads at a time would only slow each other, and the pictures that are being translated.
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="library")

    def follow(self, snapshot: Snapshot | None = None) -> None:
        """Loads the bundles of a snapshot (none: the store's present one) by rank, as far as they fit the limit.

        Returns at once; it is meant for `Store.watch`. `unready` waits for the bundles that the first call finds.
        """
        snapshot = snapshot or self._store.snapshot()
        with self._lock:
            self._refused = {bundle: why for bundle, why in self._refused.items() if bundle in snapshot.bundles}
        loads, room = [], self._settings.cache_bytes
        for rank, bundle in enumerate(snapshot.bundles):
            size = _size(bundle)
            if size <= room or rank == 0:
                room -= size
                loads.append(self.load(bundle))
            else:
                logger.info("%s is loaded when it is asked for: its %d bytes exceed the limit", bundle.ref, size)
        self._opening = self._opening or loads

    @contextmanager
    def engine(self, bundle: Bundle) -> Iterator[Engine]:
        """The bundle's engine, loaded if need be, while the context lasts. Raises EngineError if it can't be loaded."""
        while (engine := self.lease(bundle)) is None:
            self.load(bundle).result()
        try:
            yield engine
        finally:
            self.release(engine)

    def lease(self, bundle: Bundle) -> Engine | None:
        """The bundle's engine, to be returned with `release`; None if it is not loaded. Never waits."""
        with self._lock:
            held = self._held.pop(bundle, None)
            if held is None:
                return None
            self._held[bundle] = held  # at the end, as the one used last
            held.users += 1
            return held.engine

    def release(self, engine: Engine) -> None:
        """Ends a lease."""
        with self._lock:
            held = self._held.get(engine.bundle)
            if held is None:  # the library was closed meanwhile
                return
            held.users -= 1
            held.used_at = self._clock()
            gone = self._pull_surplus()
        _close(gone)

    def load(self, bundle: Bundle) -> Future[None]:
        """Done when the bundle's engine is loaded and warm; EngineError if it can't be.

        A bundle is loaded once for all callers. It may be unloaded again before it is leased: then call again.
        Don't cancel the future: others wait for it.
        """
        with self._lock:
            if bundle in self._loading:
                return self._loading[bundle]
            refusal = self._refused.get(bundle)
            if self._closed:
                return _failed_load(_closed_error(bundle))
            if bundle in self._held:
                done: Future[None] = Future()
                done.set_result(None)
                return done
            if refusal is not None and self._clock() - refusal.at < RETRY_S:
                return _failed_load(EngineError(refusal.reason))
            future = self._loading[bundle] = self._loader.submit(self._load, bundle)
            return future

    def find(self, ref: str) -> Bundle | None:
        """The bundle called `name@version`: the store's, or one that has left it and is still in memory."""
        with self._lock:
            left = next((bundle for bundle in self._held if bundle.ref == ref), None)
        return self._store.snapshot().get(ref) or left

    @property
    def loaded(self) -> tuple[str, ...]:
        """`name@version` of each engine in memory, the least recently used first."""
        with self._lock:
            return tuple(bundle.ref for bundle in self._held)

    @property
    def served(self) -> tuple[str, ...]:
        """`name@version` of the store's bundles by rank, except those that did not load."""
        with self._lock:
            return tuple(bundle.ref for bundle in self._store.snapshot().bundles if bundle not in self._refused)

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers that the graphs in memory really run on, each once."""
        with self._lock:
            return tuple(sorted({name for held in self._held.values() for name in held.engine.providers}))

    @property
    def refused(self) -> dict[str, str]:
        """`name@version` of the bundles that did not load, and why."""
        with self._lock:
            return {bundle.ref: refusal.reason for bundle, refusal in self._refused.items()}

    def unready(self) -> str | None:
        """Why no graph can be run yet; None when the bundles of the first `follow` were tried and one works."""
        snapshot = self._store.snapshot()
        refusals = [refused.reason for refused in snapshot.refused]
        if not snapshot.models:
            return "; ".join(["the store holds no bundle that can be served", *refusals])
        if not self._opening:
            return "loading has not begun"
        if pending := sum(not future.done() for future in self._opening):
            return f"{pending} of {len(self._opening)} bundles are still being loaded"
        with self._lock:
            works = any(bundle not in self._refused for bundle in snapshot.models)
        return None if works else "; ".join(["no bundle can be loaded", *self.refused.values(), *refusals])

    def settle(self) -> str | None:
        """Waits until each bundle of the first `follow` is loaded or refused; then as `unready`."""
        wait(self._opening)
        return self.unready()

    def close(self) -> None:
        """Waits for a running load, and frees all engines, leased or not."""
        with self._lock:
            self._closed = True
        self._loader.shutdown()
        with self._lock:
            gone = [held.engine for held in self._held.values()]
            self._held.clear()
        _close(gone)

    def _load(self, bundle: Bundle) -> None:
        try:
            if self._closed:
                raise _closed_error(bundle)
            engine = Engine(bundle, self._settings)
            engine.warm()
        except Exception as error:  # whatever is wrong with one bundle, the others go on
            expected = isinstance(error, EngineError)
            reason = str(error) if expected else f"{bundle.ref} does not load: unexpected {type(error).__name__}"
            with self._lock:
                del self._loading[bundle]
                if not self._closed:
                    self._refused[bundle] = _Refusal(reason, self._clock())
                    logger.error("%s is refused: %s", bundle.ref, error, exc_info=not expected)
            raise EngineError(reason) from error
        # In one step: no caller may find the bundle neither loading nor loaded, and load it again.
        with self._lock:
            del self._loading[bundle]
            self._refused.pop(bundle, None)
            self._held[bundle] = _Held(engine, used_at=self._clock())
            gone = self._pull_surplus()
        _close(gone)
        logger.info("%s is loaded, on %s", bundle.ref, ", ".join(engine.providers))

    def _pull_surplus(self) -> list[Engine]:
        """Removes the engines that may go: replaced and unused for the grace time, or beyond the limit of bytes."""
        present = set(self._store.snapshot().bundles)
        long_ago = self._clock() - GRACE_S
        surplus = sum(held.engine.bytes for bundle, held in self._held.items() if bundle in present)
        surplus -= self._settings.cache_bytes
        gone = []
        # All but the engine that was used last.
        for bundle, held in list(self._held.items())[:-1]:
            if held.users:
                continue
            if bundle not in present and held.used_at <= long_ago:
                gone.append(self._held.pop(bundle).engine)
            elif bundle in present and surplus > 0:
                surplus -= held.engine.bytes
                gone.append(self._held.pop(bundle).engine)
        return gone


@dataclass(eq=False)
class _Held:
    engine: Engine
    used_at: float
    users: int = 0


@dataclass(frozen=True)
class _Refusal:
    reason: str
    at: float


def _size(bundle: Bundle) -> int:
    size = 0
    for graph in bundle.manifest.graphs:
        with suppress(OSError):  # it is being replaced or removed, which loading or the next snapshot will show
            size += bundle.graph(graph).stat().st_size
    return size


def _closed_error(bundle: Bundle) -> EngineError:
    return EngineError(f"{bundle.ref} is not loaded: the library is closed")


def _failed_load(error: Exception) -> Future[None]:
    future: Future[None] = Future()
    future.set_exception(error)
    return future


def _close(engines: list[Engine]) -> None:
    for engine in engines:
        logger.info("%s is unloaded", engine.bundle.ref)
        engine.close()
