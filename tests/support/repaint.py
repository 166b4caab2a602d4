"""A recipe that no table knows, as somebody would add it: one convolution learns pairs by their L1 distance.

`test_new_recipe.py` copies this file into models/recipes/ of a copy of the project.
"""

from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.optim import Adam

from models.bundle.manifest import Domain, Manifest, Picture
from models.data import pairs
from models.data.data import Description
from models.data.parts import Part
from models.objectives.supervised import l1
from models.recipes.options import Options, Rate
from models.recipes.recipe import Batch, Exported, Phase, Recipe, Terms


class RepaintOptions(Options):
    """Defaults for small pictures."""

    rate: Rate = 1e-2


class Repaint(Recipe[RepaintOptions]):
    """A generator of one layer, and nobody to judge it."""

    name = "repaint"
    options_type = RepaintOptions

    def __init__(self, options: RepaintOptions) -> None:
        self.options = options
        self.generator = nn.Conv2d(3, 3, 3, padding=1)
        self.networks = {"generator": self.generator}
        self.phases = (
            Phase(
                "generator",
                trains=("generator",),
                terms=self.generator_terms,
                optimizer=lambda parameters: Adam(parameters, lr=options.rate),
            ),
        )

    @classmethod
    def read(cls, folder: Path, options: RepaintOptions, part: Part) -> pairs.Pairs:
        """Pairs, squeezed to a square."""
        return pairs.read(folder, Picture(size=options.size, crop="none"), part, options.flip, options.size)

    @classmethod
    def create(cls, options: RepaintOptions, data: Description) -> Self:
        """PyTorch's own initialisation."""
        return cls(options)

    def generator_terms(self, batch: Batch, step: int) -> Terms:
        """The distance to the picture that belongs to the input; `batch` holds a and b, n x 3 x s x s."""
        return {"reconstruction": l1(self.generator(batch["a"]), batch["b"])}

    def samples(self, batch: Batch) -> Tensor:
        """Each input, its translation, and what it should be."""
        return torch.stack([batch["a"], self.generator(batch["a"]), batch["b"]], dim=1)

    def exported(self) -> dict[str, Exported]:
        """The generator."""
        return {"generator": Exported(self.generator, source="a")}

    def manifest(self, name: str, data: Description) -> Manifest:
        """A bundle with one target."""
        return Manifest(
            name=name,
            version="1",
            family=self.name,
            domains=(Domain(name="repainted"),),
            graphs={name: graph.entry(name) for name, graph in self.exported().items()},
            picture=data.picture,
            licence="",
        )
