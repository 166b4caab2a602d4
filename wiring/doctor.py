"""What works here and what does not, for `recast doctor`; what it writes to try the storage is removed again."""

import asyncio
import importlib.metadata
import os
import platform
import uuid
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from models.bundle.archive import Bundle
from models.bundle.store import Store
from worker.errors import InvalidParameter
from worker.imaging.formats import FORMATS
from worker.queue import beats, broker
from worker.queue.beats import Beat, Crew
from worker.settings import JobSettings, QueueSettings
from worker.storage import StorageError, open_storage

_TRAINING = ("torch", "onnx", "onnxscript")
_POLICY = "noeviction"
_NO_DETECTOR = "region=face is refused: no store holds a bundle that detects; the shipped one is `face-detector`"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `needed`: serving fails without it."""

    subject: str
    works: bool
    needed: bool
    detail: str


@dataclass(frozen=True)
class Runtime:
    """ONNX Runtime, where it is installed."""

    offers: str
    """Its version and its execution providers."""
    try_bundle: Callable[[Bundle], str | None]
    """Runs every graph of a bundle; the reason where that fails."""


def examine(store: Store, runtime: Runtime | None, queue: QueueSettings, jobs: JobSettings) -> list[Finding]:
    """Looks at the interpreter, the runtime, formats, faces, training, the broker, storages, and every bundle."""
    snapshot = store.snapshot()
    no_runtime = "not installed; only a service whose workers are elsewhere, over a broker, does without"
    found = f"found with {snapshot.detector.ref}" if snapshot.detector else _NO_DETECTOR
    return [
        Finding("Python", True, True, platform.python_version()),
        Finding("ONNX Runtime", runtime is not None, queue.broker is None, runtime.offers if runtime else no_runtime),
        Finding("formats", True, True, ", ".join(f.name + ("" if f.writes else " (read only)") for f in FORMATS)),
        Finding("faces", snapshot.detector is not None, False, found),
        _training(),
        *asyncio.run(_queue(queue.broker)),
        asyncio.run(_storage("storage", jobs.storage)),
        *(asyncio.run(_root(name, where)) for name, where in jobs.roots.items()),
        Finding("store", bool(snapshot.models), True, f"{len(snapshot.bundles)} bundles can be read"),
        *(Finding(f"bundle {refused.folder}", False, True, refused.reason) for refused in snapshot.refused),
        *(_bundle(bundle, runtime) for bundle in snapshot.bundles),
    ]


def _bundle(bundle: Bundle, runtime: Runtime | None) -> Finding:
    if runtime is None:
        return Finding(f"bundle {bundle.ref}", True, True, "can be read; only ONNX Runtime can tell whether it runs")
    reason = runtime.try_bundle(bundle)
    return Finding(f"bundle {bundle.ref}", reason is None, True, reason or "every graph runs")


def _training() -> Finding:
    found: list[str] = []
    for name in _TRAINING:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            return Finding("training", False, False, f"{name} is not installed; `make install` brings it")
    return Finding("training", True, False, ", ".join(found))


async def _queue(url: str | None) -> list[Finding]:
    """The broker, what it does when its memory is full, and the workers that answer through it."""
    if url is None:
        return [Finding("broker", True, False, "none is set: the service translates by itself")]
    try:
        checked = broker.check(url)
        async with aclosing(broker.connect_async(checked)) as client:
            facts, limits = await client.info(), await client.info("memory")
            crew = Crew()
            await beats.hear(client, crew)
    except (InvalidParameter, ValueError, *broker.FAILURES) as error:
        return [Finding("broker", False, True, str(error))]
    policy = limits["maxmemory_policy"]
    spared = "" if policy == _POLICY else f"; with maxmemory-policy {policy} work may vanish: set {_POLICY}"
    where = f"{urlsplit(checked).hostname}, Redis {facts['redis_version']}{spared}"
    return [Finding("broker", not spared, False, where), _workers(crew.beats)]


def _workers(crew: list[Beat]) -> Finding:
    if not crew:
        return Finding("workers", False, False, "none answers; `recast work` starts one")
    here = importlib.metadata.version("recast")
    told = [
        f"{', '.join(beat.bundles) or 'no bundle'} on {', '.join(beat.providers) or 'nothing'}"
        + ("" if beat.version == here else f", of version {beat.version or 'unknown'} where this is {here}")
        for beat in crew
    ]
    return Finding("workers", True, False, f"{len(crew)}: {'; '.join(told)}")


async def _storage(subject: str, where: str) -> Finding:
    """Whether an object can be written and removed; a folder that does not exist is not made."""
    if "://" not in where and not Path(where).exists():
        above = next(folder for folder in Path(where).absolute().parents if folder.exists())
        works = above.is_dir() and os.access(above, os.W_OK)
        return Finding(subject, works, True, f"{where} {'will be made' if works else f'can not be made in {above}'}")
    name = f"doctor-{uuid.uuid4().hex}"
    try:
        storage = open_storage(where)
        await storage.put(name, b"")
        await storage.delete(name)
    except StorageError as error:
        return Finding(subject, False, True, f"{where}: {error}")
    return Finding(subject, True, True, f"{where} can be written to")


async def _root(name: str, where: str) -> Finding:
    """Whether a root can be read; whether it can be written to is not tried, since many are only read."""
    try:
        async for _ in open_storage(where).list(""):
            break
    except (StorageError, InvalidParameter) as error:
        return Finding(f"root {name}", False, True, f"{where}: {error}")
    return Finding(f"root {name}", True, True, f"{where} can be read")
