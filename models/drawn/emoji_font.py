"""The pictures inside the font Noto Color Emoji: which sequences of characters it draws, and each one's own PNG.

Read are the tables `cmap` (one character), `GSUB` (ligatures: several), and `CBLC` with `CBDT` (the pictures), as the
OpenType specification has them. No text is laid out, so the pictures are the font's own bytes on every machine.
"""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from PIL import Image

from models.errors import DataError

Sequence = tuple[int, ...]
"""The code points of one emoji; the variation selector U+FE0F is left out everywhere."""

_FILE = "NotoColorEmoji.ttf"
_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts")
_LIGATURES = 4  # the type of a GSUB lookup
_SMALL_METRICS = 5  # bytes before the length of a PNG


def find_font(given: Path | None) -> Path:
    """The font's file: the one that was named, else where systems install it; DataError when there is none."""
    if given is not None:
        if not given.is_file():
            raise DataError(f"there is no font {given}")
        return given
    for folder in _FOLDERS:
        found = sorted(Path(folder).expanduser().rglob(_FILE))
        if found:
            return found[0]
    raise DataError(
        f"there is no {_FILE} in {', '.join(_FOLDERS)}; install the font (Debian, Ubuntu: apt install "
        "fonts-noto-color-emoji), or name its file with --font"
    )


@lru_cache(maxsize=1)
def open_font(path: Path) -> EmojiFont:
    """The font in a file, read once a process; DataError as `EmojiFont` has it."""
    return EmojiFont(path)


class EmojiFont:
    """An open font: what it can draw, and the pictures."""

    def __init__(self, path: Path) -> None:
        """Reads all but the pictures; DataError when the file is no font of pictures in the format CBDT."""
        self._bytes = path.read_bytes()
        try:
            self._tables = self._directory()
            characters = self._characters()
            self._places = self._pictures()
            self._glyphs = {(code,): glyph for code, glyph in characters.items()} | self._ligatures(characters)
        except (KeyError, ValueError, struct.error) as error:
            raise DataError(
                f"{path} is no font with pictures in the format CBDT ({error}); take {_FILE} of Debian's package "
                "fonts-noto-color-emoji"
            ) from error

    @property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return hashlib.sha256(self._bytes).hexdigest()

    def sequences(self) -> list[Sequence]:
        """All that the font has a picture of, in the order of code points; one picture may be there several times."""
        return sorted(sequence for sequence, glyph in self._glyphs.items() if glyph in self._places)

    def png(self, sequence: Sequence) -> bytes:
        """The picture of a sequence as the font holds it; KeyError when the font does not draw it."""
        at = self._places[self._glyphs[sequence]]
        start = at + _SMALL_METRICS + 4
        return self._bytes[start : start + self._u32(at + _SMALL_METRICS)]

    def picture(self, sequence: Sequence) -> Image.Image:
        """The picture, RGBA, 136 x 128 pixels in today's fonts; KeyError when the font does not draw it."""
        with Image.open(io.BytesIO(self.png(sequence))) as image:
            return image.convert("RGBA")

    def _u16(self, at: int) -> int:
        number: int = struct.unpack_from(">H", self._bytes, at)[0]
        return number

    def _u32(self, at: int) -> int:
        number: int = struct.unpack_from(">I", self._bytes, at)[0]
        return number

    def _directory(self) -> dict[str, int]:
        entries = (struct.unpack_from(">4sIII", self._bytes, 12 + 16 * index) for index in range(self._u16(4)))
        return {tag.decode("latin-1"): offset for tag, _, offset, _ in entries}

    def _characters(self) -> dict[int, int]:
        """Code points to glyphs: the subtables of format 12 hold them all."""
        table = self._tables["cmap"]
        starts = (table + self._u32(table + 8 + 8 * index) for index in range(self._u16(table + 2)))
        found: dict[int, int] = {}
        for start in starts:
            if self._u16(start) == 12:
                for index in range(self._u32(start + 12)):
                    first, last, glyph = struct.unpack_from(">III", self._bytes, start + 16 + 12 * index)
                    found.update((code, glyph + code - first) for code in range(first, last + 1))
        return found

    def _ligatures(self, characters: dict[int, int]) -> dict[Sequence, int]:
        codes = {glyph: code for code, glyph in reversed(characters.items())}
        table = self._tables["GSUB"]
        lookups = table + self._u16(table + 8)
        found: dict[Sequence, int] = {}
        for lookup in (lookups + offset for offset in self._u16s(lookups)):
            if self._u16(lookup) == _LIGATURES:
                for subtable in (lookup + offset for offset in self._u16s(lookup + 4)):
                    for glyphs, made in self._ligatures_of(subtable):
                        if all(glyph in codes for glyph in glyphs):
                            found.setdefault(tuple(codes[glyph] for glyph in glyphs), made)
        return found

    def _ligatures_of(self, subtable: int) -> Iterator[tuple[Sequence, int]]:
        """Glyphs that become one, and the one."""
        firsts = self._covered(subtable + self._u16(subtable + 2))
        for first, offset in zip(firsts, self._u16s(subtable + 4), strict=True):
            for ligature in (subtable + offset + place for place in self._u16s(subtable + offset)):
                made, count = self._u16(ligature), self._u16(ligature + 2)
                rest = struct.unpack_from(f">{count - 1}H", self._bytes, ligature + 4)
                yield (first, *rest), made

    def _u16s(self, at: int) -> Sequence:
        """An array behind its length."""
        return struct.unpack_from(f">{self._u16(at)}H", self._bytes, at + 2)

    def _covered(self, at: int) -> list[int]:
        """The glyphs of a coverage table."""
        if self._u16(at) == 1:
            return list(self._u16s(at + 2))
        ranges = (struct.unpack_from(">HHH", self._bytes, at + 4 + 6 * index) for index in range(self._u16(at + 2)))
        return [glyph for first, last, _ in ranges for glyph in range(first, last + 1)]

    def _pictures(self) -> dict[int, int]:
        """Glyphs to the places of their pictures; of the first strike, which is the only one in emoji fonts."""
        table = self._tables["CBLC"]
        array, _, count = struct.unpack_from(">III", self._bytes, table + 8)
        found: dict[int, int] = {}
        for index in range(count):
            first, last, offset = struct.unpack_from(">HHI", self._bytes, table + array + 8 * index)
            found |= self._subtable(table + array + offset, first, last - first + 1)
        return found

    def _subtable(self, at: int, first: int, count: int) -> dict[int, int]:
        kind, pictures, start = struct.unpack_from(">HHI", self._bytes, at)
        if (kind, pictures) != (1, 17):
            raise KeyError(f"index format {kind} with picture format {pictures}, not 1 with 17")
        offsets = struct.unpack_from(f">{count + 1}I", self._bytes, at + 8)
        data = self._tables["CBDT"] + start
        return {first + index: data + offsets[index] for index in range(count) if offsets[index + 1] > offsets[index]}
