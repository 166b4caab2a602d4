"""Labelled pictures in the layout in which CelebA is published: a folder of pictures and one attribute file.

    FOLDER/list_attr_*.txt          [count line], a line of column names, then `file value value ...` with 1 or -1
    FOLDER/images/ or any folder    the pictures; img_align_celeba/ and the folder itself are looked at as well
    FOLDER/list_eval_partition.txt  optional: `file 0|1|2` for training, validation and test
    FOLDER/domains.txt              optional: which columns are domains, and which exclude each other

A label is 1.0 where the value is 1 and else 0.0, never -1.
"""

import random as stdlib_random
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.bundle.manifest import Domain, Picture, canonical
from models.bundle.pixels import shrink
from models.data.data import Description, Example
from models.errors import DataError

Part = Literal["train", "test"]
_PARTITION = "list_eval_partition.txt"
_CACHE_BYTES = 2 * 1024**3


@dataclass(frozen=True)
class Attributes:
    """An attribute file: `files` n, `columns` c, `values` n x c in {0, 1}."""

    files: tuple[str, ...]
    columns: tuple[str, ...]
    values: NDArray[np.float32]


class Labelled:
    """Pictures with labels; decoded once and kept while they fit into 2 GiB."""

    def __init__(self, paths: list[Path], labels: NDArray[np.float32], description: Description, flip: bool) -> None:
        self.paths = paths
        self.labels = labels
        self.description = description
        self.flip = flip
        side = description.picture.size
        cached = len(paths) if len(paths) * side * side * 3 <= _CACHE_BYTES else 0
        self._cache = np.zeros((cached, side, side, 3), np.uint8)
        self._filled = np.zeros(cached, bool)

    def __len__(self) -> int:
        """Pictures in the set."""
        return len(self.paths)

    def picture(self, index: int) -> NDArray[np.uint8]:
        """The picture at `index`, size x size x 3, not flipped; DataError when it can't be read."""
        if index < len(self._filled) and self._filled[index]:
            cached: NDArray[np.uint8] = self._cache[index]
            return cached
        pixels = _load(self.paths[index], self.description.picture)
        if index < len(self._filled):
            self._cache[index] = pixels
            self._filled[index] = True
        return pixels

    def example(self, index: int, random: np.random.Generator) -> Example:
        """{"pixels": size x size x 3, "labels": c}; mirrored every other time where the set is told to flip."""
        pixels = self.picture(index)
        if self.flip and random.random() < 0.5:
            pixels = pixels[:, ::-1]
        return {"pixels": pixels, "labels": self.labels[index]}


def read(folder: Path, domains: str, picture: Picture, part: Part, flip: bool) -> Labelled:
    """Reads one part of a data set; `domains` as in `parse_domains`, empty for the folder's own choice."""
    if not folder.is_dir():
        raise DataError(f"there is no data folder {folder}")
    attributes = read_attributes(_attribute_file(folder))
    chosen = parse_domains(domains or _own_domains(folder) or ",".join(attributes.columns))
    columns = _columns(attributes, chosen)
    rows = _rows(folder, attributes, part)
    if not rows:
        raise DataError(f"{folder} holds no pictures for the {part} part")
    paths = _paths(folder, [attributes.files[row] for row in rows])
    labels = attributes.values[np.ix_(rows, columns)]
    if part == "train":
        _check_both_values(labels, chosen)
    description = Description(name=folder.resolve().name, domains=chosen, picture=picture, count=len(rows))
    return Labelled(paths, labels, description, flip and part == "train")


def parse_domains(text: str) -> tuple[Domain, ...]:
    """Domains in label order from `hair=black|blond|brown,smiling`: `|` parts what excludes each other."""
    domains: list[Domain] = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        group, _, members = item.rpartition("=")
        names = [member.strip() for member in members.split("|")]
        if len(names) > 1 and not group:
            group = "-or-".join(canonical(name) for name in names)
        for name in names:
            if not canonical(name):
                raise DataError(f"an empty domain name in {text!r}")
            domains.append(_domain(name, canonical(group) if len(names) > 1 else None, len(domains)))
    if len({domain.name for domain in domains}) != len(domains) or not domains:
        raise DataError(f"domains must be named, each once: {text!r}")
    return tuple(domains)


def read_attributes(path: Path) -> Attributes:
    """Reads an attribute file with or without the count line; DataError names the line that does not fit."""
    lines = path.read_text(encoding="utf-8").splitlines()
    start = 1 if lines and lines[0].strip().isdigit() else 0
    if len(lines) <= start + 1:
        raise DataError(f"{path} lists no pictures")
    columns = tuple(lines[start].split())
    files: list[str] = []
    values: list[list[bool]] = []
    for number, line in enumerate(lines[start + 1 :], start + 2):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != len(columns) + 1 or not set(fields[1:]) <= {"1", "-1", "0"}:
            raise DataError(f"{path}, line {number}: expected a file name and {len(columns)} values of 1 or -1")
        files.append(fields[0])
        values.append([field == "1" for field in fields[1:]])
    return Attributes(tuple(files), columns, np.array(values, np.float32))


def _load(path: Path, picture: Picture) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as image:
            return shrink(image.convert("RGB"), picture)
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path} is no picture that can be read: {error}") from error


def _domain(name: str, group: str | None, column: int) -> Domain:
    return Domain(name=canonical(name), group=group, column=column)


def _attribute_file(folder: Path) -> Path:
    found = sorted(folder.glob("list_attr_*.txt"))
    if not found:
        raise DataError(f"{folder} has no attribute file list_attr_*.txt")
    return found[0]


def _own_domains(folder: Path) -> str:
    path = folder / "domains.txt"
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""


def _columns(attributes: Attributes, domains: tuple[Domain, ...]) -> list[int]:
    known = {canonical(column): index for index, column in enumerate(attributes.columns)}
    missing = [domain.name for domain in domains if domain.name not in known]
    if missing:
        raise DataError(f"no attribute column {', '.join(missing)}; the file has {', '.join(attributes.columns)}")
    return [known[domain.name] for domain in domains]


def _rows(folder: Path, attributes: Attributes, part: Part) -> list[int]:
    """The published partition where there is one; else the official StarGAN shuffle, at most a tenth held out."""
    partition = folder / _PARTITION
    if partition.exists():
        wanted = {"train": "0", "test": "2"}[part]
        lines = (line.split() for line in partition.read_text(encoding="utf-8").splitlines())
        chosen = {fields[0] for fields in lines if len(fields) == 2 and fields[1] == wanted}
        return [row for row, file in enumerate(attributes.files) if file in chosen]
    order = list(range(len(attributes.files)))
    stdlib_random.Random(1234).shuffle(order)
    held_out = min(1999, len(order) // 10)
    return order[:held_out] if part == "test" else order[held_out:]


def _paths(folder: Path, files: list[str]) -> list[Path]:
    candidates = [folder / "images", folder / "img_align_celeba", folder]
    pictures = next((candidate for candidate in candidates if (candidate / files[0]).exists()), None)
    if pictures is None:
        raise DataError(f"{files[0]} is not in {folder}, nor in its folders images and img_align_celeba")
    paths = [pictures / file for file in files]
    missing = [path.name for path in paths if not path.exists()]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(paths)} listed pictures are not in {pictures}, the first: {missing[0]}"
        )
    return paths


def _check_both_values(labels: NDArray[np.float32], domains: tuple[Domain, ...]) -> None:
    constant = [domain.name for domain, column in zip(domains, labels.T, strict=True) if column.min() == column.max()]
    if constant:
        raise DataError(f"the same in every training picture, so it can't be learned: {', '.join(constant)}")
