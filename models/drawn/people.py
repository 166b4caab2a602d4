"""The data sets of drawn people: avatars with known attributes, and expressions in a folder each.

    avatars      attributes that are independent of each other, in CelebA's layout
    expressions  train/NAME and test/NAME for each of eight expressions, without other labels

Avatars and expressions together are a joint set, like CelebA and RaFD. Files count from 1, people from 0. The folder
keeps seed and size, so each person can be drawn again, and any exact counterfactual.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from PIL import Image

from models.drawn import writing
from models.drawn.person import COLUMNS, DOMAINS, EXPRESSIONS, Person, person
from models.drawn.portrait import SIZES, Portrait
from models.drawn.writing import Notify

Kind = Literal["avatars", "expressions"]

_VERSION = 1
_README = {
    "avatars": "Avatars: drawn portraits of imagined people, their attributes independent, in CelebA's layout.",
    "expressions": "Expressions: drawn portraits of imagined people, in a folder for each of eight expressions.",
}


@dataclass(frozen=True)
class People:
    """A data set of drawn people, from which any of its pictures can be drawn again; its facts are in KIND.json."""

    kind: Kind
    seed: int
    size: int
    count: int

    @property
    def command(self) -> str:
        """The command that makes the set, without `--out`."""
        return f"recast data {self.kind} --count {self.count} --size {self.size} --seed {self.seed}"

    def person(self, index: int) -> Person:
        """The person with this number, from 0; of expressions, each in turn."""
        if self.kind == "avatars":
            return person(self.seed, index)
        one = person(f"expressions/{self.seed}", index)  # other people than the avatars of the same seed
        return one.with_attributes(one.attributes.with_domain(EXPRESSIONS[index % len(EXPRESSIONS)]))

    def scene(self, file: Path) -> Portrait:
        """The scene of a file of the set."""
        return Portrait(self.person(int(file.stem) - 1))

    def write_picture(self, folder: Path, index: int) -> int:
        """Draws one picture into the folder of the set; the number of pictures written, 1."""
        one, place = self.person(index), folder / "images"
        if self.kind == "expressions":
            # A test part without pictures of a domain is an error, so small sets have none: readers hold out a tenth.
            tenth = self.count // 10
            held_out = index >= self.count - tenth and tenth >= len(EXPRESSIONS)
            place = folder / ("test" if held_out else "train") / one.attributes.expression
        place.mkdir(parents=True, exist_ok=True)
        # The compression level is part of the set's bytes, so it never changes.
        Image.fromarray(Portrait(one).draw(self.size)).save(place / writing.file_name(index), compress_level=1)
        return 1


def write(kind: Kind, out: Path, count: int, size: int, seed: int, notify: Notify) -> None:
    """Writes a set of `count` pictures of size x size pixels.

    The folder appears whole or not at all. OptionsError for a count below 1 or a size outside 16..1024;
    FileExistsError when `out` exists and is not an empty folder.
    """
    writing.check_options(count, size, SIZES)
    made = People(kind, seed, size, count)
    with writing.atomic_folder(out) as folder:
        writing.run_parallel(partial(made.write_picture, folder), count, count, notify)
        if kind == "avatars":
            labels = [made.person(index).attributes.labels() for index in range(count)]
            writing.write_celeba(folder, kind, COLUMNS, DOMAINS, labels)
        facts = asdict(made)
        del facts["kind"]
        writing.write_facts(folder, kind, _VERSION, facts)
        writing.write_lines(
            folder / "README.md",
            _README[kind],
            "Licence: Apache-2.0.",
            f"Made by `{made.command} --out DIR`, which writes the same pixels anywhere.",
        )


def read(folder: Path) -> People | None:
    """The set in a folder; None if it has no set of drawn people of this version."""
    kinds: tuple[Kind, ...] = ("avatars", "expressions")
    for kind in kinds:
        facts = writing.read_facts(folder, kind, _VERSION)
        if facts is not None:
            return People(kind, **facts)
    return None
