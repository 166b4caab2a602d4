"""What the road over Redis and Celery costs, and how far it scales; Redis and the workers are started here.

    recast bench queue [--seconds S] [--rounds N] [--bundle NAME] [--part overhead|throughput|scaling] [--appendonly]

- overhead: the same model in this process and in one worker process, in turns, at concurrency 1 and 32: a shipped
  bundle, of which the pipeline asks a picture's labels, then its translation, and a model that sleeps 5 ms a batch.
- throughput: one worker whose model costs nothing, pictures of 128 px. Also the CPU time that a picture costs this
  process, which stands for the service, the worker and Redis.
- scaling: 1, 2, 4 and 8 workers whose model sleeps 5 ms a batch, as if on a GPU: batches of at most 4 and of 64.

All of them share the machine's CPUs.
"""

import argparse
import asyncio
import gc
import os
import shutil
import socket
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

import models
import worker.engine.library
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
"""Pictures of one batch of the models that are none."""
FEW = 4
"""As ROWS, where one worker alone is to be the limit."""
SLEEP_S = 0.005
CLIENTS = 256
PARTS = ("overhead", "throughput", "scaling")

Ask = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Load:
    """What one side did in one round."""

    per_second: float
    p50_ms: float
    p99_ms: float


def main() -> None:
    """Prints the parts that were asked for; or is a worker itself, with or without a model that is none."""
    options = _options()
    if options.worker is not None:
        _work(options.worker, options.sleep)
        return
    gc.freeze()  # as `recast serve` does
    for part in [options.part] if options.part else PARTS:
        with tempfile.TemporaryDirectory() as folder, _broker(Path(folder), options) as broker:
            {"overhead": _overhead, "throughput": _throughput, "scaling": _scaling}[part](options, broker, Path(folder))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each side in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bundle", default="avatars")
    parser.add_argument("--part", choices=PARTS)
    parser.add_argument("--appendonly", action="store_true", help="with Redis's append-only file")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--sleep", type=float, help=argparse.SUPPRESS)
    return parser.parse_args()


class Double:
    """In the place of an engine: sleeps as long as a batch is said to take, and gives the pictures back."""

    seconds = 0.0

    def __init__(self, bundle: Bundle, settings: EngineSettings) -> None:
        self.bundle, self.bytes, self.providers = bundle, 0, ("none",)

    def run(self, graph: str, inputs: Arrays) -> dict[str, Array]:
        """The same pixels."""
        if self.seconds:
            time.sleep(self.seconds)
        return {"translated": inputs["pixels"]}

    def warm(self) -> None:
        """Is warm."""

    def close(self) -> None:
        """Holds nothing."""


def _work(store: Path, sleep: float | None) -> None:
    with _engines(sleep), Process(Store([store]), JobSettings()) as process:
        sys.exit(work(process, EngineSettings(), QueueSettings(), Limits()))


@contextmanager
def _engines(sleep: float | None) -> Iterator[None]:
    """Has this process's engines replaced by doubles that sleep so long a batch; None: by none."""
    if sleep is None:
        yield
        return
    real, Double.seconds = Engine, sleep
    worker.engine.library.Engine = Double  # type: ignore[attr-defined,assignment]
    try:
        yield
    finally:
        worker.engine.library.Engine = real  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Model:
    """What a worker runs."""

    bundle: Bundle
    settings: Mapping[str, str]
    sleep: float | None = None
    """Of a model that is none, seconds a batch."""

    @property
    def store(self) -> Path:
        """The folder in which it lies."""
        return self.bundle.folder.parent


