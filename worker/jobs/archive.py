"""Reads the files of a ZIP one by one, from an archive that may be hostile.

Nothing that the archive says about itself is trusted: bytes are counted as they are read. The standard library's reader
won't do: it reads the whole directory into memory before the entries can be counted, and lets entries overlap.
"""

import re
import stat
import struct
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from io import SEEK_END
from typing import BinaryIO, NamedTuple

from worker.errors import InvalidParameter, TooLarge, UnreadableImage

MOST_RATIO = 100
"""Bytes that one byte of the archive may unpack to, beyond the first FREE bytes."""
FREE = 1024 * 1024

_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_HEADER = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_FULL = 0xFFFFFFFF  # means: the value is in the 64-bit field
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_UTF8 = 0x800
_STORED, _DEFLATED = 0, 8
_PIECE = 64 * 1024  # bytes
_CLUTTER = {".ds_store", "thumbs.db", "desktop.ini"}
_DRIVE = re.compile(r"[A-Za-z]:")


class File(NamedTuple):
    """A file of the archive: its name, with `/` as the only separator, and its bytes."""

    name: str
    data: bytes


def files(file: BinaryIO, *, most: int, max_bytes: int) -> Iterator[File]:
    """Every file in order, without folders and file managers' own files; a longer file is cut at max_bytes + 1.

    The whole directory is checked before the first file is read. Raises TooLarge for more than `most` files and for
    bombs; InvalidParameter for names that leave the folder, links, encryption, overlaps, archives in the archive, and
    methods other than deflate; UnreadableImage for a file that is no ZIP, or a damaged one. Blocks: run it in a thread.
    """
    directory = _find_directory(file)
    if directory.entries > 2 * most:
        raise TooLarge(f"the archive has {directory.entries} entries; a job has at most {most} pictures")
    bounds = _check(file, directory, most)
    spent = _Spent()
    for entry in _entries(file, directory):
        if not entry.skipped:
            data = _read(file, entry, bounds, max_bytes, spent)
            if data.startswith((b"PK\3\4", b"PK\5\6", b"PK\7\x08")):
                raise InvalidParameter(f"{entry.shown} is an archive within the archive; send pictures only")
            yield File(entry.name, data)


@dataclass(frozen=True)
class _Directory:
    at: int
    end: int
    entries: int
    shift: int
    """Bytes before the archive's first byte."""


