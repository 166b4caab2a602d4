"""A phase's update, the arithmetic of its networks, and the averaged weights."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from models.recipes.options import Arithmetic, Options
from models.recipes.recipe import Batch, Phase, Terms
from models.training.world import World

_log = logging.getLogger(__name__)


class Autocast:
    """The arithmetic of networks: float32, or autocast, with a scaled loss for float16."""

    def __init__(self, arithmetic: Arithmetic, device: torch.device) -> None:
        if arithmetic == "16-mixed" and device.type == "cpu":
            _log.warning("precision=16-mixed is for GPUs; this CPU computes in bfloat16, as with bf16-mixed")
            arithmetic = "bf16-mixed"
        self._device = device.type
        self._dtype = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(arithmetic)
        self.scaler = torch.amp.GradScaler(device.type, enabled=arithmetic == "16-mixed")
        """Keeps float16 gradients from vanishing and skips steps that overflow; in other arithmetic it does nothing."""

    def set_up(self, network: nn.Module) -> None:
        """Makes the network run under autocast and return float32, in which means lose no digits.

        It replaces the `forward` of this one object, so there is no wrapper whose weights or state dict could be
        mistaken for the network's own. A library's wrapper would also forbid the gradient penalty
        (docs/decisions/0003).
        """
        if self._dtype is None:
            return
        device, dtype = self._device, self._dtype

        def forward(self: nn.Module, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
            with torch.autocast(device, dtype=dtype):
                outputs = type(self).forward(self, *inputs)
            return outputs.float() if isinstance(outputs, Tensor) else tuple(output.float() for output in outputs)

        # A bound method, so that a deep copy of the network (pix2pix's twin) runs its own layers and not these.
        network.forward = MethodType(forward, network)


class Turn:
    """A phase's update: gradients of its terms over all parts and processes, then a step of its optimiser.

    `networks` are all of the recipe's; `rate` gives the factor of the optimiser's learning rates at a step.
    """

    def __init__(
        self,
        phase: Phase,
        networks: Mapping[str, nn.Module],
        rate: Callable[[int], float],
        world: World,
        autocast: Autocast,
        options: Options,
    ) -> None:
        self.phase = phase
        self._trained = [weights for name in phase.trains for weights in networks[name].parameters()]
        self._frozen = [
            weights for name in networks.keys() - set(phase.trains) for weights in networks[name].parameters()
        ]
        # Batch norm's: each part moves them by its own pictures, and an average makes processes agree.
        buffers = (buffer for network in networks.values() for buffer in network.buffers())
        self._statistics = [buffer for buffer in buffers if buffer.is_floating_point()]
        self.optimizer = phase.optimizer(self._trained)
        # From the options and not from a checkpoint, whose rates have the factor of its step.
        self._rates = [group["lr"] for group in self.optimizer.param_groups]
        self._rate, self._world, self._scaler = rate, world, autocast.scaler
        self._parts, self._seed = options.accumulate, options.seed

    def take(self, batch: Batch, step: int) -> Terms:
        """Updates the phase's networks and returns its terms, means over all parts and processes."""
        self._seed_draws(step, 0)
        for weights in self._trained:
            weights.requires_grad_(True)
            weights.grad = None
        for weights in self._frozen:  # a generator's loss goes through the critic, but needs no gradients for it
            weights.requires_grad_(False)
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * self._rate(step)
        batch = self.phase.before(batch)
        names: list[str] = []
        means = torch.zeros((), device=self._world.device)
        columns = [tensor.chunk(self._parts) for tensor in batch.values()]
        for part, rows in enumerate(zip(*columns, strict=True)):
            place = self._world.rank * self._parts + part
            if place:  # dropout must differ between parts; the first part goes on after the draws of `before`
                self._seed_draws(step, place)
            terms = self.phase.terms(dict(zip(batch, rows, strict=True)), step)
            values = torch.stack(list(terms.values())) / self._parts
            torch.autograd.backward(self._scaler.scale(values.sum()))  # adds to the gradients of earlier parts
            names, means = list(terms), means + values.detach()
        # Averaged before the scaler unscales them, so that all processes see an overflow and skip the same step.
        gradients = [weights.grad for weights in self._trained if weights.grad is not None]
        self._world.average([means, *gradients, *self._statistics])
        self._scaler.step(self.optimizer)
        self._scaler.update()
        averaged = dict(zip(names, means, strict=True))
        self.phase.after(averaged)
        return averaged

    def _seed_draws(self, step: int, place: int) -> None:
        # PyTorch takes seeds below 2^63; only an enormous seed in the options exceeds that.
        self._world.seed((self._seed * 1_000_003 + step + (place << 40)) % 2**63)

    def state(self) -> dict[str, Any]:
        """The optimiser's state."""
        return self.optimizer.state_dict()

    def load_state(self, state: dict[str, Any]) -> None:
        """Restores the state in the weights' memory layout, as Adam's fused step reads memory in order."""
        self.optimizer.load_state_dict(state)
        for weights, kept in self.optimizer.state.items():
            for name, value in kept.items():
                if isinstance(value, Tensor) and value.shape == weights.shape:
                    kept[name] = torch.empty_like(weights).copy_(value)


class Averages:
    """Exponential averages of networks' weights, whose pictures are steadier than those of the last weights.

    They begin as a copy; `decay` is the decay a step.
    """

    def __init__(self, networks: Mapping[str, nn.Module], decay: float) -> None:
        self._decay = decay
        self._live = networks
        self.weights = {
            name: {key: value.detach().clone() for key, value in network.state_dict().items()}
            for name, network in networks.items()
        }
        """For each network a state dict with averaged weights."""
        self._pairs = [
            (self.weights[name][key], value, isinstance(value, nn.Parameter))
            for name, network in networks.items()
            for key, value in network.state_dict(keep_vars=True).items()
        ]
        self._means = [mean for mean, _, learned in self._pairs if learned]
        self._learned = [value for _, value, learned in self._pairs if learned]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Moves the averages; the decay is smaller in early steps, so that the random start soon fades."""
        if self._means:
            # One call for all weights: a call for each would cost more than the arithmetic.
            torch._foreach_lerp_(self._means, self._learned, 1 - min(self._decay, (1 + step) / (10 + step)))
        for mean, value, learned in self._pairs:
            if not learned:  # running statistics of batch norm
                mean.copy_(value)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """A context in which the networks have the averaged weights, and the averages the live ones."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        # Swaps only the memory of the tensors: the optimiser needs the same parameter objects.
        for mean, value, _ in self._pairs:
            mean.data, value.data = value.data, mean.data

    def load_state(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Restores averaged weights from a checkpoint; a network without any begins at its live weights."""
        for name, weights in self.weights.items():
            for key, mean in weights.items():
                mean.copy_(state[name][key] if name in state else self._live[name].state_dict()[key])
