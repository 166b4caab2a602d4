"""The protocol of recipes: a GAN system as networks, phases and terms, which is all that the loop knows about it.

Hard cases fit the same few words. A critic that moves more often is a phase with a smaller `every`; a stage is a phase
with `start` and `until`. A picture pool, BEGAN's k or a decaying weight is `state`. Weights are clipped and k moves in
`after`; `due` can decide by results so far. Many critics, many generators or three players are more networks and
phases, and a frozen first stage is a network that no phase trains. The loop averages the networks in `averaged`.
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
"""A reader's tensors for one step, the batch axis first. Each recipe says which names it expects."""

Terms = dict[str, Tensor]
"""Scalars by name. The loop minimises their sum and logs each; a term without a gradient is only logged."""

State = dict[str, Tensor | list[Tensor]]
"""A recipe's memory beside its networks."""

OptionsT = TypeVar("OptionsT", bound=Options)


@dataclass(frozen=True)
class Phase:
    """One player's turn: which networks it trains, by which terms, with which optimiser, and when.

    A turn is `before`, `terms`, the backward pass, the optimiser's step, `after`. All phases of a step begin with the
    same random state, so their first draws are the same.
    """

    name: str
    trains: tuple[str, ...]
    """Names of the recipe's networks that this phase updates."""
    terms: Callable[[Batch, int], Terms]
    """Terms of a batch at a step.

    Each is a mean over the batch's rows, and present in every batch: the loop may split a batch into parts, over
    processes or one after another, and averages their terms and gradients. So only networks may draw here (dropout).
    """
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer]
    """Makes an optimiser for the parameters that the phase trains."""
    before: Callable[[Batch], Batch] = lambda batch: batch
    """Adds to the whole batch what no part can add alone: draws (by `share`), permuted labels, a picture pool."""
    after: Callable[[Mapping[str, Tensor]], None] = lambda terms: None
    """Follows the optimiser's step: clips weights, moves a scalar state.

    Its argument is the turn's terms, averaged over all parts and processes, so a state that they move is the same in
    all processes. They are on the device: reading one as a number waits for it.
    """
    every: int = 1
    """The phase runs at the last of every so many steps."""
    start: int = 0
    """The first step at which it may run, counted from 0."""
    until: int | None = None
    """The step before which it ends; None: never."""

    def due(self, step: int) -> bool:
        """Whether the phase runs at this step, counted from 0, by `every`, `start` and `until`."""
        return self.start <= step and (self.until is None or step < self.until) and (step + 1) % self.every == 0


@dataclass(frozen=True)
class Exported:
    """A network for the bundle: its module takes the inputs in order, float32, and returns the outputs in order."""

    module: nn.Module
    """Returns a tensor for one output, a tuple of tensors for several."""
    inputs: tuple[Input, ...] = (PIXELS,)
    outputs: tuple[Output, ...] = (TRANSLATED,)
    source: str = "pixels"
    """The entry of the reader's examples with its input: pictures, or captions if it takes text and no pixels."""
    columns: tuple[str, int] | None = None
    """A weight and its axis that ends with a slice for each label or logit."""

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The outputs by kind, given the inputs by kind; without gradients."""
        with torch.no_grad():
            made = self.module(*(inputs[port.kind] for port in self.inputs))
        tensors = made if isinstance(made, tuple) else (made,)
        return {port.kind: tensor for port, tensor in zip(self.outputs, tensors, strict=True)}

    def entry(self, name: str) -> Graph:
        """The manifest's entry for it as the graph of that name."""
        return Graph(file=f"{name}.onnx", inputs=self.inputs, outputs=self.outputs)


