"""Which layout a labelled set has: CelebA's, or a folder for each domain."""

from pathlib import Path

from models.data import celeba, folders
from models.data.labels import Table
from models.data.parts import NAMES, Part
from models.errors import DataError


def fits(folder: Path) -> bool:
    """Whether a folder is one labelled set."""
    return celeba.fits(folder) or folders.fits(folder)


def table(folder: Path, part: Part) -> Table:
    """One part of one labelled set; DataError when it is none."""
    if celeba.fits(folder):
        return celeba.table(folder, part)
    if folders.fits(folder):
        return folders.table(folder, part)
    inside = [path.name for path in sets(folder)]
    hint = f"; there is a set in {folder / inside[0]}" if inside else ""
    raise DataError(f"{folder} has no attribute file list_attr*.txt, and no folder for each domain{hint}")


def sets(folder: Path) -> list[Path]:
    """The labelled sets that lie in a folder, by name."""
    inside = sorted(path for path in folder.iterdir() if path.is_dir() and path.name not in NAMES)
    return [path for path in inside if not path.name.startswith(".") and fits(path)]
