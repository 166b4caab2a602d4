"""CycleGAN and pix2pix checkpoints of pytorch-CycleGAN-and-pix2pix, and the options that it writes beside them.

CycleGAN saves `latest_net_G_A.pth`, which makes pictures of the second domain out of the first one's, and
`latest_net_G_B.pth` for the way back; downloaded models are one file, `latest_net_G.pth`, which goes from the first
domain of the model's name to the second. pix2pix saves `latest_net_G.pth`. Which way that goes is not in the file: the
options beside it tell, or the user must.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models.bundle.manifest import Domain, Picture
from models.data.tables import domain
from models.errors import CheckpointError, OptionsError
from models.imports.checkpoint import read
from models.imports.generators import Generator, Statistics, generator
from models.imports.imported import Imported, checked
from models.recipes.recipe import Exported

Direction = Literal["AtoB", "BtoA"]

THERE, BACK = "a-to-b", "b-to-a"
"""The names of CycleGAN's graphs: G_A is the way there."""

_ORIGIN = "checkpoints as pytorch-CycleGAN-and-pix2pix saves them"
_FILES = ("train_opt.txt", "opt.txt")
_LINE = re.compile(r" *(\w+): (.*?)\s*(\[default: .*\])?")
# Their names before September 2018.
_FORMER = {
    "fineSize": "crop_size",
    "loadSize": "load_size",
    "resize_or_crop": "preprocess",
    "which_direction": "direction",
    "which_model_netG": "netG",
}
_SIZE = 256
# The options that the bundle's card repeats; the others tell of the publisher's folders and machines.
_FACTS = ("direction", "netG", "norm", "no_dropout", "preprocess", "load_size", "crop_size", "gan_mode", "batch_size")


def convert_cyclegan(files: Sequence[Path], domains: str, size: int | None, statistics: Statistics) -> Imported:
    """The bundle of one generator or of two.

    domains: `horse,zebra`, first what G_A takes, then what it makes; of a single generator, what it makes is enough.
    size: the side of pictures in pixels; None for the one in the options beside the file, else 256. Raises ModelErrors.
    """
    ways = _ways(files)
    checkpoints = {way: read(path) for way, path in ways.items()}
    found = {way: generator(checkpoint, statistics) for way, checkpoint in checkpoints.items()}
    options = {way: read_beside(path) for way, path in ways.items()}
    for way, one in found.items():
        options[way].check(one)
    pictures = [options[way].picture(one, size) for way, one in found.items()]
    if any(picture != pictures[0] for picture in pictures):
        raise CheckpointError(f"{files[0]} and {files[1]} take pictures of different kinds; import each by itself")
    return Imported(
        family="cyclegan",
        domains=_made_by(domains, tuple(ways)),
        picture=pictures[0],
        graphs={way: checked(way, Exported(one.module), pictures[0]) for way, one in found.items()},
        origin=_ORIGIN,
        sources={way: checkpoints[way].source(one.summary) for way, one in found.items()},
        options=next(iter(options.values())).facts,
    )


def convert_pix2pix(
    file: Path, domains: str, direction: Direction | None, size: int | None, statistics: Statistics
) -> Imported:
    """The bundle of one generator.

    domains: what it makes; or A's name and B's, of which the direction tells which one it makes. size: the side of
    pictures in pixels; None for the one in the options beside the file, else the network's own. Raises ModelErrors.
    """
    checkpoint, options = read(file), read_beside(file)
    found = generator(checkpoint, statistics)
    options.check(found)
    trained = options.values.get("direction")
    if direction and trained and direction != trained:
        raise OptionsError(f"--direction is {direction}, but {options.path} says {trained}; leave it out")
    names = [name.strip() for name in domains.split(",")]
    if len(names) > 2:
        raise OptionsError(f"--domains is {domains!r}; name what the network makes, or A and B")
    if len(names) == 2 and (direction or trained) not in ("AtoB", "BtoA"):
        raise OptionsError(
            f"--domains names A and B, {domains!r}, and there is no train_opt.txt beside the file: "
            "give --direction AtoB or BtoA, or name only what the network makes"
        )
    made = names[0] if len(names) == 1 else names[(direction or trained) == "AtoB"]
    picture = options.picture(found, size)
    return Imported(
        family="pix2pix",
        domains=(domain(made),),
        picture=picture,
        graphs={"generator": checked("generator", Exported(found.module), picture)},
        origin=_ORIGIN,
        sources={"generator": checkpoint.source(found.summary)},
        options=options.facts,
    )


