"""Merges single items into batches for one device; it chooses a batch's items when the device is free, not before.

One thread runs the batches, one after the other. It sleeps on a condition and arriving items wake it: nothing polls.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import chain
from typing import Generic, Literal, TypeVar

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")
Reason = Literal["size", "idle", "wait", "close"]
"""Why a batch left: it was full; the device was free; its oldest item had waited long enough; the batcher closes."""

URGENT_IN_A_ROW = 3
"""Batches that urgent items may lead while others wait; the next one is led by the oldest of the others."""


class Full(Exception):
    """The queue holds as many rows as it may; nothing was queued.

    depth: rows taken in and not done yet. rate: rows done per second of work, None before the first batch is done.
    """

    def __init__(self, depth: int, rate: float | None, max_queue: int) -> None:
        super().__init__(f"{depth} rows are under way, and at most {max_queue} may wait: come back later")
        self.depth = depth
        self.rate = rate


class Expired(Exception):
    """The deadline passed while the item waited; it was not run."""


class Closed(Exception):
    """The batcher is closed: it takes no more items, and waiting items that it does not run end with this."""


class Miscounted(Exception):
    """`run` did not return one result for each item."""


@dataclass(frozen=True)
class Batch:
    """One batch after it ran, for the observer."""

    items: int
    rows: int
    reason: Reason
    waited_s: float
    """What the oldest item waited in the queue, seconds."""
    took_s: float
    """From the start of the run until the last item was answered, seconds."""
    failed: int
    """Items that were answered with an error."""


class Batcher(Generic[Item, Result]):
    """Queues items and runs them in batches in a thread of its own, until `close()`.

    run: items to as many results in the same order. Where it raises, or miscounts, its items are run once more, one by
        one, so that a bad item fails alone.
    key: only items with equal keys share a batch. The oldest urgent item's key leads, and the order of arrival is kept;
        the room that is left goes to items that are not urgent. These lead one batch of four, if any wait.
    max_batch: rows in one batch; an item that weighs more runs alone.
    max_queue: rows that may wait, urgent ones and others each; beyond that `submit` raises Full. An empty queue takes
        an item of any weight.
    max_wait: seconds, from the arrival of the oldest item, that a free device may be held back for more. With 0 it
        takes what there is; batches then grow only while the device is busy.
    weight: rows of an item, 1 or more.
    observe: called with every batch, in the batcher's thread, after its items were answered.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Sequence[Result]],
        *,
        key: Callable[[Item], Hashable],
        max_batch: int,
        max_queue: int,
        max_wait: float = 0.0,
        weight: Callable[[Item], int] = lambda item: 1,
        observe: Callable[[Batch], None] = lambda batch: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if max_batch < 1 or max_queue < 1 or max_wait < 0:
            raise ValueError(f"{max_batch=}, {max_queue=}, {max_wait=}: the least are 1, 1 and 0")
        self._run, self._key, self._weight, self._observe, self._clock = run, key, weight, observe, clock
        self._max_batch, self._max_queue, self._max_wait = max_batch, max_queue, max_wait
        self._changed = threading.Condition()
        self._line: _Line[Item, Result] = _Line()
        self._running = 0
        self._began: float | None = None
        self._rate = _Rate()
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name="batcher", daemon=True)
        self._thread.start()

    def submit(self, item: Item, deadline: float | None = None, *, urgent: bool = True) -> Future[Result]:
        """Queues an item and returns at once; cancelling the future before its batch starts takes the item out.

        deadline: on time.monotonic's scale. An item that still waits then is not run and ends with Expired, but only
        when the next batch is formed: a caller that must know on time waits with its own timeout and cancels.
        urgent: whether a caller waits for it; other items give way.
        Raises Full or Closed.
        """
        return self.submit_all([(item, deadline)], urgent=urgent)[0]

    def submit_all(self, items: Sequence[tuple[Item, float | None]], *, urgent: bool = True) -> list[Future[Result]]:
        """As `submit`, for several items with their deadlines, which may share a batch; queues all or none."""
        now = self._clock()
        entries = [
            _Entry[Item, Result](item, self._key(item), self._weight(item), urgent, now, deadline)
            for item, deadline in items
        ]
        if bad := [entry.rows for entry in entries if entry.rows < 1]:
            raise ValueError(f"an item of {bad[0]} rows can't be queued: the least is 1")
        rows = sum(entry.rows for entry in entries)
        with self._changed:
            if self._closed:
                raise Closed("the batcher is closed and takes no more items")
            # Only a full queue is searched for dead items, since that takes time.
            dead = [] if self._has_room(rows, urgent) else self._line.pull_dead(now)
            refusal = None if self._has_room(rows, urgent) else Full(self.depth, self.rate, self._max_queue)
            if refusal is None:
                for entry in entries:
                    self._line.push(entry)
                self._changed.notify()
        # Futures are answered outside the lock: their callbacks may call the batcher.
        for gone in dead:
            gone.expire()
        if refusal is not None:
            raise refusal
        return [entry.future for entry in entries]

    @property
    def depth(self) -> int:
        """Rows that wait or run."""
        with self._changed:
            return self._line.rows + self._running

    @property
    def rate(self) -> float | None:
        """Rows done per second of work, averaged over the last batches; None before the first is done."""
        with self._changed:
            return self._rate.per_second

    @property
    def busy_s(self) -> float:
        """Seconds that the running batch has taken so far; 0 while none runs."""
        with self._changed:
            return 0.0 if self._began is None else self._clock() - self._began

    def close(self, *, drain: bool = True) -> None:
        """Takes no more items, finishes those that wait (without drain they end with Closed), and joins the thread.

        A batch that runs already is finished in any case. Closing twice does nothing more.
        """
        with self._changed:
            self._closed = True
            left = [] if drain else self._line.pull_all()
            self._changed.notify()
        for entry in left:
            entry.fail(Closed("the batcher was closed before this item's turn"))
        if threading.current_thread() is not self._thread:  # else a future's callback closes it
            self._thread.join()

    def _has_room(self, rows: int, urgent: bool) -> bool:
        waiting = self._line.waiting[urgent]
        return waiting == 0 or waiting + rows <= self._max_queue

    def _loop(self) -> None:
        while True:
            with self._changed:
                dead, batch, reason = self._await_batch()
                self._running = sum(entry.rows for entry in batch)
                self._began = self._clock() if batch else None
            for entry in dead:
                entry.expire()
            if batch:
                self._serve(batch, reason)
            elif not dead:
                return

    def _await_batch(self) -> "tuple[list[_Entry[Item, Result]], list[_Entry[Item, Result]], Reason]":
        """Waits for items to drop or to run; returns neither once the batcher is closed and empty."""
        while True:
            if dead := self._line.pull_dead(self._clock()):
                return dead, [], "close"
            if not self._line.rows:
                if self._closed:
                    return [], [], "close"
                self._changed.wait()
                continue
            batch, full = self._line.head(self._max_batch)
            held_back = _oldest(batch) + self._max_wait - self._clock()
            if full or self._closed or held_back <= 0:
                self._line.take(batch)
                waited: Reason = "wait" if self._max_wait else "idle"
                return [], batch, "size" if full else "close" if self._closed else waited
            self._changed.wait(held_back)

    def _serve(self, batch: "list[_Entry[Item, Result]]", reason: Reason) -> None:
        """Runs a batch, answers each of its items, and informs the rate and the observer."""
        started = self._clock()
        # From here on cancel() returns False: the device finishes what it has begun.
        live = [entry for entry in batch if entry.future.set_running_or_notify_cancel()]
        failed = self._answer(live) if live else 0
        took = self._clock() - started
        rows = sum(entry.rows for entry in live)
        with self._changed:
            self._running = 0
            self._began = None
            self._rate.add(rows, took)
        if live:
            try:
                self._observe(Batch(len(live), rows, reason, started - _oldest(live), took, failed))
            except Exception:  # a broken gauge must not stop the device
                logger.exception("the observer of batches failed")

    def _answer(self, live: "list[_Entry[Item, Result]]") -> int:
        """Runs items as one batch, or one by one if that fails; returns how many failed in the end."""
        error = self._attempt(live)
        if error is None:
            return 0
        if len(live) == 1:
            live[0].future.set_exception(error)
            return 1
        logger.warning("a batch of %d items failed (%s); they are run one by one", len(live), error, exc_info=error)
        failed = 0
        for entry in live:
            # Its deadline may have passed meanwhile.
            error = entry.expiry() if entry.is_late(self._clock()) else self._attempt([entry])
            if error is not None:
                entry.future.set_exception(error)
                failed += 1
        return failed

    def _attempt(self, live: "list[_Entry[Item, Result]]") -> BaseException | None:
        """Runs items as one batch and answers them all; if that fails, returns the error and answers none."""
        try:
            results = self._run([entry.item for entry in live])
            if len(results) != len(live):
                raise Miscounted(f"run() gave {len(results)} results for {len(live)} items")
        except BaseException as error:  # even SystemExit: a thread that dies here would leave every item unanswered
            return error
        for entry, result in zip(live, results, strict=True):
            entry.future.set_result(result)
        return None