def _overhead(options: argparse.Namespace, broker: "_Redis", folder: Path) -> None:
    shipped = Store([Path(models.__file__).parent / "pretrained"]).snapshot().get(options.bundle)
    if shipped is None:
        sys.exit(f"there is no shipped bundle {options.bundle!r}")
    for name, model in {
        shipped.ref: Model(shipped, {"device": "auto"}),
        f"a model that sleeps {1000 * SLEEP_S:g} ms": Model(_nothing(folder / "store"), _of(ROWS), SLEEP_S),
    }.items():
        with _workers(1, broker, model, folder):
            for concurrency in (1, 32):
                print(f"{name}, concurrency {concurrency}, medians of {options.rounds} rounds")
                _print_overhead(
                    [asyncio.run(_sides(model, broker, concurrency, options.seconds)) for _ in range(options.rounds)]
                )


async def _sides(model: Model, broker: "_Redis", concurrency: int, seconds: float) -> dict[str, Load]:
    settings = EngineSettings.model_validate(model.settings)
    with _engines(model.sleep):
        embedded = Embedded(Library(Store([model.store]), settings), settings)
        remote = Remote(QueueSettings(broker=broker.url))
        await remote.start()
        loads = {}
        for name, translator in {"embedded": embedded, "remote": remote}.items():
            await _ready(translator)
            loads[name] = await _load(_picture(translator, model.bundle), concurrency, seconds)
        await remote.close()
        await embedded.close()
    return loads


def _picture(translator: Translator, bundle: Bundle) -> Ask:
    """What the pipeline asks of a translator for one picture of the network's size."""
    manifest = bundle.manifest
    pixels = np.random.default_rng(0).integers(0, 256, (1, manifest.picture.size, manifest.picture.size, 3), np.uint8)
    graph = manifest.domains[0].graph
    inputs: dict[str, Array] = {"pixels": pixels}
    if (port := manifest.graphs[graph].takes("labels")) is not None:
        inputs["labels"] = np.zeros((1, *(port.shape or ())), np.float32)

    async def ask() -> None:
        deadline = time.monotonic() + 60
        if manifest.classifier and "labels" in inputs:
            await translator.run(bundle, manifest.classifier, {"pixels": pixels}, deadline=deadline)
        await translator.run(bundle, graph, inputs, deadline=deadline)

    return ask


def _print_overhead(rounds: list[dict[str, Load]]) -> None:
    for name in rounds[0]:
        _print(name, [each[name] for each in rounds])
    p50, p99 = (
        statistics.median(getattr(each["remote"], field) - getattr(each["embedded"], field) for each in rounds)
        for field in ("p50_ms", "p99_ms")
    )
    print(f"  the broker's road adds {p50:.1f} ms at p50 and {p99:.1f} ms at p99")


def _throughput(options: argparse.Namespace, broker: "_Redis", folder: Path) -> None:
    model = Model(_nothing(folder / "store"), _of(ROWS), sleep=0.0)
    with _workers(1, broker, model, folder) as processes:
        watched = {"service": os.getpid(), "worker": processes[0].pid, "redis": broker.process.pid}
        for concurrency in (1, 32, CLIENTS):
            loads, costs = [], []
            for _ in range(options.rounds):
                before = {name: _cpu_s(pid) for name, pid in watched.items()}
                loads.append(asyncio.run(_remotely(broker, model.bundle, concurrency, options.seconds)))
                pictures = loads[-1].per_second * options.seconds
                costs.append({name: 1e6 * (_cpu_s(pid) - before[name]) / pictures for name, pid in watched.items()})
            print(f"a model that costs nothing, one worker, concurrency {concurrency}")
            _print("remote", loads)
            spent = (f"{name} {statistics.median(each[name] for each in costs):.0f}" for name in watched)
            print(f"  CPU time of a picture in microseconds: {', '.join(spent)}")


def _scaling(options: argparse.Namespace, broker: "_Redis", folder: Path) -> None:
    bundle = _nothing(folder / "store")
    for rows in (FEW, ROWS):
        model = Model(bundle, _of(rows), SLEEP_S)
        print(f"a model that sleeps {1000 * SLEEP_S:g} ms a batch of at most {rows}, concurrency {CLIENTS} a worker")
        for count in (1, 2, 4, 8):
            with _workers(count, broker, model, folder):
                loads = [
                    asyncio.run(_remotely(broker, model.bundle, CLIENTS * count, options.seconds))
                    for _ in range(options.rounds)
                ]
            _print(f"workers: {count}", loads)


