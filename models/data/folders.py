"""Labelled pictures in a folder for each domain, as torchvision and StarGAN's official code take them.

    FOLDER/train/DOMAIN/*.jpg, test/DOMAIN/*.jpg   val for test as well; or FOLDER/DOMAIN/*.jpg without parts

A picture has one domain, so they are one group; their order is that of the names.
"""

from pathlib import Path

import numpy as np

from models.data import parts
from models.data.labels import Table
from models.data.parts import Part
from models.data.pictures import listed
from models.data.sides import side_names
from models.errors import DataError

GROUP = "domain"
"""The group's name."""


def fits(folder: Path) -> bool:
    """Whether two folders of pictures or more lie in a folder."""
    names = side_names(folder)
    return sum(any(_files(folder, name, part) for part in ("", *parts.NAMES)) for name in names) > 1


def table(folder: Path, part: Part) -> Table:
    """One part of a set; where there are no folders of parts, a seeded tenth of each domain is held out.

    DataError when there are no pictures.
    """
    names = side_names(folder)
    place, published = parts.find(part, lambda place: any(_files(folder, name, place) for name in names))
    files = {name: _files(folder, name, place) for name in names}
    if not published:
        files = {name: parts.split(files[name], part) for name in names}
    paths = [path for name in names for path in files[name]]
    if not paths:
        raise DataError(f"{folder} holds no pictures for the {part} part")
    empty = [f"{folder} holds no pictures of {name} for the {part} part" for name in names if not files[name]]
    return Table(
        paths=tuple(paths),
        columns=tuple(names),
        values=np.repeat(np.eye(len(names), dtype=np.float32), [len(files[name]) for name in names], axis=0),
        group=GROUP,
        problems=tuple(empty),
    )


def _files(folder: Path, name: str, part: str) -> list[Path]:
    return listed(folder / part / name)
