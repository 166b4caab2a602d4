"""Whether the time of a large job grows with its number of pictures alone, and no process's memory with it.

The benchmark starts Redis, a service and workers by the documented commands, sends a ZIP of small pictures as one job
and fetches the results as one ZIP. It prints a row for each tenth of the job: its time, and the memory of each process.
Then come the seconds from the end of the upload to the first finished picture, and how much longer the second half took
than the first.

    recast bench jobs [--pictures N] [--workers N] [--layers N]
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
import zipfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import httpx

from benchmarks import _ledger
from benchmarks._deployment import Deployment, deploy
from benchmarks.faults import DOMAIN, Job, bundle

TENTHS = 10
DIFFERENT = 1000
"""Different pictures in the ZIP; each is in it many times, under other names."""

_POLL_S = 0.2
_WAIT_S = 3600.0
_READ_BYTES = 1 << 20
_MIB = 1 << 20


@dataclass(frozen=True)
class Row:
    """The state of the job at one moment."""

    finished: int
    seconds: float
    """Since the begin of the upload."""
    memory: Mapping[str, float]
    """MiB of each process, by name."""


def main() -> None:
    """Prints a table in Markdown; exit code 1 if a picture is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--layers", type=int, default=1, help="convolutions of the network, a millisecond each")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        bundle(folder / "store", options.layers)
        archive = folder / "pictures.zip"
        few = list(_ledger.pictures(min(options.pictures, DIFFERENT), seed=0).values())
        with zipfile.ZipFile(archive, "w") as file:
            for number in range(options.pictures):
                file.writestr(f"{number // 1000:03}/{number:06}.png", few[number % len(few)])
        with deploy(folder, folder / "store", workers=options.workers, deadline_s=10.0) as deployment:
            sys.exit(asyncio.run(_measure(deployment, archive, options.pictures)))


async def _measure(deployment: Deployment, archive: Path, pictures: int) -> int:
    idle = _memory(deployment)
    begun = time.monotonic()
    async with httpx.AsyncClient(base_url=deployment.address, timeout=_WAIT_S) as client, _peak(deployment) as peak:
        with archive.open("rb") as file:
            answer = await client.post("/jobs", params={"domains": DOMAIN}, files={"archive": ("pictures.zip", file)})
        job_id = answer.raise_for_status().json()["id"]
        uploaded = time.monotonic() - begun
        rows = [Row(0, uploaded, _memory(deployment))]
        first = await _follow(deployment, job_id, pictures, begun, rows)
        status = (await client.get(f"/jobs/{job_id}")).raise_for_status().json()
        fetching = time.monotonic()
        async with client.stream("GET", f"/jobs/{job_id}/results") as results:
            results.raise_for_status()
            fetched = sum([len(part) async for part in results.aiter_bytes(_READ_BYTES)])
        fetched_s = time.monotonic() - fetching
        rows.append(Row(pictures, time.monotonic() - begun, _memory(deployment)))
    _print(idle, rows, peak)
    took = [later.seconds - sooner.seconds for sooner, later in pairwise(rows[:-1])]
    half = len(took) // 2
    print(f"\nThe upload of {archive.stat().st_size / _MIB:.0f} MiB took {uploaded:.1f} s.")
    print(f"The first picture could be fetched {first - uploaded:.1f} s after it.")
    print(f"The second half took {sum(took[half:]) / sum(took[:half]):.2f} times as long as the first.")
    print(f"Fetching {fetched / _MIB:.0f} MiB of results as one ZIP took {fetched_s:.1f} s.")
    print(f"{status['done']} pictures done, {status['failed']} failed with a reason.")
    return int(status["done"] + status["failed"] != pictures)


async def _follow(deployment: Deployment, job_id: str, pictures: int, begun: float, rows: list[Row]) -> float:
    """Adds a row at each tenth; returns when the first picture was finished, seconds since `begun`."""
    job = Job(deployment, job_id, pictures)
    first = 0.0
    while len(rows) <= TENTHS:
        finished = await job.finished()
        now = time.monotonic() - begun
        first = first or (now if finished else 0.0)
        if finished >= pictures * len(rows) / TENTHS:
            rows.append(Row(finished, now, _memory(deployment)))
        if ended := deployment.restart_ended():
            raise RuntimeError("; ".join(ended))
        await asyncio.sleep(_POLL_S)
    while not await job.has_ended():
        await asyncio.sleep(_POLL_S)
    return first


@asynccontextmanager
async def _peak(deployment: Deployment) -> AsyncIterator[dict[str, float]]:
    """The largest memory of each process during the block, MiB by name."""
    peak: dict[str, float] = {}

    async def watch() -> None:
        while True:
            for name, mib in _memory(deployment).items():
                peak[name] = max(mib, peak.get(name, 0.0))
            await asyncio.sleep(_POLL_S)

    watching = asyncio.create_task(watch())
    try:
        yield peak
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


def _memory(deployment: Deployment) -> dict[str, float]:
    """The memory of each process's own, MiB by name: resident pages, without those of files."""
    found = {}
    for process in deployment.processes:
        _, resident, shared, *_ = map(int, Path(f"/proc/{process.pid}/statm").read_text().split())
        found[process.name] = (resident - shared) * os.sysconf("SC_PAGE_SIZE") / _MIB
    return found


def _print(idle: Mapping[str, float], rows: Sequence[Row], peak: Mapping[str, float]) -> None:
    print(f"`recast bench jobs{''.join(f' {word}' for word in sys.argv[1:])}`\n")
    print(f"| pictures | seconds | pictures/s | {' | '.join(f'{name}, MiB' for name in idle)} |")
    print(f"| --- | --- | --- | {' | '.join('---' for _ in idle)} |")
    print(f"| before the upload | | | {_cells(idle)} |")
    print(f"| 0: uploaded | {rows[0].seconds:.0f} | | {_cells(rows[0].memory)} |")
    for sooner, later in pairwise(rows[:-1]):
        rate = (later.finished - sooner.finished) / (later.seconds - sooner.seconds)
        print(f"| {later.finished} | {later.seconds:.0f} | {rate:.0f} | {_cells(later.memory)} |")
    print(f"| results fetched | {rows[-1].seconds:.0f} | | {_cells(rows[-1].memory)} |")
    print(f"| peak | | | {_cells(peak)} |")


def _cells(memory: Mapping[str, float]) -> str:
    return " | ".join(f"{mib:.0f}" for mib in memory.values())


if __name__ == "__main__":
    main()
