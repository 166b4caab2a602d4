"""pix2pix: image-to-image translation with conditional adversarial networks (Isola et al., CVPR 2017).

x is the input, y the picture that belongs to it, z the noise, which is dropout. Equations are the paper's:

    discriminator  -L_cGAN = -E[log D(x, y)] - E[log(1 - D(x, G(x, z)))]     (1); without x, L_GAN (2)
    generator       G* = arg min_G max_D L_cGAN + w_rec E[||y - G(x, z)||_1]   (4), the distance (3)

As the paper says of its optimisation, the generator maximises log D(x, G(x, z)) instead (objective `vanilla`), and what
the discriminator minimises is halved. Both players of a step see one and the same G(x, z), as both draw one z; it is
made twice for that, so that the running statistics of batch norm move twice a step.

Inference is a choice, since the published one is odd: at test, paper and official code keep the statistics of the
batch, which is one picture, and dropout. `inference=batch` does the first and not the second, so that a picture is
always translated to the same one; `live` shows both in samples, and exports the first; `running` is the usual mode.
"""

from pathlib import Path
from typing import Literal, Self

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from models.bundle.manifest import Domain, Manifest, Picture
from models.data import labels, pairs
from models.data.data import Description
from models.data.parts import Part
from models.networks.norms import per_picture, twin
from models.networks.patch import discriminator, smallest_side
from models.networks.unet import UNet
from models.networks.weights import clip, initialise
from models.objectives.adversarial import OBJECTIVES, Objective
from models.objectives.penalty import gradient_penalty
from models.objectives.reconstruction import l1, l2
from models.recipes import schedules
from models.recipes.recipe import Batch, Exported, Options, Phase, Recipe

_DEEPEST = 8
_INFERENCE = {
    "batch": "each picture's own statistics in place of the batch's, no dropout: the official test without its noise",
    "live": "each picture's own statistics in place of the batch's; dropout, alive in the samples of the run, is off",
    "running": "the running statistics of training, no dropout",
}


class Pix2PixOptions(Options):
    """Defaults are those of the official code."""

    steps: int = Field(80_000, gt=0)
    """Steps of the loop; a step is one batch shown to every phase that is due."""
    batch: int = Field(1, gt=0)
    """Pictures a step."""
    size: int = Field(256, ge=16)
    """Side of the network's pictures, pixels."""
    load_size: int = Field(0, ge=0)
    """Side before the random crop to the size, pixels; 0 takes 286 for 256 and so in proportion."""
    direction: Literal["AtoB", "BtoA"] = "AtoB"
    """Which half is the input, and which is made of it."""
    domains: str = ""
    """The name of what is made; empty takes the data's name for that half."""
    levels: int = Field(0, ge=0, le=10)
    """Halvings in the generator; 0 takes as many as the size allows, 8 at most."""
    width: int = Field(64, ge=4)
    """Channels of the generator's first layer."""
    skips: bool = True
    """Whether the generator is a U-Net; without its skips it is the paper's encoder-decoder."""
    dropout: bool = True
    """Whether there is noise, as dropout in the generator; sizes that are halved less than 6 times have none."""
    norm: Literal["batch", "instance"] = "batch"
    """Normalisation in both networks."""
    inference: Literal["batch", "running", "live"] = "batch"
    """How the generator infers: by a picture's own statistics (for batch=1), running ones, or with live dropout."""
    conditional: bool = True
    """Whether the discriminator sees the input beside the output (cGAN) or the output alone (GAN)."""
    layers: int = Field(3, ge=0, le=6)
    """Layers of the discriminator, which set the patch that a score sees: 0, 1, 3, 5 for 1, 16, 70, 286 pixels."""
    discriminator_width: int = Field(64, ge=4)
    """Channels of the discriminator's first layer."""
    objective: Objective = "vanilla"
    """What the two play for: minimax, vanilla, lsgan, wgan, wgan-gp or hinge."""
    adversarial: float = Field(1.0, ge=0)
    """Weight of the objective for the generator; with 0 there is no discriminator."""
    distance: Literal["l1", "l2"] = "l1"
    """How far a translation is from what it should be: the mean absolute or the mean squared difference."""
    reconstruction: float = Field(100.0, ge=0)
    """Weight of that distance (lambda)."""
    penalty: float = Field(10.0, ge=0)
    """Weight of the gradient penalty, which only wgan-gp has."""
    clip: float = Field(0.01, gt=0)
    """Bound of the discriminator's weights after each of its steps, which only wgan has."""
    rate: float = Field(2e-4, gt=0)
    """Adam's learning rate for both networks."""
    beta1: float = Field(0.5, ge=0, lt=1)
    """Adam's first decay; the second is 0.999."""
    decay_from: float = Field(0.5, ge=0, le=1)
    """Share of the steps after which the rate falls, in a straight line to zero."""

    @property
    def depth(self) -> int:
        """Halvings in the generator."""
        return self.levels or min(_halvings(self.size), _DEEPEST)

    @field_validator("domains")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        return labels.domain(name).name if name else name

    @field_validator("levels")
    @classmethod
    def _fits_the_size(cls, levels: int, info: ValidationInfo) -> int:
        size = info.data.get("size", 0)
        if max(levels, 2) > _halvings(size):
            raise ValueError(f"size {size} can be halved {_halvings(size)} times; take another, such as 256")
        return levels

    @field_validator("layers")
    @classmethod
    def _leaves_a_score(cls, layers: int, info: ValidationInfo) -> int:
        if info.data.get("size", 0) < smallest_side(layers):
            raise ValueError(f"{layers} layers need a size of {smallest_side(layers)}; take fewer, or larger pictures")
        return layers

    @field_validator("reconstruction")
    @classmethod
    def _learns_something(cls, weight: float, info: ValidationInfo) -> float:
        if not weight and not info.data.get("adversarial", 1):
            raise ValueError("with reconstruction and adversarial both 0 there is nothing to learn")
        return weight


