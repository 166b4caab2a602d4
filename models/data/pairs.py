"""Pairs of pictures that show the same thing twice, as A and as B.

    FOLDER/train/*.jpg, test/*.jpg   A and B side by side in one file, A on the left; or all in FOLDER
    two folders, as in `parts`       files of one name are a pair; endings may differ

Both halves of a pair are cropped and mirrored in the same way.
"""

from pathlib import Path

import numpy as np

from models.bundle.manifest import Picture
from models.data import parts
from models.data.data import Description, Example
from models.data.parts import Part, find_sides
from models.data.pictures import Pictures, Pixels, augment, list_pictures, load_rule, problem_of, refuse
from models.data.tables import domain
from models.errors import DataError


class Pairs:
    """Pairs. Each file of `pictures` has both halves of a pair, or the files are all of A followed by all of B."""

    def __init__(self, pictures: Pictures, description: Description, flip: bool) -> None:
        self.pictures = pictures
        self.description = description
        self.flip = flip

    def __len__(self) -> int:
        """Pairs in the set."""
        return self.description.count

    def halves(self, index: int) -> tuple[Pixels, Pixels]:
        """A and B of a pair as loaded, side x side x 3; DataError for a broken file."""
        if self.pictures.columns == 1:
            return self.pictures[index], self.pictures[len(self) + index]
        both, side = self.pictures[index], self.pictures.picture.size
        return both[:, :side], both[:, side:]

    def example(self, index: int, random: np.random.Generator) -> Example:
        """{"a", "b": size x size x 3}, cropped and mirrored in the same way."""
        a, b = augment(self.halves(index), self.description.picture.size, self.flip, random)
        return {"a": a, "b": b}


def read(folder: Path, picture: Picture, part: Part, flip: bool, load_size: int) -> Pairs:
    """Reads one part of a set; training pictures are loaded at `load_size` and cropped at random to the picture's size.

    The domains are a and b, or have the names of the two folders. DataError names files without a partner and
    all other problems.
    """
    if not folder.is_dir():
        raise DataError(f"there is no data folder {folder}")
    names: tuple[str, str] = ("a", "b")
    problems: list[str] = []
    # Files in the folder or its parts are side by side; sides have folders of their own.
    paths, columns = parts.choose(part, lambda name: list_pictures(folder / name)), 2
    if not paths:
        found = find_sides(folder, ())
        names = found.names

        def match(place: str) -> list[tuple[Path, Path]]:
            """The files of one name in a part; adds files without a partner and doubled names to the problems."""
            files = [found.files(side, place) for side in (0, 1)]
            a, b = ({path.stem: path for path in side} for side in files)
            both = zip(files, (a, b), strict=True)
            doubled = [path for side, by_name in both for path in side if by_name[path.stem] != path]
            problems.extend(problem_of("named like another of their folder", doubled))
            problems.extend(problem_of(f"without a partner in {names[1]}", [a[n] for n in sorted(a.keys() - b.keys())]))
            problems.extend(problem_of(f"without a partner in {names[0]}", [b[n] for n in sorted(b.keys() - a.keys())]))
            return [(a[name], b[name]) for name in sorted(a.keys() & b.keys())]

        pairs = parts.choose(part, match)
        paths, columns = [path for side in zip(*pairs, strict=True) for path in side], 1
    if not paths:
        raise DataError(*problems, f"{folder} holds no pairs for the {part} part")
    pictures = Pictures(paths, load_rule(picture, load_size, part == "train"), columns)
    refuse(problems, pictures)
    description = Description(
        name=folder.resolve().name,
        domains=tuple(domain(name) for name in names),
        picture=picture,
        count=len(paths) * columns // 2,
    )
    return Pairs(pictures, description, flip and part == "train")
