"""Unpaired pictures of two domains, in the layouts of `parts`; as many examples as the larger side has pictures."""

from pathlib import Path

import numpy as np

from models.bundle.manifest import Picture
from models.data import parts
from models.data.data import Description, Example
from models.data.parts import Part, find_sides
from models.data.pictures import Pictures, augment, load_rule
from models.data.tables import domain, parse_domains
from models.errors import DataError


class Unpaired:
    """Pictures of A and of B; for each of A one of B is drawn at random, as in CycleGAN's official code."""

    def __init__(self, pictures: Pictures, of_a: int, description: Description, flip: bool) -> None:
        self.pictures = pictures
        self.a = range(of_a)
        self.b = range(of_a, len(pictures))
        self.description = description
        self.flip = flip

    def __len__(self) -> int:
        """The number of pictures of the larger side."""
        return max(len(self.a), len(self.b))

    def example(self, index: int, random: np.random.Generator) -> Example:
        """{"a", "b": size x size x 3}, cropped and mirrored independently; A in order, B drawn from `random`."""
        # A fixed order would show the same pairs in every epoch, and the networks could learn them.
        b = self.b[int(random.integers(len(self.b)))]
        size, flip = self.description.picture.size, self.flip
        both = (self.pictures[self.a[index % len(self.a)]], self.pictures[b])
        shown = [augment([pixels], size, flip, random)[0] for pixels in both]
        return dict(zip("ab", shown, strict=True))


def read(folder: Path, domains: str, picture: Picture, part: Part, flip: bool, load_size: int) -> Unpaired:
    """Reads one part of a set; training pictures are loaded at `load_size` and cropped at random to the picture's size.

    `domains` names A and B, as in `horse,zebra`; empty for the folders' names. DataError for a side without pictures.
    """
    if not folder.is_dir():
        raise DataError(f"there is no data folder {folder}")
    wanted = [one.name for one in parse_domains(domains)] if domains else []
    if len(wanted) not in (0, 2):
        raise DataError(f"name two domains, A and B, not {domains!r}")
    found = find_sides(folder, wanted)
    place, published = parts.find(part, lambda place: any(found.files(side, place) for side in (0, 1)))
    files = [found.files(side, place) for side in (0, 1)]
    if not published:
        files = [parts.split(side, part) for side in files]
    empty = [name for name, side in zip(found.names, files, strict=True) if not side]
    if empty:
        raise DataError(f"{folder} holds no pictures of {' and '.join(empty)} for the {part} part")
    names = tuple(domain(name) for name in wanted or found.names)
    description = Description(
        name=folder.resolve().name,
        domains=names,
        picture=picture,
        count=max(map(len, files)),
        counts={one.name: len(side) for one, side in zip(names, files, strict=True)},
    )
    pictures = Pictures([*files[0], *files[1]], load_rule(picture, load_size, part == "train"))
    return Unpaired(pictures, len(files[0]), description, flip and part == "train")
