"""A pix2pix checkpoint of pytorch-CycleGAN-and-pix2pix, `latest_net_G.pth`: a U-Net, or a ResNet.

The file does not say which way it goes: that stands in the options beside, or has to be said.
"""

from pathlib import Path
from typing import Literal

from models.data.labels import domain
from models.errors import OptionsError
from models.imports.checkpoint import read
from models.imports.generators import Statistics, generator
from models.imports.imported import Imported, checked
from models.imports.options import ORIGIN, read_beside
from models.recipes.recipe import Exported

Direction = Literal["AtoB", "BtoA"]


def convert(
    file: Path, domains: str, direction: Direction | None, size: int | None, statistics: Statistics
) -> Imported:
    """The bundle of one generator.

    domains: what it makes; or A's name and B's, of which the direction says which it makes. size: the side of pictures
    in pixels; None for what the options beside say, else the network's own. Raises ModelErrors.
    """
    checkpoint, options = read(file), read_beside(file)
    found = generator(checkpoint, statistics)
    options.check(found)
    said = options.values.get("direction")
    if direction and said and direction != said:
        raise OptionsError(f"--direction is {direction}, but {options.path} says {said}; leave it out")
    picture = options.picture(found, size)
    return Imported(
        family="pix2pix",
        domains=(domain(_made(domains, direction or said)),),
        picture=picture,
        graphs={"generator": checked("generator", Exported(found.module), picture)},
        origin=ORIGIN,
        sources={"generator": checkpoint.source(found.summary)},
        options=options.facts,
    )


def _made(text: str, direction: str | None) -> str:
    names = [name.strip() for name in text.split(",")]
    if len(names) == 1:
        return names[0]
    if len(names) != 2:
        raise OptionsError(f"--domains is {text!r}; name what the network makes, or A and B")
    if direction not in ("AtoB", "BtoA"):
        raise OptionsError(
            f"--domains names A and B, {text!r}, and no train_opt.txt lies beside: "
            "say --direction AtoB or BtoA, or name only what the network makes"
        )
    return names[direction == "AtoB"]
