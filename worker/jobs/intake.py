"""Takes a job in, picture by picture; a process that dies in the middle leaves no job, one that dies later a whole one.

What an upload puts before its job.json belongs to nobody until that is there. Of uploads that race with one
Idempotency-Key each has a place of its own, and job.json, which only one of them can put, says whose is the job's.
"""

import asyncio
import base64
import hashlib
import json
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from worker.errors import IdempotencyConflict, InvalidParameter, TooLarge
from worker.jobs import archive, layout
from worker.jobs.layout import CHUNK, Chunk, Entry, Job
from worker.jobs.names import Names
from worker.jobs.roots import Roots
from worker.settings import MIB, JobSettings, Limits
from worker.storage import RETRY_S, Storage, StorageError
from worker.wish import Wish

_PUTS_AT_ONCE = 16
_BYTES_AT_ONCE = 32 * MIB
_LONG = MIB // 4  # bytes that take longer to hash than a thread takes to be asked


@dataclass(frozen=True)
class _Place:
    storage: Storage
    roots: Roots
    settings: JobSettings
    limits: Limits


class Intake:
    """The entrance of jobs."""

    def __init__(self, storage: Storage, roots: Roots, settings: JobSettings, limits: Limits) -> None:
        """Of the limits only max_bytes counts here, and only for what is in an archive."""
        self._place = _Place(storage, roots, settings, limits)

    async def begin(
        self,
        wish: Wish,
        *,
        key: str | None = None,
        webhook: str | None = None,
        source: str | None = None,
        destination: str | None = None,
        picked: str | None = None,
    ) -> "Upload":
        """An upload without pictures yet; `key` is the Idempotency-Key, source and destination are `ROOT/FOLDER`.

        `picked` is the bundle of this moment, `name@version`, that the job keeps to. It is no part of the request, so
        that the same request with the same Idempotency-Key is the same when there is a newer bundle.

        InvalidParameter for folders that are below no root, or that overlap.
        """
        for folder in filter(None, (source, destination)):
            self._place.roots.find(folder)
        if source and destination:
            self._place.roots.require_apart(source, destination)
        job_id = _random_id() if key is None else id_of(key)
        earlier = None if key is None else await _stored(self._place.storage, job_id)
        draft = Job(
            id=job_id,
            created=time.time(),
            wish=wish,
            pictures=1,
            upload=secrets.token_hex(8),
            source=source,
            destination=destination,
            webhook=webhook,
            keyed=key is not None,
        )
        if earlier is None:
            await self._place.storage.put(layout.upload_mark(draft.id, draft.upload), b"")
        return Upload(self._place, draft, earlier, picked)


