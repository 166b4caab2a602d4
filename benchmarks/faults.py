"""What survives when every part is killed: a job, and people who ask for single pictures, while all around them dies.

Redis with its append-only file, a service and a worker are started here by the documented commands. A job of small
pictures, some of them corrupt, is done undisturbed; then the same job once more, while at random times the worker,
Redis and the service are killed with -9 and Redis is emptied. All the time single pictures are asked for as well.

Ends with exit code 1 unless every picture of the job has exactly one output, with the bytes of the undisturbed run,
or one failure with its reason, and every request ended within its deadline: with its picture, with a clean 503 or 504,
or refused while there was no service.

    recast bench faults [--pictures N] [--worker-kills N] [--redis-kills N] [--service-kills N] [--seed N]
"""

import argparse
import asyncio
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from bisect import bisect_right
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks import _ledger
from benchmarks._asker import PICTURE, Asked, Asker
from benchmarks._ledger import SIZE, Kept
from benchmarks._stand import Stand, stand
from models.bundle.archive import write
from models.bundle.manifest import Domain, Graph, Manifest, Picture
from worker.jobs import layout
from worker.storage import open_storage

DOMAIN = "changed"
DEADLINE_S = 10.0
"""Of a single picture, in seconds."""

SLACK_S = 1.0
"""What a client may see on top of it."""

LONGEST_S = 1800.0
"""Seconds after which a job counts as lost."""

WORKER, REDIS, EMPTIED, SERVICE = KINDS = ("worker killed", "Redis killed", "Redis emptied", "service killed")

_LOOK_S = 0.1
_PRIOR_S = 10.0
_UPLOAD_S = 120.0


@dataclass(frozen=True)
class Fault:
    """What was done, and when, in seconds since 1970."""

    kind: str
    at: float


@dataclass(frozen=True)
class Run:
    """A job from its upload to its end."""

    kept: Kept
    seconds: float
    faults: Sequence[Fault]
    """Those that happened before the end."""
    wrong: Sequence[str]
    """Promises that were broken."""


class Job:
    """A job under way, and what is done to those who do it."""

    def __init__(self, there: Stand, job_id: str, pictures: int) -> None:
        self.there, self.id, self.pictures = there, job_id, pictures
        self.faults: list[Fault] = []
        self._storage = open_storage(str(there.storage))

    async def strike(self, kind: str) -> None:
        """Does one of KINDS; of several workers to one after the other."""
        there = self.there
        if kind == EMPTIED:
            at = await asyncio.to_thread(there.flush)
        elif kind == WORKER:
            at = there.workers[sum(fault.kind == WORKER for fault in self.faults) % len(there.workers)].kill()
        else:
            at = (there.redis if kind == REDIS else there.service).kill()
        self.faults.append(Fault(kind, at))

    async def finished(self) -> int:
        """How many pictures are finished."""
        counts = [layout.counts(each.path) async for each in self._storage.list(layout.finished_folder(self.id))]
        return sum(done + failed for _, done, failed in filter(None, counts))

    async def begun(self) -> int:
        """How many chunks were begun."""
        return len([each async for each in self._storage.list(layout.begun_folder(self.id))])

    async def over(self) -> bool:
        """Whether its end is written down."""
        return await self._storage.has(layout.done(self.id))

    async def kept(self) -> Kept:
        """What became of it."""
        return await _ledger.kept(self._storage, self.there.address, self.id)


Disturb = Callable[[Job], Coroutine[Any, Any, None]]
"""What is done while a job is under way."""


class Chance:
    """Faults at random times, spread over what seems to be left of the job."""

    def __init__(self, kinds: Sequence[str], seed: int, rate: float) -> None:
        """`rate`: pictures per second of the undisturbed job."""
        self._draw = random.Random(seed)
        self._kinds = self._draw.sample(kinds, len(kinds))
        self._rate = rate

    async def play(self, job: Job) -> None:
        """Everything, one after the other."""
        begun = time.monotonic()
        for place, kind in enumerate(self._kinds):
            finished = await job.finished()
            # At first the undisturbed job tells how fast it goes, then ever more what is seen.
            seen_s = time.monotonic() - begun
            rate = (finished + _PRIOR_S * self._rate) / (seen_s + _PRIOR_S)
            left_s = (job.pictures - finished) / rate
            await asyncio.sleep(self._draw.uniform(0, 2) * left_s / (len(self._kinds) - place + 1))
            await job.strike(kind)


