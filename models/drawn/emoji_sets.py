"""The data sets of emoji: people with labels, in CelebA's layout, and line drawings beside their emoji.

    attributes   people of 73 kinds; skin and gender are known; kinds of the test part are never trained on
    hair         people who differ in hair, gender and skin alone; combinations of the test part are never trained on
    pairs        line drawing | emoji side by side in train/ and test/; all emoji of the font
    unpaired     line drawings in trainA/ and testA/, emoji in trainB/ and testB/; nothing of trainA is in trainB, while
                 testA and testB have the same emoji under the same names

The same seed, font and version of Pillow give the same bytes.
"""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from functools import lru_cache, partial, reduce
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

from models.drawn import writing
from models.drawn.emoji import GENDERS, HAIR, SKINS, PersonEmoji, Sequence, code, find_font, open_font, people, things
from models.drawn.line_drawing import draw_lines
from models.drawn.placement import SIZES, Placement, mask, place, random_placement
from models.drawn.writing import Notify
from models.errors import DataError, OptionsError

_NAME, _VERSION = "emoji", 1

LAYOUTS = ("attributes", "hair", "pairs", "unpaired")
"""The kinds of sets of emoji."""

_README = {
    "attributes": "people whose skin and gender are known, in CelebA's layout.",
    "hair": "people whose hair, skin and gender are known, in CelebA's layout.",
    "pairs": "line drawing and emoji side by side.",
    "unpaired": "line drawings (A) and emoji (B); files of one name in the test parts show the same.",
}


@dataclass(frozen=True)
class EmojiSet:
    """The facts in emoji.json: they and the font are enough to draw any picture of a person again, changed or not."""

    layout: str
    seed: int
    size: int
    count: int
    font: str
    """SHA-256 of the font's file."""

    @property
    def command(self) -> str:
        """The command that makes the set, without `--out`."""
        what = f"--layout {self.layout} --count {self.count} --size {self.size} --seed {self.seed}"
        return f"recast data emoji {what}"

    def scene(self, file: Path) -> EmojiPortrait | None:
        """The scene of a file; None for drawings, and if this version of the font is not installed."""
        if self.layout not in ("attributes", "hair"):
            return None
        try:
            font = find_font(None)
        except DataError:
            return None
        if open_font(font).digest != self.font:
            return None
        return Crowd(font, self.seed, self.count, self.layout == "hair").portrait(int(file.stem) - 1)

    def write_task(self, folder: Path, font: Path, tasks: list[Task], number: int) -> int:
        """Draws the pictures of one task into subfolders of `folder`; the number of pictures written."""
        task = tasks[number]
        name, picture = code(task.emoji), open_font(font).picture(task.emoji)
        letters = set("".join(task.folders.values()))
        drawings = {letter: draw_lines(picture) if letter == "D" else picture for letter in letters}
        placements = {f"{name}.png": Placement()}
        if task.variants:
            placements = {
                f"{name}_{variant}.png": random_placement(
                    random.Random(f"{self.seed}/{name}/{variant}"), coloured=False
                )
                for variant in range(task.variants)
            }
        for file, placement in placements.items():
            for part, halves in task.folders.items():
                pixels = np.hstack([place(drawings[letter], placement, self.size) for letter in halves])
                Image.fromarray(pixels).save(folder / part / file, compress_level=1)
        return len(placements) * len(task.folders)


@dataclass(frozen=True)
class Crowd:
    """The people of a set with labels: `count` numbered pictures, with or without `hair` among the domains."""

    font: Path
    seed: int
    count: int
    hair: bool

    def portrait(self, index: int) -> EmojiPortrait:
        """The picture with this number: a pure function of seed and font."""
        pool = _pools(self.font, self.seed, self.hair)[writing.part_of(index, self.count)]
        chance = random.Random(f"{self.seed}/{index}")
        emoji = pool[int(chance.random() * len(pool))]
        return EmojiPortrait(self.font, emoji, random_placement(chance, coloured=True))

    def write_picture(self, folder: Path, size: int, index: int) -> int:
        """Draws one picture into a folder; the number of pictures written, 1."""
        Image.fromarray(self.portrait(index).draw(size)).save(folder / writing.file_name(index), compress_level=1)
        return 1


@dataclass(frozen=True)
class EmojiPortrait:
    """A person in one picture, which can be drawn again with another skin, gender or hair."""

    font: Path
    emoji: PersonEmoji
    placement: Placement

    def draw(self, size: int) -> NDArray[np.uint8]:
        """RGB [size, size, 3]."""
        return place(open_font(self.font).picture(self.emoji.sequence), self.placement, size)

    def with_domain(self, domain: str, present: bool) -> EmojiPortrait:
        """The exact counterfactual; ValueError for a domain that this emoji does not have."""
        return EmojiPortrait(self.font, self.emoji.with_domain(domain, present), self.placement)

    def face_mask(self, size: int) -> NDArray[np.bool_]:
        """The same as `head_mask`: the font does not say where the face of an emoji is."""
        return self.head_mask(size)

    def head_mask(self, size: int) -> NDArray[np.bool_]:
        """Where the emoji is, whatever its skin, gender and hair, [size, size]."""
        return mask(_silhouette(self.font, self.emoji.counterfactuals()), self.placement, size)


@dataclass(frozen=True)
class Task:
    """The pictures of one emoji: `folders` has a letter for each half of a picture, D the line drawing, E the emoji.

    With `variants` 0 there is one picture, upright and in the middle, else so many at random places.
    """

    emoji: Sequence
    folders: dict[str, str]
    variants: int = 0