class Upload:
    """The pictures of one request on their way to being a job; `commit` or `abort` must come last."""

    def __init__(self, place: _Place, draft: Job, earlier: Job | None, picked: str | None) -> None:
        """`earlier` is the job that the Idempotency-Key has already: then nothing is stored, only compared."""
        self._place, self._draft, self._earlier, self._picked = place, draft, earlier, picked
        self._puts = _Puts(place.storage)
        self._names = Names()
        self._entries: list[Entry] = []
        self._pictures = 0
        self._bytes = 0
        self._fingerprint = hashlib.sha256(_asked(draft))
        self._decision: asyncio.Task[tuple[Job, bool]] | None = None
        self._sealed = False  # from when on job.json may be there

    async def add(self, name: str, data: bytes) -> None:
        """Keeps a picture; its name is made clean, and unique in the job. TooLarge beyond what a job may have.

        A single picture that is too long is not refused here: it fails by itself when its turn comes.
        """
        self._bytes += len(data)
        if self._bytes > self._place.settings.job_bytes:
            raise TooLarge(f"a job has at most {self._place.settings.job_bytes} bytes; send several jobs")
        path = layout.picture(self._draft.id, self._draft.upload, self._pictures)
        entry = await self._enter(name, path)
        digest = _sha256(data) if len(data) < _LONG else await asyncio.to_thread(_sha256, data)
        self._fingerprint.update(json.dumps([entry.name, digest]).encode())
        await self._put(path, data)

    async def add_archive(self, file: BinaryIO) -> None:
        """Keeps every picture of a ZIP that can be sought in, one by one. Raises what archive.pictures does."""
        most, max_bytes = self._place.settings.job_pictures, self._place.limits.max_bytes
        pictures = archive.pictures(file, most=most, max_bytes=max_bytes)
        while some := await asyncio.to_thread(_some, pictures):
            for picture in some:
                await self.add(picture.name, picture.data)

    async def add_source(self) -> None:
        """Lists the pictures of the source's folder; they stay where they are. InvalidParameter if there are none."""
        assert self._draft.source is not None
        _, folder = self._place.roots.find(self._draft.source)
        for path in await self._place.roots.pictures(self._draft.source):
            await self._enter(path.removeprefix(folder).lstrip("/"), path)
        if not self._pictures:
            raise InvalidParameter(f"there are no pictures in {self._draft.source!r}")

    async def commit(self) -> tuple[Job, bool]:
        """The job, and whether it is new: the same key with the same request gives the job that there is already.

        IdempotencyConflict for the same key with another request; InvalidParameter where no picture was added. Once
        begun it goes on even if who awaits it is cancelled, so that nobody ever finds half a job.
        """
        if not self._pictures:
            raise InvalidParameter("there is no picture in the request")
        fingerprint = self._fingerprint.hexdigest()
        update: dict[str, object] = {"pictures": self._pictures, "fingerprint": fingerprint}
        if self._picked:
            update["wish"] = self._draft.wish.model_copy(update={"model": self._picked})
        job = self._draft.model_copy(update=update)
        self._decision = asyncio.create_task(self._decide(job))
        return await asyncio.shield(self._decision)

    async def abort(self) -> None:
        """Removes what was put, unless it may have become a job; what can't be removed now is left to the janitor."""
        if self._decision is not None:
            await asyncio.wait({self._decision})
        if not self._sealed:
            with suppress(StorageError):
                await self._discard()

    async def _enter(self, name: str, path: str) -> Entry:
        """Gives the picture a place in its chunk, whose plan is put as soon as it is full."""
        if self._pictures >= self._place.settings.job_pictures:
            raise TooLarge(f"a job has at most {self._place.settings.job_pictures} pictures; send several jobs")
        entry = Entry(name=self._names.take(name), path=path)
        self._pictures += 1
        self._entries.append(entry)
        if len(self._entries) == CHUNK:
            await self._put_chunk()
        return entry

    async def _put_chunk(self) -> None:
        number = (self._pictures - 1) // CHUNK
        plan, self._entries = Chunk(entries=tuple(self._entries)), []
        await self._put(layout.chunk(self._draft.id, self._draft.upload, number), plan.bytes())

    async def _put(self, path: str, data: bytes) -> None:
        if self._earlier is None:
            await self._puts.add(path, data)

    async def _decide(self, job: Job) -> tuple[Job, bool]:
        earlier = self._earlier or await self._accept(job)
        if earlier.upload == job.upload:
            with suppress(StorageError):  # else the janitor finds that it is a job's
                await self._place.storage.delete(layout.upload_mark(job.id, job.upload))
            return earlier, True
        await self._discard()
        if earlier.fingerprint != job.fingerprint:
            raise IdempotencyConflict("this Idempotency-Key came before with another request; use a new one")
        return earlier, False

    async def _accept(self, job: Job) -> Job:
        """Puts what is left, job.json last; the job that is there then, be it this one or another upload's."""
        storage = self._place.storage
        if self._entries:
            await self._put_chunk()
        await self._puts.wait()
        await storage.put(layout.open_mark(job.id), b"")
        self._sealed = True
        if await storage.put(layout.job(job.id), job.bytes(), new=True):
            return job
        # A put that was repeated after its answer got lost finds what it put itself: only reading tells.
        there = await _stored(storage, job.id)
        if there is None:
            raise StorageError("the job of this Idempotency-Key is being removed", retry_after=RETRY_S)
        if there.upload != job.upload and await storage.has(layout.done(job.id)):
            await storage.delete(layout.open_mark(job.id))
        return there

    async def _discard(self) -> None:
        await self._puts.abandon()
        if self._earlier is None:
            await self._place.storage.clear(layout.inputs(self._draft.id, self._draft.upload))
            await self._place.storage.delete(layout.upload_mark(self._draft.id, self._draft.upload))


class _Puts:
    """Puts that run a few at a time, and that hold no more than so many bytes."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._running: dict[asyncio.Task[bool], int] = {}

    async def add(self, path: str, data: bytes) -> None:
        """Begins a put, when there is room; raises what one before it raised."""
        while self._running and (
            len(self._running) >= _PUTS_AT_ONCE or sum(self._running.values(), len(data)) > _BYTES_AT_ONCE
        ):
            await self._reap(asyncio.FIRST_COMPLETED)
        self._running[asyncio.create_task(self._storage.put(path, data))] = len(data)

    async def wait(self) -> None:
        """Returns when everything is put; raises what one put raised."""
        if self._running:
            await self._reap(asyncio.ALL_COMPLETED)

    async def abandon(self) -> None:
        """Returns when no put is running any more; one that is begun can't be called back."""
        await asyncio.gather(*self._running, return_exceptions=True)
        self._running.clear()

    async def _reap(self, when: str) -> None:
        done, _ = await asyncio.wait(self._running, return_when=when)
        for task in done:
            del self._running[task]
        errors = [error for task in done if (error := task.exception())]
        if errors:
            raise errors[0]


async def _stored(storage: Storage, job_id: str) -> Job | None:
    data = await storage.get(layout.job(job_id))
    return None if data is None else Job.model_validate_json(data)


def _random_id() -> str:
    """26 characters that sort by the time at which they were made, in milliseconds; 80 bits are random."""
    return _spelt(int(time.time() * 1000).to_bytes(6) + secrets.token_bytes(10))


def id_of(key: str) -> str:
    """The id of the job that an Idempotency-Key starts; whoever has the key can ask for the job by it."""
    return _spelt(hashlib.sha256(key.encode(errors="surrogatepass")).digest()[:16])


def _spelt(value: bytes) -> str:
    # The alphabet with digits first: only that one keeps the order.
    return base64.b32hexencode(value).decode().rstrip("=").lower()


def _asked(draft: Job) -> bytes:
    # Without defaults: a new version's new field does not make the same request another one.
    asked = draft.model_dump(mode="json", include={"wish", "source", "destination", "webhook"}, exclude_defaults=True)
    return json.dumps(asked, sort_keys=True).encode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _some(pictures: Iterator[archive.Picture]) -> list[archive.Picture]:
    """The next few: going to another thread for each small picture would take longer than reading it."""
    some, size = [], 0
    for picture in pictures:
        some.append(picture)
        size += len(picture.data)
        if len(some) == CHUNK or size > MIB:
            break
    return some
