"""What a translation over Redis and Celery costs, and how it scales with workers, which the benchmark starts.

    recast bench broker [--seconds S] [--rounds N] [--bundle NAME] [--part overhead|throughput|scaling] [--appendonly]

- overhead: the same model in this process and in one worker process, in turns, at concurrency 1 and 32: a shipped
  bundle, which first reads a picture's labels and then translates it, and a model that sleeps 5 ms a batch.
- throughput: one worker whose model costs nothing, pictures of 128 px. Also the CPU time of a picture in this process,
  which stands for the service, in the worker and in Redis.
- scaling: 1, 2, 4 and 8 workers whose model sleeps 5 ms a batch, as if on a GPU: batches of at most 4 and of 64.

All processes share the machine's CPUs.
"""

import argparse
import asyncio
import gc
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import redis

import worker.engine.library
from benchmarks._deployment import Supervised, free_port, redis_command, wait_for_redis, wait_until
from benchmarks._load import Load, measure, print_medians, shipped_bundle
from models.bundle.archive import Bundle, write
from models.bundle.manifest import Domain, Graph, Manifest, Picture
from models.bundle.store import Store
from wiring.process import Process
from wiring.worker import work
from worker.embedded import Embedded
from worker.engine.engine import Engine
from worker.engine.library import Library
from worker.errors import NotReady
from worker.queue.remote import Remote
from worker.settings import EngineSettings, JobSettings, Limits, QueueSettings
from worker.translator import Array, Arrays, Translator

SIZE = 128
ROWS = 64
"""The largest batch of a fake model."""
FEW = 4
"""The same where a single worker must be the limit."""
SLEEP_S = 0.005
CLIENTS = 256
PARTS = ("overhead", "throughput", "scaling")


@dataclass(frozen=True)
class Broker:
    """A running Redis."""

    url: str
    pid: int


def main() -> None:
    """Prints the parts asked for. With --worker, runs as a worker instead."""
    options = _parse_options()
    if options.worker is not None:
        with _engines(options.sleep), Process(Store([options.worker]), JobSettings()) as process:
            sys.exit(work(process, EngineSettings(), QueueSettings(), Limits()))
    gc.freeze()  # as `recast serve` does
    for part in [options.part] if options.part else PARTS:
        with tempfile.TemporaryDirectory() as folder, _redis(Path(folder), options.appendonly) as broker:
            {"overhead": _overhead, "throughput": _throughput, "scaling": _scaling}[part](options, broker, Path(folder))


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each side in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bundle", default="avatars")
    parser.add_argument("--part", choices=PARTS)
    parser.add_argument("--appendonly", action="store_true", help="with Redis's append-only file")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--sleep", type=float, help=argparse.SUPPRESS)
    return parser.parse_args()


class FakeEngine:
    """Takes the place of an engine: it sleeps for the time of a batch, and returns the pictures as they are."""

    seconds = 0.0

    def __init__(self, bundle: Bundle, settings: EngineSettings) -> None:
        self.bundle, self.bytes, self.providers = bundle, 0, ("none",)

    def run(self, graph: str, inputs: Arrays) -> dict[str, Array]:
        """The same pixels."""
        if self.seconds:
            time.sleep(self.seconds)
        return {"translated": inputs["pixels"]}

    def warm(self) -> None:
        """There is nothing to warm."""

    def close(self) -> None:
        """There is nothing to close."""


@contextmanager
def _engines(sleep: float | None) -> Iterator[None]:
    """Replaces this process's engines by fake ones that sleep so many seconds a batch; None keeps the real ones."""
    if sleep is None:
        yield
        return
    real, FakeEngine.seconds = Engine, sleep
    worker.engine.library.Engine = FakeEngine  # type: ignore[attr-defined,assignment]
    try:
        yield
    finally:
        worker.engine.library.Engine = real  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Model:
    """A bundle, and the settings of the worker that runs it."""

    bundle: Bundle
    settings: Mapping[str, str]
    sleep: float | None = None
    """Seconds a batch of a fake engine; None for the real one."""

    @property
    def store(self) -> Path:
        """The store that holds the bundle."""
        return self.bundle.folder.parent


def _overhead(options: argparse.Namespace, broker: Broker, folder: Path) -> None:
    shipped = shipped_bundle(options.bundle)
    for name, model in {
        shipped.ref: Model(shipped, {"device": "auto"}),
        f"a model that sleeps {1000 * SLEEP_S:g} ms": Model(_fake_bundle(folder / "store"), _batches_of(ROWS), SLEEP_S),
    }.items():
        with _workers(1, broker, model, folder):
            for concurrency in (1, 32):
                rounds = [
                    asyncio.run(_measure_sides(model, broker, concurrency, options.seconds))
                    for _ in range(options.rounds)
                ]
                print(f"{name}, concurrency {concurrency}, medians of {options.rounds} rounds")
                for side in rounds[0]:
                    print_medians(side, [each[side] for each in rounds])
                p50, p99 = (
                    statistics.median(getattr(one["remote"], key) - getattr(one["embedded"], key) for one in rounds)
                    for key in ("p50_ms", "p99_ms")
                )
                print(f"  the broker adds {p50:.1f} ms at p50 and {p99:.1f} ms at p99")


async def _measure_sides(model: Model, broker: Broker, concurrency: int, seconds: float) -> dict[str, Load]:
    settings = EngineSettings.model_validate(model.settings)
    with _engines(model.sleep):
        embedded = Embedded(Library(Store([model.store]), settings), settings)
        remote = Remote(QueueSettings(broker=broker.url))
        await remote.start()
        loads = {}
        for name, translator in {"embedded": embedded, "remote": remote}.items():
            await _wait_for(translator)
            loads[name] = await measure(_one_picture(translator, model.bundle), concurrency, seconds)
        await remote.close()
        await embedded.close()
    return loads


