"""Two recipes that need no training, for what no shipped system has: latents and text in, scores and maps out."""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from models.bundle.manifest import Manifest, Picture
from models.bundle.ports import PIXELS, Input, Latent, Output, Score, Text
from models.data import labelled
from models.data.data import Data, Description, Example
from models.data.pictures import Pictures
from models.export.bundle import Facts, export
from models.recipes.options import Options
from models.recipes.recipe import Batch, Exported, Recipe
from models.training.run import Checkpoint, Run, save

SIZE = 16
LATENT = 3
LONGEST = 8
CAPTION = b"grey"
OPTIONS = Options.model_validate({"size": SIZE, "steps": 1})


class Captioned(Data):
    """A labelled set whose every picture has the same caption."""

    def __init__(self, inner: labelled.Labelled) -> None:
        self.inner = inner
        self.description: Description = inner.description
        self.pictures: Pictures = inner.pictures

    def __len__(self) -> int:
        return len(self.inner)

    def example(self, index: int, random: np.random.Generator) -> Example:
        caption = np.frombuffer(CAPTION.ljust(LONGEST, b"\0"), np.uint8).astype(np.float32)
        return self.inner.example(index, random) | {"caption": caption}


class Painter(nn.Module):
    """Paints plain pictures: the latent is red, green and blue, and each byte of the text adds to all three."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = nn.Embedding(256, 1)
        self.bytes.weight.data = torch.arange(256.0)[:, None] / 255

    def forward(self, latent: Tensor, text: Tensor) -> Tensor:
        """Latent n x 3 and text n x 8 to pictures n x 3 x size x size in [-1, 1]."""
        colours = torch.tanh(latent + self.bytes(text.long()).mean(dim=1))
        return colours[:, :, None, None].expand(-1, -1, SIZE, SIZE)


class Distance(nn.Module):
    """Says how far each pixel is from its picture's mean: a map, whose mean is the score."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels n x 3 x h x w to scores n x 1 and maps n x 1 x h x w."""
        mean = pixels.mean(dim=(2, 3), keepdim=True)
        distances = self.scale * (pixels - mean).abs().mean(dim=1, keepdim=True)
        return distances.mean(dim=(2, 3)), distances


class _Untrained(Recipe[Options]):
    options_type = Options

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.networks = {"network": network}
        self.phases = ()

    @classmethod
    def read(cls, folder: Path, options: Options, part: Literal["train", "test"]) -> Data:
        return Captioned(labelled.read(folder, "", Picture(size=options.size, multiple=4, free=True), part, False))

    def samples(self, batch: Batch) -> Tensor:
        raise NotImplementedError


class Painting(_Untrained):
    """Makes pictures of a latent and a text."""

    name = "painting"

    @classmethod
    def create(cls, options: Options, data: Description) -> "Painting":
        return cls(Painter())

    def exported(self) -> dict[str, Exported]:
        inputs = (Input(kind="latent", shape=(LATENT,)), Input(kind="text", shape=(LONGEST,)))
        return {"generator": Exported(self.network, inputs, (Output(kind="pictures"),), source="caption")}

    def manifest(self, name: str, data: Description) -> Manifest:
        return Manifest(
            name=name,
            version="1",
            family=self.name,
            task="generate",
            graphs={name: graph.entry(name) for name, graph in self.exported().items()},
            picture=data.picture,
            latent=Latent(shape=(LATENT,), distribution="uniform"),
            text=Text(longest=LONGEST, encoding="ascii"),
            licence="",
            training={"inference": "as it is"},
        )


class Measuring(_Untrained):
    """Scores pictures, pixel by pixel."""

    name = "measuring"

    @classmethod
    def create(cls, options: Options, data: Description) -> "Measuring":
        return cls(Distance())

    def exported(self) -> dict[str, Exported]:
        return {"scorer": Exported(self.network, (PIXELS,), (Output(kind="score"), Output(kind="map")))}

    def manifest(self, name: str, data: Description) -> Manifest:
        return Manifest(
            name=name,
            version="1",
            family=self.name,
            task="score",
            graphs={name: graph.entry(name) for name, graph in self.exported().items()},
            picture=data.picture,
            score=Score(threshold=0.25, quantile=0.95),
            licence="",
            training={"inference": "as it is"},
        )


def exported_bundle(recipe: type[Recipe[Options]], data: Path, folder: Path, to: Path) -> dict[str, float]:
    """A run of the recipe as a training of no steps leaves it, and its export in fp16; the differences measured."""
    part = recipe.read(data, OPTIONS, "train")
    run = Run(folder, recipe, OPTIONS, data, part.description)
    run.write()
    networks = {name: network.state_dict() for name, network in recipe.create(OPTIONS, run.data).networks.items()}
    content = Checkpoint(
        recipe=recipe.name,
        step=1,
        losses={},
        networks=networks,
        averages={},
        optimizers={},
        precision={},
        state={},
    )
    save(run.checkpoints, content)
    return export(run, to, "fp16", Facts(licence="CC0-1.0"), None)
