"""Pairs of pictures that show the same thing twice, as A and as B.

    FOLDER/train/*.jpg, test/*.jpg   A and B side by side in one file, A on the left; or all in FOLDER
    two folders, as in `sides`       files of one name are a pair; endings may differ

Both halves of a pair are cropped and mirrored alike.
"""

from functools import partial
from pathlib import Path

import numpy as np

from models.bundle.manifest import Picture
from models.data import parts, sides
from models.data.augment import augment, loaded
from models.data.check import named, refuse
from models.data.data import Description, Example
from models.data.labels import domain
from models.data.parts import Part
from models.data.pictures import Pictures, Pixels, listed
from models.data.sides import Sides
from models.errors import DataError


class Pairs:
    """Pairs; `pictures` holds both halves of a pair in one file, or all of A and then all of B."""

    def __init__(self, pictures: Pictures, description: Description, flip: bool) -> None:
        self.pictures = pictures
        self.description = description
        self.flip = flip

    def __len__(self) -> int:
        """Pairs in the set."""
        return self.description.count

    def halves(self, index: int) -> tuple[Pixels, Pixels]:
        """A and B of a pair as they were loaded, side x side x 3; DataError when a file can't be read."""
        if self.pictures.columns == 1:
            return self.pictures[index], self.pictures[len(self) + index]
        both, side = self.pictures[index], self.pictures.picture.size
        return both[:, :side], both[:, side:]

    def example(self, index: int, random: np.random.Generator) -> Example:
        """{"a", "b": size x size x 3}, cropped and mirrored alike."""
        a, b = augment(self.halves(index), self.description.picture.size, self.flip, random)
        return {"a": a, "b": b}


def read(folder: Path, picture: Picture, part: Part, flip: bool, load_size: int) -> Pairs:
    """Reads one part of a set; training pictures are loaded at `load_size` and cropped at random to the picture's size.

    The domains are A and B, by the names of their folders where these have some. DataError names what has no
    partner, with all else that is wrong.
    """
    if not folder.is_dir():
        raise DataError(f"there is no data folder {folder}")
    names: tuple[str, str] = ("a", "b")
    problems: list[str] = []
    paths, columns = parts.choose(part, lambda name: listed(folder / name)), 2
    if not paths:
        found = sides.find(folder, ())
        names = found.names
        pairs = parts.choose(part, partial(_matched, found, problems))
        paths, columns = [path for side in zip(*pairs, strict=True) for path in side], 1
    if not paths:
        raise DataError(*problems, f"{folder} holds no pairs for the {part} part")
    pictures = Pictures(paths, loaded(picture, load_size, part), columns)
    refuse(problems, pictures)
    description = Description(
        name=folder.resolve().name,
        domains=tuple(domain(name) for name in names),
        picture=picture,
        count=len(paths) * columns // 2,
    )
    return Pairs(pictures, description, flip and part == "train")


def _matched(found: Sides, problems: list[str], part: str) -> list[tuple[Path, Path]]:
    """A's and B's files of one name; adds to the problems what has no partner, and names that stand for two files."""
    files = [found.files(side, part) for side in (0, 1)]
    a, b = ({path.stem: path for path in side} for side in files)
    doubled = [path for side, names in zip(files, (a, b), strict=True) for path in side if names[path.stem] != path]
    problems += named("named like another of their folder", doubled)
    problems += named(f"without a partner in {found.names[1]}", [a[name] for name in sorted(a.keys() - b.keys())])
    problems += named(f"without a partner in {found.names[0]}", [b[name] for name in sorted(b.keys() - a.keys())])
    return [(a[name], b[name]) for name in sorted(a.keys() & b.keys())]
