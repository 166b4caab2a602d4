"""The pictures of a job on their way out: which files, under which names, and as one body that is never in memory.

The body is multipart/form-data and not a ZIP: the service takes each picture as it comes, so it needs no second pass
and no room for an archive, and the length is known beforehand, so what is too long is refused before it is sent.
"""

import os
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from service.client.errors import InputError

_SUFFIXES = ".jpg .jpeg .jpe .jfif .png .apng .webp .avif .gif .bmp .dib .tif .tiff"
SUFFIXES = frozenset(_SUFFIXES.split())
"""Files that are taken from folders; a file that is named itself is always taken."""

Progress = Callable[[int, int], None]
"""Is told how many pictures and how many bytes are on their way."""

_PIECE = 1 << 18


def gather(paths: Path | Iterable[Path]) -> dict[str, Path]:
    """The pictures of files and folders by the names under which they are sent: folders keep their shape.

    InputError where a path is missing, where there is no picture at all, or where two have the same name.
    """
    named = [paths] if isinstance(paths, Path) else list(paths)
    if missing := [path for path in named if not path.exists()]:
        raise InputError(f"there is no file or folder {missing[0]}")
    found: dict[str, Path] = {}
    for path in named:
        for name, file in _within(path):
            if name in found:
                raise InputError(f"{found[name]} and {file} would both be sent as {name}; send them as two jobs")
            found[name] = file
    if not found:
        raise InputError(f"there are no pictures in {', '.join(map(str, named)) or 'nothing'}")
    return found


class Form:
    """The body of one job, to be sent once or again; one file is open at a time."""

    def __init__(self, pictures: Mapping[str, Path | bytes], progress: Progress | None = None) -> None:
        """Looks at the length of every file; InputError where one can't be read."""
        self._parts = [(_head(name), picture, _length(picture)) for name, picture in pictures.items()]
        self._progress = progress
        self._stop = threading.Event()
        self._boundary = f"recast-{uuid.uuid4().hex}".encode()
        self.content_type = f"multipart/form-data; boundary={self._boundary.decode()}"
        around = len(self._boundary) + 4
        self.length = sum(around + len(head) + length + 2 for head, _, length in self._parts) + around + 2
        """Bytes of the whole body."""

    def body(self) -> Iterator[bytes]:
        """The bytes from the start; InputError where a file is no longer as it was."""
        sent = 0
        for number, (head, picture, length) in enumerate(self._parts):
            yield b"--" + self._boundary + b"\r\n" + head
            for piece in _pieces(picture, length):
                if self._stop.is_set():
                    raise InputError("the upload was stopped")
                yield piece
                sent += len(piece)
                self._tell(number, sent)
            yield b"\r\n"
            self._tell(number + 1, sent)
        yield b"--" + self._boundary + b"--\r\n"

    def stop(self) -> None:
        """Ends a body that is on its way in another thread."""
        self._stop.set()

    def _tell(self, pictures: int, sent: int) -> None:
        if self._progress:
            self._progress(pictures, sent)


def _within(path: Path) -> Iterator[tuple[str, Path]]:
    if path.is_file():
        yield path.name, path
        return
    for file in sorted(path.rglob("*")):
        if file.suffix.lower() in SUFFIXES and file.is_file():
            yield file.relative_to(path).as_posix(), file


def _head(name: str) -> bytes:
    quoted = name.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "%0D").replace("\n", "%0A")
    head = f'Content-Disposition: form-data; name="images"; filename="{quoted}"\r\n'
    return f"{head}Content-Type: application/octet-stream\r\n\r\n".encode(errors="replace")


def _length(picture: Path | bytes) -> int:
    if isinstance(picture, bytes):
        return len(picture)
    try:
        length = picture.stat().st_size
    except OSError as error:
        raise InputError(f"{picture} can't be read: {error.strerror}") from None
    if not os.access(picture, os.R_OK):
        raise InputError(f"{picture} can't be read: it is not yours to read")
    return length


def _pieces(picture: Path | bytes, length: int) -> Iterator[bytes]:
    if isinstance(picture, bytes):
        yield picture
        return
    try:
        with picture.open("rb") as file:
            left = length
            while left and (piece := file.read(min(left, _PIECE))):
                left -= len(piece)
                yield piece
    except OSError as error:
        raise InputError(f"{picture} can't be read: {error.strerror}") from None
    if left or picture.stat().st_size != length:
        raise InputError(f"{picture} changed while it was sent; nothing was accepted, send it again")
