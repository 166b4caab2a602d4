"""Reads one picture, or the pictures of a job, from a request's body; does not trust the client's names and types.

A single picture is read into memory. A job has one picture at a time in memory, and its ZIP on the disk.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from tempfile import TemporaryFile
from typing import BinaryIO

from fastapi import Request
from pydantic import ValidationError

from service.dependencies import deadline_passed, seconds_left
from service.envelope import SMALL_BODY
from service.multipart import Multipart, Part
from service.schemas import JobFolders
from worker.errors import InvalidParameter, TimedOut, TooLarge, UnreadableImage, UnsupportedMedia
from worker.jobs.intake import Upload
from worker.storage import RETRY_S, StorageError

FIELD = "image"
MULTIPART_OVERHEAD = 1 << 16
"""Bytes that boundaries and part headers may add to a picture."""
BODY: Mapping[str, object] = {
    "required": True,
    "description": f"The picture: multipart field `{FIELD}`, or its bytes as they are.",
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {FIELD: {"type": "string", "contentMediaType": "application/octet-stream"}},
                "required": [FIELD],
                "additionalProperties": False,
            }
        },
        "image/*": {},
        "application/octet-stream": {},
    },
}

IMAGES, ARCHIVE = "images", "archive"
_FILE = {"type": "string", "contentMediaType": "application/octet-stream"}
JOB_BODY: Mapping[str, object] = {
    "required": True,
    "description": (
        f"Pictures as form fields `{IMAGES}`, or one ZIP as `{ARCHIVE}`; or JSON that names folders in storage."
    ),
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {IMAGES: {"type": "array", "items": _FILE}, ARCHIVE: _FILE},
                "additionalProperties": False,
            },
            "encoding": {IMAGES: {"contentType": "image/*"}},
        },
        "application/json": {"schema": JobFolders.model_json_schema()},
    },
}

_SPOOLED = 1 << 20  # bytes that are collected before they are written
_log = logging.getLogger(__name__)


async def picture(request: Request, *, deadline: float) -> bytes:
    """The bytes of the one picture in the body, which must arrive before `deadline` (`time.monotonic()`).

    Raises:
        TimedOut: the upload is slower than the deadline.
        TooLarge: more bytes than the path allows.
        UnsupportedMedia: the content type is neither multipart/form-data nor that of a picture.
        InvalidParameter: the form has other fields than one `image`.
        UnreadableImage: the body is empty, or no multipart.
        ClientDisconnect: the client hung up.
    """
    media_type = _media_type(request)
    try:
        async with asyncio.timeout(seconds_left(deadline)):
            if media_type == "multipart/form-data":
                data = await _from_form(request)
            elif media_type == "application/octet-stream" or media_type.startswith("image/"):
                data = await request.body()
            else:
                raise UnsupportedMedia(
                    f"the content type {media_type[:50]!r} is not accepted; send multipart/form-data with the field "
                    f"{FIELD!r}, or the bytes as image/* or application/octet-stream"
                )
    except TimeoutError:
        raise deadline_passed() from None
    if not data:
        raise UnreadableImage(f"the picture has no bytes; send it as the body or as the form field {FIELD!r}")
    return data


async def folders(request: Request, *, idle_s: float) -> JobFolders | None:
    """The folders that a job's body names; None if it is a form, which `pictures` then reads.

    Raises:
        TimedOut: no byte came for `idle_s` seconds.
        TooLarge: the JSON is longer than `SMALL_BODY`.
        UnsupportedMedia: the body is neither multipart nor JSON.
        InvalidParameter: the JSON is no JobFolders.
        ClientDisconnect: the client hung up.
    """
    media_type = _media_type(request)
    if media_type == "multipart/form-data":
        return None
    if media_type != "application/json":
        raise UnsupportedMedia(
            f"the content type {media_type[:50]!r} is not accepted; send multipart/form-data with the fields "
            f"{IMAGES!r} or {ARCHIVE!r}, or application/json with a source"
        )
    data = bytearray()
    async for piece in _stream(request, idle_s):
        data += piece
        if len(data) > SMALL_BODY:
            raise TooLarge(f"the JSON has more than {SMALL_BODY} bytes; it names two folders and nothing else")
    try:
        return JobFolders.model_validate_json(bytes(data))
    except ValidationError as error:
        first = error.errors()[0]
        # An error of the JSON's syntax names no field.
        where = ".".join(map(str, first["loc"]))[:100] or "the JSON"
        raise InvalidParameter(f"{where}: {first['msg'][:1].lower()}{first['msg'][1:]}") from None


async def pictures(request: Request, upload: Upload, *, max_bytes: int, idle_s: float) -> None:
    """Adds the form's pictures to the upload while they arrive, those of a ZIP when it is complete.

    Raises:
        TimedOut: no byte came for `idle_s` seconds.
        TooLarge: more bytes than the path allows, or more than a job may have.
        InvalidParameter: other fields than `images`, or one `archive`.
        UnreadableImage: it is no multipart.
        StorageError: there is no room.
        ClientDisconnect: the client hung up.
    """
    fields: set[str] = set()
    # The list of a ZIP's files is at its end, so the ZIP can't be read before it is complete. The file is in TMPDIR,
    # for which containers have a volume.
    with TemporaryFile() as archive:
        async for part in Multipart(request.headers["content-type"], _stream(request, idle_s)):
            name = _file_name(part, fields)
            if part.field == IMAGES:
                # One byte more than allowed is enough for the job to refuse the picture when its turn comes.
                await upload.add(name, await part.read(max_bytes + 1))
            else:
                await _spool(part, archive)
        if ARCHIVE in fields:
            archive.seek(0)
            await upload.add_archive(archive)


async def _from_form(request: Request) -> bytes:
    found: list[bytes] = []
    async for part in Multipart(request.headers["content-type"], request.stream()):
        if part.field != FIELD:
            raise InvalidParameter(
                f"the form field {part.field[:100]!r} is not known: send the picture as {FIELD!r}, "
                "and all else in the query"
            )
        if part.filename is None:
            raise InvalidParameter(
                f"the form field {FIELD!r} is text; send it as a file (curl: -F {FIELD}=@picture.jpg)"
            )
        found.append(b"".join([piece async for piece in part]))
    if len(found) != 1:
        raise InvalidParameter(f"the form has {len(found)} fields {FIELD!r}; it must have one")
    return found[0]


def _media_type(request: Request) -> str:
    if (coding := request.headers.get("content-encoding", "identity")) != "identity":
        raise UnsupportedMedia(f"the content encoding {coding[:50]!r} is not accepted; send the body without one")
    return request.headers.get("content-type", "application/octet-stream").partition(";")[0].strip().lower()


async def _stream(request: Request, idle_s: float) -> AsyncIterator[bytes]:
    """The body as it arrives; TimedOut when no byte comes for `idle_s` seconds, however long the whole takes."""
    body = request.stream()
    while True:
        try:
            async with asyncio.timeout(idle_s):
                piece = await anext(body, None)
        except TimeoutError:
            raise TimedOut(
                f"no byte of the upload came for {idle_s:g} s, and the upload was dropped; send it again"
            ) from None
        if piece is None:
            return
        yield piece


def _file_name(part: Part, fields: set[str]) -> str:
    """The part's file name; adds its field to `fields`, those of the parts before it."""
    if part.field not in (IMAGES, ARCHIVE):
        raise InvalidParameter(
            f"the form field {part.field[:100]!r} is not known: send pictures as {IMAGES!r}, a ZIP as {ARCHIVE!r}, "
            "and all else in the query"
        )
    if fields and (part.field == ARCHIVE or ARCHIVE in fields):
        raise InvalidParameter(f"a job takes any number of {IMAGES!r}, or one {ARCHIVE!r} and nothing else")
    if not part.filename:
        raise InvalidParameter(f"a form field {part.field!r} has no file name; send it as a file with a name")
    fields.add(part.field)
    return part.filename


async def _spool(part: Part, file: BinaryIO) -> None:
    pieces: list[bytes] = []
    size = 0
    try:
        async for piece in part:
            pieces.append(piece)
            size += len(piece)
            if size >= _SPOOLED:  # handing each piece to a thread would take longer than writing it
                await asyncio.to_thread(file.writelines, pieces)
                pieces, size = [], 0
        await asyncio.to_thread(file.writelines, pieces)
    except OSError as error:
        _log.error("the archive can't be written to the disk: %s", error.strerror)
        raise StorageError("there is no room for the archive at the moment", retry_after=RETRY_S) from error