async def run(there: Stand, sent: Mapping[str, bytes], disturb: Disturb | None = None) -> Run:
    """Has the pictures translated as a job, while it is disturbed."""
    job = await _send(there, sent)
    begun = time.monotonic()
    disturbing = asyncio.create_task(disturb(job) if disturb else asyncio.sleep(0))
    wrong: list[str] = []
    while not await job.over():
        wrong += there.revive()
        if disturbing.done():
            disturbing.result()
        if time.monotonic() - begun > LONGEST_S:
            raise TimeoutError(f"the job was not over after {LONGEST_S:g} s; {await job.finished()} pictures were")
        await asyncio.sleep(_LOOK_S)
    seconds = time.monotonic() - begun
    disturbing.cancel()
    await asyncio.gather(disturbing, return_exceptions=True)
    await asyncio.to_thread(there.wait)
    kept = await job.kept()
    return Run(kept, seconds, job.faults, [*wrong, *there.revive(), *there.errors(), *_ledger.broken(sent, kept)])


async def _send(there: Stand, sent: Mapping[str, bytes]) -> Job:
    files = {"archive": ("pictures.zip", _ledger.archive(sent), "application/zip")}
    async with httpx.AsyncClient(base_url=there.address, timeout=_UPLOAD_S) as client:
        answer = await client.post("/jobs", params={"domains": DOMAIN}, files=files)
    answer.raise_for_status()
    return Job(there, answer.json()["id"], len(sent))


