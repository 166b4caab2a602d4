"""The data sets of emoji: people with labels, in CelebA's layout, and line drawings with what they are drawn from.

    attributes   people of 73 kinds; skin and gender are known, and kinds that are tested are never trained on
    hair         people who differ in hair, gender and skin alone; what is tested are combinations never trained on
    pairs        line drawing | emoji side by side in train/ and test/; all emoji of the font
    unpaired     line drawings in trainA/ and testA/, emoji in trainB/ and testB/; nothing of trainA is in trainB, while
                 testA and testB hold the same emoji under the same names

The same seed, font and version of Pillow give the same bytes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from models.drawn import emoji_people, writing
from models.drawn.emoji_drawings import write_pairs, write_unpaired
from models.drawn.emoji_font import find_font, open_font
from models.drawn.emoji_people import Crowd, EmojiPortrait
from models.drawn.placement import SIZES
from models.drawn.writing import Notify
from models.errors import DataError, OptionsError

_NAME, _VERSION = "emoji", 1


LAYOUTS = ("attributes", "hair", "pairs", "unpaired")
"""What a set of emoji shows, and how its files lie."""

_SAID = {
    "attributes": "people whose skin and gender are known, in CelebA's layout.",
    "hair": "people whose hair, skin and gender are known, in CelebA's layout.",
    "pairs": "line drawing and emoji side by side.",
    "unpaired": "line drawings (A) and emoji (B); files of one name in the test parts show the same.",
}


@dataclass(frozen=True)
class DataSet:
    """What emoji.json says: with it and the font, any picture of labelled people can be made again, changed or not."""

    layout: str
    seed: int
    size: int
    count: int
    font: str
    """SHA-256 of the font's file."""

    @property
    def command(self) -> str:
        """What makes the set again, but for `--out`."""
        what = f"--layout {self.layout} --count {self.count} --size {self.size} --seed {self.seed}"
        return f"recast data emoji {what}"

    def drawn(self, file: Path) -> EmojiPortrait | None:
        """What a file shows; None for drawings, and where the very font of the set is not installed here."""
        if self.layout not in ("attributes", "hair"):
            return None
        try:
            font = find_font(None)
        except DataError:
            return None
        if open_font(font).digest != self.font:
            return None
        return self._crowd(font).portrait(int(file.stem) - 1)

    def fill(self, folder: Path, font: Path, notify: Notify) -> None:
        """Writes the pictures and their labels."""
        if self.layout == "pairs":
            write_pairs(folder, font, self.seed, self.count, self.size, notify)
        elif self.layout == "unpaired":
            write_unpaired(folder, font, self.seed, self.count, self.size, notify)
        else:
            emoji_people.write(folder, self._crowd(font), self.size, notify)

    def _crowd(self, font: Path) -> Crowd:
        return Crowd(font, self.seed, self.count, self.layout == "hair")


def write(out: Path, layout: str, count: int, size: int, seed: int, font: Path | None, notify: Notify) -> None:
    """Write a set with pictures of size x size pixels.

    `count` is that of all labelled people, else that of the training pictures (of each side, where they are unpaired).
    The folder appears whole or not at all. OptionsError for an unknown layout, a count below 1 or a size outside
    16..256; DataError without the font; FileExistsError when `out` exists and is not an empty folder.
    """
    if layout not in LAYOUTS:
        raise OptionsError(f"there is no layout {layout!r} of emoji; choose one of {', '.join(LAYOUTS)}")
    writing.check(count, size, SIZES)
    path = find_font(font)
    made = DataSet(layout, seed, size, count, open_font(path).digest)
    with writing.whole(out) as folder:
        made.fill(folder, path, notify)
        writing.write_facts(folder, _NAME, _VERSION, asdict(made))
        writing.write_lines(
            folder / "README.md",
            f"Emoji: {_SAID[layout]}",
            "Artwork: Noto Emoji, Copyright Google Inc., https://github.com/googlefonts/noto-emoji. The font is under",
            "the SIL Open Font License 1.1, the drawings that it is made from under the Apache License 2.0.",
            f"Made by `{made.command} --out DIR` from the font Noto Color Emoji with the SHA-256",
            f"{made.font}; the same font and version of Pillow give the same pixels.",
        )


def describe(folder: Path) -> DataSet | None:
    """What the set in the folder was made from; None where it is no set of emoji of this version."""
    facts = writing.read_facts(folder, _NAME, _VERSION)
    return DataSet(**facts) if facts is not None else None
