"""Labelled pictures in the layout in which CelebA is published: a folder of pictures and one attribute file.

FOLDER/list_attr*.txt           [count line], a line of column names, then `file value value ...`: 1, -1, 0 if unknown
FOLDER/images/ or any folder    the pictures; img_align_celeba/ and the folder itself are looked at as well
FOLDER/list_eval_partition.txt  optional: `file 0|1|2` for training, validation and test
FOLDER/domains.txt              optional: which columns are domains, and which exclude each other
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.data import parts
from models.data.check import named
from models.data.labels import UNKNOWN, Labels, Table
from models.data.parts import Part
from models.errors import DataError

_ATTRIBUTES = "list_attr*.txt"
_PARTITION = "list_eval_partition.txt"
_VALUES = {"1": 1.0, "-1": 0.0, "0": UNKNOWN}
_PLACES = ("images", "img_align_celeba", "")


@dataclass(frozen=True)
class Attributes:
    """An attribute file: `files` n, `columns` c, `values` n x c in {0, 1, UNKNOWN}; `problems` tells what is wrong."""

    files: tuple[str, ...]
    columns: tuple[str, ...]
    values: Labels
    problems: tuple[str, ...] = ()


def fits(folder: Path) -> bool:
    """Whether a folder has an attribute file."""
    return any(folder.glob(_ATTRIBUTES))


def table(folder: Path, part: Part) -> Table:
    """One part of a set, without the listed pictures that are not there; DataError when nothing is left."""
    attributes = read_attributes(min(folder.glob(_ATTRIBUTES)))
    place = _place(folder, attributes.files)
    rows, wrong = _rows(folder, attributes.files, part)
    present = set(os.listdir(place))  # one look at the folder: asking for each of 200,000 files takes long
    there = [row for row in rows if attributes.files[row] in present or (place / attributes.files[row]).exists()]
    missing = sorted({attributes.files[row] for row in rows} - {attributes.files[row] for row in there})
    problems = [*attributes.problems, *wrong, *named(f"listed but not in {place}", missing)]
    if not there:
        raise DataError(*problems, f"{folder} holds no pictures for the {part} part")
    return Table(
        paths=tuple(place / attributes.files[row] for row in there),
        columns=attributes.columns,
        values=attributes.values[there],
        domains=_own_domains(folder),
        problems=tuple(problems),
    )


def read_attributes(path: Path) -> Attributes:
    """Reads an attribute file with or without the count line; lines that do not fit are left out and named."""
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


def _own_domains(folder: Path) -> str:
    path = folder / "domains.txt"
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""


def _rows(folder: Path, files: Sequence[str], part: Part) -> tuple[list[int], list[str]]:
    """The published partition where there is one, else a seeded split; and what is wrong with the partition."""
    path = folder / _PARTITION
    if not path.exists():
        return parts.split(range(len(files)), part), []
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    wrong = [
        f"{path}, line {number}: expected a file name and 0, 1 or 2"
        for number, fields in enumerate(lines, 1)
        if fields and (len(fields) != 2 or fields[1] not in {"0", "1", "2"})
    ]
    wanted = {"train": "0", "test": "2"}[part]
    chosen = {fields[0] for fields in lines if fields[1:] == [wanted]}
    unlisted = named(f"of {path.name} without attributes", sorted(chosen - set(files)))
    return [row for row, file in enumerate(files) if file in chosen], [*wrong, *unlisted]


def _place(folder: Path, files: Sequence[str]) -> Path:
    """Where the pictures lie: the folder that has the first that is anywhere."""
    found = (folder / place for file in files for place in _PLACES if (folder / place / file).exists())
    place = next(found, None)
    if place is None:
        raise DataError(f"{files[0]} is not in {folder}, nor in its folders images and img_align_celeba")
    return place