def _one_picture(translator: Translator, bundle: Bundle) -> Callable[[], Awaitable[None]]:
    """The calls that the pipeline makes for one picture of the network's size."""
    manifest = bundle.manifest
    pixels = np.random.default_rng(0).integers(0, 256, (1, manifest.picture.size, manifest.picture.size, 3), np.uint8)
    graph = manifest.domains[0].graph
    inputs: dict[str, Array] = {"pixels": pixels}
    if (port := manifest.graphs[graph].takes("labels")) is not None:
        inputs["labels"] = np.zeros((1, *(port.shape or ())), np.float32)

    async def translate() -> None:
        deadline = time.monotonic() + 60
        if manifest.classifier and "labels" in inputs:
            await translator.run(bundle, manifest.classifier, {"pixels": pixels}, deadline=deadline)
        await translator.run(bundle, graph, inputs, deadline=deadline)

    return translate


def _throughput(options: argparse.Namespace, broker: Broker, folder: Path) -> None:
    model = Model(_fake_bundle(folder / "store"), _batches_of(ROWS), sleep=0.0)
    with _workers(1, broker, model, folder) as processes:
        watched = {"service": os.getpid(), "worker": processes[0].pid, "redis": broker.pid}
        for concurrency in (1, 32, CLIENTS):
            loads, costs = [], []
            for _ in range(options.rounds):
                before = {name: _cpu_s(pid) for name, pid in watched.items()}
                loads.append(asyncio.run(_measure_remote(broker, model.bundle, concurrency, options.seconds)))
                pictures = loads[-1].per_second * options.seconds
                costs.append({name: 1e6 * (_cpu_s(pid) - before[name]) / pictures for name, pid in watched.items()})
            print(f"a model that costs nothing, one worker, concurrency {concurrency}")
            print_medians("remote", loads)
            spent = (f"{name} {statistics.median(each[name] for each in costs):.0f}" for name in watched)
            print(f"  CPU time of a picture in microseconds: {', '.join(spent)}")


def _scaling(options: argparse.Namespace, broker: Broker, folder: Path) -> None:
    bundle = _fake_bundle(folder / "store")
    for rows in (FEW, ROWS):
        model = Model(bundle, _batches_of(rows), SLEEP_S)
        print(f"a model that sleeps {1000 * SLEEP_S:g} ms a batch of at most {rows}, concurrency {CLIENTS} a worker")
        for count in (1, 2, 4, 8):
            with _workers(count, broker, model, folder):
                loads = [
                    asyncio.run(_measure_remote(broker, model.bundle, CLIENTS * count, options.seconds))
                    for _ in range(options.rounds)
                ]
            print_medians(f"workers: {count}", loads)


def _batches_of(rows: int) -> dict[str, str]:
    """Settings of an engine whose batches have at most so many pictures."""
    return {"device": "cpu", "threads": str(rows), "max_batch": str(rows)}


def _fake_bundle(store: Path) -> Bundle:
    """A bundle for fake engines: its graph is not a graph."""
    manifest = Manifest(
        name="nothing",
        version="1",
        title="Nothing",
        family="cyclegan",
        domains=(Domain(name="same", graph="same"),),
        graphs={"same": Graph(file="same.onnx")},
        picture=Picture(size=SIZE),
        licence="CC0-1.0",
    )
    return write(store / "nothing", manifest, {"same.onnx": b"no graph"})


async def _measure_remote(broker: Broker, bundle: Bundle, concurrency: int, seconds: float) -> Load:
    remote = Remote(QueueSettings(broker=broker.url, max_in_flight=1 << 16))
    await remote.start()
    await _wait_for(remote)
    load = await measure(_one_picture(remote, bundle), concurrency, seconds)
    await remote.close()
    return load


async def _wait_for(translator: Translator) -> None:
    while True:
        try:
            return await translator.ready()
        except NotReady:
            await asyncio.sleep(0.05)


@contextmanager
def _redis(folder: Path, appendonly: bool) -> Iterator[Broker]:
    """Redis for one part of the benchmark, with or without its append-only file."""
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    process = Supervised("redis", redis_command(port, folder, appendonly), folder, {})
    try:
        wait_for_redis(url)
        yield Broker(url, process.pid)
    finally:
        process.close()


@contextmanager
def _workers(count: int, broker: Broker, model: Model, folder: Path) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Worker processes that have reported to Redis, with their engines warm."""
    settings = {"broker": broker.url, "storage": str(folder / "storage"), **model.settings}
    environment = {**os.environ, **{f"RECAST_{name.upper()}": value for name, value in settings.items()}}
    command = [sys.executable, "-m", "recast", "bench", "broker", f"--worker={model.store}"]
    command += [] if model.sleep is None else [f"--sleep={model.sleep}"]
    processes = [subprocess.Popen(command, env=environment) for _ in range(count)]
    try:
        with redis.Redis.from_url(broker.url) as client:
            wait_until(lambda: client.zcard("recast:workers") == count, f"a crew of {count} workers")
        yield processes
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def _cpu_s(pid: int) -> float:
    """The CPU time of a process's threads so far, in seconds, finer than the ticks that ps counts in."""
    return 1e-9 * sum(int(file.read_text().split()[0]) for file in Path(f"/proc/{pid}/task").glob("*/schedstat"))


if __name__ == "__main__":
    main()