@dataclass(frozen=True)
class Share:
    """The rows of a step's batch in process `rank` of `ranks`; by default one process holds all.

    Every process begins a phase with the same random state and draws for the whole batch, so that N processes update
    the weights as one process does. Rows go by rank: of 16 pictures, the second of two processes holds the last 8.
    """

    rank: int = 0
    ranks: int = 1
    device: torch.device = torch.device("cpu")  # noqa: RUF009 - a device is immutable

    def rand(self, n: int, *shape: int) -> Tensor:
        """Uniform draws n x shape from [0, 1) for this process's `n` rows."""
        return self.own(torch.rand(n * self.ranks, *shape, device=self.device))

    def randn(self, n: int, *shape: int) -> Tensor:
        """Standard normal draws n x shape for this process's `n` rows."""
        return self.own(torch.randn(n * self.ranks, *shape, device=self.device))

    def permute(self, rows: Tensor, kinds: Tensor) -> Tensor:
        """Permutes the whole batch's rows n x c within each kind, whole numbers n; returns this process's rows."""
        everyone = self.gather(kinds)
        # The rows of each kind go to the places of that kind in the order of one random permutation, which the CPU
        # draws, so that every device has the same.
        order = torch.randperm(len(everyone)).to(rows.device)
        source = torch.empty_like(order)
        source[everyone.argsort(stable=True)] = order[everyone[order].argsort(stable=True)]
        return self.own(self.gather(rows)[source])

    def gather(self, rows: Tensor) -> Tensor:
        """The whole batch's rows, the same in every process; without gradients."""
        if self.ranks == 1:
            return rows.detach()
        # The exchange copies memory in order, so a layout of channels last would mix up pixels.
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(self.ranks)]
        distributed.all_gather(parts, rows.detach().contiguous())
        return torch.cat(parts)

    def own(self, whole: Tensor) -> Tensor:
        """This process's rows of a tensor with the whole batch."""
        rows = len(whole) // self.ranks  # no remainder: `World.rows` refuses other batches
        return whole[self.rank * rows : (self.rank + 1) * rows]


class Recipe(ABC, Generic[OptionsT]):
    """A GAN system. Subclasses build `networks` and `phases` from their options and the data's description."""

    name: ClassVar[str]
    options_type: ClassVar[type[Options]]
    averaged: ClassVar[tuple[str, ...]] = ()
    """The networks with averaged weights if the option `average` is set."""
    settled: ClassVar[tuple[str, ...]] = ()
    """Options that change the meaning of the weights, so a resumed run must keep them."""

    options: OptionsT
    networks: dict[str, nn.Module]
    """The networks to train, save and export; the loop sets their arithmetic in place and wraps none."""
    phases: tuple[Phase, ...]
    share: Share = Share()
    """This process's rows of each batch; the loop sets it if several processes train together."""

    @classmethod
    @abstractmethod
    def read(cls, folder: Path, options: OptionsT, part: Part) -> Data:
        """The recipe's reader of `folder`; DataError if the folder lacks such data."""

    @classmethod
    @abstractmethod
    def create(cls, options: OptionsT, data: Description) -> Self:
        """The recipe with fresh weights, drawn from torch's global generator."""

    def rate(self, step: int) -> float:
        """The factor of every learning rate at this step; a pure function, so that a resumed run agrees."""
        return 1.0

    def due(self, phase: Phase, step: int) -> bool:
        """Whether a phase runs at this step; the loop asks just before, so the answer may depend on the state."""
        return phase.due(step)

    def state(self) -> State:
        """Tensors beside the networks that a resumed run needs."""
        return {}

    def load_state(self, state: State) -> None:
        """Restores what `state` returned."""

    @abstractmethod
    def samples(self, batch: Batch) -> Tensor:
        """Sample pictures rows x columns x 3 x h x w in [-1, 1]; the first column is the input, if any."""

    @abstractmethod
    def exported(self) -> dict[str, Exported]:
        """The graphs of the bundle, in inference mode."""

    @abstractmethod
    def manifest(self, name: str, data: Description) -> Manifest:
        """The bundle's manifest; the export fills in files, metrics and training facts."""
