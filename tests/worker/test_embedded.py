"""The translator of this process: real bundles and engines, a device that the test can hold, one event loop a test."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support.bundles import flip_bundle, toy_bundle, toy_picture, toy_translated
from support.graphs import SIZE, failing_bundle, square_root_bundle

from models.bundle.archive import Bundle
from models.bundle.store import Store
from worker.embedded import Embedded
from worker.engine.batcher import Batch
from worker.engine.engine import Engine
from worker.engine.library import Library
from worker.errors import EngineError, NotReady, Overloaded, TimedOut
from worker.settings import EngineSettings
from worker.translator import UNKNOWN_RATE_RETRY_S, Array, Arrays, Done, Order

PATIENCE_S = 20.0

Run = Callable[[Engine, str, Arrays], dict[str, Array]]


class Device:
    """Holds every run of a graph until it is let go, and keeps how many pictures each had."""

    def __init__(self, run: Run) -> None:
        self.rows: list[int] = []
        self._run = run
        self._started = threading.Semaphore(0)
        self._allowed = threading.Event()

    def run(self, engine: Engine, graph: str, inputs: Arrays) -> dict[str, Array]:
        self.rows.append(len(inputs["pixels"]))
        self._started.release()
        assert self._allowed.wait(PATIENCE_S)
        return self._run(engine, graph, inputs)

    async def wait_for_run(self) -> None:
        assert await asyncio.to_thread(self._started.acquire, timeout=PATIENCE_S)

    def let_go(self) -> None:
        self._allowed.set()

    def hold(self) -> None:
        self._allowed.clear()


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    """A device that the test lets go."""
    held = Device(Engine.run)
    monkeypatch.setattr(Engine, "run", lambda *arguments: held.run(*arguments))
    yield held
    held.let_go()


@asynccontextmanager
async def embedded(
    store: Store | Library,
    *,
    max_batch: int = 8,
    max_queue: int = 100,
    batches: list[Batch] | None = None,
    device: Device | None = None,
) -> AsyncIterator[Embedded]:
    """An Embedded on the CPU, closed in the end; eight threads are claimed, so that batches may have eight rows."""
    settings = EngineSettings(device="cpu", threads=8, max_batch=max_batch, max_queue=max_queue, max_wait_ms=0)
    library = Library(store, settings) if isinstance(store, Store) else store
    translator = Embedded(library, settings, observe=(batches if batches is not None else []).append)
    try:
        yield translator
    finally:
        if device is not None:
            device.let_go()
        await translator.close()


def soon(seconds: float = PATIENCE_S) -> float:
    """A deadline."""
    return time.monotonic() + seconds


def grey(rows: int = 1, level: int = 100, side: int = 32) -> NDArray[np.uint8]:
    """Plain pictures."""
    return np.full((rows, side, side, 3), level, np.uint8)


def zebra(translator: Embedded, bundle: Bundle, level: int, *, deadline: float | None = None) -> "asyncio.Task[Done]":
    """A running call that inverts one picture of this level."""
    return asyncio.create_task(
        translator.run(bundle, "zebra", {"pixels": grey(level=level)}, deadline=deadline or soon())
    )


async def queued(*tasks: "asyncio.Task[Done]", translator: Embedded, rows: int) -> None:
    """Returns when that many rows are under way."""
    while translator.depth < rows:
        assert not any(task.done() for task in tasks)
        await asyncio.sleep(0)


def test_pictures_and_logits_are_exact(tmp_path: Path) -> None:
    """Pictures come back translated by their own labels, logits as the classifier gives them, both with times."""
    toy = toy_bundle(tmp_path)
    pixels = np.stack([np.asarray(toy_picture({"blond"})), np.asarray(toy_picture({"grey", "smiling"}))])
    labels = np.eye(6, dtype=np.float32)[[0, 5]]

    async def ask() -> tuple[Done, Done]:
        async with embedded(Store([tmp_path])) as translator:
            translated = await translator.run(toy, "generator", {"pixels": pixels, "labels": labels}, deadline=soon())
            return translated, await translator.run(toy, "classifier", {"pixels": pixels}, deadline=soon())

    translated, seen = asyncio.run(ask())
    np.testing.assert_array_equal(translated.outputs["translated"], toy_translated(pixels, labels))
    assert translated.queue_s >= 0
    assert translated.infer_s > 0
    np.testing.assert_array_equal(seen.outputs["logits"] > 0, [[0, 1, 0, 0, 0, 0], [0, 0, 0, 1, 1, 0]])


def test_requests_share_a_batch_while_the_device_is_busy(tmp_path: Path, device: Device) -> None:
    """What waits behind a run leaves as one batch, each with its own picture; other graphs don't mix in."""
    flip = flip_bundle(tmp_path)
    batches: list[Batch] = []

    async def ask() -> tuple[list[Done], Done]:
        async with embedded(Store([tmp_path]), batches=batches, device=device) as translator:
            first = zebra(translator, flip, 0)
            await device.wait_for_run()
            more = [zebra(translator, flip, level) for level in (1, 2, 3)]
            horse = asyncio.create_task(translator.run(flip, "horse", {"pixels": grey(2)}, deadline=soon()))
            await queued(first, *more, horse, translator=translator, rows=6)
            device.let_go()
            return await asyncio.gather(first, *more), await horse

    zebras, horse = asyncio.run(ask())
    assert [done.outputs["translated"][0, 0, 0, 0] for done in zebras] == [255, 254, 253, 252]
    assert (horse.outputs["translated"] == 120).all()
    assert [batch.rows for batch in batches] == [1, 3, 2]
    assert all(done.queue_s > 0 and done.infer_s > 0 for done in zebras)


