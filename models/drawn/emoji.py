"""Which emoji there are: people of a kind (cook, surfer, red hair), a gender and a skin; and everything else.

A kind of people is one that the font draws in all three genders and all five skins, so that any of its pictures has
its exact counterfactual in the font. Hair is known of five kinds that differ in nothing but hair.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from models.drawn.emoji_font import EmojiFont, Sequence

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
_ALIKE = ((0x1F482,), (0x1F9B8,), (0x1F9B9,))  # guards, heroes and villains show gender, or skin, in a few pixels
_FLAGS = (range(0x1F1E6, 0x1F200), range(0xE0000, 0x110000))  # and private names of what has others
_LETTERS = 0x200  # digits and signs of print are below


@dataclass(frozen=True)
class PersonEmoji:
    """An emoji of one person; `kind` is the sequence of its kind without gender and skin."""

    kind: Sequence
    gender: str
    skin: str

    @property
    def hair(self) -> str | None:
        """The hair, for the kinds that differ in it alone."""
        return _HAIR_KINDS.get(self.kind)

    @property
    def sequence(self) -> Sequence:
        """The code points as text has them, but for variation selectors."""
        first, *rest = _gendered(self.kind, self.gender)
        return (first, _TONES[SKINS.index(self.skin)], *rest)

    def labels(self, columns: tuple[str, ...]) -> tuple[int, ...]:
        """0 or 1 for each of some of SKINS, GENDERS and HAIR."""
        return tuple(int(column in (self.skin, self.gender, self.hair)) for column in columns)

    def with_domain(self, domain: str, present: bool = True) -> PersonEmoji:
        """The emoji with one of SKINS, GENDERS or HAIR switched on; ValueError where that can't be."""
        if not present:
            raise ValueError(f"an emoji cannot be just not {domain}; ask for another of its group")
        if domain in SKINS:
            return replace(self, skin=domain)
        if domain in GENDERS:
            return replace(self, gender=domain)
        if domain in HAIR and self.hair is not None:
            return replace(self, kind=next(kind for kind, hair in _HAIR_KINDS.items() if hair == domain))
        raise ValueError(f"unknown domain {domain!r} of {code(self.sequence)}; emoji people have skin, gender and hair")

    def counterfactuals(self) -> tuple[PersonEmoji, ...]:
        """All that domains can make of the emoji, itself among them; the same for each of them."""
        kinds = _HAIR_KINDS if self.hair else (self.kind,)
        return tuple(each for kind in kinds for each in _grid(kind))


def people(font: EmojiFont) -> list[PersonEmoji]:
    """Everybody whom the font draws in all genders and skins: 73 kinds, 1095 emoji in the version of 2023."""
    there = set(font.sequences())
    grids = (_grid(kind) for kind in sorted(there) if kind not in _ALIKE and _RIGHTWARDS not in kind)
    return [one for grid in grids if all(each.sequence in there for each in grid) for one in grid]


def things(font: EmojiFont) -> dict[Sequence, list[Sequence]]:
    """All emoji but flags, letters and toned skins, each picture once, by what they show whatever the gender."""
    toned = {sequence[0] for sequence in font.sequences() if len(sequence) > 1 and sequence[1] in _TONES}
    # The font has most sequences in the order of writing and, for text that runs to the left, in the reverse one.
    written = sorted(font.sequences(), key=lambda sequence: (sequence[0] in toned, sequence), reverse=True)
    pictures: dict[bytes, Sequence] = {}
    for sequence in filter(_is_thing, written):
        pictures.setdefault(font.png(sequence), sequence)
    found: dict[Sequence, list[Sequence]] = {}
    for sequence in sorted(pictures.values()):
        found.setdefault(_genderless(sequence), []).append(sequence)
    return found


def code(sequence: Sequence) -> str:
    """The sequence as file names have it: 1f469-200d-1f680."""
    return "-".join(f"{code_point:x}" for code_point in sequence)


def _grid(kind: Sequence) -> list[PersonEmoji]:
    """All genders and skins of a kind; empty where the sequence names no kind."""
    if kind[0] not in {person for person, _, _ in _TRIOS} and len(kind) > 1:
        return []
    return [PersonEmoji(kind, gender, skin) for gender in GENDERS for skin in SKINS]


def _gendered(kind: Sequence, gender: str) -> Sequence:
    trio = next((trio for trio in _TRIOS if trio[0] == kind[0]), None)
    if trio is not None:
        return (trio[GENDERS.index(gender)], *kind[1:])
    return {"person": kind, "man": (*kind, _JOINER, _MAN), "woman": (*kind, _JOINER, _WOMAN)}[gender]


def _genderless(sequence: Sequence) -> Sequence:
    persons = {each: trio[0] for trio in _TRIOS for each in trio}
    ungendered = [persons.get(code_point, code_point) for code_point in sequence]
    if len(ungendered) > 2 and ungendered[-2] == _JOINER and ungendered[-1] in (_MAN, _WOMAN):
        ungendered = ungendered[:-2]
    return tuple(ungendered)


def _is_thing(sequence: Sequence) -> bool:
    if len(sequence) > 1 and _RIGHTWARDS in sequence:  # the mirror image of another
        return False
    return not any(
        code_point < _LETTERS or any(code_point in some for some in (_TONES, *_FLAGS)) for code_point in sequence
    )
