"""Bodies as they arrive: a form's parts in pieces of any length, and a job's upload that is never whole in memory."""

import asyncio
import io
import tracemalloc
import zipfile
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from fastapi import Request
from obstore.store import MemoryStore
from starlette.types import Message

from service import uploads
from service.multipart import Multipart
from worker.errors import RecastError, TimedOut, UnreadableImage
from worker.jobs.intake import Intake
from worker.jobs.roots import Roots
from worker.settings import JobSettings, Limits
from worker.storage import Storage, StorageError, open_storage
from worker.wish import Wish

BOUNDARY = "x-boundary"
TYPE = f"multipart/form-data; boundary={BOUNDARY}"
CLOSING = f"--{BOUNDARY}--\r\n".encode()
HEAD = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="images"\r\n\r\n'.encode()
PIECE = 1 << 16
MIB = 1 << 20


def test_parts_do_not_depend_on_how_the_body_is_cut() -> None:
    """Fields, names and bytes are the same for pieces of any length, also if data look like a boundary."""
    data = f"1\r\n--{BOUNDARY[:-1]}\r\n".encode()
    body = b"".join([part("images", "a.png", data), part("images", "ü.png", b""), part("t", None, b"x"), CLOSING])
    expected = [("images", "a.png", data), ("images", "ü.png", b""), ("t", None, b"x")]
    for length in range(1, len(body) + 1):
        assert taken(cut(body, length)) == expected


def test_what_is_not_taken_of_a_part_is_dropped() -> None:
    """Reading only the beginning of a part, or nothing, does not change the next part."""
    body = b"".join([part("images", "a.png", b"12345"), part("images", "b.png", b"67890"), CLOSING])
    assert [data for _, _, data in taken(cut(body, 3), most=3)] == [b"123", b"678"]
    assert [data for _, _, data in taken(cut(body, 3), most=0)] == [b"", b""]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", TYPE),
        (b"--nothing", TYPE),
        (HEAD, TYPE),
        (HEAD + b"data\r\n--x-boundary", TYPE),
        (HEAD.replace(b"; name", b"; nom") + b"data\r\n" + CLOSING, TYPE),
        (HEAD.replace(b":", b" ") + b"data\r\n" + CLOSING, TYPE),
        (HEAD + b"data\r\n" + CLOSING, "multipart/form-data"),
        (HEAD + b"data\r\n" + CLOSING, "multipart/form-data; boundary=" + "x" * 300),
    ],
)
def test_what_is_no_whole_form_is_refused(body: bytes, content_type: str) -> None:
    """A body that is cut off, or is no form, raises UnreadableImage."""
    with pytest.raises(UnreadableImage, match="multipart/form-data"):
        taken(cut(body, 7), content_type=content_type)


def test_many_pictures_are_never_held_whole() -> None:
    """An upload of 20 MB in 200 pictures takes less than 4 MiB of memory."""
    storage = Counting()
    pictures = (part("images", f"{number}.png", b"p" * 100_000) for number in range(200))
    assert peak(storage, (*pictures, CLOSING)) < 4 * MIB
    assert storage.bytes > 20_000_000


