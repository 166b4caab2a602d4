"""What a recipe is: one GAN system, said in networks, phases and terms, so that the loop need not know which.

The loop asks nothing else of a recipe. Hard cases are carried by the same few words: a critic that moves more often
is a phase with `every`; a stage is a phase with `start` and `until`; a picture pool, BEGAN's k or a decaying weight is
`state`; clipping after a step and moving k are `after`; a rule that looks at what was reached is `due`; many critics,
many generators or three players are more networks and more phases; a frozen first stage is a network that no phase
trains; averaged weights are the loop's option for the networks that `averaged` names.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, Self, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.optim import Optimizer

from models.bundle.manifest import Graph, Manifest
from models.bundle.ports import PIXELS, TRANSLATED, Input, Output
from models.data.data import Data, Description
from models.data.parts import Part
from models.recipes.options import Options

Batch = dict[str, Tensor]
"""What a reader yields for one step; every tensor has the batch first. The recipe says which names it expects."""

Terms = dict[str, Tensor]
"""Scalars by name; their sum is minimised and all are logged. One without a gradient is a measure, only logged."""

State = dict[str, Tensor | list[Tensor]]
"""What a recipe remembers beside its networks."""

OptionsT = TypeVar("OptionsT", bound=Options)


def _unchanged(batch: Batch) -> Batch:
    return batch


def _nothing(terms: Mapping[str, Tensor]) -> None:
    pass


@dataclass(frozen=True)
class Phase:
    """One player's turn: the networks that it trains, by which terms, with which optimiser, and when.

    A turn is `before`, `terms`, the backward pass, the optimiser's step, `after`. All phases of a step begin with the
    same random state: what two of them draw first, they share.
    """

    name: str
    trains: tuple[str, ...]
    """The networks that it moves, by their names among the recipe's."""
    terms: Callable[[Batch, int], Terms]
    """Terms of a batch at a step.

    Each is a mean over the batch's rows, and always there: a batch may come in parts, to several processes or one after
    another, whose terms and gradients are averaged. So nothing is drawn here but by the networks (dropout).
    """
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer]
    """A new optimiser over the parameters that the phase trains."""
    before: Callable[[Batch], Batch] = _unchanged
    """The batch with what concerns it as a whole: what is drawn (by `share`), permuted labels, a picture pool."""
    after: Callable[[Mapping[str, Tensor]], None] = _nothing
    """What follows the optimiser's step: clip weights, move a scalar state.

    It is given the turn's terms, averaged over all parts and processes, so a state that they move is the same in all
    processes. They are on the device: reading one as a number waits for it.
    """
    every: int = 1
    """It comes at the last of every so many steps."""
    start: int = 0
    """The first step at which it may come, counted from 0."""
    until: int | None = None
    """The step before which it ends; None is never."""

    def due(self, step: int) -> bool:
        """Whether `every`, `start` and `until` have it come at this step, counted from 0."""
        return self.start <= step and (self.until is None or step < self.until) and (step + 1) % self.every == 0


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


@dataclass(frozen=True)
class Share:
    """What process `rank` among `ranks` holds of a step's batch: its rows. By default there is one process, with all.

    Every process begins a phase with the same random state and draws for the whole batch, so that N processes move the
    weights as one would. Rows go by rank: of 16 pictures, the second of two processes holds the last 8.
    """

    rank: int = 0
    ranks: int = 1
    device: torch.device = torch.device("cpu")  # noqa: RUF009 - a device is immutable

    def rand(self, n: int, *shape: int) -> Tensor:
        """Uniform draws n x shape from [0, 1) for the `n` rows held here."""
        return self.own(torch.rand(n * self.ranks, *shape, device=self.device))

    def randn(self, n: int, *shape: int) -> Tensor:
        """Standard normal draws n x shape for the `n` rows held here."""
        return self.own(torch.randn(n * self.ranks, *shape, device=self.device))

    def permuted(self, rows: Tensor, kinds: Tensor) -> Tensor:
        """Rows n x c of the whole batch in one random order, of which as many as were given.

        Each changes its place with rows of its own kind alone, by whole numbers `kinds` n.
        """
        everyone = self.gather(kinds)
        # Each kind's places, in order, are filled with its rows in the order of one random permutation. Drawn on the
        # CPU, so that every device draws the same.
        order = torch.randperm(len(everyone)).to(rows.device)
        source = torch.empty_like(order)
        source[everyone.argsort(stable=True)] = order[everyone[order].argsort(stable=True)]
        return self.own(self.gather(rows)[source])

    def gather(self, rows: Tensor) -> Tensor:
        """The whole batch's rows, the same in every process; without gradients."""
        if self.ranks == 1:
            return rows.detach()
        # The exchange goes by memory, so a layout of channels last would mix up pixels.
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(self.ranks)]
        distributed.all_gather(parts, rows.detach().contiguous())
        return torch.cat(parts)

    def own(self, whole: Tensor) -> Tensor:
        """This process's rows of a tensor that has the whole batch's."""
        rows = len(whole) // self.ranks  # `World.rows` has refused a batch that can't be dealt out evenly
        return whole[self.rank * rows : (self.rank + 1) * rows]


class Recipe(ABC, Generic[OptionsT]):
    """One GAN system. Subclasses build `networks` and `phases` from their options and the data's description."""

    name: ClassVar[str]
    options_type: ClassVar[type[Options]]
    averaged: ClassVar[tuple[str, ...]] = ()
    """The networks of which the option `average` keeps averaged weights."""
    settled: ClassVar[tuple[str, ...]] = ()
    """Options that change what the weights mean, and so can't be changed on resuming."""

    options: OptionsT
    networks: dict[str, nn.Module]
    """What is trained, saved and exported; the loop sets their arithmetic in place, so there is no wrapped twin."""
    phases: tuple[Phase, ...]
    share: Share = Share()
    """This process's rows of each batch; the loop sets it where several processes train together."""

    @classmethod
    @abstractmethod
    def read(cls, folder: Path, options: OptionsT, part: Part) -> Data:
        """The data of `folder` as this recipe wants it; DataError when they are not there."""

    @classmethod
    @abstractmethod
    def create(cls, options: OptionsT, data: Description) -> Self:
        """The recipe with fresh weights, drawn from torch's global generator."""

    def rate(self, step: int) -> float:
        """What multiplies every learning rate at this step; a pure function, so that a resumed run agrees."""
        return 1.0

    def due(self, phase: Phase, step: int) -> bool:
        """Whether a phase comes at this step, asked just before it would; may look at the recipe's state."""
        return phase.due(step)

    def state(self) -> State:
        """Tensors beside the networks that a resumed run needs."""
        return {}

    def load_state(self, state: State) -> None:
        """Takes back what `state` gave."""

    @abstractmethod
    def samples(self, batch: Batch) -> Tensor:
        """Pictures rows x columns x 3 x h x w in [-1, 1] to look at; the first column is the input, if any."""

    @abstractmethod
    def exported(self) -> dict[str, Exported]:
        """The graphs of the bundle, in inference mode."""

    @abstractmethod
    def manifest(self, name: str, data: Description) -> Manifest:
        """What the bundle says of itself; files, metrics and training facts are filled in by the export."""
