"""Checks what works here, for `recast doctor`; it removes what it writes to try the storage."""

import asyncio
import importlib.metadata
import os
import platform
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from models.bundle.archive import Bundle
from models.bundle.store import Store
from worker.errors import InvalidParameter
from worker.imaging.formats import FORMATS
from worker.settings import JobSettings, QueueSettings
from worker.storage import StorageError, open_storage

_TRAINING = ("torch", "onnx", "onnxscript")
_NO_DETECTOR = "region=face is refused: no store holds a bundle that detects; the shipped one is `face-detector`"


@dataclass(frozen=True)
class Finding:
    """The result of one check; `needed`: serving fails without it."""

    subject: str
    works: bool
    needed: bool
    detail: str


@dataclass(frozen=True)
class Runtime:
    """The installed ONNX Runtime."""

    offers: str
    """Its version and its execution providers."""
    try_bundle: Callable[[Bundle], str | None]
    """Runs every graph of a bundle; returns the reason if that fails."""


ExamineBroker = Callable[[str], Awaitable[list[Finding]]]
"""Checks the broker at a URL, and its workers: `wiring.workers.examine_broker`, which needs the queue's packages."""


def examine(
    store: Store,
    runtime: Runtime | None,
    examine_broker: ExamineBroker | None,
    queue: QueueSettings,
    jobs: JobSettings,
) -> list[Finding]:
    """Checks the interpreter, the runtime, formats, faces, training, the broker, storages and every bundle.

    What is None is not installed.
    """
    snapshot = store.snapshot()
    no_runtime = "not installed; only a service with a broker, whose workers run the models, works without it"
    found = f"found with {snapshot.detector.ref}" if snapshot.detector else _NO_DETECTOR
    tried = [(bundle, runtime.try_bundle(bundle) if runtime else None) for bundle in snapshot.bundles]
    can = "every graph runs" if runtime else "can be read; only ONNX Runtime can tell whether it runs"
    return [
        Finding("Python", True, True, platform.python_version()),
        Finding("ONNX Runtime", runtime is not None, queue.broker is None, runtime.offers if runtime else no_runtime),
        Finding("formats", True, True, ", ".join(f.name + ("" if f.writes else " (read only)") for f in FORMATS)),
        Finding("faces", snapshot.detector is not None, False, found),
        _training(),
        *asyncio.run(_broker(queue.broker, examine_broker)),
        asyncio.run(_storage("storage", jobs.storage)),
        *(asyncio.run(_root(name, where)) for name, where in jobs.roots.items()),
        Finding("store", bool(snapshot.models), True, f"{len(snapshot.bundles)} bundles can be read"),
        *(Finding(f"bundle {refused.folder}", False, True, refused.reason) for refused in snapshot.refused),
        *(Finding(f"bundle {bundle.ref}", not reason, True, reason or can) for bundle, reason in tried),
    ]


def _training() -> Finding:
    found: list[str] = []
    for name in _TRAINING:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            return Finding("training", False, False, f"{name} is not installed; `make install` installs it")
    return Finding("training", True, False, ", ".join(found))


async def _broker(url: str | None, examine_broker: ExamineBroker | None) -> list[Finding]:
    if url is None:
        return [Finding("broker", True, False, "none is set, so the service runs the models itself")]
    if examine_broker is None:
        lacking = "the packages of the queue are not installed; pip install 'recast[queue]' installs them"
        return [Finding("broker", False, True, lacking)]
    return await examine_broker(url)


async def _storage(subject: str, where: str) -> Finding:
    """Writes and removes an object; does not make a folder that does not exist."""
    if "://" not in where and not Path(where).exists():
        above = next(folder for folder in Path(where).absolute().parents if folder.exists())
        works = above.is_dir() and os.access(above, os.W_OK)
        return Finding(subject, works, True, f"{where} {'will be made' if works else f'can not be made in {above}'}")
    # A name of its own: two doctors, or a doctor beside a service, never remove each other's objects.
    name = f"doctor-{uuid.uuid4().hex}"
    try:
        storage = open_storage(where)
        await storage.put(name, b"")
        await storage.delete(name)
    except StorageError as error:
        return Finding(subject, False, True, f"{where}: {error}")
    return Finding(subject, True, True, f"{where} can be written to")


async def _root(name: str, where: str) -> Finding:
    """Reads a root; does not try to write to it, since many are only read."""
    try:
        async for _ in open_storage(where).list(""):
            break
    except (StorageError, InvalidParameter) as error:
        return Finding(f"root {name}", False, True, f"{where}: {error}")
    return Finding(f"root {name}", True, True, f"{where} can be read")
