"""The training loop: phases in turn, on Lightning Fabric; it names no recipe and prints nothing.

A step is a pure function of (state before, seed, step): batches, noise and learning rates are drawn from seed and step
alone, so a run that was killed and resumed ends with the same bits as one that never stopped. Under torchrun the step
is dealt out to processes; one of them writes and reports, and all hold the same state.
"""

import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from models.data.data import Data
from models.data.loader import batches, first
from models.errors import Diverged, RunError
from models.recipes.recipe import Batch, Phase
from models.training import checkpoint
from models.training.averages import Averages
from models.training.history import History
from models.training.precision import Autocast
from models.training.pretrained import begin_with
from models.training.run import Run, load_weights
from models.training.turn import Turn
from models.training.world import join

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
        self.world = join(options.precision)
        self.rows = self.world.rows(options.batch, options.accumulate)
        self.step = 0
        self.losses: dict[str, float] = {}
        torch.manual_seed(options.seed)
        latest = run.latest()
        self.recipe = run.recipe.create(options, run.data)
        if latest is None and options.pretrained:
            begin_with(Path(options.pretrained), self.recipe, run.data)
        self.recipe.share = self.world.share()
        self.plain = dict(self.recipe.networks)
        self.shown = run.recipe.create(options, run.data) if options.average else self.recipe
        copied = self.recipe.averaged if options.average else ()
        self.averages = Averages(
            {name: self.plain[name] for name in copied},
            {name: self._placed(self.shown.networks[name]) for name in copied},
            options.average,
        )
        self._wrap()
        self._turns = {
            phase.name: Turn(phase, self.recipe, self.plain, self.world, options) for phase in self.recipe.phases
        }
        if latest is not None:
            self._resume(latest)
        self.world.agree(self.step)
        self.sample_batch = self.to_device(first(samples, _SAMPLES))

    def train(self, on_step: Callable[[Progress], None]) -> None:
        """Runs to the last step; Diverged as soon as a term is not finite, RunError when the disk is full.

        Of several processes only the one that leads writes, and calls `on_step`.
        """
        history = self._begin() if self.world.leads else None
        started_at, started_step = time.monotonic(), self.step
        source = self._source()
        try:
            batch = self.to_device(next(source))
            while self.step < self.options.steps:
                terms = self._advance(batch)
                batch = self.to_device(next(source))  # is read while a GPU still works
                self.losses.update(self._values(terms))
                self.step += 1
                self.averages.update(self.step)
                if history is not None:
                    speed = (self.step - started_step) * self.options.batch / (time.monotonic() - started_at)
                    on_step(Progress(self.step, self.options.steps, self.losses, speed))
                    self._record(history, speed)
        finally:
            source.close()
            if history is not None:
                with _writing(self.run):
                    history.close()

    def _source(self) -> Generator[Batch, None, None]:
        """Batches from this step on, of each the rows that are held here."""
        options, pinned = self.options, self.world.fabric.device.type == "cuda"
        return batches(self.data, options.batch, options.seed, self.step, options.workers, self.rows, pinned)

    def _begin(self) -> History:
        self.run.write()
        return History(self.run.folder, self.step)

    def _resume(self, content: Mapping[str, Any]) -> None:
        for name, network in self.plain.items():
            load_weights(network, name, content["networks"])
        for name, turn in self._turns.items():
            turn.load_state(content["optimizers"][name])
        if content.get("precision"):  # the scale of 16-mixed; other precisions have none
            self.world.fabric.strategy.precision.load_state_dict(content["precision"])
        self.recipe.load_state(content["state"])
        self.averages.load_state(content["averages"])
        self.losses = dict(content.get("losses", {}))
        self.step = int(content["step"])

    def _wrap(self) -> None:
        """Moves networks to the device; the recipe then calls wrapped ones."""
        for name, network in self.plain.items():
            self._placed(network)
            compiled = cast(nn.Module, torch.compile(network)) if self.options.compile else network
            self.recipe.networks[name] = Autocast(compiled, self.world.fabric)

    def _placed(self, network: nn.Module) -> nn.Module:
        layout = torch.channels_last if self.options.channels_last else torch.contiguous_format
        return cast(nn.Module, network.to(device=self.world.fabric.device, memory_format=layout))  # type: ignore[call-overload]

    def to_device(self, batch: Batch) -> Batch:
        """A batch of the loader's where the networks want it."""
        moved = {name: tensor.to(self.world.fabric.device, non_blocking=True) for name, tensor in batch.items()}
        if not self.options.channels_last:
            return moved
        return {
            name: tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor
            for name, tensor in moved.items()
        }

    def _advance(self, batch: Batch) -> dict[str, Tensor]:
        """The turn of every phase that is due."""
        due = [phase for phase in self.recipe.phases if phase.due(self.step)]
        return {name: term for phase in due for name, term in self.turn(phase, batch).items()}

    def turn(self, phase: Phase, batch: Batch) -> dict[str, Tensor]:
        """One phase's update, and its terms, `phase/term`."""
        return {f"{phase.name}/{name}": term for name, term in self._turns[phase.name].take(batch, self.step).items()}

    def _values(self, terms: Mapping[str, Tensor]) -> dict[str, float]:
        """Takes the terms off the device, once a step, as that waits for it; Diverged when one is not finite."""
        values = dict(zip(terms, torch.stack(list(terms.values())).tolist(), strict=True)) if terms else {}
        for name, value in values.items():
            if not math.isfinite(value):
                phase, _, term = name.partition("/")
                raise Diverged(self.step, phase, term, value)
        return values

    def _record(self, history: History, speed: float) -> None:
        last = self.step == self.options.steps
        with _writing(self.run):
            if self.step % self.options.log_every == 0 or last:
                history.log(self.step, {**self.losses, "pictures_per_second": round(speed, 2)})
            if self.step % self.options.sample_every == 0 or last:
                with torch.no_grad(), torch.compiler.set_stance("force_eager"):  # no kernels for a few samples
                    history.show(self.step, self.shown.samples(self.sample_batch), self.run.data.picture)
        if self.step % self.options.save_every == 0 or last:
            checkpoint.save(self.run.checkpoints, self.step, self._state(), self.options.checkpoints)

    def _state(self) -> dict[str, Any]:
        return {
            "recipe": self.recipe.name,
            "step": self.step,
            "losses": self.losses,
            "networks": {name: network.state_dict() for name, network in self.plain.items()},
            "averages": self.averages.state(),
            "optimizers": {name: turn.state() for name, turn in self._turns.items()},
            "precision": self.world.fabric.strategy.precision.state_dict(),
            "state": self.recipe.state(),
        }


@contextmanager
def _writing(run: Run) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(
            f"{run.folder} can't be written: {error.strerror}; make room and resume from the last checkpoint"
        ) from error