def write(out: Path, layout: str, count: int, size: int, seed: int, font: Path | None, notify: Notify) -> None:
    """Writes a set with pictures of size x size pixels.

    `count` is the number of labelled people, or else of training pictures (of each side, where they are unpaired).
    The folder appears whole or not at all. OptionsError for an unknown layout, a count below 1 or a size outside
    16..256; DataError without the font; FileExistsError when `out` exists and is not an empty folder.
    """
    if layout not in LAYOUTS:
        raise OptionsError(f"there is no layout {layout!r} of emoji; choose one of {', '.join(LAYOUTS)}")
    writing.check_options(count, size, SIZES)
    path = find_font(font)
    made = EmojiSet(layout, seed, size, count, open_font(path).digest)
    with writing.atomic_folder(out) as folder:
        if layout in ("attributes", "hair"):
            crowd = Crowd(path, seed, count, layout == "hair")
            groups = {**({"hair": HAIR} if crowd.hair else {}), "skin": SKINS, "gender": GENDERS}
            columns = tuple(column for members in groups.values() for column in members)
            domains = ",".join(f"{group}={'|'.join(members)}" for group, members in groups.items())
            (folder / "images").mkdir()
            draw = partial(crowd.write_picture, folder / "images", size)
            writing.run_parallel(draw, count, count, notify)
            labels = [crowd.portrait(index).emoji.labels(columns) for index in range(count)]
            writing.write_celeba(folder, "emoji", columns, domains, labels)
        else:
            _write_drawings(folder, made, path, notify)
        writing.write_facts(folder, _NAME, _VERSION, asdict(made))
        writing.write_lines(
            folder / "README.md",
            f"Emoji: {_README[layout]}",
            "Artwork: Noto Emoji, Copyright Google Inc., https://github.com/googlefonts/noto-emoji. The font is under",
            "the SIL Open Font License 1.1, the drawings that it is made from under the Apache License 2.0.",
            f"Made by `{made.command} --out DIR` from the font Noto Color Emoji with the SHA-256",
            f"{made.font}; the same font and version of Pillow give the same pixels.",
        )


def read(folder: Path) -> EmojiSet | None:
    """The set in a folder; None if it has no set of emoji of this version."""
    facts = writing.read_facts(folder, _NAME, _VERSION)
    return EmojiSet(**facts) if facts is not None else None


def _write_drawings(folder: Path, made: EmojiSet, font: Path, notify: Notify) -> None:
    """Line drawings and emoji, side by side or apart: all emoji of the font, each skin once.

    Whole groups are held out: when the woman who cooks is held out, the man who cooks is as well.
    """
    chance = random.Random(f"{made.seed}/parts")
    # Not random.shuffle, whose algorithm may change between versions of Python; random() may not.
    groups = sorted(things(open_font(font)).values(), key=lambda _: chance.random())
    tenth = len(groups) // 10
    held_out, training = ([emoji for group in some for emoji in group] for some in (groups[:tenth], groups[tenth:]))
    held_out = held_out[: max(1, made.count // 10)]
    if made.layout == "pairs":
        tasks = _spread(training, {"train": "DE"}, made.count)
        tasks += [Task(emoji, {"test": "DE"}) for emoji in held_out]
    else:
        # Half of the groups, not of the emoji, so that no group is on both sides.
        half = sum(map(len, groups[tenth : tenth + (len(groups) - tenth) // 2]))
        tasks = _spread(training[:half], {"trainA": "D"}, made.count)
        tasks += _spread(training[half:], {"trainB": "E"}, made.count)
        tasks += [Task(emoji, {"testA": "D", "testB": "E"}) for emoji in held_out]
    for name in {name for task in tasks for name in task.folders}:
        (folder / name).mkdir()
    total = sum(len(task.folders) * max(1, task.variants) for task in tasks)
    draw = partial(made.write_task, folder, font, tasks)
    writing.run_parallel(draw, len(tasks), total, notify)


def _spread(emoji: list[Sequence], folders: dict[str, str], count: int) -> list[Task]:
    """`count` pictures, spread over the emoji as evenly as possible."""
    each, more = divmod(count, len(emoji))
    tasks = [Task(one, folders, each + (index < more)) for index, one in enumerate(emoji)]
    return [task for task in tasks if task.variants > 0]


@lru_cache(maxsize=256)
def _silhouette(font: Path, emoji: tuple[PersonEmoji, ...]) -> Image.Image:
    """The pixels that any of the emoji covers. Cached, since the pictures of a crowd share a few silhouettes."""
    pictures = [open_font(font).picture(each.sequence).getchannel("A") for each in emoji]
    whole = Image.new("RGBA", pictures[0].size)
    whole.putalpha(reduce(ImageChops.lighter, pictures))
    return whole


@lru_cache(maxsize=4)
def _pools(font: Path, seed: int, hair: bool) -> tuple[list[PersonEmoji], ...]:
    """The people of the training, validation and test parts.

    With hair, each combination is in one part alone. Without hair, each kind is: a model is tested on cooks only if it
    has never seen one.
    """
    everybody = [one for one in people(open_font(font)) if one.hair or not hair]
    pieces = list(dict.fromkeys(one if hair else one.kind for one in everybody))
    chance = random.Random(f"{seed}/parts")
    order = sorted(pieces, key=lambda _: chance.random())
    parts = {piece: writing.part_of(number, len(order)) for number, piece in enumerate(order)}
    return tuple([one for one in everybody if parts[one if hair else one.kind] == part] for part in range(3))
