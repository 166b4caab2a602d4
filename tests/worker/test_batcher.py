"""The batcher, with real threads, a device that the test holds and lets go, and the test's own clock."""

import itertools
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.engine.batcher import Batch, Batcher, Closed, Expired, Full, Miscounted

PATIENCE_S = 20.0
"""A test that waits this long has failed; nothing here waits on time otherwise."""

Work = tuple[str, int]
"""Key and number."""


class Device:
    """A run() that starts when it is let go, keeps what it was given, and answers with the numbers."""

    def __init__(self) -> None:
        self.batches: list[list[Work]] = []
        self._started = threading.Semaphore(0)
        self._allowed = threading.Semaphore(0)

    def __call__(self, items: Sequence[Work]) -> list[int]:
        self.batches.append(list(items))
        self._started.release()
        assert self._allowed.acquire(timeout=PATIENCE_S)
        return [number for _, number in items]

    def wait_for_batch(self) -> None:
        assert self._started.acquire(timeout=PATIENCE_S)

    def let_go(self, runs: int = 1000) -> None:
        self._allowed.release(runs)

    @property
    def numbers(self) -> list[list[int]]:
        return [[number for _, number in batch] for batch in self.batches]


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Make:
    """Builds batchers and closes them after the test; their observer `hear` keeps each batch in `batches`."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.hear: Callable[[Batch], None] = self.batches.append
        self._made: list[Batcher[Work, int]] = []

    def __call__(
        self,
        run: Callable[[Sequence[Work]], Sequence[int]],
        *,
        max_batch: int = 8,
        max_queue: int = 100,
        max_wait: float = 0.0,
        weight: Callable[[Work], int] = lambda work: 1,
        clock: Callable[[], float] | None = None,
    ) -> Batcher[Work, int]:
        batcher: Batcher[Work, int] = Batcher(
            run,
            key=_key,
            max_batch=max_batch,
            max_queue=max_queue,
            max_wait=max_wait,
            weight=weight,
            observe=lambda batch: self.hear(batch),
            clock=clock or Clock(),
        )
        self._made.append(batcher)
        return batcher

    def close(self) -> None:
        for batcher in self._made:
            batcher.close(drain=False)


def _key(work: Work) -> Hashable:
    return work[0]


def _numbers(items: Sequence[Work]) -> list[int]:
    return [number for _, number in items]


@pytest.fixture
def device() -> Device:
    """A device that the test holds and lets go."""
    return Device()


@pytest.fixture
def make(device: Device) -> Iterator[Make]:
    """Makes batchers, and closes them in the end, with the device let go."""
    maker = Make()
    yield maker
    device.let_go()
    maker.close()


def test_a_lone_item_runs_at_once(make: Make) -> None:
    """An idle device takes the first item without waiting for company."""
    batcher = make(_numbers)
    assert batcher.submit(("a", 7)).result(PATIENCE_S) == 7
    batcher.close()
    assert [(batch.items, batch.rows, batch.reason) for batch in make.batches] == [(1, 1, "idle")]


def test_a_batch_grows_while_the_device_is_busy(make: Make, device: Device) -> None:
    """Items that arrive during a run leave together right after it, in order of arrival."""
    batcher = make(device)
    futures = [batcher.submit(("a", 0))]
    device.wait_for_batch()
    futures += [batcher.submit(("a", number)) for number in range(1, 6)]
    device.let_go()
    assert [future.result(PATIENCE_S) for future in futures] == [0, 1, 2, 3, 4, 5]
    assert device.numbers == [[0], [1, 2, 3, 4, 5]]


def test_no_batch_exceeds_its_size(make: Make, device: Device) -> None:
    """More than max_batch rows are cut into full batches, which say that they were full."""
    batcher = make(device, max_batch=2)
    batcher.submit(("a", 0))
    device.wait_for_batch()
    futures = [batcher.submit(("a", number)) for number in range(1, 6)]
    device.let_go()
    assert [future.result(PATIENCE_S) for future in futures] == [1, 2, 3, 4, 5]
    batcher.close()
    assert device.numbers == [[0], [1, 2], [3, 4], [5]]
    assert [batch.reason for batch in make.batches] == ["idle", "size", "size", "idle"]


def test_unequal_keys_never_share_a_batch(make: Make, device: Device) -> None:
    """The oldest item's key leads, items of that key overtake others, and the others come next."""
    batcher = make(device)
    batcher.submit(("x", 0))
    device.wait_for_batch()
    futures = [batcher.submit(work) for work in [("a", 1), ("b", 2), ("a", 3), ("b", 4)]]
    device.let_go()
    assert [future.result(PATIENCE_S) for future in futures] == [1, 2, 3, 4]
    assert device.batches[1:] == [[("a", 1), ("a", 3)], [("b", 2), ("b", 4)]]


