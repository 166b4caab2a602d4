"""Whether a job and requests for single pictures survive when every process is killed.

The benchmark starts Redis with its append-only file, a service and a worker by the documented commands. It runs a job
of small pictures, some of them corrupt; then it runs the same job again, kills the worker, Redis and the service with
-9 at random times, and empties Redis. Meanwhile a client asks for single pictures.

The exit code is 1 unless every picture of the job has exactly one output, with the bytes of the undisturbed run, or one
failure with its reason, and every request ended within its deadline: with its picture, with 503 or 504 and a reason, or
refused while the service was down.

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
from benchmarks._client import PICTURE, Client, Request
from benchmarks._deployment import Deployment, deploy
from benchmarks._ledger import SIZE, Ledger
from benchmarks._load import processor
from models.bundle.archive import write
from models.bundle.manifest import Domain, Graph, Manifest, Picture
from worker.jobs import layout
from worker.storage import open_storage

DOMAIN = "changed"
DEADLINE_S = 10.0
"""Of a single picture, in seconds."""

SLACK_S = 1.0
"""A client may measure this much more than the deadline."""

LONGEST_S = 1800.0
"""Seconds after which a job counts as lost."""

WORKER, REDIS, EMPTIED, SERVICE = KINDS = ("worker killed", "Redis killed", "Redis emptied", "service killed")

_POLL_S = 0.1
_PRIOR_S = 10.0  # weight of the undisturbed rate against the observed one
_UPLOAD_S = 120.0


@dataclass(frozen=True)
class Fault:
    """One of KINDS, and when it happened, in seconds since 1970."""

    kind: str
    at: float


@dataclass(frozen=True)
class Run:
    """A job from its upload to its end."""

    ledger: Ledger
    seconds: float
    faults: Sequence[Fault]
    """Those before the job ended."""
    problems: Sequence[str]
    """What went wrong, a sentence each."""


class Job:
    """A running job, and faults for the processes that run it."""

    def __init__(self, deployment: Deployment, job_id: str, pictures: int) -> None:
        self.deployment, self.id, self.pictures = deployment, job_id, pictures
        self.faults: list[Fault] = []
        self._storage = open_storage(str(deployment.storage))

    async def strike(self, kind: str) -> None:
        """Causes one of KINDS; several workers are killed in turn."""
        deployment = self.deployment
        if kind == EMPTIED:
            at = await asyncio.to_thread(deployment.flush)
        elif kind == WORKER:
            killed = sum(fault.kind == WORKER for fault in self.faults)
            at = deployment.workers[killed % len(deployment.workers)].kill()
        else:
            at = (deployment.redis if kind == REDIS else deployment.service).kill()
        self.faults.append(Fault(kind, at))

    async def finished(self) -> int:
        """The number of finished pictures."""
        counts = [layout.counts(each.path) async for each in self._storage.list(layout.finished_folder(self.id))]
        return sum(done + failed for _, done, failed in filter(None, counts))

    async def begun(self) -> int:
        """The number of chunks that workers have begun."""
        return len([each async for each in self._storage.list(layout.begun_folder(self.id))])

    async def has_ended(self) -> bool:
        """Whether storage records its end."""
        return await self._storage.has(layout.done(self.id))

    async def ledger(self) -> Ledger:
        """Its outcome, once it has ended."""
        return await _ledger.read_ledger(self._storage, self.deployment.address, self.id)


Disturb = Callable[[Job], Coroutine[Any, Any, None]]
"""Causes faults while a job runs."""


class RandomFaults:
    """Faults at random times, spread over the estimated rest of the job."""

    def __init__(self, kinds: Sequence[str], seed: int, rate: float) -> None:
        """`rate` is that of the undisturbed job, pictures a second."""
        self._draw = random.Random(seed)
        self._kinds = self._draw.sample(kinds, len(kinds))
        self._rate = rate

    async def strike(self, job: Job) -> None:
        """Causes all of them, one after another."""
        begun = time.monotonic()
        for place, kind in enumerate(self._kinds):
            finished = await job.finished()
            # The estimate begins with the undisturbed rate, and what is observed gains weight with time.
            seen_s = time.monotonic() - begun
            rate = (finished + _PRIOR_S * self._rate) / (seen_s + _PRIOR_S)
            left_s = (job.pictures - finished) / rate
            await asyncio.sleep(self._draw.uniform(0, 2) * left_s / (len(self._kinds) - place + 1))
            await job.strike(kind)


async def run(deployment: Deployment, sent: Mapping[str, bytes], disturb: Disturb | None = None) -> Run:
    """Runs a job of these pictures while `disturb` causes faults."""
    files = {"archive": ("pictures.zip", _ledger.archive(sent), "application/zip")}
    async with httpx.AsyncClient(base_url=deployment.address, timeout=_UPLOAD_S) as client:
        answer = (await client.post("/jobs", params={"domains": DOMAIN}, files=files)).raise_for_status()
    job = Job(deployment, answer.json()["id"], len(sent))
    begun = time.monotonic()
    disturbing = asyncio.create_task(disturb(job) if disturb else asyncio.sleep(0))
    problems: list[str] = []
    while not await job.has_ended():
        problems += deployment.restart_ended()
        if disturbing.done():
            disturbing.result()
        if time.monotonic() - begun > LONGEST_S:
            finished = await job.finished()
            raise TimeoutError(f"the job had {finished} of {len(sent)} pictures finished after {LONGEST_S:g} s")
        await asyncio.sleep(_POLL_S)
    seconds = time.monotonic() - begun
    disturbing.cancel()
    await asyncio.gather(disturbing, return_exceptions=True)
    await asyncio.to_thread(deployment.wait)
    ledger = await job.ledger()
    problems += [*deployment.restart_ended(), *deployment.errors(), *_ledger.find_problems(sent, ledger)]
    return Run(ledger, seconds, job.faults, problems)


def main() -> None:
    """Prints tables in Markdown, and a line for each problem."""
    options = _parse_options()
    kills = (options.worker_kills, options.redis_kills, options.flushes, options.service_kills)
    kinds = [kind for kind, count in zip(KINDS, kills, strict=True) for _ in range(count)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        problems = asyncio.run(_measure(folder, kinds, options))
    for problem in problems:
        print(f"PROBLEM: {problem}")
    sys.exit(1 if problems else 0)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--worker-kills", type=int, default=20)
    parser.add_argument("--redis-kills", type=int, default=5)
    parser.add_argument("--service-kills", type=int, default=5)
    parser.add_argument("--flushes", type=int, default=1, help="how many times Redis is emptied")
    parser.add_argument("--workers", type=int, default=1, help="with one worker, each kill stops all work")
    parser.add_argument("--every", type=float, default=0.25, help="seconds between requests for a single picture")
    parser.add_argument("--layers", type=int, default=12, help="convolutions of the network, which make it slow")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="keeps logs and storage in this folder")
    return parser.parse_args()


async def _measure(folder: Path, kinds: Sequence[str], options: argparse.Namespace) -> list[str]:
    bundle(folder / "store", options.layers)
    sent = _ledger.pictures(options.pictures, options.seed)
    with deploy(folder, folder / "store", workers=options.workers, deadline_s=DEADLINE_S) as deployment:
        client = Client(deployment.address, DOMAIN, sent[sorted(sent)[1]], deadline_s=DEADLINE_S)
        async with client.requesting(options.every):
            calm = await run(deployment, sent)
        before = len(client.requests)
        async with client.requesting(options.every):
            disturbed = await run(deployment, sent, RandomFaults(kinds, options.seed, len(sent) / calm.seconds).strike)
        _print(options, calm, disturbed, client.requests[:before], client.requests[before:])
        missing = len(kinds) - len(disturbed.faults)
        return [
            *calm.problems,
            *disturbed.problems,
            *_ledger.find_differences(calm.ledger, disturbed.ledger),
            *client.problems(deployment.service.kills, SLACK_S),
            *([f"the job ended before {missing} of the faults; use more pictures or layers"] if missing else []),
        ]


def bundle(store: Path, layers: int) -> None:
    """Writes a bundle with one domain, DOMAIN; each layer of its network costs about a millisecond of CPU time."""
    draw = np.random.default_rng(0)
    widths = [3, *[24] * (layers - 1), 3]
    nodes, constants, last = [], [], "pixels"
    for number, (inputs, outputs) in enumerate(pairwise(widths)):
        kernel = draw.normal(0.0, (9 * inputs) ** -0.5, (outputs, inputs, 3, 3)).astype(np.float32)
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


def _print(
    options: argparse.Namespace, calm: Run, disturbed: Run, before: Sequence[Request], during: Sequence[Request]
) -> None:
    command = " ".join(["recast bench faults", *sys.argv[1:]])
    machine = f"{os.cpu_count()} CPUs ({processor()}), Python {platform.python_version()}"
    print(f"`{command}`, seed {options.seed}; {machine}\n")
    chunks = len(disturbed.ledger.commits)
    print(
        f"A job of {options.pictures} pictures, {len(disturbed.ledger.failures)} of them corrupt, in {chunks} chunks: "
        f"{calm.seconds:.0f} s undisturbed, {disturbed.seconds:.0f} s with {len(disturbed.faults)} faults. "
        f"From its first try to its commit a chunk took {_spread(disturbed.ledger.chunks_s)}, "
        f"undisturbed {_spread(calm.ledger.chunks_s)}.\n"
    )
    print("| fault | times | until a chunk is committed | until a single picture is answered |")
    print("| --- | --- | --- | --- |")
    gaps = [after - at for at, after in pairwise(calm.ledger.commits)]
    print(f"| none: from one to the next | | {_spread(gaps)} | {_spread(_seconds(before, PICTURE))} |")
    answered = sorted((each.begun, each.ended) for each in during if each.outcome == PICTURE)
    for kind in KINDS:
        times = [fault.at for fault in disturbed.faults if fault.kind == kind]
        commits = [
            wait for at in times if (wait := _wait(at, [(end, end) for end in disturbed.ledger.commits])) is not None
        ]
        singles = [wait for at in times if (wait := _wait(at, answered)) is not None]
        print(f"| {kind} | {len(times)} | {_spread(commits)} | {_spread(singles)} |")
    print("\n| single pictures | undisturbed | with faults | how long these took |")
    print("| --- | --- | --- | --- |")
    for outcome in sorted({each.outcome for each in (*before, *during)}):
        counts = [sum(each.outcome == outcome for each in some) for some in (before, during)]
        print(f"| {outcome} | {counts[0]} | {counts[1]} | {_spread(_seconds(during, outcome))} |")
    print()


def _seconds(requests: Sequence[Request], outcome: str) -> list[float]:
    return [request.seconds for request in requests if request.outcome == outcome]


def _wait(at: float, events: Sequence[tuple[float, float]]) -> float | None:
    """Seconds from a moment to the end of the first event, as (begin, end) sorted, that began after it."""
    place = bisect_right(events, (at, at))
    return events[place][1] - at if place < len(events) else None


def _spread(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds):.1f} s, at most {max(seconds):.1f} s" if seconds else ""


if __name__ == "__main__":
    main()
