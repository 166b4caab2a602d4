"""Reads multipart/form-data part by part while it arrives; only what the network gave at once is in memory.

Starlette's own reader reads every part before the route sees the first, and has no limit on the bytes of files.
"""

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from worker.errors import UnreadableImage


@dataclass(frozen=True)
class _End:
    """A part is over."""


class Part:
    """One field of the form; read its bytes before you go on to the next part."""

    def __init__(self, body: "Multipart", field: str, filename: str | None) -> None:
        self.field = field
        self.filename = filename
        """The client's word, so not trusted; None if the field is text."""
        self._body = body
        self._over = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Its bytes, piece by piece."""
        while not self._over:
            event = await self._body.event()
            if isinstance(event, bytes):
                yield event
            else:
                self._over = True

    async def read(self, most: int) -> bytes:
        """Its first `most` bytes; the rest is read from the network and dropped."""
        data = bytearray()
        async for piece in self:
            data += piece[: most - len(data)]
        return bytes(data)


class Multipart:
    """The parts of one body, in order; raises UnreadableImage if it is no complete multipart/form-data."""

    def __init__(self, content_type: str, body: AsyncIterator[bytes]) -> None:
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        # The parser calls back from within `write`. A callback can't be awaited, so its events wait in a queue.
        self._body = body
        self._events: deque[Part | bytes | _End] = deque()
        self._name, self._value, self._disposition = bytearray(), bytearray(), b""
        self._whole = False
        try:
            self._parser = MultipartParser(
                boundary or b"",
                {
                    "on_part_data": lambda data, start, end: self._events.append(data[start:end]),
                    "on_part_end": lambda: self._events.append(_End()),
                    # A header's name and value may come in several pieces.
                    "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
                    "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._headers_finished,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise _malformed() from error
        if not boundary:
            raise _malformed()

    async def __aiter__(self) -> AsyncIterator[Part]:
        """The parts; bytes of a part that were not read are dropped when the next part begins."""
        while (event := await self.event()) is not None:
            if isinstance(event, Part):
                yield event
                await event.read(0)

    async def event(self) -> Part | bytes | _End | None:
        """The next event: a part, a piece of it, or its end; None after the last part. Not for routes."""
        while not self._events:
            piece = await anext(self._body, None)
            if piece is None:
                if not self._whole:
                    raise _malformed()
                return None
            try:
                self._parser.write(piece)
            except FormParserError as error:
                raise _malformed() from error
        return self._events.popleft()

    def _header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._name, self._value = bytearray(), bytearray()

    def _headers_finished(self) -> None:
        options = parse_options_header(self._disposition)[1]
        self._disposition = b""
        if b"name" not in options:
            raise _malformed()
        filename = options.get(b"filename")
        self._events.append(Part(self, _text(options[b"name"]), None if filename is None else _text(filename)))

    def _end(self) -> None:
        self._whole = True


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:  # old clients send names in their system's encoding; latin-1 decodes any bytes
        return data.decode("latin-1")


def _malformed() -> UnreadableImage:
    return UnreadableImage(
        "the body is no complete multipart/form-data, which its content type promises; send it again"
    )