def test_the_oldest_arrival_bounds_the_wait(make: Make) -> None:
    """With max_wait the device is held back, but only until the oldest item has waited that long, not the newest."""
    clock = Clock()
    seen: list[int] = []

    def run(items: Sequence[Work]) -> list[int]:
        seen.append(len(items))
        return _numbers(items)

    batcher = make(run, max_wait=10, clock=clock)
    first = batcher.submit(("a", 1))
    clock.now = 9.0
    second = batcher.submit(("a", 2))
    clock.now = 10.0
    third = batcher.submit(("a", 3))
    assert [future.result(PATIENCE_S) for future in (first, second, third)] == [1, 2, 3]
    batcher.close()
    assert seen == [3]
    assert [(batch.reason, batch.waited_s) for batch in make.batches] == [("wait", 10.0)]


def test_a_wait_ends_by_itself() -> None:
    """A held-back batch leaves when its time is up, on the real clock, even if nothing else arrives."""
    batches: list[Batch] = []
    batcher: Batcher[Work, int] = Batcher(
        _numbers, key=_key, max_batch=8, max_queue=8, max_wait=0.02, observe=batches.append
    )
    assert batcher.submit(("a", 1)).result(PATIENCE_S) == 1
    batcher.close()
    assert [batch.reason for batch in batches] == ["wait"]
    assert batches[0].waited_s >= 0.02


def test_a_full_batch_does_not_wait(make: Make) -> None:
    """However long max_wait is, a batch that can't grow leaves at once."""
    batcher = make(_numbers, max_batch=2, max_wait=1e6)
    futures = [batcher.submit(("a", number)) for number in (1, 2)]
    assert [future.result(PATIENCE_S) for future in futures] == [1, 2]
    batcher.close()
    assert [batch.reason for batch in make.batches] == ["size"]


def test_time_behind_a_busy_device_counts_as_waited(make: Make, device: Device) -> None:
    """An item that waited max_wait while the device was busy is not held back again."""
    clock = Clock()
    batcher = make(device, max_batch=2, max_wait=10, clock=clock)
    for number in (1, 2):
        batcher.submit(("a", number))
    device.wait_for_batch()
    late = batcher.submit(("a", 3))
    clock.now = 10.0
    device.let_go()
    assert late.result(PATIENCE_S) == 3


def test_a_bad_item_fails_alone(make: Make, device: Device) -> None:
    """A failed batch is run once more item by item: the neighbours of the bad one get their answers."""

    def run(items: Sequence[Work]) -> list[int]:
        numbers = device(items)
        if 2 in numbers:
            raise ArithmeticError("two")
        return numbers

    batcher = make(run)
    batcher.submit(("a", 0))
    device.wait_for_batch()
    good, bad, fine = (batcher.submit(("a", number)) for number in (1, 2, 3))
    device.let_go()
    assert (good.result(PATIENCE_S), fine.result(PATIENCE_S)) == (1, 3)
    with pytest.raises(ArithmeticError, match="two"):
        bad.result(PATIENCE_S)
    batcher.close()
    assert device.numbers == [[0], [1, 2, 3], [1], [2], [3]]
    assert make.batches[-1].failed == 1


def test_a_lone_bad_item_is_not_run_twice(make: Make) -> None:
    """An item that failed by itself is answered with its error at once."""
    runs: list[int] = []

    def run(items: Sequence[Work]) -> list[int]:
        runs.append(len(items))
        raise ArithmeticError("always")

    with pytest.raises(ArithmeticError, match="always"):
        make(run).submit(("a", 1)).result(PATIENCE_S)
    assert runs == [1]


