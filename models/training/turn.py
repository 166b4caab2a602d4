"""One phase's update: gradients of its terms over all parts and processes, then a step of its optimiser."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from models.recipes.recipe import Batch, Options, Phase, Recipe
from models.training.world import World


class Turn:
    """What a phase needs to take its turn; `networks` are all of the recipe's, unwrapped and on their device."""

    def __init__(
        self, phase: Phase, recipe: Recipe, networks: Mapping[str, nn.Module], world: World, options: Options
    ) -> None:
        self.phase = phase
        self.optimizer = cast(Optimizer, world.fabric.setup_optimizers(recipe.optimizer(phase.name)))
        self._rates = [group["lr"] for group in self.optimizer.param_groups]
        self._recipe, self._world = recipe, world
        self._parts, self._seed = options.accumulate, options.seed
        self._trained = [weights for name in phase.trains for weights in networks[name].parameters()]
        self._frozen = [
            weights for name in networks.keys() - set(phase.trains) for weights in networks[name].parameters()
        ]
        # Of batch norm: the same in all processes in the end, though each part is normalised by itself.
        buffers = (buffer for network in networks.values() for buffer in network.buffers())
        self._statistics = [buffer for buffer in buffers if buffer.is_floating_point()]

    def take(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Updates what the phase trains and gives its terms; the rest gets no gradient: none is computed in vain."""
        self._world.seed(self._seed_of(step, 0))
        for weights in self._trained:
            weights.requires_grad_(True)
            weights.grad = None
        for weights in self._frozen:
            weights.requires_grad_(False)
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * self._recipe.rate(step)
        terms = self._differentiate(self._recipe.before(self.phase.name, batch), step)
        self.optimizer.step()
        self._recipe.after(self.phase.name)
        return terms

    def state(self) -> dict[str, Any]:
        """The optimiser's state."""
        return self.optimizer.state_dict()

    def load_state(self, state: dict[str, Any]) -> None:
        """Takes back what `state` gave, in the memory layout of the weights: Adam's fused step goes by memory."""
        self.optimizer.load_state_dict(state)
        for weights, kept in self.optimizer.state.items():
            for name, value in kept.items():
                if isinstance(value, Tensor) and value.shape == weights.shape:
                    kept[name] = torch.empty_like(weights).copy_(value)

    def _differentiate(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """The terms and, in what is trained, the gradients of their sum: means over all parts and processes."""
        names: list[str] = []
        means = torch.zeros((), device=self._world.fabric.device)
        for part, rows in enumerate(_cut(batch, self._parts)):
            place = self._world.rank * self._parts + part
            if place:  # Dropout differs from part to part; the first goes on where `before` ended.
                self._world.seed(self._seed_of(step, place))
            terms = self._recipe.terms(self.phase.name, rows, step)
            values = torch.stack(list(terms.values())) / self._parts
            self._world.fabric.backward(values.sum())
            names, means = list(terms), means + values.detach()
        gradients = [weights.grad for weights in self._trained if weights.grad is not None]
        self._world.average([means, *gradients, *self._statistics])
        return dict(zip(names, means, strict=True))

    def _seed_of(self, step: int, place: int) -> int:
        return self._seed * 1_000_003 + step + (place << 40)


def _cut(batch: Batch, parts: int) -> list[Batch]:
    """The batch in parts of as many rows each."""
    columns = [tensor.chunk(parts) for tensor in batch.values()]
    return [dict(zip(batch, rows, strict=True)) for rows in zip(*columns, strict=True)]