def main() -> None:
    """Prints tables in Markdown, and what was broken, if anything was."""
    options = _options()
    kills = (options.worker_kills, options.redis_kills, options.flushes, options.service_kills)
    kinds = [kind for kind, count in zip(KINDS, kills, strict=True) for _ in range(count)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        broken = asyncio.run(_measure(folder, kinds, options))
    for line in broken:
        print(f"BROKEN: {line}")
    sys.exit(1 if broken else 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--worker-kills", type=int, default=20)
    parser.add_argument("--redis-kills", type=int, default=5)
    parser.add_argument("--service-kills", type=int, default=5)
    parser.add_argument("--flushes", type=int, default=1, help="how often Redis is emptied")
    parser.add_argument("--workers", type=int, default=1, help="with one, each kill of it stops all work")
    parser.add_argument("--every", type=float, default=0.25, help="seconds between two requests for a single picture")
    parser.add_argument("--layers", type=int, default=12, help="convolutions of the network, which make it slow")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where logs and storage are kept for a look at them")
    return parser.parse_args()


async def _measure(folder: Path, kinds: Sequence[str], options: argparse.Namespace) -> list[str]:
    bundle(folder / "store", options.layers)
    sent = _ledger.pictures(options.pictures, options.seed)
    with stand(folder, folder / "store", workers=options.workers, deadline_s=DEADLINE_S) as there:
        asker = Asker(there.address, DOMAIN, sent[sorted(sent)[1]], deadline_s=DEADLINE_S)
        async with asker.asking(options.every):
            calm = await run(there, sent)
        before = len(asker.asked)
        async with asker.asking(options.every):
            wild = await run(there, sent, Chance(kinds, options.seed, len(sent) / calm.seconds).play)
        _print(options, calm, wild, asker.asked[:before], asker.asked[before:])
        missing = len(kinds) - len(wild.faults)
        return [
            *calm.wrong,
            *wild.wrong,
            *_ledger.differences(calm.kept, wild.kept),
            *asker.broken(there.service.kills, SLACK_S),
            *([f"the job was over {missing} faults too early; give it more pictures or layers"] if missing else []),
        ]


def bundle(store: Path, layers: int) -> None:
    """Writes a bundle with one domain, DOMAIN; its network costs about a millisecond of CPU for each layer."""
    draw = np.random.default_rng(0)
    widths = [3, *[24] * (layers - 1), 3]
    nodes, constants, last = [], [], "pixels"
    for number, (before, behind) in enumerate(pairwise(widths)):
        kernel = draw.normal(0.0, (9 * before) ** -0.5, (behind, before, 3, 3)).astype(np.float32)
        constants.append(numpy_helper.from_array(kernel, f"kernel{number}"))
        nodes.append(helper.make_node("Conv", [last, f"kernel{number}"], [f"sum{number}"], pads=[1, 1, 1, 1]))
        last = "translated" if number == layers - 1 else f"layer{number}"
        nodes.append(helper.make_node("Tanh", [f"sum{number}"], [last]))
    shape: list[str | int] = ["n", 3, SIZE, SIZE]
    graph = helper.make_graph(
        nodes,
        DOMAIN,
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("translated", TensorProto.FLOAT, shape)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model)
    manifest = Manifest(
        name="faults",
        version="1",
        title="Faults",
        family="cyclegan",
        domains=(Domain(name=DOMAIN, graph=DOMAIN),),
        graphs={DOMAIN: Graph(file="changed.onnx")},
        picture=Picture(size=SIZE),
        licence="CC0-1.0",
    )
    write(store / "faults", manifest, {"changed.onnx": model.SerializeToString()})


def _print(options: argparse.Namespace, calm: Run, wild: Run, before: Sequence[Asked], during: Sequence[Asked]) -> None:
    print(f"`recast bench faults{''.join(f' {word}' for word in sys.argv[1:])}`, seed {options.seed}; {_machine()}\n")
    chunks = len(wild.kept.commits)
    print(
        f"A job of {options.pictures} pictures, {len(wild.kept.failures)} of them corrupt, in {chunks} chunks: "
        f"{calm.seconds:.0f} s undisturbed, {wild.seconds:.0f} s with {len(wild.faults)} faults. From its first try to "
        f"its commit a chunk took {_spread(wild.kept.tries_s)}, undisturbed {_spread(calm.kept.tries_s)}.\n"
    )
    print("| fault | times | until a chunk is committed | until a single picture is answered |")
    print("| --- | --- | --- | --- |")
    gaps = [after - at for at, after in pairwise(calm.kept.commits)]
    print(f"| none: from one to the next | | {_spread(gaps)} | {_spread(_took(before, PICTURE))} |")
    answered = sorted((each.begun, each.ended) for each in during if each.outcome == PICTURE)
    for kind in KINDS:
        times = [fault.at for fault in wild.faults if fault.kind == kind]
        commits = [wait for at in times if (wait := _until(at, [(end, end) for end in wild.kept.commits])) is not None]
        singles = [wait for at in times if (wait := _until(at, answered)) is not None]
        print(f"| {kind} | {len(times)} | {_spread(commits)} | {_spread(singles)} |")
    print("\n| single pictures | undisturbed | with faults | how long these took |")
    print("| --- | --- | --- | --- |")
    for outcome in sorted({each.outcome for each in (*before, *during)}):
        counts = [sum(each.outcome == outcome for each in some) for some in (before, during)]
        print(f"| {outcome} | {counts[0]} | {counts[1]} | {_spread(_took(during, outcome))} |")
    print()


def _took(asked: Sequence[Asked], outcome: str) -> list[float]:
    return [each.took_s for each in asked if each.outcome == outcome]


def _until(at: float, events: Sequence[tuple[float, float]]) -> float | None:
    """Seconds from a moment to the end of the first event, as (begin, end) sorted, that began after it."""
    place = bisect_right(events, (at, at))
    return events[place][1] - at if place < len(events) else None


def _spread(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds):.1f} s, at most {max(seconds):.1f} s" if seconds else ""


def _machine() -> str:
    cpus = Path("/proc/cpuinfo")
    names = [line for line in cpus.read_text().splitlines() if line.startswith("model name")] if cpus.exists() else []
    name = names[0].partition(":")[2].strip() if names else platform.machine()
    return f"{os.cpu_count()} CPUs ({name}), Python {platform.python_version()}"


if __name__ == "__main__":
    main()