def test_background_work_gives_way(tmp_path: Path, device: Device) -> None:
    """Orders through `bulk` run after later orders of requests; closing it does nothing."""
    flip = flip_bundle(tmp_path)

    async def ask() -> tuple[list[str], list[Done]]:
        async with embedded(Store([tmp_path]), device=device) as translator:
            order: list[str] = []
            first = zebra(translator, flip, 0)
            await device.wait_for_run()
            bulk = translator.bulk
            patient = asyncio.create_task(bulk.run(flip, "horse", {"pixels": grey()}, deadline=soon()))
            patient.add_done_callback(lambda _: order.append("bulk"))
            await queued(first, patient, translator=translator, rows=2)
            urgent = zebra(translator, flip, 1)
            urgent.add_done_callback(lambda _: order.append("urgent"))
            await queued(first, patient, urgent, translator=translator, rows=3)
            device.let_go()
            answers = await asyncio.gather(first, patient, urgent)
            await bulk.close()
            await bulk.ready()
            await zebra(translator, flip, 2)
            return order, list(answers)

    order, answers = asyncio.run(ask())
    assert order == ["urgent", "bulk"]
    assert [done.outputs["translated"][0, 0, 0, 0] for done in answers] == [255, 120, 254]


def test_threads_may_queue_many_at_once(tmp_path: Path) -> None:
    """Orders that a thread submits together are one batch with an answer each; a cold bundle is loaded first."""
    flip, failing = flip_bundle(tmp_path), failing_bundle(tmp_path)
    batches: list[Batch] = []

    async def ask() -> list[int]:
        async with embedded(Store([tmp_path]), batches=batches) as translator:
            orders = [Order(flip.ref, "zebra", {"pixels": grey(level=level)}, soon()) for level in (1, 2, 3)]
            futures = await asyncio.to_thread(translator.submit, flip, orders)
            levels = [(await asyncio.wrap_future(future)).outputs["translated"][0, 0, 0, 0] for future in futures]
            with pytest.raises(NotReady, match="failing@1"):
                await asyncio.to_thread(translator.submit, failing, orders)
            assert translator.rows_at_once == 8
            return levels

    assert asyncio.run(ask()) == [254, 253, 252]
    assert [batch.items for batch in batches] == [3]


def test_a_batch_on_a_cpu_has_no_more_rows_than_threads(tmp_path: Path, device: Device) -> None:
    """On a CPU a batch has at most as many rows as the engine has threads, whatever `max_batch` says."""
    flip = flip_bundle(tmp_path)

    async def ask() -> None:
        async with embedded(Store([tmp_path]), max_batch=64, device=device) as translator:
            first = zebra(translator, flip, 0)
            await device.wait_for_run()
            more = [zebra(translator, flip, level) for level in range(12)]
            await queued(first, *more, translator=translator, rows=13)
            device.let_go()
            await asyncio.gather(first, *more)

    asyncio.run(ask())
    assert device.rows == [1, 8, 4]


def test_a_deadline_is_kept_while_the_device_is_busy(tmp_path: Path, device: Device) -> None:
    """A waiting order times out at its deadline, not when the device is free, and is not run."""
    flip = flip_bundle(tmp_path)

    async def ask() -> None:
        async with embedded(Store([tmp_path]), device=device) as translator:
            running = zebra(translator, flip, 0)
            await device.wait_for_run()
            with pytest.raises(TimedOut, match="flip@1 did not answer"):
                await zebra(translator, flip, 1, deadline=soon(0.05))
            assert not running.done()
            device.let_go()
            await running
            await zebra(translator, flip, 2)

    asyncio.run(ask())
    assert device.rows == [1, 1]


