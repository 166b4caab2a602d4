"""pix2pix: image-to-image translation with conditional adversarial networks (Isola et al., CVPR 2017).

x is the input, y its true translation, z the noise, which is dropout. Equations are the paper's:

    discriminator  -L_cGAN = -E[log D(x, y)] - E[log(1 - D(x, G(x, z)))]     (1); without x, L_GAN (2)
    generator       G* = arg min_G max_D L_cGAN + w_rec E[||y - G(x, z)||_1]   (4), the distance (3)

As in the paper's section on optimisation, the generator maximises log D(x, G(x, z)) instead (objective `vanilla`), and
the discriminator's loss is halved. Both phases of a step use the same z and so the same G(x, z). Each makes it anew, so
the running statistics of batch norm move twice a step.

Inference is an option, since the published one is odd: at test, paper and official code keep dropout and the statistics
of the batch, which is one picture. `inference=batch` keeps only the statistics, so a picture always has the same
translation; `live` keeps both in samples, and exports like `batch`; `running` is the usual mode.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn

from models.bundle.manifest import Domain, Manifest, Picture
from models.data import pairs, tables
from models.data.data import Description
from models.data.parts import Part
from models.networks.layers import initialise, per_picture, twin
from models.networks.patch import discriminator
from models.networks.unet import UNet
from models.objectives.adversarial import clip_weights, gradient_penalty
from models.objectives.supervised import l1, l2
from models.recipes.options import PatchOptions, Steps
from models.recipes.recipe import Batch, Exported, Phase, Recipe, Terms

_DEEPEST = 8
_INFERENCE = {
    "batch": "each picture's own statistics in place of the batch's, no dropout: the official test without its noise",
    "live": "each picture's own statistics in place of the batch's; dropout, alive in the samples of the run, is off",
    "running": "the running statistics of training, no dropout",
}


class Pix2PixOptions(PatchOptions):
    """The defaults are those of the official code."""

    steps: Steps = 80_000
    direction: Literal["AtoB", "BtoA"] = "AtoB"
    """Which half is the input, and which the output."""
    domains: str = ""
    """The output's name; empty takes the data's name for that half."""
    levels: int = Field(0, ge=0, le=10)
    """Halvings in the generator; 0 takes as many as the size allows, 8 at most."""
    width: int = Field(64, ge=4)
    """Channels of the generator's first layer."""
    skips: bool = True
    """Whether the generator is a U-Net; without its skips it is the paper's encoder-decoder."""
    dropout: bool = True
    """Whether there is noise, as dropout in the generator; with fewer than 6 halvings there is none."""
    norm: Literal["batch", "instance"] = "batch"
    """Normalisation in both networks."""
    inference: Literal["batch", "running", "live"] = "batch"
    """How the generator infers: by a picture's own statistics (for batch=1), running ones, or with live dropout."""
    conditional: bool = True
    """Whether the discriminator sees the input beside the output (cGAN) or the output alone (GAN)."""
    distance: Literal["l1", "l2"] = "l1"
    """Distance of a translation to the true one: the mean absolute or the mean squared difference."""
    reconstruction: float = Field(100.0, ge=0)
    """Weight of that distance (lambda)."""

    @property
    def depth(self) -> int:
        """Halvings in the generator."""
        return self.levels or min(_halvings(self.size), _DEEPEST)

    @field_validator("domains")
    @classmethod
    def _check_name(cls, name: str) -> str:
        return tables.domain(name).name if name else name

    @field_validator("levels")
    @classmethod
    def _check_levels(cls, levels: int, info: ValidationInfo) -> int:
        size = info.data.get("size", 0)
        if max(levels, 2) > _halvings(size):
            raise ValueError(f"size {size} can be halved {_halvings(size)} times; take another, such as 256")
        return levels

    @field_validator("reconstruction")
    @classmethod
    def _check_weights(cls, weight: float, info: ValidationInfo) -> float:
        if not weight and not info.data.get("adversarial", 1):
            raise ValueError("with reconstruction and adversarial both 0 there is nothing to learn")
        return weight


