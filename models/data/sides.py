"""The two sides of a set, A and B, wherever they lie.

    FOLDER/trainA, trainB, testA, testB   as CycleGAN's sets are published
    FOLDER/A/train, B/train, A/test ...   as pix2pix's script takes them; or all in A/ and B/
    FOLDER/train/horse, train/zebra ...   a folder for each domain, A the first by name; or all in horse/ and zebra/

The test part may be called val; where there is none, a tenth is held out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from models.bundle.manifest import canonical
from models.data.parts import NAMES
from models.data.pictures import listed
from models.errors import DataError

_PUBLISHED = {f"{part}{side}": side for part in NAMES for side in "AB"}


@dataclass(frozen=True)
class Sides:
    """A set's folder, and what the folders of its sides are called, A first."""

    folder: Path
    names: tuple[str, str]

    def files(self, side: int, part: str) -> list[Path]:
        """The pictures of side 0 or 1 in a part of `parts.NAMES`, or with "" those that lie in none."""
        name = self.names[side]
        places = (f"{part}{name}", f"{name}/{part}", f"{part}/{name}")
        return next((found for place in places if (found := listed(self.folder / place))), [])


def find(folder: Path, domains: Sequence[str]) -> Sides:
    """The sides of a set; `domains`, two canonical names or none, choose among folders that are called so, A first.

    DataError where there are not two of them.
    """
    names = side_names(folder)
    known = {canonical(name): name for name in names}
    if len(domains) == 2 and set(domains) <= set(known):
        return Sides(folder, (known[domains[0]], known[domains[1]]))
    if {"A", "B"} <= set(names):
        names = ["A", "B"]
    if len(names) != 2:
        raise DataError(
            f"{folder} has folders for {len(names)} sides ({', '.join(names) or 'none'}), and two are wanted: "
            "trainA and trainB, A and B, or one for each domain"
        )
    return Sides(folder, (names[0], names[1]))


def side_names(folder: Path) -> list[str]:
    """What the folders of sides, or of domains, are called in a folder, by name; those of parts are none."""
    places = [folder, *(folder / part for part in NAMES)]
    found = {path.name for place in places if place.is_dir() for path in place.iterdir() if path.is_dir()}
    return sorted({_PUBLISHED.get(name, name) for name in found - set(NAMES) if not name.startswith((".", "__"))})
