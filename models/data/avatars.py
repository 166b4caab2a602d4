"""The data set of avatars: drawn people with known attributes, in CelebA's layout; files count from 1, people from 0.

The folder keeps the seed, so `person(seed, index)` is that person again, and any exact counterfactual can be drawn.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image

from models.data.person import COLUMNS, DOMAINS, HAIR, Attributes, Person, person
from models.data.portrait import SIZES, draw, face_mask
from models.errors import OptionsError

__all__ = [
    "COLUMNS",
    "DOMAINS",
    "HAIR",
    "Attributes",
    "DataSet",
    "Person",
    "describe",
    "draw",
    "face_mask",
    "person",
    "write",
]

_VERSION = 1


@dataclass(frozen=True)
class DataSet:
    """What avatars.json says: with it, any picture of the set can be drawn again, changed or not."""

    seed: int
    size: int
    count: int


def write(out: Path, count: int, size: int, seed: int, on_picture: Callable[[int], None]) -> None:
    """Write `count` pictures of size x size pixels with their labels; `on_picture` gets the number finished so far.

    The folder appears whole or not at all. ValueError for a count below 1 or a size outside 16..1024; FileExistsError
    when `out` exists and is not an empty folder.
    """
    _check(out, count, size)
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".tmp-{out.name}-", dir=out.parent))
    try:
        staging.chmod(0o755)
        _write_pictures(staging / "images", DataSet(seed, size, count), on_picture)
        _write_tables(staging, DataSet(seed, size, count))
        if out.exists():
            out.rmdir()
        staging.rename(out)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def describe(folder: Path) -> DataSet | None:
    """What the set in the folder was drawn from; None where it is no set of avatars of this version."""
    facts = folder / "avatars.json"
    if not facts.is_file():
        return None
    stored = json.loads(facts.read_text(encoding="utf-8"))
    if (stored.get("generator"), stored.get("version")) != ("avatars", _VERSION):
        return None
    return DataSet(stored["seed"], stored["size"], stored["count"])


def _check(out: Path, count: int, size: int) -> None:
    if count < 1:
        raise OptionsError(f"count is {count}; ask for at least 1 picture")
    if size not in SIZES:
        raise OptionsError(f"size is {size}; choose a side of {SIZES.start} to {SIZES.stop - 1} pixels")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} exists and is not an empty folder; choose another, or remove it first")


def _write_pictures(folder: Path, made: DataSet, on_picture: Callable[[int], None]) -> None:
    folder.mkdir()
    workers = min(os.cpu_count() or 1, made.count)
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        work = partial(_write_picture, folder, made.seed, made.size)
        for finished, _ in enumerate(pool.imap_unordered(work, range(made.count), chunksize=16), start=1):
            on_picture(finished)


def _write_picture(folder: Path, seed: int, size: int, index: int) -> None:
    Image.fromarray(draw(person(seed, index), size)).save(folder / _name(index), compress_level=1)


def _write_tables(folder: Path, made: DataSet) -> None:
    people = [person(made.seed, index) for index in range(made.count)]
    rows = [f"{_name(index)} {_signs(one)}" for index, one in enumerate(people)]
    facts = {"generator": "avatars", "version": _VERSION, "seed": made.seed, "size": made.size, "count": made.count}
    _write_lines(folder / "list_attr_avatars.txt", [str(made.count), " ".join(COLUMNS), *rows])
    _write_lines(folder / "list_eval_partition.txt", [f"{_name(i)} {_part(i, made.count)}" for i in range(made.count)])
    _write_lines(folder / "domains.txt", [DOMAINS])
    _write_lines(folder / "avatars.json", [json.dumps(facts)])
    command = f"recast data avatars --count {made.count} --size {made.size} --seed {made.seed} --out DIR"
    _write_lines(
        folder / "README.md",
        [
            "Avatars: drawn portraits of imagined people, their attributes independent, in CelebA's layout.",
            "Licence: Apache-2.0.",
            f"Made by `{command}`, which writes the same pixels anywhere.",
        ],
    )


def _signs(one: Person) -> str:
    return " ".join(f"{2 * label - 1:2d}" for label in one.attributes.labels())


def _part(index: int, count: int) -> int:
    """0 train, 1 validation, 2 test: the last tenth is for the test, the tenth before it for validation."""
    tenth = count // 10
    return 2 if index >= count - tenth else 1 if index >= count - 2 * tenth else 0


def _name(index: int) -> str:
    return f"{index + 1:06d}.png"


def _write_lines(file: Path, lines: list[str]) -> None:
    file.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