def test_a_run_that_exits_does_not_stop_the_batcher(make: Make) -> None:
    """Even SystemExit ends only the item that caused it; the thread lives on."""

    def run(items: Sequence[Work]) -> list[int]:
        if items[0][1] == 1:
            raise SystemExit
        return _numbers(items)

    batcher = make(run)
    with pytest.raises(SystemExit):
        batcher.submit(("a", 1)).result(PATIENCE_S)
    assert batcher.submit(("a", 2)).result(PATIENCE_S) == 2


def test_a_miscounted_batch_is_no_answer(make: Make, device: Device) -> None:
    """If a batch has too few results, no item gets one, and the items are run one by one."""

    def run(items: Sequence[Work]) -> list[int]:
        numbers = device(items)
        return numbers[:1]

    batcher = make(run)
    batcher.submit(("a", 0))
    device.wait_for_batch()
    futures = [batcher.submit(("a", number)) for number in (1, 2)]
    device.let_go()
    assert [future.result(PATIENCE_S) for future in futures] == [1, 2]


@pytest.mark.parametrize("results", [[], [1, 2]])
def test_a_miscounted_item_is_an_error(make: Make, results: list[int]) -> None:
    """No result, or two, for one item is Miscounted."""
    with pytest.raises(Miscounted, match="for 1 items"):
        make(lambda items: results).submit(("a", 1)).result(PATIENCE_S)


def test_a_cancelled_item_is_not_run(make: Make, device: Device) -> None:
    """Cancelling while it waits takes an item out; its neighbours are run."""
    batcher = make(device)
    batcher.submit(("a", 0))
    device.wait_for_batch()
    gone, stays = (batcher.submit(("a", number)) for number in (1, 2))
    assert gone.cancel()
    device.let_go()
    assert stays.result(PATIENCE_S) == 2
    assert device.numbers == [[0], [2]]


def test_a_running_item_is_not_cancelled(make: Make, device: Device) -> None:
    """A running item can't be cancelled, and its answer comes."""
    future = make(device).submit(("a", 1))
    device.wait_for_batch()
    assert not future.cancel()
    device.let_go()
    assert future.result(PATIENCE_S) == 1


def test_an_expired_item_is_not_run(make: Make, device: Device) -> None:
    """An item whose deadline passed in the queue ends with Expired when the next batch is formed."""
    clock = Clock()
    batcher = make(device, clock=clock)
    batcher.submit(("a", 0))
    device.wait_for_batch()
    late, timely = batcher.submit(("a", 1), deadline=5.0), batcher.submit(("a", 2), deadline=5.1)
    clock.now = 5.0
    device.let_go()
    assert timely.result(PATIENCE_S) == 2
    with pytest.raises(Expired):
        late.result(PATIENCE_S)
    assert device.numbers == [[0], [2]]


def test_an_item_that_expires_behind_a_failed_batch_is_not_run_again(make: Make, device: Device) -> None:
    """Items whose deadline passed during a failed batch are not run again one by one."""
    clock = Clock()

    def run(items: Sequence[Work]) -> list[int]:
        device(items)
        clock.now += 10
        raise ArithmeticError("slow and wrong")

    batcher = make(run, clock=clock)
    batcher.submit(("a", 0))
    device.wait_for_batch()
    futures = [batcher.submit(("a", number), deadline=15.0) for number in (1, 2)]
    device.let_go()
    for future in futures:
        with pytest.raises(Expired):
            future.result(PATIENCE_S)
    assert device.numbers == [[0], [1, 2]]


def test_a_full_queue_refuses_at_once(make: Make, device: Device) -> None:
    """Beyond max_queue waiting rows submit raises Full, with all rows under way and no rate before one is measured."""
    batcher = make(device, max_queue=2)
    batcher.submit(("a", 0))
    device.wait_for_batch()
    waiting = [batcher.submit(("a", number)) for number in (1, 2)]
    with pytest.raises(Full) as caught:
        batcher.submit(("a", 3))
    assert (caught.value.depth, caught.value.rate) == (3, None)
    device.let_go()
    assert [future.result(PATIENCE_S) for future in waiting] == [1, 2]