def _of(rows: int) -> dict[str, str]:
    """Settings of an engine that takes so many pictures at once."""
    return {"device": "cpu", "threads": str(rows), "max_batch": str(rows)}


def _nothing(store: Path) -> Bundle:
    """A bundle whose graph is never opened."""
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


async def _remotely(broker: "_Redis", bundle: Bundle, concurrency: int, seconds: float) -> Load:
    remote = Remote(QueueSettings(broker=broker.url, max_in_flight=1 << 16))
    await remote.start()
    await _ready(remote)
    load = await _load(_picture(remote, bundle), concurrency, seconds)
    await remote.close()
    return load


async def _ready(translator: Translator) -> None:
    while True:
        try:
            return await translator.ready()
        except NotReady:
            await asyncio.sleep(0.05)


async def _load(ask: Ask, concurrency: int, seconds: float) -> Load:
    await asyncio.gather(*(ask() for _ in range(concurrency)))
    until = time.monotonic() + seconds
    took = [t for times in await asyncio.gather(*(_repeat(ask, until) for _ in range(concurrency))) for t in times]
    milliseconds = np.array(took) * 1000
    return Load(len(took) / seconds, float(np.median(milliseconds)), float(np.percentile(milliseconds, 99)))


async def _repeat(ask: Ask, until: float) -> list[float]:
    took: list[float] = []
    while (begun := time.monotonic()) < until:
        await ask()
        took.append(time.monotonic() - begun)
    return took


def _print(name: str, loads: list[Load]) -> None:
    per_second, p50, p99 = (
        statistics.median(getattr(load, field) for load in loads) for field in ("per_second", "p50_ms", "p99_ms")
    )
    print(f"  {name:10} {per_second:8.1f} pictures/s   p50 {p50:7.1f} ms   p99 {p99:7.1f} ms")


@dataclass(frozen=True)
class _Redis:
    url: str
    process: "subprocess.Popen[bytes]"


@contextmanager
def _broker(folder: Path, given: argparse.Namespace) -> Iterator[_Redis]:
    """A Redis that keeps nothing, unless it is to have its append-only file."""
    program = shutil.which("redis-server")
    if program is None:
        sys.exit("there is no redis-server here")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    appendonly = "yes" if given.appendonly else "no"
    options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    options += ["--appendonly", appendonly, "--maxmemory-policy", "noeviction"]
    process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
    try:
        with redis.Redis(port=port) as client:
            _until(lambda: _answers(client))
        yield _Redis(f"redis://127.0.0.1:{port}/0", process)
    finally:
        process.kill()
        process.wait()


@contextmanager
def _workers(count: int, broker: _Redis, model: Model, folder: Path) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Worker processes that are warm."""
    told = {"broker": broker.url, "storage": str(folder / "storage"), **model.settings}
    environment = {**os.environ, **{f"RECAST_{name.upper()}": value for name, value in told.items()}}
    command = [sys.executable, "-m", "recast", "bench", "queue", f"--worker={model.store}"]
    command += [] if model.sleep is None else [f"--sleep={model.sleep}"]
    processes = [subprocess.Popen(command, env=environment) for _ in range(count)]
    try:
        with redis.Redis.from_url(broker.url) as client:
            _until(lambda: client.zcard("recast:workers") == count)
        yield processes
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def _until(happens: Callable[[], bool]) -> None:
    while not happens():
        time.sleep(0.05)


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def _cpu_s(pid: int) -> float:
    """The CPU time that a process's threads have spent so far, seconds; what ps tells is counted in ticks."""
    return 1e-9 * sum(int(file.read_text().split()[0]) for file in Path(f"/proc/{pid}/task").glob("*/schedstat"))


if __name__ == "__main__":
    main()