class Pix2Pix(Recipe):
    """A generator that is told what should come out, and a discriminator of patches."""

    name = "pix2pix"
    options_type = Pix2PixOptions
    averaged = ("generator",)

    def __init__(self, options: Pix2PixOptions) -> None:
        self.options = options
        self.game = OBJECTIVES[options.objective]
        self.generator = UNet(3, 3, options.depth, options.width, options.norm, options.dropout, options.skips)
        self.networks: dict[str, nn.Module] = {"generator": self.generator}
        self.phases: tuple[Phase, ...] = (Phase("generator", trains=("generator",)),)
        if options.adversarial:
            seen = 6 if options.conditional else 3
            self.networks["discriminator"] = discriminator(
                seen, options.discriminator_width, options.layers, options.norm
            )
            self.phases = (Phase("discriminator", trains=("discriminator",)), *self.phases)
        for network in self.networks.values():
            initialise(network)

    @classmethod
    def read(cls, folder: Path, options: Pix2PixOptions, part: Part) -> pairs.Pairs:
        """Pairs, squeezed to a square bicubically and cropped at random as the official code does."""
        picture = Picture(size=options.size, multiple=2**options.depth, resize="bicubic", crop="none")
        return pairs.read(folder, picture, part, options.flip, options.load_size or round(options.size * 286 / 256))

    @classmethod
    def create(cls, options: Pix2PixOptions, data: Description) -> Self:
        """Fresh weights from N(0, 0.02)."""
        return cls(options)

    def optimizer(self, phase: str) -> Optimizer:
        """Adam with the published betas."""
        parameters = self.networks[phase].parameters()
        return Adam(parameters, lr=self.options.rate, betas=(self.options.beta1, 0.999), fused=True)

    def rate(self, step: int) -> float:
        """1 up to `decay_from`, then linearly to 0."""
        return schedules.linear(step, self.options.steps, self.options.decay_from)

    def before(self, phase: str, batch: Batch) -> Batch:
        """Draws the penalty's mixing factor for each pair, in both phases, so that both go on to draw one z."""
        return {**batch, "mix": self.share.rand(len(batch["a"]), 1, 1, 1)} if self.game.penalised else batch

    def terms(self, phase: str, batch: Batch, step: int) -> dict[str, Tensor]:
        """The terms of equation (4); `batch` holds a and b, n x 3 x s x s, and for the penalty mix n x 1 x 1 x 1."""
        x, y = (batch[side] for side in self._sides)
        return self._generator_terms(x, y) if phase == "generator" else self._discriminator_terms(x, y, batch)

    def _discriminator_terms(self, x: Tensor, y: Tensor, batch: Batch) -> dict[str, Tensor]:
        judge = self.networks["discriminator"]
        with torch.no_grad():
            made = self.networks["generator"](x)
        real, fake = self._judged(x, y), self._judged(x, made)
        # Two passes: batch norm would mix what is real with what is made.
        terms = {"adversarial": 0.5 * self.game.discriminator(judge(real), judge(fake))}
        if self.game.penalised:
            terms["penalty"] = self.options.penalty * gradient_penalty(judge, real, fake, batch["mix"])
        return terms

    def _generator_terms(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        made = self.networks["generator"](x)
        terms: dict[str, Tensor] = {}
        if self.options.adversarial:
            score = self.networks["discriminator"](self._judged(x, made))
            terms["adversarial"] = self.options.adversarial * self.game.generator(score)
        if self.options.reconstruction:
            distance = l1 if self.options.distance == "l1" else l2
            terms["reconstruction"] = self.options.reconstruction * distance(y, made)
        return terms

    def _judged(self, x: Tensor, y: Tensor) -> Tensor:
        """What the discriminator sees of a pair: both, the input first, or the output alone."""
        return torch.cat([x, y], dim=1) if self.options.conditional else y

    @property
    def _sides(self) -> tuple[str, str]:
        """The batch's entries of input and output."""
        return ("a", "b") if self.options.direction == "AtoB" else ("b", "a")

    def after(self, phase: str) -> None:
        """Clips the discriminator's weights where the objective wants it."""
        if phase == "discriminator" and self.game.clipped:
            clip(self.networks[phase], self.options.clip)

    def samples(self, batch: Batch) -> Tensor:
        """Each input, its translation in the mode of `inference`, and what it should be."""
        x, y = (batch[side] for side in self._sides)
        return torch.stack([x, self._shown().train(self.options.inference == "live")(x), y], dim=1)

    def _shown(self) -> nn.Module:
        """The generator in inference mode, on the same weights."""
        return (twin if self.options.inference == "running" else per_picture)(self.generator).eval()

    def exported(self) -> dict[str, Exported]:
        """The generator, deterministic."""
        return {"generator": Exported(self._shown(), source=self._sides[0])}

    def manifest(self, name: str, data: Description) -> Manifest:
        """A bundle with one target, pictures of one size."""
        made = data.domains["ab".index(self._sides[1])].name
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
    """How often a size can be halved without a rest."""
    return (size & -size).bit_length() - 1