def test_the_cancelled_and_the_expired_make_room(make: Make, device: Device) -> None:
    """A queue full of cancelled and expired items takes a new one, and the expired ones end with Expired."""
    clock = Clock()
    batcher = make(device, max_queue=2, clock=clock)
    batcher.submit(("a", 0))
    device.wait_for_batch()
    batcher.submit(("a", 1)).cancel()
    late = batcher.submit(("a", 2), deadline=1.0)
    clock.now = 1.0
    fresh = [batcher.submit(("a", number)) for number in (3, 4)]
    assert isinstance(late.exception(PATIENCE_S), Expired)
    device.let_go()
    assert [future.result(PATIENCE_S) for future in fresh] == [3, 4]
    assert device.numbers == [[0], [3, 4]]


def test_the_rate_is_rows_per_second_of_work(make: Make) -> None:
    """Idle time does not count: 4 rows that take 2 seconds are a rate of 2, before and after a pause."""
    clock = Clock()

    def run(items: Sequence[Work]) -> list[int]:
        clock.now += 2.0
        return _numbers(items)

    batcher = make(run, weight=lambda work: 4, clock=clock)
    assert batcher.rate is None
    for _ in range(2):
        batcher.submit(("a", 1)).result(PATIENCE_S)
        clock.now += 1000.0
    batcher.close()
    assert batcher.rate == pytest.approx(2.0)
    assert batcher.depth == 0


def test_the_depth_counts_what_is_not_done(make: Make, device: Device) -> None:
    """Depth counts waiting and running rows, and is 0 once the observer has the last batch."""
    batcher = make(device)
    depths: list[int] = []
    make.hear = lambda batch: depths.append(batcher.depth)
    batcher.submit(("a", 0))
    device.wait_for_batch()
    batcher.submit(("a", 1))
    assert batcher.depth == 2
    device.let_go()
    batcher.close()
    assert depths == [1, 0]


def test_batches_are_counted_in_rows(make: Make, device: Device) -> None:
    """An item that does not fit any more waits, and those behind it wait too; one beyond max_batch runs alone."""
    batcher = make(device, max_batch=4, weight=lambda work: work[1])
    batcher.submit(("a", 1))
    device.wait_for_batch()
    futures = [batcher.submit(("a", rows)) for rows in (3, 2, 1, 9, 1)]
    device.let_go()
    assert [future.result(PATIENCE_S) for future in futures] == [3, 2, 1, 9, 1]
    assert device.numbers == [[1], [3], [2, 1], [9], [1]]


def test_an_empty_queue_takes_an_item_of_any_weight(make: Make, device: Device) -> None:
    """An item heavier than max_queue is served when nothing waits before it, and refused otherwise."""
    batcher = make(device, max_queue=4, weight=lambda work: work[1])
    batcher.submit(("a", 1))
    device.wait_for_batch()
    heavy = batcher.submit(("a", 9))
    with pytest.raises(Full):
        batcher.submit(("a", 1))
    device.let_go()
    assert heavy.result(PATIENCE_S) == 9


def test_items_that_are_there_at_once_share_a_batch(make: Make, device: Device) -> None:
    """Several items queued together are one batch even on an idle device, each with its own answer and deadline."""
    clock = Clock()
    batcher = make(device, clock=clock)
    clock.now = 1.0
    futures = batcher.submit_all([(("a", 1), None), (("a", 2), 1.0), (("a", 3), 2.0)])
    device.let_go()
    assert (futures[0].result(PATIENCE_S), futures[2].result(PATIENCE_S)) == (1, 3)
    assert isinstance(futures[1].exception(PATIENCE_S), Expired)
    assert device.numbers == [[1, 3]]


def test_items_are_queued_together_or_not_at_all(make: Make, device: Device) -> None:
    """Where not all of several items fit, none is queued."""
    batcher = make(device, max_queue=3)
    batcher.submit(("a", 0))
    device.wait_for_batch()
    batcher.submit_all([(("a", 1), None), (("a", 2), None)])
    with pytest.raises(Full):
        batcher.submit_all([(("a", 3), None), (("a", 4), None)])
    last = batcher.submit(("a", 5))
    device.let_go()
    assert last.result(PATIENCE_S) == 5
    assert device.numbers == [[0], [1, 2, 5]]


