"""A job of very many small pictures: whether its time grows with their number alone, and nobody's memory with it.

Redis, a service and workers are started here by the documented commands. A ZIP of pictures, written to disk, is sent
as one job, and its results are fetched as one ZIP. Each tenth of the job is a row: what it took, and how much memory
each process has at its end. Two figures follow: seconds from the upload's end to the first picture that can be
fetched, and how much longer the second half took than the first.

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
from benchmarks._stand import Member, Stand, stand
from benchmarks.faults import DOMAIN, Job, bundle

TENTHS = 10
MADE_AT_ONCE = 1000
"""Pictures that this process holds; each of them goes into the ZIP many times, under other names."""

_LOOK_S = 0.2
_WAIT_S = 3600.0
_READ_BYTES = 1 << 20
_MIB = 1 << 20


@dataclass(frozen=True)
class Row:
    """How far the job was at a moment."""

    finished: int
    seconds: float
    """Since the upload began."""
    memory: Mapping[str, float]
    """MiB that each process held then, by name."""


def main() -> None:
    """Prints a table in Markdown; exit code 1 if a picture is missing."""
    options = _options()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        bundle(folder / "store", options.layers)
        archive = folder / "pictures.zip"
        _write(archive, options.pictures)
        with stand(folder, folder / "store", workers=options.workers, deadline_s=10.0) as there:
            sys.exit(asyncio.run(_measure(there, archive, options.pictures)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--layers", type=int, default=1, help="convolutions of the network, a millisecond each")
    return parser.parse_args()


def _write(archive: Path, count: int) -> None:
    few = list(_ledger.pictures(min(count, MADE_AT_ONCE), seed=0).values())
    with zipfile.ZipFile(archive, "w") as file:
        for number in range(count):
            file.writestr(f"{number // 1000:03}/{number:06}.png", few[number % len(few)])


async def _measure(there: Stand, archive: Path, pictures: int) -> int:
    idle = _memory(there)
    begun = time.monotonic()
    async with httpx.AsyncClient(base_url=there.address, timeout=_WAIT_S) as client, _peak(there) as most:
        with archive.open("rb") as file:
            answer = await client.post("/jobs", params={"domains": DOMAIN}, files={"archive": ("pictures.zip", file)})
        job_id = answer.raise_for_status().json()["id"]
        uploaded = time.monotonic() - begun
        rows = [Row(0, uploaded, _memory(there))]
        first = await _follow(there, job_id, pictures, begun, rows)
        told = (await client.get(f"/jobs/{job_id}")).raise_for_status().json()
        fetching = time.monotonic()
        fetched = await _fetch(client, job_id)
        fetched_s = time.monotonic() - fetching
        rows.append(Row(pictures, time.monotonic() - begun, _memory(there)))
    _print(idle, rows, most)
    took = [later.seconds - sooner.seconds for sooner, later in pairwise(rows[:-1])]
    half = len(took) // 2
    print(f"\nThe upload of {archive.stat().st_size / _MIB:.0f} MiB took {uploaded:.1f} s.")
    print(f"The first picture could be fetched {first - uploaded:.1f} s after it.")
    print(f"The second half took {sum(took[half:]) / sum(took[:half]):.2f} times as long as the first.")
    print(f"Fetching {fetched / _MIB:.0f} MiB of results as one ZIP took {fetched_s:.1f} s.")
    print(f"{told['done']} pictures done, {told['failed']} failed with a reason.")
    return int(told["done"] + told["failed"] != pictures)


async def _follow(there: Stand, job_id: str, pictures: int, begun: float, rows: list[Row]) -> float:
    """Adds a row at each tenth; returns when the first picture was there, seconds since `begun`."""
    job = Job(there, job_id, pictures)
    first = 0.0
    while len(rows) <= TENTHS:
        finished = await job.finished()
        now = time.monotonic() - begun
        first = first or (now if finished else 0.0)
        if finished >= pictures * len(rows) / TENTHS:
            rows.append(Row(finished, now, _memory(there)))
        if said := there.revive():
            raise RuntimeError("; ".join(said))
        await asyncio.sleep(_LOOK_S)
    while not await job.over():
        await asyncio.sleep(_LOOK_S)
    return first


async def _fetch(client: httpx.AsyncClient, job_id: str) -> int:
    """Reads the ZIP and keeps nothing; its bytes."""
    async with client.stream("GET", f"/jobs/{job_id}/results") as answer:
        answer.raise_for_status()
        return sum([len(part) async for part in answer.aiter_bytes(_READ_BYTES)])


@asynccontextmanager
async def _peak(there: Stand) -> AsyncIterator[dict[str, float]]:
    """The most memory that each process was seen to hold inside the block, MiB by name."""
    most: dict[str, float] = {}

    async def watch() -> None:
        while True:
            for name, mib in _memory(there).items():
                most[name] = max(mib, most.get(name, 0.0))
            await asyncio.sleep(_LOOK_S)

    watching = asyncio.create_task(watch())
    try:
        yield most
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


def _memory(there: Stand) -> dict[str, float]:
    return {member.name: _resident(member) for member in there.members}


def _resident(member: Member) -> float:
    """Memory that a process holds of its own, MiB: resident pages, without those of files."""
    pages = Path(f"/proc/{member.pid}/statm").read_text().split()
    return (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE") / _MIB


def _print(idle: Mapping[str, float], rows: Sequence[Row], most: Mapping[str, float]) -> None:
    print(f"`recast bench jobs{''.join(f' {word}' for word in sys.argv[1:])}`\n")
    print(f"| pictures | seconds | pictures/s | {' | '.join(f'{name}, MiB' for name in idle)} |")
    print(f"| --- | --- | --- | {' | '.join('---' for _ in idle)} |")
    print(f"| before the upload | | | {_cells(idle)} |")
    print(f"| 0: uploaded | {rows[0].seconds:.0f} | | {_cells(rows[0].memory)} |")
    for sooner, later in pairwise(rows[:-1]):
        rate = (later.finished - sooner.finished) / (later.seconds - sooner.seconds)
        print(f"| {later.finished} | {later.seconds:.0f} | {rate:.0f} | {_cells(later.memory)} |")
    print(f"| results fetched | {rows[-1].seconds:.0f} | | {_cells(rows[-1].memory)} |")
    print(f"| the most that was seen | | | {_cells(most)} |")


def _cells(memory: Mapping[str, float]) -> str:
    return " | ".join(f"{mib:.0f}" for mib in memory.values())


if __name__ == "__main__":
    main()
