"""Measured load: how fast one side answered in one round, and the processor on which it did."""

import asyncio
import platform
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import models
from models.bundle.archive import Bundle
from models.bundle.store import Store


@dataclass(frozen=True)
class Load:
    """What one side did in one round."""

    per_second: float
    p50_ms: float
    p99_ms: float


def summarise(times_s: Sequence[float], seconds: float) -> Load:
    """The load of a round of so many seconds, from the time that each call took."""
    milliseconds = np.array(times_s) * 1000
    return Load(len(times_s) / seconds, float(np.median(milliseconds)), float(np.percentile(milliseconds, 99)))


async def measure(call: Callable[[], Awaitable[None]], concurrency: int, seconds: float) -> Load:
    """Makes calls for so many seconds, `concurrency` at a time; one call each before that, to warm up."""
    await asyncio.gather(*(call() for _ in range(concurrency)))
    until = time.monotonic() + seconds
    times_s: list[float] = []

    async def repeat() -> None:
        while (begun := time.monotonic()) < until:
            await call()
            times_s.append(time.monotonic() - begun)

    await asyncio.gather(*(repeat() for _ in range(concurrency)))
    return summarise(times_s, seconds)


def print_medians(name: str, loads: Sequence[Load]) -> None:
    """Prints one side's medians over all rounds."""
    per_second, p50, p99 = (
        statistics.median(getattr(load, field) for load in loads) for field in ("per_second", "p50_ms", "p99_ms")
    )
    print(f"  {name:12} {per_second:8.1f} pictures/s   p50 {p50:7.1f} ms   p99 {p99:7.1f} ms")


def shipped_bundle(name: str) -> Bundle:
    """A bundle of models/pretrained; ends the process when there is none of that name."""
    bundle = Store([Path(models.__file__).parent / "pretrained"]).snapshot().get(name)
    if bundle is None:
        sys.exit(f"there is no shipped bundle {name!r}")
    return bundle


def processor() -> str:
    """The processor's name, as far as the system gives it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
