"""One picture out of a request's body, multipart or raw; what the client says of name and type is not believed."""

import asyncio
from collections.abc import Mapping

from fastapi import Request
from python_multipart.exceptions import FormParserError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from service.deadline import late, left
from worker.errors import InvalidParameter, UnreadableImage, UnsupportedMedia

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


async def picture(request: Request, *, deadline: float) -> bytes:
    """The bytes of the one picture in the body, which must have come before `deadline` (`time.monotonic()`).

    Raises:
        TimedOut: the upload is slower than the deadline.
        TooLarge: more bytes than the path may carry.
        UnsupportedMedia: the body is neither multipart nor said to be a picture.
        InvalidParameter: the form has not exactly one picture, in the field `image`.
        UnreadableImage: the body is empty, or no multipart.
        ClientDisconnect: the client hung up.
    """
    try:
        async with asyncio.timeout(left(deadline)):
            data = await _read(request)
    except TimeoutError:
        raise late() from None
    if not data:
        raise UnreadableImage(f"the picture has no bytes; send it as the body or as the form field {FIELD!r}")
    return data


async def _read(request: Request) -> bytes:
    if (coding := request.headers.get("content-encoding", "identity")) != "identity":
        raise UnsupportedMedia(f"the content encoding {coding[:50]!r} is not taken; send the picture as it is")
    media_type = request.headers.get("content-type", "application/octet-stream").partition(";")[0].strip().lower()
    if media_type == "multipart/form-data":
        return await _from_form(request)
    if media_type == "application/octet-stream" or media_type.startswith("image/"):
        return await request.body()
    raise UnsupportedMedia(
        f"the content type {media_type[:50]!r} is not taken; send multipart/form-data with the field {FIELD!r}, "
        "or the bytes as image/* or application/octet-stream"
    )


async def _from_form(request: Request) -> bytes:
    try:
        form = await MultiPartParser(request.headers, request.stream(), max_files=8, max_fields=8).parse()
    except (MultiPartException, FormParserError) as error:
        raise UnreadableImage("the body is not the multipart/form-data that its content type promises") from error
    try:
        return await _only_picture(form).read()
    finally:
        await form.close()


def _only_picture(form: FormData) -> UploadFile:
    if unknown := [name for name in form if name != FIELD]:
        raise InvalidParameter(
            f"the form field {unknown[0][:100]!r} is not known: the picture is {FIELD!r}, all else goes into the query"
        )
    found = form.getlist(FIELD)
    if len(found) != 1:
        raise InvalidParameter(f"the form has {len(found)} fields {FIELD!r}; it must have one")
    if not isinstance(found[0], UploadFile):
        raise InvalidParameter(f"the form field {FIELD!r} is text; send it as a file (curl: -F {FIELD}=@picture.jpg)")
    return found[0]
