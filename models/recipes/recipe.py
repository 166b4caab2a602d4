"""What a recipe is: one GAN system, said in networks, phases and terms, so that the loop need not know which.

The loop asks nothing else of a recipe. Hard cases are carried by the same few words: a critic that moves more often
is a phase with `every`; a picture pool, BEGAN's k or a decaying weight is `state`; clipping after a step is `after`;
many critics, many generators or three players are more networks and more phases; a frozen first stage is a network
that no phase trains; averaged weights are the loop's option for the networks that `averaged` names.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.optim import Optimizer

from models.bundle.manifest import Graph, Manifest
from models.bundle.ports import PIXELS, TRANSLATED, Input, Output
from models.data.data import Data, Description
from models.recipes.share import Share

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
"""Arithmetic of a training, in Lightning's words."""

Batch = dict[str, Tensor]
"""What a reader yields for one step; every tensor has the batch first. The recipe says which names it expects."""


@dataclass(frozen=True)
class Phase:
    """One player's turn: the networks that it moves, on every how many steps it comes, and from which step on."""

    name: str
    trains: tuple[str, ...]
    every: int = 1
    start: int = 0

    def due(self, step: int) -> bool:
        """Whether it comes at this step, counted from 0: the last of every `every` steps."""
        return step >= self.start and (step + 1) % self.every == 0


@dataclass(frozen=True)
class Exported:
    """A network as it is served: called with its inputs in order, float32, it gives its outputs in order.

    One output is a tensor, several are a tuple of tensors. `source` names the batch's entry that shows what the network
    is fed: pictures, or captions where it takes text and no pixels. `columns` is the weight that has a slice for each
    label or logit, the last ones along the axis that is named with it.
    """

    module: nn.Module
    inputs: tuple[Input, ...] = (PIXELS,)
    outputs: tuple[Output, ...] = (TRANSLATED,)
    source: str = "pixels"
    columns: tuple[str, int] | None = None

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The outputs by kind, given the inputs by kind; without gradients."""
        with torch.no_grad():
            made = self.module(*(inputs[port.kind] for port in self.inputs))
        tensors = made if isinstance(made, tuple) else (made,)
        return {port.kind: tensor for port, tensor in zip(self.outputs, tensors, strict=True)}

    def entry(self, name: str) -> Graph:
        """What the manifest says of it as the graph of that name."""
        return Graph(file=f"{name}.onnx", inputs=self.inputs, outputs=self.outputs)


class Options(BaseModel):
    """What every training can be told; recipes add their own fields and defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)

    steps: int = Field(200_000, gt=0)
    """Steps of the loop; a step is one batch shown to every phase that is due."""
    batch: int = Field(16, gt=0)
    """Pictures a step."""
    size: int = Field(128, ge=16)
    """Side of the network's pictures, pixels."""
    seed: int = Field(0, ge=0)
    """Seeds weights, order, flips and noise; the same seed gives the same training."""
    flip: bool = True
    """Whether half of the pictures are mirrored."""
    precision: Precision = "32-true"
    """Arithmetic of the networks, in Lightning's words; weights stay in 32 bits."""
    accumulate: int = Field(1, gt=0)
    """Parts in which each process takes its pictures one after another, so that a large batch fits into memory."""
    channels_last: bool = False
    """Whether a pixel's channels lie side by side in memory: other kernels, the same numbers but for rounding."""
    compile: bool = False
    """Whether torch.compile builds the networks' kernels; minutes at the start, and slower on most CPUs."""
    workers: int = Field(4, ge=0)
    """Threads that decode pictures ahead; 0 decodes in the loop."""
    pretrained: str = ""
    """Folder of a bundle whose weights it begins with, domains by their names; empty begins with random ones."""
    average: float = Field(0.0, ge=0, lt=1)
    """Decay a step of the exponentially averaged generator that is shown and exported; 0 exports the last weights."""
    log_every: int = Field(10, gt=0)
    """Steps between two lines of metrics."""
    sample_every: int = Field(1000, gt=0)
    """Steps between two grids of sample pictures."""
    save_every: int = Field(1000, gt=0)
    """Steps between two checkpoints."""
    checkpoints: int = Field(2, gt=0)
    """Checkpoints that are kept, newest first."""


class Recipe(ABC):
    """One GAN system. Subclasses build `networks` and `phases` from their options and the data's description."""

    name: ClassVar[str]
    options_type: ClassVar[type[Options]]
    averaged: ClassVar[tuple[str, ...]] = ()

    networks: dict[str, nn.Module]
    phases: tuple[Phase, ...]
    share: Share = Share()
    """This process's rows of each batch; the loop sets it where several processes train together."""

    @classmethod
    @abstractmethod
    def read(cls, folder: Any, options: Any, part: Literal["train", "test"]) -> Data:
        """The data of `folder` as this recipe wants it; DataError when they are not there."""

    @classmethod
    @abstractmethod
    def create(cls, options: Any, data: Description) -> Self:
        """The recipe with fresh weights, drawn from torch's global generator."""

    @abstractmethod
    def optimizer(self, phase: str) -> Optimizer:
        """A new optimiser over the parameters that the phase trains."""

    def rate(self, step: int) -> float:
        """What multiplies every learning rate at this step; a pure function, so that a resumed run agrees."""
        return 1.0

    def before(self, phase: str, batch: Batch) -> Batch:
        """The batch with what concerns it as a whole: whatever is drawn (by `share`), permuted labels, a picture pool.

        All phases of one step begin from the same random state: what two of them draw first, they share.
        """
        return batch

    @abstractmethod
    def terms(self, phase: str, batch: Batch, step: int) -> dict[str, Tensor]:
        """Weighted scalars; their sum is minimised and their names are logged.

        Each is a mean over the batch's rows, and always there: a batch may come in parts, to several processes or one
        after another, whose terms and gradients are averaged. So nothing is drawn here but by the networks (dropout).
        """

    def after(self, phase: str) -> None:  # noqa: B027 - most recipes have nothing to do here
        """Whatever follows an optimiser's step: clip weights, move a scalar state."""

    def state(self) -> dict[str, Any]:
        """Tensors and plain data beside the networks that a resumed run needs."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:  # noqa: B027 - most recipes have no state
        """Takes back what `state` gave."""

    @abstractmethod
    def samples(self, batch: Batch) -> Tensor:
        """Pictures rows x columns x 3 x h x w in [-1, 1] to look at, the input in the first column."""

    @abstractmethod
    def exported(self) -> dict[str, Exported]:
        """The graphs of the bundle, in inference mode."""

    @abstractmethod
    def manifest(self, name: str, data: Description) -> Manifest:
        """What the bundle says of itself; files, metrics and training facts are filled in by the export."""
