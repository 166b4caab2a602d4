"""ZIP archives written byte by byte, so that they can lie; an honest one is what the standard library reads too."""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

LINK = 0o120777
STORED, DEFLATED = 0, 8


@dataclass(frozen=True)
class Member:
    """A file of an archive; every value that is given stands in the archive, be it true or not."""

    name: bytes
    data: bytes = b""
    method: int = STORED
    flags: int = 0
    mode: int = 0o100644
    size: int | None = None
    packed: bytes | None = None
    packed_size: int | None = None
    crc: int | None = None
    start: int | None = None
    """Where its local header is said to be."""
    extra: bytes = b""
    """In the directory."""
    local_extra: bytes = b""
    written: bool = True
    """Whether it has a local header and bytes of its own."""

    @property
    def bytes(self) -> bytes:
        """As it lies in the archive."""
        if self.packed is not None:
            return self.packed
        if self.method != DEFLATED:
            return self.data
        packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        return packer.compress(self.data) + packer.flush()


def written(
    members: Sequence[Member],
    *,
    before: bytes = b"",
    comment: bytes = b"",
    entries: int | None = None,
    large: bool = False,
) -> bytes:
    """The archive behind `before`; `entries` is how many it says it has, `large` gives it the 64-bit records."""
    body, directory = b"", b""
    for member in members:
        start = len(body) if member.start is None else member.start
        if member.written:
            body += (
                _header(b"PK\3\4", member, b"", member.local_extra) + member.name + member.local_extra + member.bytes
            )
        tail = struct.pack("<3H2L", 0, 0, 0, member.mode << 16, start)
        made = struct.pack("<H", 3 << 8 | 20)
        directory += _header(b"PK\1\2", member, made, member.extra) + tail + member.name + member.extra
    count = len(members) if entries is None else entries
    end = _large_end(count, len(directory), len(body)) if large else b""
    shown = (0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF) if large else (count, count, len(directory), len(body))
    end += struct.pack("<4s2H2H2LH", b"PK\5\6", 0, 0, *shown, len(comment)) + comment
    return before + body + directory + end


def wide(*values: int) -> bytes:
    """The extra field of 64-bit values."""
    return struct.pack(f"<2H{len(values)}Q", 1, 8 * len(values), *values)


def _header(kind: bytes, member: Member, made: bytes, extra: bytes) -> bytes:
    packed = len(member.bytes) if member.packed_size is None else member.packed_size
    size = len(member.data) if member.size is None else member.size
    crc = zlib.crc32(member.data) if member.crc is None else member.crc
    fields = (20, member.flags, member.method, 0, 0x21, crc, packed, size, len(member.name), len(extra))
    return kind + made + struct.pack("<5H3L2H", *fields)


def _large_end(count: int, length: int, start: int) -> bytes:
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, length, start)
    return record + struct.pack("<4sLQL", b"PK\6\7", 0, start + length, 1)