def test_a_deadline_bounds_the_run_itself(tmp_path: Path, device: Device) -> None:
    """A running order times out at its deadline."""
    flip = flip_bundle(tmp_path)

    async def ask() -> None:
        async with embedded(Store([tmp_path]), device=device) as translator:
            with pytest.raises(TimedOut):
                await zebra(translator, flip, 0, deadline=soon(0.05))

    asyncio.run(ask())


def test_a_passed_deadline_is_refused_at_once(tmp_path: Path) -> None:
    """An order after its deadline runs nothing."""
    flip = flip_bundle(tmp_path)
    batches: list[Batch] = []

    async def ask() -> None:
        async with embedded(Store([tmp_path]), batches=batches) as translator:
            with pytest.raises(TimedOut):
                await zebra(translator, flip, 0, deadline=soon(-1))

    asyncio.run(ask())
    assert batches == []


def test_a_cancelled_request_is_not_run(tmp_path: Path, device: Device) -> None:
    """A cancelled call leaves the queue, and its engine may be unloaded."""
    flip, toy = flip_bundle(tmp_path), toy_bundle(tmp_path)

    async def ask() -> tuple[str, ...]:
        library = Library(Store([tmp_path]), EngineSettings(device="cpu", threads=1, cache_bytes=1))
        async with embedded(library, device=device) as translator:
            running = zebra(translator, flip, 0)
            await device.wait_for_run()
            gone = zebra(translator, flip, 1)
            await queued(running, gone, translator=translator, rows=2)
            gone.cancel()
            with pytest.raises(asyncio.CancelledError):
                await gone
            device.let_go()
            await running
            await translator.run(toy, "classifier", {"pixels": grey()}, deadline=soon())
            return library.loaded

    assert asyncio.run(ask()) == ("toy@1",)
    assert device.rows == [1, 1]  # the picture that ran, and the one that was read


def test_a_full_queue_is_overloaded_at_once(tmp_path: Path, device: Device) -> None:
    """Retry-After is the depth over the measured rate; before any measurement it is a second."""
    flip = flip_bundle(tmp_path)
    batches: list[Batch] = []

    async def overloaded(translator: Embedded) -> Overloaded:
        running = zebra(translator, flip, 0)
        await device.wait_for_run()
        waiting = zebra(translator, flip, 1)
        await queued(running, waiting, translator=translator, rows=2)
        with pytest.raises(Overloaded, match="2 pictures are under way") as caught:
            await zebra(translator, flip, 2)
        device.let_go()
        await asyncio.gather(running, waiting)
        await device.wait_for_run()  # the second batch's start, or the next round would take it for its own
        return caught.value

    async def ask() -> tuple[float | None, float | None]:
        async with embedded(Store([tmp_path]), max_queue=1, batches=batches, device=device) as translator:
            before = await overloaded(translator)
            while (
                len(batches) < 2
            ):  # a caller may have its answer before the rate is known, and the observer hears last
                await asyncio.sleep(0.001)
            device.hold()
            rate = translator.rate
            after = await overloaded(translator)
            assert rate is not None
            assert after.retry_after == pytest.approx(2 / rate)
            return before.retry_after, after.retry_after

    before, _ = asyncio.run(ask())
    assert before == UNKNOWN_RATE_RETRY_S


def test_a_bad_picture_fails_alone(tmp_path: Path, device: Device) -> None:
    """A picture for which a graph gives invalid values raises EngineError; the others of its batch are answered."""
    roots = square_root_bundle(tmp_path)

    async def ask() -> list[Done | BaseException]:
        async with embedded(Store([tmp_path]), device=device) as translator:

            def ask_for(level: int) -> "asyncio.Task[Done]":
                pixels = grey(level=level, side=SIZE)
                return asyncio.create_task(translator.run(roots, "generator", {"pixels": pixels}, deadline=soon()))

            first = ask_for(255)
            await device.wait_for_run()
            more = [ask_for(level) for level in (200, 20, 255)]
            await queued(first, *more, translator=translator, rows=4)
            device.let_go()
            return await asyncio.gather(first, *more, return_exceptions=True)

    answers = asyncio.run(ask())
    assert [isinstance(answer, EngineError) for answer in answers] == [False, False, True, False]


