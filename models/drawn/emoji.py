"""The emoji of the font Noto Color Emoji: people of a kind (cook, surfer, red hair), a gender and a skin; and the rest.

A kind counts only if the font draws it in all three genders and all five skins, so that each picture has its exact
counterfactuals in the font. Hair is known for five kinds that differ in hair alone.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from fontTools.ttLib import TTFont
from PIL import Image

from models.errors import DataError

Sequence = tuple[int, ...]
"""The code points of one emoji; the variation selector U+FE0F is left out everywhere."""

SKINS = ("light", "medium-light", "medium", "medium-dark", "dark")
GENDERS = ("person", "man", "woman")
HAIR = ("red", "curly", "white", "bald", "blond")

_JOINER, _MAN, _WOMAN, _RIGHTWARDS = 0x200D, 0x2642, 0x2640, 0x27A1
_TONES = range(0x1F3FB, 0x1F400)
_TRIOS = (  # person, man, woman; person, boy, girl; older ones; and those with a crown
    (0x1F9D1, 0x1F468, 0x1F469),
    (0x1F9D2, 0x1F466, 0x1F467),
    (0x1F9D3, 0x1F474, 0x1F475),
    (0x1FAC5, 0x1F934, 0x1F478),
)
_HAIR_KINDS: dict[Sequence, str] = {
    (0x1F9D1, _JOINER, 0x1F9B0): "red",
    (0x1F9D1, _JOINER, 0x1F9B1): "curly",
    (0x1F9D1, _JOINER, 0x1F9B3): "white",
    (0x1F9D1, _JOINER, 0x1F9B2): "bald",
    (0x1F471,): "blond",
}
# Guards, heroes and villains are left out: their gender, or skin, shows in a few pixels only.
_ALIKE = ((0x1F482,), (0x1F9B8,), (0x1F9B9,))
# Flags, and private code points of emoji that have public ones as well.
_FLAGS = (range(0x1F1E6, 0x1F200), range(0xE0000, 0x110000))
_LETTERS = 0x200  # digits and punctuation are below

_FILE = "NotoColorEmoji.ttf"
_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts")
_LIGATURES = 4  # the type of a GSUB lookup


def find_font(given: Path | None) -> Path:
    """The font's file: the given one, else where systems install it; DataError when there is none."""
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
    """The font in a file, read once in each process; DataError as for `EmojiFont`."""
    return EmojiFont(path)


class EmojiFont:
    """An open font: the sequences that it has pictures of, and the pictures.

    No text is laid out: the pictures are the PNG files inside the font (tables CBLC and CBDT), the same bytes on every
    machine.
    """

    def __init__(self, path: Path) -> None:
        """Reads the tables; DataError if the file is not a font with pictures in the format CBDT."""
        content = path.read_bytes()
        self.digest = hashlib.sha256(content).hexdigest()
        """SHA-256 of the file."""
        try:
            tables = TTFont(io.BytesIO(content), lazy=True)
            characters: dict[int, str] = tables.getBestCmap()
            glyphs = {(code_point,): glyph for code_point, glyph in characters.items()} | _ligatures(tables, characters)
            # Emoji fonts have one strike, that is pictures of one size.
            bitmaps = tables["CBDT"].strikeData[0]
            self._png: dict[Sequence, bytes] = {
                sequence: bitmaps[glyph].imageData for sequence, glyph in glyphs.items() if glyph in bitmaps
            }
        except Exception as error:  # fontTools raises nearly anything on broken bytes
            raise DataError(
                f"{path} is not a font with pictures in the format CBDT ({error!r}); use {_FILE} of Debian's package "
                "fonts-noto-color-emoji"
            ) from error

    def sequences(self) -> list[Sequence]:
        """Every sequence with a picture, in the order of code points; several may share one picture."""
        return sorted(self._png)

    def png(self, sequence: Sequence) -> bytes:
        """The picture of a sequence as a PNG file; KeyError when the font has none."""
        return self._png[sequence]

    def picture(self, sequence: Sequence) -> Image.Image:
        """The picture, RGBA, 136 x 128 pixels in today's fonts; KeyError when the font has none."""
        with Image.open(io.BytesIO(self.png(sequence))) as image:
            return image.convert("RGBA")