def test_urgent_items_lead(make: Make, device: Device) -> None:
    """Urgent items come before earlier ones, which fill the room that is left if their key is the same."""
    batcher = make(device, max_batch=3)
    batcher.submit(("x", 0))
    device.wait_for_batch()
    futures = [batcher.submit(("a", number), urgent=False) for number in (1, 2)]
    futures += [batcher.submit(work, urgent=False) for work in [("b", 3), ("a", 4)]]
    futures += [batcher.submit(("a", number)) for number in (5, 6)]
    device.let_go()
    for future in futures:
        future.result(PATIENCE_S)
    assert device.numbers == [[0], [5, 6, 1], [2, 4], [3]]


def test_what_is_not_urgent_is_never_starved(make: Make, device: Device) -> None:
    """After three batches that urgent items led, the oldest of the others leads one, and urgent ones may fill it."""
    batcher = make(device, max_batch=2)
    batcher.submit(("x", 0))
    device.wait_for_batch()
    futures = [batcher.submit(("b", number), urgent=False) for number in (101, 102, 103)]
    futures += [batcher.submit(("a", number)) for number in range(1, 15)]
    device.let_go()
    for future in futures:
        future.result(PATIENCE_S)
    assert device.numbers[1:] == [
        *([1, 2], [3, 4], [5, 6]),
        [101, 102],
        *([7, 8], [9, 10], [11, 12]),
        [103],
        [13, 14],
    ]


def test_others_wait_for_nothing_where_nothing_is_urgent(make: Make) -> None:
    """Without urgent items the others are batched as if they were."""
    batcher = make(_numbers)
    assert batcher.submit(("a", 7), urgent=False).result(PATIENCE_S) == 7


def test_each_kind_has_room_of_its_own(make: Make, device: Device) -> None:
    """A queue full of background items still takes urgent ones, and the other way round."""
    batcher = make(device, max_queue=1)
    batcher.submit(("a", 0))
    device.wait_for_batch()
    futures = [batcher.submit(("a", number), urgent=urgent) for number, urgent in [(1, False), (2, True)]]
    for urgent in (True, False):
        with pytest.raises(Full):
            batcher.submit(("a", 3), urgent=urgent)
    device.let_go()
    assert [future.result(PATIENCE_S) for future in futures] == [1, 2]


def test_a_batch_that_runs_says_since_when(make: Make, device: Device) -> None:
    """busy_s is the time since the present batch began, and 0 while the device is idle."""
    clock = Clock()
    batcher = make(device, clock=clock)
    assert batcher.busy_s == 0
    future = batcher.submit(("a", 1))
    device.wait_for_batch()
    clock.now = 7.0
    assert batcher.busy_s == 7.0
    device.let_go()
    future.result(PATIENCE_S)
    batcher.close()
    assert batcher.busy_s == 0


def test_close_finishes_what_waits(make: Make, device: Device) -> None:
    """Draining runs what is queued, without holding it back, and takes nothing new."""
    batcher = make(device, max_wait=1e6)
    futures = [batcher.submit(("a", number)) for number in (1, 2)]
    device.let_go()
    batcher.close()
    assert [future.result(0) for future in futures] == [1, 2]
    assert [batch.reason for batch in make.batches] == ["close"]
    with pytest.raises(Closed):
        batcher.submit(("a", 3))
    batcher.close()


def test_close_without_draining_fails_what_waits(make: Make, device: Device) -> None:
    """The batch that runs is finished; what waits ends with Closed before close() returns."""
    batcher = make(device)
    running = batcher.submit(("a", 0))
    device.wait_for_batch()
    waiting = batcher.submit(("a", 1))
    failed = threading.Event()
    waiting.add_done_callback(lambda _: failed.set())
    with ThreadPoolExecutor(1) as pool:
        closing = pool.submit(batcher.close, drain=False)
        assert failed.wait(PATIENCE_S)
        device.let_go()
        closing.result(PATIENCE_S)
    assert isinstance(waiting.exception(0), Closed)
    assert running.result(0) == 0
    assert device.numbers == [[0]]


