"""Reads the table of one labelled set, in either of two layouts.

CelebA's, as it is published:

    FOLDER/list_attr*.txt           [count line], a line of column names, then `file value ...`: 1, -1, or 0 if unknown
    FOLDER/images/ or any folder    the pictures; img_align_celeba/ and the folder itself are tried as well
    FOLDER/list_eval_partition.txt  optional: `file 0|1|2` for training, validation and test
    FOLDER/domains.txt              optional: the columns that are domains, and which of them exclude each other

A folder for each domain, as torchvision and StarGAN's official code take them; the domains are one group:

    FOLDER/train/DOMAIN/*.jpg, test/DOMAIN/*.jpg   val instead of test as well; or FOLDER/DOMAIN/*.jpg without parts
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.data import parts
from models.data.parts import NAMES, Part, side_names
from models.data.pictures import list_pictures, problem_of
from models.data.tables import UNKNOWN, Labels, Table
from models.errors import DataError

_ATTRIBUTES = "list_attr*.txt"
_PARTITION = "list_eval_partition.txt"
_VALUES = {"1": 1.0, "-1": 0.0, "0": UNKNOWN}
_PLACES = ("images", "img_align_celeba", "")
_GROUP = "domain"  # of a folder for each domain


@dataclass(frozen=True)
class Attributes:
    """An attribute file: n files, c columns, values n x c in {0, 1, UNKNOWN}, and the problems of its lines."""

    files: tuple[str, ...]
    columns: tuple[str, ...]
    values: Labels
    problems: tuple[str, ...] = ()


def sets(folder: Path) -> list[Path]:
    """The labelled sets inside a folder, by name."""
    inside = sorted(path for path in folder.iterdir() if path.is_dir() and path.name not in NAMES)
    return [
        path for path in inside if not path.name.startswith(".") and (is_celeba(path) or len(_domain_folders(path)) > 1)
    ]


def is_celeba(folder: Path) -> bool:
    """Whether a folder has an attribute file."""
    return any(folder.glob(_ATTRIBUTES))


def read_table(folder: Path, part: Part) -> Table:
    """One part of one labelled set; DataError if the folder has neither layout, or no pictures."""
    if is_celeba(folder):
        return _read_celeba(folder, part)
    if len(_domain_folders(folder)) > 1:
        return _read_folders(folder, part)
    inside = sets(folder)
    hint = f"; there is a set in {inside[0]}" if inside else ""
    raise DataError(f"{folder} has no attribute file {_ATTRIBUTES}, and not a folder for each domain{hint}")


def read_attributes(path: Path) -> Attributes:
    """Reads an attribute file, with or without its count line; bad lines are left out and become problems."""
    lines = path.read_text(encoding="utf-8").splitlines()
    start = 1 if lines and lines[0].strip().isdigit() else 0
    columns = tuple(lines[start].split()) if len(lines) > start else ()
    values: dict[str, list[float]] = {}
    problems: list[str] = []
    for number, line in enumerate(lines[start + 1 :], start + 2):
        file, *fields = line.split() or [""]
        if file in values:
            problems.append(f"{path}, line {number}: {file} is listed twice")
        elif file and (len(fields) != len(columns) or not set(fields) <= _VALUES.keys()):
            problems.append(f"{path}, line {number}: expected a file name and {len(columns)} values of 1, -1 or 0")
        elif file:
            values[file] = [_VALUES[field] for field in fields]
    if not values:
        raise DataError(*problems, f"{path} lists no pictures")
    return Attributes(tuple(values), columns, np.array(list(values.values()), np.float32), tuple(problems))


def _read_celeba(folder: Path, part: Part) -> Table:
    attributes = read_attributes(min(folder.glob(_ATTRIBUTES)))
    files = attributes.files
    # The first listed file that exists shows which folder holds the pictures.
    places = (folder / place for file in files for place in _PLACES if (folder / place / file).exists())
    place = next(places, None)
    if place is None:
        raise DataError(f"{files[0]} is not in {folder}, nor in its folders images and img_align_celeba")
    problems = list(attributes.problems)
    partition = folder / _PARTITION
    if not partition.exists():
        rows = parts.split(range(len(files)), part)
    else:
        lines = [line.split() for line in partition.read_text(encoding="utf-8").splitlines()]
        problems += [
            f"{partition}, line {number}: expected a file name and 0, 1 or 2"
            for number, fields in enumerate(lines, 1)
            if fields and (len(fields) != 2 or fields[1] not in {"0", "1", "2"})
        ]
        wanted = {"train": "0", "test": "2"}[part]
        chosen = {fields[0] for fields in lines if fields[1:] == [wanted]}
        problems += problem_of(f"of {partition.name} without attributes", sorted(chosen - set(files)))
        rows = [row for row, file in enumerate(files) if file in chosen]
    present = set(os.listdir(place))  # one call is much faster than a question for each of 200,000 files
    found = [row for row in rows if files[row] in present or (place / files[row]).exists()]
    missing = sorted({files[row] for row in rows} - {files[row] for row in found})
    problems += problem_of(f"listed but not in {place}", missing)
    if not found:
        raise DataError(*problems, f"{folder} holds no pictures for the {part} part")
    own = folder / "domains.txt"
    return Table(
        paths=tuple(place / files[row] for row in found),
        columns=attributes.columns,
        values=attributes.values[found],
        domains=own.read_text(encoding="utf-8").strip() if own.exists() else "",
        problems=tuple(problems),
    )


def _domain_folders(folder: Path) -> list[str]:
    """The names of folders with pictures, in the folder itself or in its parts."""
    return [name for name in side_names(folder) if any(list_pictures(folder / part / name) for part in ("", *NAMES))]


def _read_folders(folder: Path, part: Part) -> Table:
    names = side_names(folder)
    place, published = parts.find(part, lambda place: any(list_pictures(folder / place / name) for name in names))
    files = {name: list_pictures(folder / place / name) for name in names}
    if not published:  # a tenth of each domain is held out, not a tenth of all pictures
        files = {name: parts.split(files[name], part) for name in names}
    paths = [path for name in names for path in files[name]]
    if not paths:
        raise DataError(f"{folder} holds no pictures for the {part} part")
    empty = [f"{folder} holds no pictures of {name} for the {part} part" for name in names if not files[name]]
    return Table(
        paths=tuple(paths),
        columns=tuple(names),
        values=np.repeat(np.eye(len(names), dtype=np.float32), [len(files[name]) for name in names], axis=0),
        group=_GROUP,
        problems=tuple(empty),
    )
