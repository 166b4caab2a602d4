"""CycleGAN checkpoints of pytorch-CycleGAN-and-pix2pix: `latest_net_G_A.pth`, and `..._G_B.pth` for the way back.

G_A makes pictures of the second domain out of the first one's. Downloaded models are one file, `latest_net_G.pth`,
which goes from the first domain of the model's name to the second.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from models.bundle.manifest import Domain
from models.data.labels import domain
from models.errors import CheckpointError, OptionsError
from models.imports.checkpoint import read
from models.imports.generators import Statistics, generator
from models.imports.imported import Imported, checked
from models.imports.options import ORIGIN, read_beside
from models.recipes.recipe import Exported

THERE, BACK = "a-to-b", "b-to-a"
"""The graphs' names: G_A is the way there."""


def convert(files: Sequence[Path], domains: str, size: int | None, statistics: Statistics) -> Imported:
    """The bundle of one generator or of two.

    domains: `horse,zebra`, first what G_A takes, then what it makes; of a single generator, what it makes is enough.
    size: the side of pictures in pixels; None for what the options beside say, else 256. Raises ModelErrors.
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
        domains=_domains(domains, tuple(ways)),
        picture=pictures[0],
        graphs={way: checked(way, Exported(one.module), pictures[0]) for way, one in found.items()},
        origin=ORIGIN,
        sources={way: checkpoints[way].source(one.summary) for way, one in found.items()},
        options=next(iter(options.values())).facts,
    )


def _ways(files: Sequence[Path]) -> Mapping[str, Path]:
    """Which file goes which way, the way there first: as their names say, else in the order given."""
    if len(files) > 2:
        raise OptionsError(f"{len(files)} files are given; a CycleGAN has two generators, G_A and G_B")
    named = [_way(path) for path in files]
    if len(files) == 1:
        return {named[0] or THERE: files[0]}
    if named[0] is not None and named[0] == named[1]:
        raise OptionsError(f"{files[0]} and {files[1]} go the same way by their names; give G_A and G_B")
    backwards = named[0] == BACK or named[1] == THERE
    return dict(zip((THERE, BACK), reversed(files) if backwards else files, strict=True))


def _way(path: Path) -> str | None:
    matched = re.search(r"_net_G_([AB])\b", path.name)
    return None if matched is None else THERE if matched[1] == "A" else BACK


def _domains(text: str, ways: tuple[str, ...]) -> tuple[Domain, ...]:
    names = [name.strip() for name in text.split(",")]
    if len(names) == 1 and len(ways) == 1:
        return (domain(names[0]).model_copy(update={"graph": ways[0]}),)
    if len(names) != 2:
        raise OptionsError(f"--domains is {text!r}; name two, first what G_A takes, then what it makes: horse,zebra")
    made_by = {BACK: names[0], THERE: names[1]}
    return tuple(domain(made_by[way]).model_copy(update={"graph": way}) for way in ways)