def test_an_archive_is_never_held_whole() -> None:
    """The upload of a ZIP of 24 MiB takes less than 12 MiB of memory."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(24):
            archive.writestr(f"{number}.png", number.to_bytes() * MIB)
    storage = Counting()
    assert peak(storage, (part("archive", "all.zip", packed.getvalue()), CLOSING)) < 12 * MIB
    assert storage.bytes > 24 * MIB


def test_of_a_picture_that_is_too_long_one_byte_more_is_kept(tmp_path: Path) -> None:
    """Of a picture that is too long, one byte more than the limit is stored, so that it fails alone later."""
    storage = open_storage(str(tmp_path))
    upload(storage, cut(part("images", "a.png", b"p" * 5000) + CLOSING, 1000), max_bytes=2000)
    sizes = [path.stat().st_size for path in tmp_path.rglob("00000") if path.parent.name != "chunks"]
    assert sizes == [2001]


def test_an_upload_that_stands_still_is_given_up() -> None:
    """An upload that stops in the middle raises TimedOut."""

    async def stalling() -> AsyncIterator[bytes]:
        yield part("images", "a.png", b"data")
        await asyncio.Event().wait()

    with pytest.raises(TimedOut, match="no byte"):
        upload(Counting(), stalling(), idle_s=0.05)


def test_a_full_disk_is_no_fault_of_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk has no room for a ZIP, the answer is a 503."""
    monkeypatch.setattr(uploads, "TemporaryFile", partial(open, "/dev/full", "r+b", buffering=0))
    with pytest.raises(StorageError, match="no room"):
        upload(Counting(), cut(part("archive", "a.zip", b"data") + CLOSING, PIECE))


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([("images", None)], "no file name"),
        ([("images", "")], "no file name"),
        ([("image", "a.png")], "'image' is not known"),
        ([("images", "a.png"), ("archive", "a.zip")], "one 'archive' and nothing else"),
        ([("archive", "a.zip"), ("images", "a.png")], "one 'archive' and nothing else"),
        ([("archive", "a.zip"), ("archive", "b.zip")], "one 'archive' and nothing else"),
    ],
)
def test_forms_of_other_fields_are_explained(parts: list[tuple[str, str | None]], text: str) -> None:
    """A form that is neither pictures nor one ZIP is refused, and no part of it is ignored."""
    body = b"".join(part(field, name, b"data") for field, name in parts) + CLOSING
    with pytest.raises(RecastError, match=text):
        upload(Counting(), cut(body, PIECE))


class Counting(Storage):
    """A storage that keeps only the number of bytes."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.bytes = 0

    async def put(self, path: str, data: bytes, *, new: bool = False) -> bool:
        """Counts."""
        self.bytes += len(data)
        return True


def peak(storage: Storage, parts: tuple[bytes, ...]) -> int:
    """Python's peak of allocated bytes during the upload of these parts, without the parts themselves."""

    async def body() -> AsyncIterator[bytes]:
        for each in parts:
            async for piece in cut(each, PIECE):
                yield piece

    tracemalloc.start()
    try:
        upload(storage, body())
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def upload(storage: Storage, body: AsyncIterator[bytes], *, max_bytes: int = 2 * MIB, idle_s: float = 60) -> None:
    """Reads a form as POST /jobs does."""
    settings = JobSettings(job_bytes=1 << 30)

    async def take() -> None:
        begun = await Intake(storage, Roots({}), settings, Limits()).begin(Wish(domains=("blond",)))
        try:
            await uploads.pictures(request(body), begun, max_bytes=max_bytes, idle_s=idle_s)
            await begun.commit()
        finally:
            await begun.abort()

    asyncio.run(take())


def request(body: AsyncIterator[bytes]) -> Request:
    """A request whose body arrives in these pieces."""

    async def receive() -> Message:
        piece = await anext(body, None)
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    return Request({"type": "http", "headers": [(b"content-type", TYPE.encode())]}, receive)


def part(field: str, filename: str | None, data: bytes) -> bytes:
    """One field of a form."""
    named = "" if filename is None else f'; filename="{filename}"'
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"{named}\r\n\r\n'
    return head.encode() + data + b"\r\n"


async def cut(body: bytes, length: int) -> AsyncIterator[bytes]:
    """The body in pieces."""
    for start in range(0, len(body), length):
        yield body[start : start + length]


def taken(
    body: AsyncIterator[bytes], *, most: int | None = None, content_type: str = TYPE
) -> list[tuple[str, str | None, bytes]]:
    """The form's fields, file names and bytes, `most` of each."""

    async def take() -> list[tuple[str, str | None, bytes]]:
        return [
            (each.field, each.filename, await each.read(1 << 30 if most is None else most))
            async for each in Multipart(content_type, body)
        ]

    return asyncio.run(take())
