"""The data set of expressions: drawn people in a folder for each of eight expressions, and nothing else known of them.

Beside avatars it is what RaFD is beside CelebA: the two together are a joint set. The people are others than those of
avatars of the same seed. `expressive(seed, index)` is a person again; files count from 1, people from 0.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from PIL import Image

from models.drawn import writing
from models.drawn.person import EXPRESSIONS, Person, person
from models.drawn.portrait import SIZES, Portrait, draw
from models.drawn.writing import Notify

_NAME, _VERSION = "expressions", 1


@dataclass(frozen=True)
class DataSet:
    """What expressions.json says: with it, any picture of the set can be drawn again, changed or not."""

    seed: int
    size: int
    count: int

    @property
    def command(self) -> str:
        """What makes the set again, but for `--out`."""
        return f"recast data expressions --count {self.count} --size {self.size} --seed {self.seed}"

    def drawn(self, file: Path) -> Portrait:
        """What a file of the set shows."""
        return Portrait(expressive(self.seed, int(file.stem) - 1))


def expressive(seed: int, index: int) -> Person:
    """The person of that number, with the expression whose turn it is."""
    one = person(f"expressions/{seed}", index)
    return one.changed(one.attributes.with_domain(EXPRESSIONS[index % len(EXPRESSIONS)]))


def write(out: Path, count: int, size: int, seed: int, notify: Notify) -> None:
    """Write `count` pictures of size x size pixels into train/NAME and test/NAME for each expression.

    The last tenth is the test part; a tenth that lacks an expression is left in the training part, for readers to
    split as they do. The folder appears whole or not at all. OptionsError for a count below 1 or a size outside
    16..1024; FileExistsError when `out` exists and is not an empty folder.
    """
    writing.check(count, size, SIZES)
    made = DataSet(seed, size, count)
    with writing.whole(out) as folder:
        writing.in_parallel(partial(_write_picture, folder, made), count, count, notify)
        writing.write_facts(folder, _NAME, _VERSION, asdict(made))
        writing.write_lines(
            folder / "README.md",
            "Expressions: drawn portraits of imagined people, in a folder for each of eight expressions.",
            "Licence: Apache-2.0.",
            f"Made by `{made.command} --out DIR`, which writes the same pixels anywhere.",
        )


def describe(folder: Path) -> DataSet | None:
    """What the set in the folder was drawn from; None where it is no set of expressions of this version."""
    facts = writing.read_facts(folder, _NAME, _VERSION)
    return DataSet(**facts) if facts is not None else None


def _write_picture(folder: Path, made: DataSet, index: int) -> int:
    one = expressive(made.seed, index)
    tenth = made.count // 10
    tested = index >= made.count - tenth and tenth >= len(EXPRESSIONS)
    place = folder / ("test" if tested else "train") / one.attributes.expression
    place.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw(one, made.size)).save(place / writing.numbered(index), compress_level=1)
    return 1
