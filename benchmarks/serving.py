"""What HTTP, decoding, batching and encoding cost on top of the network: /translate against bare session.run.

Both sides run the same two graphs for every picture (the classifier reads its labels, the generator translates it), in
the same run, in turn, on the same machine. The service is a process of its own; the load comes from this one.

    recast bench serving [--bundle NAME] [--seconds S] [--rounds N]
"""

import argparse
import asyncio
import io
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import onnxruntime
from PIL import Image

import models
from models.bundle.archive import Bundle
from models.bundle.pixels import to_tensor
from models.bundle.store import Store

CONCURRENCY = (1, 16)


@dataclass(frozen=True)
class Load:
    """What one side did in one round."""

    per_second: float
    p50_ms: float
    p99_ms: float


def main() -> None:
    """Prints a table of both sides at each concurrency."""
    options = _options()
    store = Store([Path(models.__file__).parent / "pretrained"])
    bundle = store.snapshot().get(options.bundle)
    if bundle is None:
        sys.exit(f"there is no shipped bundle {options.bundle!r}")
    raw = _raw(bundle)
    picture = _picture(bundle)
    with _service() as address:
        for concurrency in CONCURRENCY:
            sides: dict[str, list[Load]] = {"session.run": [], "/translate": []}
            for _ in range(options.rounds):
                sides["session.run"].append(_load_threads(raw, concurrency, options.seconds))
                sides["/translate"].append(_load_http(address, picture, bundle, concurrency, options.seconds))
            _print(concurrency, sides)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="avatars")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each side in each round")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def _raw(bundle: Bundle) -> Callable[[], None]:
    """One picture through the bundle's own sessions, set up as the engine sets up its own."""
    settings = onnxruntime.SessionOptions()
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    sessions = {
        name: onnxruntime.InferenceSession(str(bundle.graph(name)), settings, providers=["CPUExecutionProvider"])
        for name in bundle.manifest.graphs
    }
    manifest = bundle.manifest
    size = manifest.picture.size
    pixels = to_tensor(np.zeros((1, size, size, 3), np.uint8), manifest.picture)
    labels = np.zeros((1, len(manifest.label_order)), np.float32)

    def run() -> None:
        if manifest.classifier:
            sessions[manifest.classifier].run(None, {"pixels": pixels})
        graph = manifest.domains[0].graph
        sessions[graph].run(None, {"pixels": pixels, "labels": labels} if len(labels[0]) else {"pixels": pixels})

    return run


def _picture(bundle: Bundle) -> bytes:
    """A PNG of the network's size, so that neither side resizes."""
    size = bundle.manifest.picture.size
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "PNG")
    return written.getvalue()


@contextmanager
def _service() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "recast", "serve", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        while not _ready(address):
            if process.poll() is not None:
                sys.exit("the service did not start")
            time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait()


def _ready(address: str) -> bool:
    try:
        return httpx.get(f"{address}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def _load_threads(run: Callable[[], None], concurrency: int, seconds: float) -> Load:
    until = time.monotonic() + seconds

    def work(_: int) -> list[float]:
        took: list[float] = []
        while (begun := time.monotonic()) < until:
            run()
            took.append(time.monotonic() - begun)
        return took

    with ThreadPoolExecutor(concurrency) as pool:
        return _summary([t for times in pool.map(work, range(concurrency)) for t in times], seconds)


def _load_http(address: str, picture: bytes, bundle: Bundle, concurrency: int, seconds: float) -> Load:
    parameters = {"domains": bundle.manifest.domains[0].name, "model": bundle.ref}
    headers = {"content-type": "image/png"}

    async def load() -> Load:
        async with httpx.AsyncClient(base_url=address, timeout=60) as client:

            async def ask() -> None:
                answer = await client.post("/translate", params=parameters, content=picture, headers=headers)
                answer.raise_for_status()

            await ask()
            until = time.monotonic() + seconds
            workers = [_repeat(ask, until) for _ in range(concurrency)]
            return _summary([t for times in await asyncio.gather(*workers) for t in times], seconds)

    return asyncio.run(load())


async def _repeat(ask: Callable[[], Awaitable[None]], until: float) -> list[float]:
    took: list[float] = []
    while (begun := time.monotonic()) < until:
        await ask()
        took.append(time.monotonic() - begun)
    return took


def _summary(took: list[float], seconds: float) -> Load:
    milliseconds = np.array(took) * 1000
    return Load(len(took) / seconds, float(np.median(milliseconds)), float(np.percentile(milliseconds, 99)))


def _print(concurrency: int, sides: dict[str, list[Load]]) -> None:
    print(f"concurrency {concurrency}, medians of {len(next(iter(sides.values())))} rounds")
    for name, loads in sides.items():
        per_second = statistics.median(load.per_second for load in loads)
        p50 = statistics.median(load.p50_ms for load in loads)
        p99 = statistics.median(load.p99_ms for load in loads)
        print(f"  {name:12} {per_second:8.1f} pictures/s   p50 {p50:7.1f} ms   p99 {p99:7.1f} ms")
    pairs = zip(sides["/translate"], sides["session.run"], strict=True)
    ratios = [ours.per_second / bare.per_second for ours, bare in pairs]
    print(f"  /translate does {statistics.median(ratios):.0%} of the bare throughput")


if __name__ == "__main__":
    main()