def test_a_bundle_that_does_not_load_is_not_ready(tmp_path: Path) -> None:
    """A bundle that does not load raises NotReady with the reason; the others answer, and the translator is ready."""
    failing, flip = failing_bundle(tmp_path), flip_bundle(tmp_path)

    async def ask() -> None:
        async with embedded(Store([tmp_path])) as translator:
            with pytest.raises(NotReady, match="failing@1: graph 'generator' made values that are not finite"):
                await translator.run(failing, "generator", {"pixels": grey(side=SIZE)}, deadline=soon())
            await zebra(translator, flip, 0)
            await translator.ready()

    asyncio.run(ask())


def test_a_bundle_that_loads_keeps_no_other_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one bundle is loaded and warmed, requests for another are answered, and ready() says what is missing."""
    flip, toy = flip_bundle(tmp_path), toy_bundle(tmp_path)
    warm, allowed = Engine.warm, threading.Event()

    def slow(engine: Engine) -> None:
        assert engine.bundle == flip or allowed.wait(PATIENCE_S)
        warm(engine)

    monkeypatch.setattr(Engine, "warm", slow)

    async def ask() -> None:
        async with embedded(Store([tmp_path])) as translator:
            cold = asyncio.create_task(translator.run(toy, "classifier", {"pixels": grey()}, deadline=soon()))
            await zebra(translator, flip, 0)
            with pytest.raises(NotReady, match="1 of 2 bundles are still being loaded"):
                await translator.ready()
            assert not cold.done()
            allowed.set()
            assert (await cold).outputs["logits"].shape == (1, 6)
            await translator.ready()

    asyncio.run(ask())


def test_giving_up_on_a_cold_bundle_does_not_stop_its_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that times out while its bundle's load waits does not cancel the load for other callers."""
    flip_bundle(tmp_path)
    toy = toy_bundle(tmp_path)
    warm, allowed = Engine.warm, threading.Event()

    def slow(engine: Engine) -> None:
        assert allowed.wait(PATIENCE_S)
        warm(engine)

    monkeypatch.setattr(Engine, "warm", slow)

    async def ask() -> None:
        async with embedded(Store([tmp_path])) as translator:
            patient = asyncio.create_task(translator.run(toy, "classifier", {"pixels": grey()}, deadline=soon()))
            with pytest.raises(TimedOut):
                await translator.run(toy, "classifier", {"pixels": grey()}, deadline=soon(0.05))
            allowed.set()
            assert (await patient).outputs["logits"].shape == (1, 6)

    asyncio.run(ask())


def test_an_empty_store_is_not_ready(tmp_path: Path) -> None:
    """With an empty store ready() says that there is nothing to serve."""

    async def ask() -> None:
        async with embedded(Store([tmp_path])) as translator:
            with pytest.raises(NotReady, match="the store holds no bundle"):
                await translator.ready()

    asyncio.run(ask())


def test_close_fails_what_waits(tmp_path: Path, device: Device) -> None:
    """Closing finishes the running batch; waiting and later orders raise NotReady."""
    flip = flip_bundle(tmp_path)

    async def ask() -> None:
        async with embedded(Store([tmp_path]), device=device) as translator:
            running = zebra(translator, flip, 0)
            await device.wait_for_run()
            waiting = zebra(translator, flip, 1)
            await queued(running, waiting, translator=translator, rows=2)
            closing = asyncio.create_task(translator.close())
            with pytest.raises(NotReady, match="shutting down"):
                await waiting
            device.let_go()
            await closing
            assert (await running).outputs["translated"].all()
            with pytest.raises(NotReady):
                await zebra(translator, flip, 2)

    asyncio.run(ask())


def test_replacing_a_bundle_fails_no_request(tmp_path: Path) -> None:
    """While a bundle is replaced again and again, every request is answered, by the version it was planned with."""
    toy_bundle(tmp_path)

    async def ask() -> set[str]:
        store = Store([tmp_path])
        async with embedded(store) as translator:
            seen = set()
            for version in range(2, 6):
                old = store.snapshot().bundles[0]
                await translator.run(old, "classifier", {"pixels": grey()}, deadline=soon())
                await asyncio.to_thread(
                    toy_bundle, tmp_path, version=str(version), extra_domains=("hat",) * (version % 2)
                )
                new = store.refresh().bundles[0]
                for bundle in (old, new, old, new):
                    answers = await asyncio.gather(
                        *(translator.run(bundle, "classifier", {"pixels": grey()}, deadline=soon()) for _ in range(8))
                    )
                    assert {answer.outputs["logits"].shape[1] for answer in answers} == {
                        len(bundle.manifest.label_order)
                    }
                    seen.add(bundle.ref)
            return seen

    assert asyncio.run(ask()) == {f"toy@{version}" for version in range(1, 6)}