@dataclass(frozen=True)
class _Entry:
    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    start: int
    mode: int

    @property
    def shown(self) -> str:
        """The name as it may stand in a message."""
        return repr(self.name[:80])

    @property
    def skipped(self) -> bool:
        """Whether it is a folder, or a file manager's own file."""
        *folders, last = self.name.split("/")
        return not last or "__MACOSX" in folders or last.casefold() in _CLUTTER or last.startswith("._")

    def check(self) -> None:
        """InvalidParameter for anything that an honest archive of pictures does not have."""
        parts = self.name.split("/")
        if self.name.startswith("/") or ".." in parts or "\0" in self.name or _DRIVE.match(self.name):
            raise InvalidParameter(f"the archive has an entry {self.shown}, which leads out of it")
        if stat.S_IFMT(self.mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise InvalidParameter(f"{self.shown} in the archive is a link or a device; send pictures only")
        if self.flags & _ENCRYPTED:
            raise InvalidParameter(f"{self.shown} in the archive is encrypted; send it without a password")
        if self.method not in (_STORED, _DEFLATED):
            raise InvalidParameter(f"{self.shown} in the archive is packed by method {self.method}; use deflate")


@dataclass
class _Spent:
    """Bytes read from the archive, and bytes that they unpacked to."""

    packed: int = 0
    unpacked: int = 0

    def add(self, packed: int, unpacked: int) -> None:
        self.packed += packed
        self.unpacked += unpacked
        if self.unpacked > FREE + MOST_RATIO * self.packed:
            raise TooLarge(f"the archive unpacks to more than {MOST_RATIO} times its size")


def _find_directory(file: BinaryIO) -> _Directory:
    size = file.seek(0, SEEK_END)
    tail_at = max(0, size - _END.size - 0xFFFF)
    file.seek(tail_at)
    tail = file.read()
    at = tail.rfind(b"PK\5\6")
    # The same bytes may stand in the comment: the record is the one that ends, with its comment, where the file ends.
    while at >= 0 and (len(tail) - at < _END.size or at + _END.size + _END.unpack_from(tail, at)[-1] != len(tail)):
        at = tail.rfind(b"PK\5\6", 0, at)
    if at < 0:
        raise UnreadableImage("the archive is no ZIP, or its end is missing")
    # The records and their fields are those of PKWARE's APPNOTE, sections 4.3.7 to 4.3.16.
    _, disk, first_disk, _, entries, length, start, _ = _END.unpack_from(tail, at)
    end = tail_at + at
    if (large := _find_directory64(file, end)) is not None:
        end, entries, length, start = large
    shift = end - length - start
    if disk or first_disk or shift < 0:
        raise _corrupt("its directory is not where it should be")
    return _Directory(end - length, end, entries, shift)


def _find_directory64(file: BinaryIO, end: int) -> tuple[int, int, int, int] | None:
    """Start of the 64-bit record; entries, bytes and start of the directory. None if there is no such record."""
    before = _END64.size + _END64_LOCATOR.size
    if end < before:
        return None
    file.seek(end - before)
    record = file.read(before)
    if not record.startswith(b"PK\6\7", _END64.size):
        return None
    if not record.startswith(b"PK\6\6"):
        raise _corrupt("its 64-bit directory is not where it should be")
    *_, entries, length, start = _END64.unpack_from(record)
    return end - before, entries, length, start


def _check(file: BinaryIO, directory: _Directory, most: int) -> "array[int]":
    """Where each file begins, sorted, and where the directory does; raises what `files` does for a bad directory."""
    starts: array[int] = array("Q")
    for entry in _entries(file, directory):
        entry.check()
        if entry.start + _LOCAL.size + entry.packed > directory.at:
            raise _corrupt(f"{entry.shown} would end beyond its end")
        if not entry.skipped:
            starts.append(entry.start)
        if len(starts) > most:
            raise TooLarge(f"the archive has more than {most} pictures, the most of one job; send several")
    bounds = array("Q", [*sorted(starts), directory.at])
    if any(bounds[place] == bounds[place + 1] for place in range(len(bounds) - 1)):
        raise InvalidParameter("two entries of the archive are the same bytes")
    return bounds


def _entries(file: BinaryIO, directory: _Directory) -> Iterator[_Entry]:
    at = directory.at
    for _ in range(directory.entries):
        file.seek(at)
        header = file.read(_HEADER.size)
        if at + _HEADER.size > directory.end or not header.startswith(b"PK\1\2"):
            raise _corrupt("its directory is broken")
        fields = _HEADER.unpack(header)
        name_length, extra_length, comment_length = fields[10:13]
        name, extra = file.read(name_length), file.read(extra_length)
        at += _HEADER.size + name_length + extra_length + comment_length
        size, packed, start = _wide((fields[9], fields[8], fields[16]), extra)
        flags, method, crc, mode = fields[3], fields[4], fields[7], fields[15] >> 16
        try:
            text = name.decode()  # many write UTF-8 without the flag
        except UnicodeDecodeError:
            # Without the flag APPNOTE (appendix D) says code page 437, that of the first PCs.
            text = name.decode(errors="replace") if flags & _UTF8 else name.decode("cp437")
        text = text.replace("\\", "/")
        yield _Entry(text, flags, method, crc, packed, size, start + directory.shift, mode)
    if at != directory.end:
        raise _corrupt("its directory has more entries than it says")


def _wide(values: tuple[int, ...], extra: bytes) -> list[int]:
    """The values; those that do not fit into 32 bits are read from the extra field."""
    wide = b""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if kind == 1:  # APPNOTE, section 4.5.3
            wide = extra[4 : 4 + length]
        extra = extra[4 + length :]
    found = []
    for value in values:
        if value == _FULL:
            if len(wide) < 8:
                raise _corrupt("a 64-bit size is missing")
            value, wide = int.from_bytes(wide[:8], "little"), wide[8:]
        found.append(value)
    return found


def _read(file: BinaryIO, entry: _Entry, bounds: "array[int]", max_bytes: int, spent: _Spent) -> bytes:
    """The file's bytes, checked against its checksum, or its first max_bytes + 1."""
    file.seek(entry.start)
    header = file.read(_LOCAL.size)
    if not header.startswith(b"PK\3\4"):
        raise _corrupt(f"{entry.shown} is not where it should be")
    begin = entry.start + _LOCAL.size + sum(_LOCAL.unpack(header)[-2:])
    if begin + entry.packed > bounds[bisect_right(bounds, entry.start)]:
        raise InvalidParameter(f"{entry.shown} in the archive overlaps the next entry")
    file.seek(begin)
    pieces = _pieces(file, entry.packed) if entry.method == _STORED else _inflate(file, entry, max_bytes)
    data = bytearray()
    for packed, piece in pieces:
        spent.add(packed, len(piece))
        data += piece
        if len(data) > max_bytes:
            return bytes(data[: max_bytes + 1])
    if len(data) != entry.size or zlib.crc32(data) != entry.crc:
        raise _corrupt(f"{entry.shown} does not fit its checksum")
    return bytes(data)


def _pieces(file: BinaryIO, length: int) -> Iterator[tuple[int, bytes]]:
    """The bytes piece by piece, each with the number of the archive's bytes that it took."""
    while length and (piece := file.read(min(length, _PIECE))):
        length -= len(piece)
        yield len(piece), piece


def _inflate(file: BinaryIO, entry: _Entry, max_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Like `_pieces`, but unpacked; no piece is longer than max_bytes + 1."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for taken, piece in _pieces(file, entry.packed):
            yield taken, inflater.decompress(piece, max_bytes + 1)
            if inflater.eof:
                return
    except zlib.error:
        raise _corrupt(f"{entry.shown} can't be unpacked") from None
    raise _corrupt(f"{entry.shown} ends too early")


def _corrupt(why: str) -> UnreadableImage:
    return UnreadableImage(f"the archive is damaged: {why}")
