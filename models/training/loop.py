"""The training loop: phases in turn, on Lightning Fabric; it names no recipe and prints nothing.

A step is a pure function of (state before, seed, step): batches, noise and learning rates are drawn from seed and step
alone, so a run that was killed and resumed ends with the same bits as one that never stopped.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from models.data.data import Data
from models.data.loader import batches, first
from models.errors import Diverged
from models.recipes.recipe import Phase
from models.training import checkpoint
from models.training.averages import Averages
from models.training.history import History
from models.training.precision import Autocast
from models.training.run import Run, load_weights

_SAMPLES = 6


@dataclass(frozen=True)
class Progress:
    """Where a training stands: the last value of every term, `phase/term`, and pictures a second since the start."""

    step: int
    steps: int
    losses: Mapping[str, float]
    pictures_per_second: float


class Trainer:
    """One training from its state at `step` on."""

    def __init__(self, run: Run, data: Data, samples: Data) -> None:
        options = run.options
        self.run = run
        self.data = data
        self.options = options
        self.fabric = Fabric(accelerator="auto", devices=1, precision=options.precision)
        self.step = 0
        torch.manual_seed(options.seed)
        self.recipe = run.recipe.create(options, run.data)
        self.plain = dict(self.recipe.networks)
        self.shown = run.recipe.create(options, run.data) if options.average else self.recipe
        copied = self.recipe.averaged if options.average else ()
        self.averages = Averages(
            {name: self.plain[name] for name in copied},
            {name: self.shown.networks[name].to(self.fabric.device) for name in copied},
            options.average,
        )
        self.optimizers = self._set_up()
        self._rates = {name: [group["lr"] for group in o.param_groups] for name, o in self.optimizers.items()}
        self._resume()
        self.sample_batch = self._to_device(first(samples, _SAMPLES))

    def train(self, on_step: Callable[[Progress], None]) -> None:
        """Runs to the last step; Diverged as soon as a term is not finite."""
        history = History(self.run.folder, self.step)
        started_at, started_step = time.monotonic(), self.step
        source = batches(self.data, self.options.batch, self.options.seed, self.step)
        losses: dict[str, float] = {}
        try:
            while self.step < self.options.steps:
                losses.update(self._advance(self._to_device(next(source))))
                speed = (self.step - started_step) * self.options.batch / (time.monotonic() - started_at)
                on_step(Progress(self.step, self.options.steps, losses, speed))
                self._record(history, losses, speed)
        finally:
            history.close()

    def _resume(self) -> None:
        content = self.run.latest()
        if content is None:
            return
        for name, network in self.plain.items():
            load_weights(network, name, content["networks"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(content["optimizers"][name])
        self.recipe.load_state(content["state"])
        self.averages.load_state(content["averages"])
        self.step = int(content["step"])

    def _set_up(self) -> dict[str, Optimizer]:
        """Moves networks to the device and hands optimisers to Fabric; the recipe then calls the wrapped networks."""
        for name, network in self.plain.items():
            network.to(self.fabric.device)
            compiled = cast(nn.Module, torch.compile(network)) if self.options.compile else network
            self.recipe.networks[name] = Autocast(compiled, self.fabric)
        optimizers = {phase.name: self.recipe.optimizer(phase.name) for phase in self.recipe.phases}
        return {name: cast(Optimizer, self.fabric.setup_optimizers(o)) for name, o in optimizers.items()}

    def _to_device(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor.to(self.fabric.device) for name, tensor in batch.items()}

    def _advance(self, batch: dict[str, Tensor]) -> dict[str, float]:
        losses: dict[str, float] = {}
        for phase in self.recipe.phases:
            if phase.due(self.step):
                losses.update(self.turn(phase, batch))
        self.step += 1
        if self.averages.copies:
            self.averages.update(self.step)
        return losses

    def turn(self, phase: Phase, batch: dict[str, Tensor]) -> dict[str, float]:
        """One phase's update; only what it trains keeps gradients, so none are computed in vain."""
        torch.manual_seed(self.options.seed * 1_000_003 + self.step)
        for name, network in self.plain.items():
            network.requires_grad_(name in phase.trains)
        optimizer: Optimizer = self.optimizers[phase.name]
        for group, rate in zip(optimizer.param_groups, self._rates[phase.name], strict=True):
            group["lr"] = rate * self.recipe.rate(self.step)
        terms = self.recipe.terms(phase.name, batch, self.step)
        losses = {f"{phase.name}/{name}": term.item() for name, term in terms.items()}
        for name, value in losses.items():
            if not math.isfinite(value):
                raise Diverged(self.step, phase.name, name.split("/")[1], value)
        optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(torch.stack(list(terms.values())).sum())
        optimizer.step()
        self.recipe.after(phase.name)
        return losses

    def _record(self, history: History, losses: Mapping[str, float], speed: float) -> None:
        last = self.step == self.options.steps
        if self.step % self.options.log_every == 0 or last:
            history.log(self.step, {**losses, "pictures_per_second": round(speed, 2)})
        if self.step % self.options.sample_every == 0 or last:
            with torch.no_grad():
                history.show(self.step, self.shown.samples(self.sample_batch), self.run.data.picture)
        if self.step % self.options.save_every == 0 or last:
            checkpoint.save(self.run.checkpoints, self.step, self._state(), self.options.checkpoints)

    def _state(self) -> dict[str, Any]:
        return {
            "recipe": self.recipe.name,
            "step": self.step,
            "networks": _state_dicts(self.plain),
            "averages": self.averages.state(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "state": self.recipe.state(),
        }


def _state_dicts(networks: Mapping[str, nn.Module]) -> dict[str, Any]:
    return {name: network.state_dict() for name, network in networks.items()}
