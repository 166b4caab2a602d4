"""What HTTP, decoding, batching and encoding cost on top of the network: /translate against bare session.run.

Both sides run the same two graphs for every picture (the classifier reads its labels, the generator translates it), in
turn, on the same machine. The service is a process of its own, and the load comes from this one.

    recast bench serving [--bundle NAME] [--seconds S] [--rounds N]
"""

import argparse
import asyncio
import io
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import numpy as np
import onnxruntime
from PIL import Image

from benchmarks._deployment import free_port, is_ready
from benchmarks._load import Load, measure, print_medians, shipped_bundle, summarise
from models.bundle.archive import Bundle
from models.bundle.pixels import to_tensor

CONCURRENCY = (1, 16)


def main() -> None:
    """Prints a table of both sides at each concurrency."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="avatars")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each side in each round")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    bundle = shipped_bundle(options.bundle)
    run_graphs = _bare_sessions(bundle)
    # A picture of the network's size, so that neither side resizes.
    size, written = bundle.manifest.picture.size, io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    Image.fromarray(pixels).save(written, "PNG")
    with _service() as address:
        for concurrency in CONCURRENCY:
            sides: dict[str, list[Load]] = {"session.run": [], "/translate": []}
            for _ in range(options.rounds):
                sides["session.run"].append(_load_sessions(run_graphs, concurrency, options.seconds))
                sides["/translate"].append(
                    _load_service(address, written.getvalue(), bundle, concurrency, options.seconds)
                )
            print(f"concurrency {concurrency}, medians of {options.rounds} rounds")
            for name, loads in sides.items():
                print_medians(name, loads)
            pairs = zip(sides["/translate"], sides["session.run"], strict=True)
            ratio = statistics.median(ours.per_second / bare.per_second for ours, bare in pairs)
            print(f"  /translate does {ratio:.0%} of the bare throughput")


def _bare_sessions(bundle: Bundle) -> Callable[[], None]:
    """A function that runs a picture through sessions with the options that the engine sets."""
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


@contextmanager
def _service() -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "recast", "serve", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        while not is_ready(address):
            if process.poll() is not None:
                sys.exit("the service did not start")
            time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait()


def _load_sessions(run: Callable[[], None], concurrency: int, seconds: float) -> Load:
    until = time.monotonic() + seconds

    def work(_: int) -> list[float]:
        took: list[float] = []
        while (begun := time.monotonic()) < until:
            run()
            took.append(time.monotonic() - begun)
        return took

    with ThreadPoolExecutor(concurrency) as pool:
        return summarise([t for times in pool.map(work, range(concurrency)) for t in times], seconds)


def _load_service(address: str, picture: bytes, bundle: Bundle, concurrency: int, seconds: float) -> Load:
    parameters = {"domains": bundle.manifest.domains[0].name, "model": bundle.ref}
    headers = {"content-type": "image/png"}

    async def load() -> Load:
        async with httpx.AsyncClient(base_url=address, timeout=60) as client:

            async def ask() -> None:
                answer = await client.post("/translate", params=parameters, content=picture, headers=headers)
                answer.raise_for_status()

            return await measure(ask, concurrency, seconds)

    return asyncio.run(load())


if __name__ == "__main__":
    main()