@dataclass(frozen=True)
class TrainOptions:
    """The options of the file beside a checkpoint, by the names of today; none where there is no such file.

    They tell what the keys of the checkpoint can't: which way pix2pix goes, and how pictures were resized. What the
    keys do tell must agree with them, or the options are those of another training.
    """

    path: Path | None
    values: Mapping[str, str]

    @property
    def facts(self) -> dict[str, str]:
        """Those that the bundle's card repeats."""
        return {name: self.values[name] for name in _FACTS if name in self.values}

    def check(self, generator: Generator) -> None:
        """CheckpointError where an option and the keys contradict each other."""
        for name, allowed in generator.options.items():
            value = self.values.get(name)
            if value is not None and value not in allowed:
                raise CheckpointError(
                    f"{self.path} says {name}: {value}, but the checkpoint's keys say {' or '.join(allowed)}; "
                    "it belongs to another training: move it away, or import the checkpoint that it belongs to"
                )

    def picture(self, generator: Generator, size: int | None) -> Picture:
        """How pictures become the network's: as in training, unless `size` names another side.

        The official code squeezes the whole picture into the square, unless `--preprocess` kept its aspect.
        """
        usual = _SIZE if generator.free else generator.multiple
        cropped = self.values.get("crop_size", "")
        side = size or (int(cropped) if cropped.isdigit() else 0) or usual
        if side % generator.multiple:
            raise OptionsError(f"image size {side} is no multiple of {generator.multiple}, which this network needs")
        squeezed = self.values.get("preprocess", "resize_and_crop").startswith("resize")
        return Picture(
            size=side,
            multiple=generator.multiple,
            free=generator.free,
            resize="bicubic",
            crop="none" if squeezed else "centre",
        )


def read_beside(checkpoint: Path) -> TrainOptions:
    """The options in the checkpoint's folder."""
    path = next((path for name in _FILES if (path := checkpoint.parent / name).is_file()), None)
    if path is None:
        return TrainOptions(None, {})
    lines = (_LINE.fullmatch(line) for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    values = {line[1]: line[2] for line in lines if line}
    return TrainOptions(path, {_FORMER.get(name, name): value for name, value in values.items()})


def _ways(files: Sequence[Path]) -> Mapping[str, Path]:
    """Which file goes which way, the way there first: by the files' names, else in the order given."""
    if len(files) > 2:
        raise OptionsError(f"{len(files)} files are given; a CycleGAN has two generators, G_A and G_B")
    letters = [re.search(r"_net_G_([AB])\b", path.name) for path in files]
    named = [letter and {"A": THERE, "B": BACK}[letter[1]] for letter in letters]
    if len(files) == 1:
        return {named[0] or THERE: files[0]}
    if named[0] is not None and named[0] == named[1]:
        raise OptionsError(f"{files[0]} and {files[1]} go the same way by their names; give G_A and G_B")
    backwards = named[0] == BACK or named[1] == THERE
    return dict(zip((THERE, BACK), reversed(files) if backwards else files, strict=True))


def _made_by(domains: str, ways: tuple[str, ...]) -> tuple[Domain, ...]:
    """CycleGAN's domains, each with the graph that makes it."""
    names = [name.strip() for name in domains.split(",")]
    if len(names) == 1 and len(ways) == 1:
        return (domain(names[0]).model_copy(update={"graph": ways[0]}),)
    if len(names) != 2:
        raise OptionsError(f"--domains is {domains!r}; name two, first what G_A takes, then what it makes: horse,zebra")
    made_by = {BACK: names[0], THERE: names[1]}
    return tuple(domain(made_by[way]).model_copy(update={"graph": way}) for way in ways)
