"""Jobs put into storage by hand, as the intake puts them, and storages that are killed or count what they are asked."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from obstore.store import MemoryStore, ObjectStore

from worker.imaging.careful import Examine
from worker.imaging.decode import decode
from worker.jobs import layout
from worker.jobs.board import Board, finished_chunks, read_finished
from worker.jobs.chunks import Chunks
from worker.jobs.layout import Begun, Chunk, End, Entry, Finished, Job, Outcome
from worker.jobs.roots import Roots
from worker.jobs.runner import Local
from worker.pipeline import Pipeline
from worker.settings import Limits
from worker.storage import Storage, Stored
from worker.wish import Wish

ZEBRA = Wish(domains=("zebra",))
"""What the flip bundle does: every channel upside down."""

NO_ROOTS = Roots({})


def memory() -> Storage:
    """An empty storage in memory."""
    return Storage(MemoryStore())


async def put_job(
    storage: Storage,
    pictures: Mapping[str, bytes],
    *,
    job_id: str = "job",
    wish: Wish = ZEBRA,
    created: float | None = None,
    webhook: str | None = None,
    destination: str | None = None,
    source: str | None = None,
) -> Job:
    """An accepted job of these pictures by name; with a `source` the names are paths there, and nothing is uploaded."""
    job = Job(
        id=job_id,
        created=time.time() if created is None else created,
        wish=wish,
        pictures=len(pictures),
        upload="upload",
        source=source,
        destination=destination,
        webhook=webhook,
    )
    entries = []
    for number, (name, data) in enumerate(pictures.items()):
        path = name if source else layout.picture(job_id, job.upload, number)
        if not source:
            await storage.put(path, data)
        entries.append(Entry(name=name, path=path))
    for number in range(job.chunks):
        plan = Chunk(entries=tuple(entries[number * layout.CHUNK : (number + 1) * layout.CHUNK]))
        await storage.put(layout.chunk(job_id, job.upload, number), plan.bytes())
    await storage.put(layout.open_mark(job_id), b"")
    await storage.put(layout.job(job_id), job.bytes(), new=True)
    return job


async def put_begun(storage: Storage, job: Job, number: int, *, at: float | None = None, left: bool = False) -> None:
    """Stores the mark of a chunk that was begun; without `left` its process was killed, or still works on it."""
    begun = Begun(at=time.time() if at is None else at, left=left)
    await storage.put(layout.begun(job.id, number), begun.bytes())


async def put_finished(storage: Storage, job: Job, number: int, *, done: int, failed: int = 0) -> Finished:
    """A finished chunk with outcomes that are made up: outputs `N-K.png`, then failures `N-fail-K.jpg`."""
    outcomes = [Outcome(name=f"{number}-{k}.jpg", output=f"{number}-{k}.png") for k in range(done)]
    outcomes += [Outcome(name=f"{number}-fail-{k}.jpg", code="unreadable-image", reason="bad") for k in range(failed)]
    record = Finished(outcomes=tuple(outcomes))
    await storage.put(layout.finished(job.id, number, record), record.bytes())
    return record


async def finished(storage: Storage, job: Job) -> list[Outcome]:
    """What became of the job's pictures, in order, as far as chunks are finished."""
    marks = await finished_chunks(storage, job.id)
    return [outcome for mark in marks for outcome in (await read_finished(storage, mark)).outcomes]


async def paths(storage: Storage, folder: str = "") -> list[str]:
    """The paths of all objects below a folder, sorted."""
    return sorted([stored.path async for stored in storage.list(folder)])


async def outputs(storage: Storage, job: Job) -> dict[str, bytes]:
    """The bytes of the job's own outputs, by name."""
    folder = layout.outputs(job.id)
    return {path.removeprefix(f"{folder}/"): await storage.get(path) or b"" for path in await paths(storage, folder)}


class Killed(BaseException):
    """What a storage raises whose process is as good as dead: nothing in it catches this."""


class Mortal(Storage):
    """A storage whose process is killed at its n-th change, before or after it, and never does anything again."""

    def __init__(self, store: ObjectStore, *, change: int, after: bool) -> None:
        super().__init__(store)
        self._left, self._after = change, after
        self.dead = asyncio.Event()

    async def put(self, path: str, data: bytes, *, new: bool = False) -> bool:
        last = self._count()
        done = await super().put(path, data, new=new)
        self._die(last)
        return done

    async def delete(self, path: str) -> None:
        last = self._count()
        await super().delete(path)
        self._die(last)

    async def clear(self, folder: str) -> None:
        last = self._count()
        await super().clear(folder)
        self._die(last)

    async def get(self, path: str) -> bytes | None:
        self._live()
        return await super().get(path)

    async def has(self, path: str) -> bool:
        self._live()
        return await super().has(path)

    async def stream(self, path: str) -> AsyncIterator[bytes] | None:
        self._live()
        return await super().stream(path)

    async def list(self, folder: str) -> AsyncIterator[Stored]:
        self._live()
        async for stored in super().list(folder):
            yield stored

    def _live(self) -> None:
        if self.dead.is_set():
            raise Killed

    def _count(self) -> bool:
        self._live()
        self._left -= 1
        self._die(self._left == 0 and not self._after)
        return self._left == 0

    def _die(self, now: bool) -> None:
        if now:
            self.dead.set()
            raise Killed


class Counting(Storage):
    """A storage that notes what it is asked: `asked` has (method, path), `listed` how many objects were listed."""

    def __init__(self, store: ObjectStore) -> None:
        super().__init__(store)
        self.asked: list[tuple[str, str]] = []
        self.listed = 0

    async def put(self, path: str, data: bytes, *, new: bool = False) -> bool:
        self.asked.append(("put", path))
        return await super().put(path, data, new=new)

    async def delete(self, path: str) -> None:
        self.asked.append(("delete", path))
        await super().delete(path)

    async def get(self, path: str) -> bytes | None:
        self.asked.append(("get", path))
        return await super().get(path)

    async def has(self, path: str) -> bool:
        self.asked.append(("has", path))
        return await super().has(path)

    async def list(self, folder: str) -> AsyncIterator[Stored]:
        self.asked.append(("list", folder))
        async for stored in super().list(folder):
            self.listed += 1
            yield stored


class InProcess:
    """Stands in for careful.Probe where no picture crashes: the same verdicts, without the second it takes to start."""

    def __init__(self, limits: Limits, examine: Examine = decode) -> None:
        self._limits = limits

    async def check(self, data: bytes) -> None:
        """Raises what `decode` raises."""
        decode(data, self._limits)

    def close(self) -> None:
        """Has nothing to end."""


@dataclass
class Ended:
    """Told of the jobs that are over; `wait` returns when as many as that are."""

    jobs: list[tuple[str, End]] = field(default_factory=list)
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, job: Job, end: End) -> None:
        self.jobs.append((job.id, end))
        self._more.set()

    async def wait(self, jobs: int = 1) -> None:
        """Returns when so many different jobs are over."""
        while len({job_id for job_id, _ in self.jobs}) < jobs:
            self._more.clear()
            await self._more.wait()


@asynccontextmanager
async def running(
    storage: Storage,
    pipeline: Pipeline,
    *,
    at_once: int = 1,
    ended: Callable[[Job, End], Awaitable[None]] | None = None,
) -> AsyncIterator[Local]:
    """A runner over a storage, started, and closed at the end of the block."""
    chunks = Chunks(storage, NO_ROOTS, pipeline, at_once=8)
    local = Local(Board(storage), chunks, ended=ended or Ended(), at_once=at_once)
    await local.start()
    try:
        yield local
    finally:
        await local.close()