def test_close_may_be_called_from_an_answer(make: Make, device: Device) -> None:
    """A callback of a future, which runs in the batcher's own thread, may close it."""
    batcher = make(device)
    closed = threading.Event()

    def close(_: Future[int]) -> None:
        batcher.close()
        closed.set()

    batcher.submit(("a", 1)).add_done_callback(close)
    device.let_go()
    assert closed.wait(PATIENCE_S)


def test_an_observer_that_fails_stops_nothing() -> None:
    """An error in the observer is logged, and the next item is served."""

    def observe(batch: Batch) -> None:
        raise ArithmeticError("gauge")

    batcher: Batcher[Work, int] = Batcher(_numbers, key=_key, max_batch=1, max_queue=9, observe=observe)
    assert [batcher.submit(("a", number)).result(PATIENCE_S) for number in (1, 2)] == [1, 2]
    batcher.close()


def test_an_error_in_key_or_weight_is_the_callers(make: Make) -> None:
    """An error of `key` or `weight` is raised by submit, and the batcher goes on."""
    batcher = make(_numbers, weight=lambda work: 8 // work[1] if work[1] < 9 else 0)
    with pytest.raises(ZeroDivisionError):
        batcher.submit(("a", 0))
    with pytest.raises(ValueError, match="an item of 0 rows"):
        batcher.submit(("a", 9))
    assert batcher.submit(("a", 1)).result(PATIENCE_S) == 1


@pytest.mark.parametrize(("max_batch", "max_queue", "max_wait"), [(0, 1, 0), (1, 0, 0), (1, 1, -1)])
def test_limits_are_checked(max_batch: int, max_queue: int, max_wait: float) -> None:
    """A batcher that could never run or hold anything is refused when it is made."""
    with pytest.raises(ValueError, match="max_batch="):
        Batcher(_numbers, key=_key, max_batch=max_batch, max_queue=max_queue, max_wait=max_wait)


def test_many_threads_get_their_own_answers(make: Make) -> None:
    """Items from eight threads at once are all answered, each with its own result, in batches within the limit."""
    batcher = make(_numbers, max_queue=10_000)

    def ask(thread: int) -> bool:
        numbers = range(thread * 1000, thread * 1000 + 200)
        futures = [batcher.submit((str(number % 3), number)) for number in numbers]
        return [future.result(PATIENCE_S) for future in futures] == list(numbers)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))
    batcher.close()
    assert sum(batch.items for batch in make.batches) == 1600
    assert max(batch.rows for batch in make.batches) <= 8


WORK = st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 6), st.booleans(), st.booleans()), max_size=20)


@settings(deadline=None, max_examples=60)
@given(queue=WORK, max_batch=st.integers(1, 6))
def test_whatever_waits_is_batched_by_the_rules(queue: list[tuple[str, int, bool, bool]], max_batch: int) -> None:
    """Every item that is not cancelled runs once; batches have one key, fit, and keep each key's and kind's order."""
    device = Device()
    batcher: Batcher[Work, int] = Batcher(
        device, key=_key, weight=lambda work: work[1] % 10, max_batch=max_batch, max_queue=1000
    )
    batcher.submit(("blocker", 1))
    device.wait_for_batch()
    works = [(key, rows + 10 * place) for place, (key, rows, _, _) in enumerate(queue)]
    urgent = {work for work, (_, _, _, kind) in zip(works, queue, strict=True) if kind}
    futures = [batcher.submit(work, urgent=work in urgent) for work in works]
    alive = [
        work
        for work, future, (_, _, cancel, _) in zip(works, futures, queue, strict=True)
        if not cancel or not future.cancel()
    ]
    device.let_go()
    batcher.close()
    batches = device.batches[1:]
    for key, kind in itertools.product("ab", (True, False)):
        assert [work for batch in batches for work in batch if work[0] == key and (work in urgent) == kind] == [
            work for work in alive if work[0] == key and (work in urgent) == kind
        ]
    for batch in batches:
        assert len({key for key, _ in batch}) == 1
        assert len(batch) == 1 or sum(number % 10 for _, number in batch) <= max_batch
