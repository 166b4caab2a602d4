"""The folders of a set: its training and held-out parts, and its two sides, A and B.

    FOLDER/trainA, trainB, testA, testB   as CycleGAN's sets are published
    FOLDER/A/train, B/train, A/test ...   as pix2pix's script takes them; or all in A/ and B/
    FOLDER/train/horse, train/zebra ...   a folder for each domain, A the first by name; or all in horse/ and zebra/

The test part may be called val. If there is none, a tenth is held out.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from models.bundle.manifest import canonical
from models.data.pictures import list_pictures
from models.errors import DataError

Part = Literal["train", "test"]

NAMES = ("train", "test", "val")
"""The names of part folders in published sets; `val` is held out if there is no `test`."""

_Item = TypeVar("_Item")
_MOST_HELD_OUT = 1999  # as in StarGAN's official code
_PUBLISHED = {f"{part}{side}": side for part in NAMES for side in "AB"}


def choose(part: Part, listing: Callable[[str], list[_Item]]) -> list[_Item]:
    """The items of a part; `listing` gives those of a folder in `NAMES`, or with "" those outside such folders."""
    place, published = find(part, lambda name: bool(listing(name)))
    return listing(place) if published else split(listing(place), part)


def find(part: Part, filled: Callable[[str], bool]) -> tuple[str, bool]:
    """The folder in `NAMES` (or "") that has a part, and whether it has this part alone; if not, use `split`."""
    train, *held_out = [name if filled(name) else "" for name in NAMES]
    test = next(filter(None, held_out), "")
    if train and test:
        return (train if part == "train" else test), True
    return train or test, False


def split(items: Sequence[_Item], part: Part) -> list[_Item]:
    """The shuffle of StarGAN's official code: a tenth is held out, at most 1999, and at least one of two or more."""
    order = list(items)
    random.Random(1234).shuffle(order)  # the official code's seed: a set listed in its order is split the same
    held_out = min(_MOST_HELD_OUT, max(len(order) // 10, int(len(order) > 1)))
    return order[:held_out] if part == "test" else order[held_out:]


@dataclass(frozen=True)
class Sides:
    """A set's folder, and the names of the folders of its sides, A first."""

    folder: Path
    names: tuple[str, str]

    def files(self, side: int, part: str) -> list[Path]:
        """The pictures of side 0 or 1 in a part of `NAMES`, or with "" those outside of parts."""
        name = self.names[side]
        places = (f"{part}{name}", f"{name}/{part}", f"{part}/{name}")
        return next((found for place in places if (found := list_pictures(self.folder / place))), [])


def find_sides(folder: Path, domains: Sequence[str]) -> Sides:
    """The sides of a set; `domains`, two canonical names or none, choose among the folders, A first.

    DataError if there are not exactly two.
    """
    names = side_names(folder)
    known = {canonical(name): name for name in names}
    if len(domains) == 2 and set(domains) <= set(known):
        return Sides(folder, (known[domains[0]], known[domains[1]]))
    if {"A", "B"} <= set(names):  # the output of pix2pix's script, AB, may lie beside them
        names = ["A", "B"]
    if len(names) != 2:
        raise DataError(
            f"{folder} has folders for {len(names)} sides ({', '.join(names) or 'none'}), and must have two: "
            "trainA and trainB, A and B, or one for each domain"
        )
    return Sides(folder, (names[0], names[1]))


def side_names(folder: Path) -> list[str]:
    """The names of the folders of sides, or of domains, in a folder or in its parts, sorted."""
    places = [folder, *(folder / part for part in NAMES)]
    found = {path.name for place in places if place.is_dir() for path in place.iterdir() if path.is_dir()}
    return sorted({_PUBLISHED.get(name, name) for name in found - set(NAMES) if not name.startswith((".", "__"))})
