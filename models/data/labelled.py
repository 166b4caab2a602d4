"""Labelled pictures in whatever layout they lie: CelebA's, a folder for each domain, or several such sets together."""

from pathlib import Path

from models.bundle.manifest import Picture
from models.data import joint, layouts
from models.data.check import refuse
from models.data.labels import Labelled, choose, constant, described, own_domains, parse_domains, repeated
from models.data.parts import Part
from models.data.pictures import Pictures
from models.errors import DataError

__all__ = ["Labelled", "Part", "parse_domains", "read"]


def read(folder: Path, domains: str, picture: Picture, part: Part, flip: bool, balance: float = 0.0) -> Labelled:
    """Reads one part of a data set; `domains` as in `parse_domains`, empty for the set's own choice.

    In training, `balance` is the share of examples that each label of a set has at least, as `repeated` says.

    DataError with all that is wrong with it. Files are opened for that only where something else is wrong already;
    `check.broken` looks at them all.
    """
    if not folder.is_dir():
        raise DataError(f"there is no data folder {folder}")
    if joint.fits(folder):
        return joint.read(folder, domains, picture, part, flip, balance)
    table = layouts.table(folder, part)
    table, chosen = choose(table, parse_domains(domains) if domains else own_domains(table))
    pictures = Pictures(table.paths, picture)
    refuse([*table.problems, *(constant(table.values, chosen) if part == "train" else [])], pictures)
    description = described(folder, chosen, picture, table.values)
    order = repeated(table.values, balance if part == "train" else 0)
    return Labelled(pictures, table.values, description, flip and part == "train", order=order)