class Pix2Pix(Recipe[Pix2PixOptions]):
    """A generator that learns from pairs, and a discriminator of patches."""

    name = "pix2pix"
    options_type = Pix2PixOptions
    averaged = ("generator",)
    settled = ("direction",)

    def __init__(self, options: Pix2PixOptions) -> None:
        self.options = options
        self.sides = ("a", "b") if options.direction == "AtoB" else ("b", "a")
        """The batch's entries for input and output."""
        self.generator = UNet(3, 3, options.depth, options.width, options.norm, options.dropout, options.skips)
        self.networks = {"generator": self.generator}
        self.phases = (
            Phase(
                "generator",
                trains=("generator",),
                terms=self.generator_terms,
                optimizer=options.adam,
                before=self.draw_mix,
            ),
        )
        if options.adversarial:
            seen = 6 if options.conditional else 3
            self.discriminator = discriminator(seen, options.discriminator_width, options.layers, options.norm)
            self.networks["discriminator"] = self.discriminator
            first = Phase(
                "discriminator",
                trains=("discriminator",),
                terms=self.discriminator_terms,
                optimizer=options.adam,
                before=self.draw_mix,
                after=self.clip_discriminator,
            )
            self.phases = (first, *self.phases)  # the discriminator moves first, as in the official code
        for network in self.networks.values():
            initialise(network)

    @classmethod
    def read(cls, folder: Path, options: Pix2PixOptions, part: Part) -> pairs.Pairs:
        """Pairs, resized to a square bicubically and cropped at random as in the official code."""
        picture = Picture(size=options.size, multiple=2**options.depth, resize="bicubic", crop="none")
        return pairs.read(folder, picture, part, options.flip, options.loaded_side)

    @classmethod
    def create(cls, options: Pix2PixOptions, data: Description) -> Self:
        """Fresh weights from N(0, 0.02)."""
        return cls(options)

    def rate(self, step: int) -> float:
        """1 up to `decay_from`, then linearly to 0."""
        return self.options.linear_decay(step)

    def draw_mix(self, batch: Batch) -> Batch:
        """Draws the penalty's mixing factor for each pair, in both phases, so that both then draw the same z."""
        penalised = self.options.game.penalised
        return {**batch, "mix": self.share.rand(len(batch["a"]), 1, 1, 1)} if penalised else batch

    def discriminator_terms(self, batch: Batch, step: int) -> Terms:
        """Equation (1) halved; `batch` holds a and b, n x 3 x s x s, and for the penalty mix n x 1 x 1 x 1."""
        x, y = (batch[side] for side in self.sides)
        with torch.no_grad():  # the generator's phase makes it again, from the same z
            made = self.generator(x)
        real, fake = self.discriminator_input(x, y), self.discriminator_input(x, made)
        # Two passes, as batch norm would mix real and made pictures.
        game, judge = self.options.game, self.discriminator
        terms = {"adversarial": 0.5 * game.discriminator(judge(real), judge(fake))}
        if game.penalised:
            terms["penalty"] = self.options.penalty * gradient_penalty(judge, real, fake, batch["mix"])
        return terms

    def generator_terms(self, batch: Batch, step: int) -> Terms:
        """The terms of equation (4) that the generator minimises; `batch` holds a and b, n x 3 x s x s."""
        x, y = (batch[side] for side in self.sides)
        made = self.generator(x)
        terms: Terms = {}
        if self.options.adversarial:
            score = self.discriminator(self.discriminator_input(x, made))
            terms["adversarial"] = self.options.adversarial * self.options.game.generator(score)
        if self.options.reconstruction:
            distance = l1 if self.options.distance == "l1" else l2
            terms["reconstruction"] = self.options.reconstruction * distance(y, made)
        return terms

    def discriminator_input(self, x: Tensor, y: Tensor) -> Tensor:
        """The pictures of a pair that the discriminator sees: both, the input first, or the output alone."""
        return torch.cat([x, y], dim=1) if self.options.conditional else y

    def clip_discriminator(self, terms: Mapping[str, Tensor]) -> None:
        """Clips the discriminator's weights if the objective needs it."""
        if self.options.game.clipped:
            clip_weights(self.discriminator, self.options.clip)

    def samples(self, batch: Batch) -> Tensor:
        """Each input, its translation in the mode of `inference`, and the true one."""
        x, y = (batch[side] for side in self.sides)
        # Training mode with `live` turns dropout on; the twin's norms are the picture's own in either mode.
        return torch.stack([x, self._inference_twin().train(self.options.inference == "live")(x), y], dim=1)

    def _inference_twin(self) -> nn.Module:
        """The generator in inference mode, on the same weights."""
        return (twin if self.options.inference == "running" else per_picture)(self.generator).eval()

    def exported(self) -> dict[str, Exported]:
        """The generator, deterministic."""
        return {"generator": Exported(self._inference_twin(), source=self.sides[0])}

    def manifest(self, name: str, data: Description) -> Manifest:
        """A bundle with one target, pictures of one size."""
        made = data.domains["ab".index(self.sides[1])].name
        return Manifest(
            name=name,
            version="1",
            family=self.name,
            domains=(Domain(name=self.options.domains or made),),
            graphs={name: graph.entry(name) for name, graph in self.exported().items()},
            picture=data.picture,
            licence="",
            training={"inference": _INFERENCE[self.options.inference]},
        )


def _halvings(size: int) -> int:
    """How often 2 divides a size."""
    return (size & -size).bit_length() - 1
