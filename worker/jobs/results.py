"""A job's outputs for the client: one by name, or all as a ZIP that is made while it is sent.

The ZIP is never whole anywhere: in memory are one piece of an output, and for each output that was sent its line of the
ZIP's table of contents, half a kilobyte. Pictures are not compressed again.
"""

import asyncio
import io
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import TYPE_CHECKING
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from pydantic_core import to_json

from worker.errors import InvalidParameter, UnknownResult
from worker.imaging.formats import by_extension
from worker.jobs import layout
from worker.jobs.board import Mark, finished_chunks, read_finished
from worker.jobs.layout import Job, Outcome
from worker.jobs.roots import Roots
from worker.storage import Storage

if TYPE_CHECKING:
    from typing_extensions import Buffer

FAILURES = "failures.json"
"""The file in the ZIP that lists what could not be translated: objects with name, code and reason."""

_PIECE = 65_536  # bytes that are sent at a time, at least


def target(storage: Storage, roots: Roots, job: Job) -> tuple[Storage, str]:
    """The storage of a job's outputs, and the prefix of their paths in it.

    Raises InvalidParameter if the root of its destination is not configured here.
    """
    if job.destination is None:
        return storage, f"{layout.outputs(job.id)}/"
    root, folder = roots.find(job.destination)
    return root, f"{folder}/" if folder else ""


async def picture(storage: Storage, roots: Roots, job: Job, name: str) -> tuple[AsyncIterator[bytes], str]:
    """An output piece by piece, and its media type. Raises UnknownResult if there is none of that name, or not yet."""
    kind = by_extension(name[name.rfind(".") :])
    # The name comes from a stranger. In a storage `..` leads nowhere, and of a user's other files only pictures are
    # given out.
    if kind is not None:
        place, before = _target(storage, roots, job)
        if pieces := await place.stream(before + name):
            return pieces, kind.media_type
    raise UnknownResult(f"the job has no result {name[:200]!r}, or not yet")


def archive(storage: Storage, roots: Roots, job: Job) -> AsyncGenerator[bytes, None]:
    """A ZIP of the outputs of every chunk that is finished now; FAILURES comes last, if anything failed.

    Raises UnknownResult, before the first piece, if the root of the job's destination is not configured here.
    """
    return _archive(storage, *_target(storage, roots, job), job)


async def _archive(storage: Storage, place: Storage, before: str, job: Job) -> AsyncGenerator[bytes, None]:
    sink = _Sink()
    archive = ZipFile(sink, "w", ZIP_STORED)
    created = time.gmtime(job.created)[:6]
    try:
        async for name, pieces in _files(storage, place, before, job):
            entry = ZipInfo(name, created)
            entry.external_attr = 0o644 << 16  # a plain file that its owner may write
            with archive.open(entry, "w") as file:
                async for piece in pieces:
                    file.write(piece)
                    if sink.size >= _PIECE:
                        yield sink.take()
    finally:
        # Writing the table of contents of a hundred thousand pictures takes long.
        await asyncio.to_thread(archive.close)
    yield sink.take()


async def _files(
    storage: Storage, place: Storage, before: str, job: Job
) -> AsyncIterator[tuple[str, AsyncIterator[bytes]]]:
    """The files of the ZIP, in order: each name and its content."""
    marks = await finished_chunks(storage, job.id)
    lost: list[Outcome] = []
    for mark in marks:
        for outcome in (await read_finished(storage, mark)).outcomes if mark.done else ():
            if outcome.output is None:
                continue
            pieces = await place.stream(before + outcome.output)
            if pieces is None:
                lost.append(outcome)
            else:
                yield outcome.output, pieces
    failed = [mark for mark in marks if mark.failed]
    if failed or lost:
        yield FAILURES, _failures(storage, failed, lost)


async def _failures(storage: Storage, marks: Sequence[Mark], lost: Sequence[Outcome]) -> AsyncIterator[bytes]:
    """The list as JSON, a line for each picture; the records are read again, so that it is never whole in memory."""
    yield b"["
    comma = b"\n  "
    for mark in marks:
        for outcome in (await read_finished(storage, mark)).outcomes:
            if outcome.output is None:
                yield comma + to_json(outcome.model_dump(exclude={"output"}))
                comma = b",\n  "
    for outcome in lost:
        gone = {"name": outcome.name, "code": UnknownResult.code, "reason": "it was translated, but its output is gone"}
        yield comma + to_json(gone)
        comma = b",\n  "
    yield b"\n]\n"


def _target(storage: Storage, roots: Roots, job: Job) -> tuple[Storage, str]:
    try:
        return target(storage, roots, job)
    except InvalidParameter as error:
        raise UnknownResult(f"the results are where this service can't reach them: {error}") from error


class _Sink(io.RawIOBase):
    """What the ZIP's writer has written and `take` has not returned yet."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    @property
    def size(self) -> int:
        return len(self._waiting)

    def writable(self) -> bool:
        return True

    def write(self, data: "Buffer") -> int:
        before = self.size
        self._waiting += memoryview(data)
        return self.size - before

    def take(self) -> bytes:
        taken = bytes(self._waiting)
        self._waiting.clear()
        return taken