@dataclass(frozen=True)
class PersonEmoji:
    """An emoji of one person; `kind` is the sequence of its kind without gender and skin."""

    kind: Sequence
    gender: str
    skin: str

    @property
    def hair(self) -> str | None:
        """The hair, for the kinds that differ in hair alone."""
        return _HAIR_KINDS.get(self.kind)

    @property
    def sequence(self) -> Sequence:
        """The code points as in text, without variation selectors."""
        trio = next((trio for trio in _TRIOS if trio[0] == self.kind[0]), None)
        if trio is not None:
            first, *rest = trio[GENDERS.index(self.gender)], *self.kind[1:]
        else:
            sign = {"person": (), "man": (_JOINER, _MAN), "woman": (_JOINER, _WOMAN)}[self.gender]
            first, *rest = *self.kind, *sign
        return (first, _TONES[SKINS.index(self.skin)], *rest)

    def labels(self, columns: tuple[str, ...]) -> tuple[int, ...]:
        """0 or 1 for each of some of SKINS, GENDERS and HAIR."""
        return tuple(int(column in (self.skin, self.gender, self.hair)) for column in columns)

    def with_domain(self, domain: str, present: bool = True) -> PersonEmoji:
        """The emoji with one of SKINS, GENDERS or HAIR switched on; ValueError where the font has no such emoji."""
        if not present:
            raise ValueError(f"'not {domain}' does not say what to show instead; ask for another domain of its group")
        if domain in SKINS:
            return replace(self, skin=domain)
        if domain in GENDERS:
            return replace(self, gender=domain)
        if domain in HAIR and self.hair is not None:
            return replace(self, kind=next(kind for kind, hair in _HAIR_KINDS.items() if hair == domain))
        raise ValueError(f"unknown domain {domain!r} of {code(self.sequence)}; emoji people have skin, gender and hair")

    def counterfactuals(self) -> tuple[PersonEmoji, ...]:
        """All emoji that domains can turn this one into, with itself; the same tuple for each of them."""
        kinds = _HAIR_KINDS if self.hair else (self.kind,)
        return tuple(each for kind in kinds for each in _grid(kind))


def people(font: EmojiFont) -> list[PersonEmoji]:
    """The people that the font draws in all genders and skins: 73 kinds, 1095 emoji in the version of 2023."""
    there = set(font.sequences())
    grids = (_grid(kind) for kind in sorted(there) if kind not in _ALIKE and _RIGHTWARDS not in kind)
    return [one for grid in grids if all(each.sequence in there for each in grid) for one in grid]


def things(font: EmojiFont) -> dict[Sequence, list[Sequence]]:
    """All emoji but flags, letters and skin tones, each picture once, grouped by what they show apart from gender."""
    toned = {sequence[0] for sequence in font.sequences() if len(sequence) > 1 and sequence[1] in _TONES}
    # The font has most sequences twice: in writing order, and reversed for right-to-left text. Sorting makes the
    # choice between them the same for every version of the font.
    written = sorted(font.sequences(), key=lambda sequence: (sequence[0] in toned, sequence), reverse=True)
    pictures: dict[bytes, Sequence] = {}
    for sequence in written:
        mirrored = len(sequence) > 1 and _RIGHTWARDS in sequence  # the mirror image of another
        if not mirrored and all(
            point >= _LETTERS and not any(point in some for some in (_TONES, *_FLAGS)) for point in sequence
        ):
            pictures.setdefault(font.png(sequence), sequence)
    persons = {each: trio[0] for trio in _TRIOS for each in trio}
    found: dict[Sequence, list[Sequence]] = {}
    for sequence in sorted(pictures.values()):
        shown = tuple(persons.get(point, point) for point in sequence)
        if len(shown) > 2 and shown[-2] == _JOINER and shown[-1] in (_MAN, _WOMAN):
            shown = shown[:-2]
        found.setdefault(shown, []).append(sequence)
    return found


def code(sequence: Sequence) -> str:
    """The sequence as in file names: 1f469-200d-1f680."""
    return "-".join(f"{code_point:x}" for code_point in sequence)


def _grid(kind: Sequence) -> list[PersonEmoji]:
    """All genders and skins of a kind; empty if the sequence is not a kind."""
    if kind[0] not in {person for person, _, _ in _TRIOS} and len(kind) > 1:
        return []
    return [PersonEmoji(kind, gender, skin) for gender in GENDERS for skin in SKINS]


def _ligatures(tables: TTFont, characters: dict[int, str]) -> dict[Sequence, str]:
    """The sequences of several characters that become one glyph: the ligatures of table GSUB."""
    # Where two characters have one glyph, the sequence is spelt with the lower one.
    code_points = {glyph: code_point for code_point, glyph in sorted(characters.items(), reverse=True)}
    found: dict[Sequence, str] = {}
    for lookup in tables["GSUB"].table.LookupList.Lookup:
        for subtable in lookup.SubTable if lookup.LookupType == _LIGATURES else ():
            for first, ligatures in subtable.ligatures.items():
                for ligature in ligatures:
                    glyphs = [first, *ligature.Component]
                    if all(glyph in code_points for glyph in glyphs):
                        found.setdefault(tuple(code_points[glyph] for glyph in glyphs), ligature.LigGlyph)
    return found
