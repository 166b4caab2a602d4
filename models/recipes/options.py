"""The options of every training, and those that several recipes share.

Each has its type, limits and sentence once, here. A recipe with another default repeats the name with the shared type
(`rate: Rate = 1e-4`), which keeps limits and sentence.
"""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from torch import nn
from torch.optim import Adam, Optimizer

from models.networks.patch import smallest_side
from models.objectives.adversarial import OBJECTIVES, Adversarial, Objective

Arithmetic = Literal["32-true", "bf16-mixed", "16-mixed"]
"""Weights in 32 bits; networks in float32, or under autocast in bfloat16 or in float16 with a scaled loss."""

Game = Annotated[
    Objective,
    Field(description="What generators and discriminators play for: minimax, vanilla, lsgan, wgan, wgan-gp or hinge."),
]
Rate = Annotated[float, Field(gt=0, description="Adam's learning rate for all networks.")]
BatchSize = Annotated[int, Field(gt=0, description="Pictures a step.")]
Steps = Annotated[
    int, Field(gt=0, description="Steps of the loop; a step is one batch shown to every phase that is due.")
]
Side = Annotated[int, Field(ge=16, description="Side of the network's pictures, pixels.")]


class Options(BaseModel):
    """The options of every training; recipes add their own fields and defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)

    steps: Steps = 200_000
    batch: BatchSize = 16
    size: Side = 128
    seed: int = Field(0, ge=0, lt=2**63)
    """Seeds weights, order, flips and noise; the same seed gives the same training."""
    flip: bool = True
    """Whether training mirrors half of the pictures."""
    precision: Arithmetic = "32-true"
    """Arithmetic of the networks: 32-true, bf16-mixed or 16-mixed; weights stay in 32 bits."""
    accumulate: int = Field(1, gt=0)
    """Parts of each process's pictures, computed one after another, so that a large batch fits into memory."""
    channels_last: bool = False
    """Whether a pixel's channels lie side by side in memory: other kernels, the same numbers but for rounding."""
    compile: bool = False
    """Whether torch.compile builds the networks' kernels; minutes at the start, and slower on most CPUs."""
    workers: int = Field(4, ge=0)
    """Threads that decode pictures ahead; 0 decodes in the loop."""
    pretrained: str = ""
    """Folder of a bundle with the weights to begin with, domains by name; empty begins with random ones."""
    average: float = Field(0.0, ge=0, lt=1)
    """Decay a step of the averaged generator that samples and export use; 0 uses the last weights."""
    log_every: int = Field(10, gt=0)
    """Steps between two lines of metrics."""
    sample_every: int = Field(1000, gt=0)
    """Steps between two grids of sample pictures."""
    save_every: int = Field(1000, gt=0)
    """Steps between two checkpoints."""
    checkpoints: int = Field(2, gt=0)
    """Checkpoints to keep, the newest ones."""


class AdversarialOptions(Options):
    """Every GAN's options of the objective and of Adam."""

    objective: Game = "vanilla"
    penalty: float = Field(10.0, ge=0)
    """Weight of the gradient penalty; only wgan-gp has one."""
    clip: float = Field(0.01, gt=0)
    """Bound of the discriminators' weights after each of their steps; only wgan clips them."""
    rate: Rate = 2e-4
    beta1: float = Field(0.5, ge=0, lt=1)
    """Adam's first decay; the second is 0.999."""
    decay_from: float = Field(0.5, ge=0, le=1)
    """Share of the steps after which the rate begins to fall."""

    @property
    def game(self) -> Adversarial:
        """The objective's losses."""
        return OBJECTIVES[self.objective]

    def adam(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        """Adam with these options; fused, so that a step is one pass over memory."""
        return Adam(parameters, lr=self.rate, betas=(self.beta1, 0.999), fused=True)

    def linear_decay(self, step: int) -> float:
        """1 up to `decay_from`, then linearly down to 0 after the last step."""
        begin = self.decay_from * self.steps
        return 1.0 if step < begin else max(0.0, (self.steps - step) / max(self.steps - begin, 1.0))


class PatchOptions(AdversarialOptions):
    """The options that recipes with PatchGAN discriminators share; the defaults are those of both official codes."""

    batch: BatchSize = 1
    size: Side = 256
    load_size: int = Field(0, ge=0)
    """Side before the random crop to the size, pixels; 0 takes 286 for 256 and so in proportion."""
    layers: int = Field(3, ge=0, le=6)
    """Layers of a discriminator, which set the patch that a score sees: 0, 1, 3, 5 for 1, 16, 70, 286 pixels."""
    discriminator_width: int = Field(64, ge=4)
    """Channels of a discriminator's first layer."""
    adversarial: float = Field(1.0, ge=0)
    """Weight of the objective for the generators; with 0 there are no discriminators."""

    @property
    def loaded_side(self) -> int:
        """Side of training pictures before the crop, pixels."""
        return self.load_size or round(self.size * 286 / 256)

    @field_validator("layers")
    @classmethod
    def _check_layers(cls, layers: int, info: ValidationInfo) -> int:
        if info.data.get("size", 0) < smallest_side(layers):
            raise ValueError(f"{layers} layers need a size of {smallest_side(layers)}; take fewer, or larger pictures")
        return layers
