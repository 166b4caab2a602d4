"""Accepts a job, picture by picture: a process that is killed meanwhile leaves no job, or a whole one.

What an upload stores belongs to no job until its job.json is there, the last object. When uploads race with one
Idempotency-Key, each has its own folder, and job.json, which only one of them can put, names the folder that counts.
"""

import asyncio
import base64
import hashlib
import json
import secrets
import time
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from worker.errors import IdempotencyConflict, InvalidParameter, TooLarge
from worker.imaging.formats import extension, stem
from worker.jobs import archive, layout
from worker.jobs.layout import CHUNK, Chunk, Entry, Job
from worker.jobs.roots import Roots
from worker.settings import MIB, JobSettings, Limits
from worker.storage import RETRY_S, Storage, StorageError
from worker.wish import Wish

LONGEST_NAME = 200
"""Bytes of a picture's name in UTF-8, at most."""

_PUTS_AT_ONCE = 16
_BYTES_AT_ONCE = 32 * MIB
_LONG = MIB // 4  # bytes that take longer to hash than to hand over to a thread
_ROOM_FOR_NUMBER = 10  # bytes
_RESERVED = str.maketrans(dict.fromkeys('<>:"|?*', "_"))  # not allowed in names on Windows
_DROPPED = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # control, invisible and direction-changing characters, lone surrogates


@dataclass(frozen=True)
class _Place:
    storage: Storage
    roots: Roots
    settings: JobSettings
    limits: Limits


class Intake:
    """Accepts jobs."""

    def __init__(self, storage: Storage, roots: Roots, settings: JobSettings, limits: Limits) -> None:
        """Of the limits only max_bytes is used, and only for the files of an archive."""
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
        """An upload without pictures; `key` is the Idempotency-Key, source and destination are `ROOT/FOLDER`.

        `picked` is the bundle, `name@version`, that all pictures of the job will use. It is no part of the request, so
        the same request with the same Idempotency-Key stays the same when a newer bundle comes.

        InvalidParameter for folders that are in no root, or that overlap.
        """
        for folder in filter(None, (source, destination)):
            self._place.roots.find(folder)
        if source and destination:
            await asyncio.to_thread(self._place.roots.require_apart, source, destination)  # a disk may hang
        earlier = None
        if key is None:
            # 26 characters that sort by time, in milliseconds; 80 bits are random.
            job_id = _encode(int(time.time() * 1000).to_bytes(6) + secrets.token_bytes(10))
        else:
            job_id = id_of(key)
            earlier = await _find_job(self._place.storage, job_id)
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
    """The pictures of one request before they are a job; `commit` or `abort` must be called last."""

    def __init__(self, place: _Place, draft: Job, earlier: Job | None, picked: str | None) -> None:
        """`earlier` is the job that has the Idempotency-Key already: then nothing is stored, only compared."""
        self._place, self._draft, self._earlier, self._picked = place, draft, earlier, picked
        self._puts = _Puts(place.storage)
        self._names = Names()
        self._entries: list[Entry] = []
        self._pictures = 0
        self._bytes = 0
        # Without defaults: a new version's new field does not make the same request another one.
        asked = draft.model_dump(
            mode="json", include={"wish", "source", "destination", "webhook"}, exclude_defaults=True
        )
        self._fingerprint = hashlib.sha256(json.dumps(asked, sort_keys=True).encode())
        self._decision: asyncio.Task[tuple[Job, bool]] | None = None
        self._sealed = False  # from then on job.json may be in storage

    async def add(self, name: str, data: bytes) -> None:
        """Keeps a picture under its name, cleaned and made unique. TooLarge beyond what a job may have.

        A single picture that is too large is not refused here: it fails alone when its turn comes.
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
        """Keeps every picture of a seekable ZIP, one by one. Raises what archive.files raises."""
        most, max_bytes = self._place.settings.job_pictures, self._place.limits.max_bytes
        files = archive.files(file, most=most, max_bytes=max_bytes)
        while some := await asyncio.to_thread(_next_files, files):
            for each in some:
                await self.add(each.name, each.data)

    async def add_source(self) -> None:
        """Lists the pictures of the source folder; they stay where they are. InvalidParameter where it has none."""
        assert self._draft.source is not None
        _, folder = self._place.roots.find(self._draft.source)
        for path in await self._place.roots.pictures(self._draft.source):
            await self._enter(path.removeprefix(folder).lstrip("/"), path)
        if not self._pictures:
            raise InvalidParameter(f"there are no pictures in {self._draft.source!r}")

    async def commit(self) -> tuple[Job, bool]:
        """The job, and whether it is new: the same key with the same request gives the job that exists.

        IdempotencyConflict for the same key with another request; InvalidParameter where no picture was added. Once
        begun it goes on even if its caller is cancelled, so that there is never half a job.
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
        """Removes what the upload stored, unless it may be a job; if that fails, the janitor removes it."""
        if self._decision is not None:
            await asyncio.wait({self._decision})
        if not self._sealed:
            with suppress(StorageError):
                await self._discard()

    async def _enter(self, name: str, path: str) -> Entry:
        """Adds the picture to the present chunk, and stores the chunk's list as soon as it is full."""
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
        chunk, self._entries = Chunk(entries=tuple(self._entries)), []
        await self._put(layout.chunk(self._draft.id, self._draft.upload, number), chunk.bytes())

    async def _put(self, path: str, data: bytes) -> None:
        if self._earlier is None:
            await self._puts.add(path, data)

    async def _decide(self, job: Job) -> tuple[Job, bool]:
        """Makes the upload a job, or finds that an earlier one has the key; see `commit`."""
        earlier = self._earlier or await self._accept(job)
        if earlier.upload == job.upload:
            with suppress(StorageError):  # the janitor removes the mark when it finds the job
                await self._place.storage.delete(layout.upload_mark(job.id, job.upload))
            return earlier, True
        await self._discard()
        if earlier.fingerprint != job.fingerprint:
            raise IdempotencyConflict("this Idempotency-Key came before with another request; use a new one")
        return earlier, False

    async def _accept(self, job: Job) -> Job:
        """Puts the rest, job.json last; returns the stored job, which is this one or another upload's."""
        storage = self._place.storage
        if self._entries:
            await self._put_chunk()
        await self._puts.wait()
        # Before job.json: a job without its open mark would never be found and done.
        await storage.put(layout.open_mark(job.id), b"")
        self._sealed = True
        if await storage.put(layout.job(job.id), job.bytes(), new=True):
            return job
        # A put that was repeated because its answer got lost finds its own object: only reading shows whose it is.
        there = await _find_job(storage, job.id)
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


