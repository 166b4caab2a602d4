"""Labelled pictures in whatever layout they lie: CelebA's, a folder for each domain, or several such sets together."""

from pathlib import Path

from models.bundle.manifest import Picture
from models.data import joint, layouts
from models.data.check import refuse
from models.data.labels import Labelled, choose, constant, described, own_domains, parse_domains
from models.data.parts import Part
from models.data.pictures import Pictures
from models.errors import DataError

__all__ = ["Labelled", "Part", "parse_domains", "read"]


def read(folder: Path, domains: str, picture: Picture, part: Part, flip: bool) -> Labelled:
    """Reads one part of a data set; `domains` as in `parse_domains`, empty for the set's own choice.

    DataError with all that is wrong with it. Files are opened for that only where something else is wrong already;
    `check.broken` looks at them all.
    """
    if not folder.is_dir():
        raise DataError(f"there is no data folder {folder}")
    if joint.fits(folder):
        return joint.read(folder, domains, picture, part, flip)
    table = layouts.table(folder, part)
    table, chosen = choose(table, parse_domains(domains) if domains else own_domains(table))
    pictures = Pictures(table.paths, picture)
    refuse([*table.problems, *(constant(table.values, chosen) if part == "train" else [])], pictures)
    return Labelled(pictures, table.values, described(folder, chosen, picture, table.values), flip and part == "train")
