"""The data set of avatars: drawn people with known attributes, in CelebA's layout; files count from 1, people from 0.

The folder keeps the seed, so `person(seed, index)` is that person again, and any exact counterfactual can be drawn.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from PIL import Image

from models.drawn import writing
from models.drawn.person import COLUMNS, DOMAINS, EXPRESSIONS, HAIR, Attributes, Person, person
from models.drawn.portrait import SIZES, Portrait, draw, face_mask, head_mask
from models.drawn.writing import Notify

__all__ = [
    "COLUMNS",
    "DOMAINS",
    "EXPRESSIONS",
    "HAIR",
    "Attributes",
    "DataSet",
    "Person",
    "Portrait",
    "describe",
    "draw",
    "face_mask",
    "head_mask",
    "person",
    "write",
]

_NAME, _VERSION = "avatars", 1


@dataclass(frozen=True)
class DataSet:
    """What avatars.json says: with it, any picture of the set can be drawn again, changed or not."""

    seed: int
    size: int
    count: int

    @property
    def command(self) -> str:
        """What makes the set again, but for `--out`."""
        return f"recast data avatars --count {self.count} --size {self.size} --seed {self.seed}"

    def drawn(self, file: Path) -> Portrait:
        """What a file of the set shows."""
        return Portrait(person(self.seed, int(file.stem) - 1))


def write(out: Path, count: int, size: int, seed: int, notify: Notify) -> None:
    """Write `count` pictures of size x size pixels with their labels.

    The folder appears whole or not at all. OptionsError for a count below 1 or a size outside 16..1024;
    FileExistsError when `out` exists and is not an empty folder.
    """
    writing.check(count, size, SIZES)
    made = DataSet(seed, size, count)
    with writing.whole(out) as folder:
        images = folder / "images"
        images.mkdir()
        writing.in_parallel(partial(_write_picture, images, seed, size), count, count, notify)
        labels = [person(seed, index).attributes.labels() for index in range(count)]
        writing.write_celeba(folder, _NAME, COLUMNS, DOMAINS, labels)
        writing.write_facts(folder, _NAME, _VERSION, asdict(made))
        writing.write_lines(
            folder / "README.md",
            "Avatars: drawn portraits of imagined people, their attributes independent, in CelebA's layout.",
            "Licence: Apache-2.0.",
            f"Made by `{made.command} --out DIR`, which writes the same pixels anywhere.",
        )


def describe(folder: Path) -> DataSet | None:
    """What the set in the folder was drawn from; None where it is no set of avatars of this version."""
    facts = writing.read_facts(folder, _NAME, _VERSION)
    return DataSet(**facts) if facts is not None else None


def _write_picture(folder: Path, seed: int, size: int, index: int) -> int:
    Image.fromarray(draw(person(seed, index), size)).save(folder / writing.numbered(index), compress_level=1)
    return 1