class Names:
    """The names of a job's pictures so far; without their extensions no two are equal, not even in other case."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def take(self, name: str) -> str:
        """The cleaned name, with a number behind it if it is taken: `cat.jpg`, `cat-2.png`."""
        name = clean(name)
        first = unique = stem(name)
        # Counting goes on from the last number, so that a hundred thousand equal names stay quick.
        number = self._last.get(first.casefold(), 1)
        while unique.casefold() in self._last:
            number += 1
            unique = f"{first}-{number}"
        self._last[first.casefold()] = number
        self._last.setdefault(unique.casefold(), 1)
        return unique + extension(name)


def clean(name: str) -> str:
    """A stranger's name as a relative path that fits storage, any disk and a ZIP; never empty, at most LONGEST_NAME.

    There is no `..` in it, and `/` is the only separator. No folder in it has a picture format's extension, so a folder
    can't stand where another picture's output goes.
    """
    # macOS sends names decomposed (NFD): the same name must give the same path.
    name = unicodedata.normalize("NFC", name).replace("\\", "/").translate(_RESERVED)
    name = "".join(character for character in name if unicodedata.category(character) not in _DROPPED)
    parts = [stripped for part in name.split("/") if (stripped := part.strip(" ."))]
    folders = [f"{stem(part)}_{extension(part)[1:]}" if extension(part) else part for part in parts[:-1]]
    name = "/".join([*folders, *parts[-1:]]) or "picture"
    if len(name.encode()) <= LONGEST_NAME - _ROOM_FOR_NUMBER:
        return name
    room = LONGEST_NAME - _ROOM_FOR_NUMBER - len(extension(name))
    return stem(name).encode()[:room].decode(errors="ignore").rstrip(" ./") + extension(name)


class _Puts:
    """Puts objects, a few at a time, with an upper bound on the bytes in memory."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._running: dict[asyncio.Task[bool], int] = {}

    async def add(self, path: str, data: bytes) -> None:
        """Begins a put as soon as there is room; raises the error of an earlier put."""
        # An object larger than the bound is put alone.
        while self._running and (
            len(self._running) >= _PUTS_AT_ONCE or sum(self._running.values(), len(data)) > _BYTES_AT_ONCE
        ):
            await self._reap(asyncio.FIRST_COMPLETED)
        self._running[asyncio.create_task(self._storage.put(path, data))] = len(data)

    async def wait(self) -> None:
        """Returns when everything is stored; raises the first error."""
        if self._running:
            await self._reap(asyncio.ALL_COMPLETED)

    async def abandon(self) -> None:
        """Returns when no put is running any more; one that was begun can't be called back."""
        await asyncio.gather(*self._running, return_exceptions=True)
        self._running.clear()

    async def _reap(self, when: str) -> None:
        done, _ = await asyncio.wait(self._running, return_when=when)
        for task in done:
            del self._running[task]
        errors = [error for task in done if (error := task.exception())]
        if errors:
            raise errors[0]


async def _find_job(storage: Storage, job_id: str) -> Job | None:
    data = await storage.get(layout.job(job_id))
    return None if data is None else Job.model_validate_json(data)


def id_of(key: str) -> str:
    """The id of the job that an Idempotency-Key starts: a client that has the key can ask for the job."""
    return _encode(hashlib.sha256(key.encode(errors="surrogatepass")).digest()[:16])


def _encode(value: bytes) -> str:
    # base32hex: the only base32 alphabet that keeps the order of the bytes.
    return base64.b32hexencode(value).decode().rstrip("=").lower()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _next_files(files: Iterator[archive.File]) -> list[archive.File]:
    """The next few files: going to another thread for each small picture would take longer than reading it."""
    some, size = [], 0
    for file in files:
        some.append(file)
        size += len(file.data)
        if len(some) == CHUNK or size > MIB:
            break
    return some