@dataclass(eq=False, slots=True)
class _Entry(Generic[Item, Result]):
    item: Item
    key: Hashable
    rows: int
    urgent: bool
    arrived: float
    deadline: float | None
    future: Future[Result] = field(default_factory=Future)

    def is_late(self, now: float) -> bool:
        return self.deadline is not None and now >= self.deadline

    def is_dead(self, now: float) -> bool:
        return self.future.cancelled() or self.is_late(now)

    def expiry(self) -> Expired:
        return Expired("the deadline passed while the item waited; it was not run")

    def expire(self) -> None:
        """Ends an item that is not run: as cancelled, or with Expired."""
        self.fail(self.expiry())

    def fail(self, error: Exception) -> None:
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


def _oldest(batch: "Sequence[_Entry[Item, Result]]") -> float:
    return min(entry.arrived for entry in batch)


class _Line(Generic[Item, Result]):
    """The waiting entries, urgent ones (True) and others, each in order of arrival; not thread-safe by itself."""

    def __init__(self) -> None:
        self._entries: dict[bool, deque[_Entry[Item, Result]]] = {True: deque(), False: deque()}
        self.waiting = {True: 0, False: 0}  # rows
        self._in_a_row = 0  # batches that urgent entries led while others waited

    @property
    def rows(self) -> int:
        return sum(self.waiting.values())

    def push(self, entry: _Entry[Item, Result]) -> None:
        self._entries[entry.urgent].append(entry)
        self.waiting[entry.urgent] += entry.rows

    def head(self, most: int) -> tuple[list[_Entry[Item, Result]], bool]:
        """The entry whose turn it is and those that may join it, up to `most` rows; and whether the batch is full."""
        first = bool(self._entries[True]) and not (self._entries[False] and self._in_a_row >= URGENT_IN_A_ROW)
        batch: list[_Entry[Item, Result]] = []
        rows = 0
        for entry in chain(self._entries[first], self._entries[not first]):
            if batch and entry.key != batch[0].key:
                continue  # it keeps its place in the line
            if batch and rows + entry.rows > most:
                return batch, True
            batch.append(entry)
            rows += entry.rows
        return batch, rows >= most

    def take(self, batch: list[_Entry[Item, Result]]) -> None:
        """Removes the entries that run now."""
        self._in_a_row = self._in_a_row + 1 if batch[0].urgent and self._entries[False] else 0
        self.pull(batch)

    def pull(self, gone: list[_Entry[Item, Result]]) -> None:
        names = {id(entry) for entry in gone}
        for urgent, entries in self._entries.items():
            self._entries[urgent] = deque(entry for entry in entries if id(entry) not in names)
        for entry in gone:
            self.waiting[entry.urgent] -= entry.rows

    def pull_dead(self, now: float) -> list[_Entry[Item, Result]]:
        dead = [entry for entry in chain(*self._entries.values()) if entry.is_dead(now)]
        if dead:
            self.pull(dead)
        return dead

    def pull_all(self) -> list[_Entry[Item, Result]]:
        left = list(chain(*self._entries.values()))
        self.pull(left)
        return left


class _Rate:
    """Rows per second of work: each averaged exponentially, then divided, so that long batches count for more."""

    _NEWEST = 0.2

    def __init__(self) -> None:
        self._rows = 0.0
        self._seconds = 0.0

    def add(self, rows: int, seconds: float) -> None:
        self._rows += self._NEWEST * (rows - self._rows)
        self._seconds += self._NEWEST * (seconds - self._seconds)

    @property
    def per_second(self) -> float | None:
        return self._rows / self._seconds if self._seconds > 0 and self._rows > 0 else None
