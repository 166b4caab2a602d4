"""The training loop: phases in turn; it names no recipe and prints nothing.

A step is a pure function of (state before, seed, step): batches, noise and learning rates depend on seed and step
alone, so a run that was killed and resumed ends with the same bits as one that never stopped. Under torchrun several
processes share each step; all hold the same state, and one of them writes and reports.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from models.data.data import Data
from models.data.loader import batches, first
from models.errors import CheckpointError, Diverged, RunError
from models.recipes.recipe import Batch, Phase, Terms
from models.training.history import History
from models.training.pretrained import begin_with
from models.training.run import Checkpoint, Run, load_weights, save, saved
from models.training.step import Autocast, Averages, Turn
from models.training.world import join

_SAMPLES = 6


@dataclass(frozen=True)
class Progress:
    """The state of a training: the last value of every term, `phase/term`, and pictures a second since the start."""

    step: int
    steps: int
    losses: Mapping[str, float]
    pictures_per_second: float


class Trainer:
    """A training, from its state at `step` on."""

    def __init__(self, run: Run, data: Data, samples: Data) -> None:
        options = run.options
        self.run = run
        self.data = data
        self.options = options
        self.world = join()
        self.rows = self.world.rows(options.batch, options.accumulate)
        self.step = 0
        self.losses: dict[str, float] = {}
        self._unproven: Path | None = None
        """The newest checkpoint until the next terms show that its weights are sound; older ones stay that long."""
        torch.manual_seed(options.seed)  # for the first weights; each turn seeds its own draws
        latest = run.latest()
        self.recipe = run.recipe.create(options, run.data)
        if latest is None and options.pretrained:
            begin_with(Path(options.pretrained), self.recipe, run.data)
        self.recipe.share = self.world.share()
        self.autocast = Autocast(options.precision, self.world.device)
        networks = self.recipe.networks
        for network in networks.values():  # before optimisers and averages, which keep references to the weights
            layout = torch.channels_last if options.channels_last else torch.contiguous_format
            network.to(device=self.world.device, memory_format=layout)  # type: ignore[call-overload]
            self.autocast.set_up(network)
            if options.compile:
                network.compile()  # in place; torch.compile would return a wrapper
        self._turns = {
            phase.name: Turn(phase, networks, self.recipe.rate, self.world, self.autocast, options)
            for phase in self.recipe.phases
        }
        averaged = self.recipe.averaged if options.average else ()
        self.averages = Averages({name: networks[name] for name in averaged}, options.average)
        if latest is not None:
            self._resume(latest)
        self.world.agree(self.step)  # every process has read the run folder: from here on it may change
        self.sample_batch = self.to_device(first(samples, _SAMPLES))

    def train(self, on_step: Callable[[Progress], None]) -> None:
        """Runs to the last step; Diverged as soon as a term is not finite, RunError if the disk is full.

        Of several processes only the leading one writes and calls `on_step`.
        """
        options, pinned = self.options, self.world.device.type == "cuda"
        source = batches(self.data, options.batch, options.seed, self.step, options.workers, self.rows, pinned)
        history: History | None = None
        if self.world.leads and self.step == 0:
            self.run.write()
        started_at, started_step = time.monotonic(), self.step
        try:
            # One batch ahead: the next one is on its way while the device works.
            batch = self.to_device(next(source))
            while self.step < options.steps:
                terms: Terms = {}
                for phase in self.recipe.phases:
                    # Now and not at the step's start: the answer may depend on an earlier phase of this step.
                    if self.recipe.due(phase, self.step):
                        terms |= self.turn(phase, batch)
                batch = self.to_device(next(source))
                self.losses.update(self._values(terms))
                if self._unproven is not None:
                    self._drop_old_checkpoints()
                self.step += 1
                self.averages.update(self.step)
                if self.world.leads:
                    history = history or self._begin_history(started_step)
                    speed = (self.step - started_step) * options.batch / (time.monotonic() - started_at)
                    on_step(Progress(self.step, options.steps, self.losses, speed))
                    self._record(history, speed)
        finally:
            source.close()
            if history is not None:
                with _writing(self.run):
                    history.close()

    def _begin_history(self, start: int) -> History:
        """Commits the run to these options and to the checkpoint at `start`, after the first step has worked.

        Not before: a resume with options that fail at once must leave a run that can still be resumed and exported.
        """
        with _writing(self.run):
            self.run.write()
            for later in saved(self.run.checkpoints):
                if int(later.stem) > start:
                    later.unlink()
            return History(self.run.folder, start)

    def _resume(self, content: Checkpoint) -> None:
        for name, network in self.recipe.networks.items():
            load_weights(network, name, content["networks"])
        for name, turn in self._turns.items():
            if name not in content["optimizers"]:
                raise CheckpointError(f"the checkpoint has no phase {name}; keep the run's options")
            turn.load_state(content["optimizers"][name])
        if content["precision"] and self.autocast.scaler.is_enabled():  # the run may have begun without 16-mixed
            self.autocast.scaler.load_state_dict(content["precision"])
        self.recipe.load_state(content["state"])
        self.averages.load_state(content["averages"])
        self.losses = dict(content["losses"])
        self.step = content["step"]

    def to_device(self, batch: Batch) -> Batch:
        """A batch on the device, in the networks' memory layout."""
        moved = {name: tensor.to(self.world.device, non_blocking=True) for name, tensor in batch.items()}
        if not self.options.channels_last:
            return moved
        return {
            name: tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor
            for name, tensor in moved.items()
        }

    def turn(self, phase: Phase, batch: Batch) -> Terms:
        """Runs one phase's update and returns its terms, `phase/term`."""
        return {f"{phase.name}/{name}": term for name, term in self._turns[phase.name].take(batch, self.step).items()}

    def _values(self, terms: Terms) -> dict[str, float]:
        """Copies the terms from the device, once a step, as that waits for it; Diverged if one is not finite."""
        # One stacked tensor is one transfer.
        values = dict(zip(terms, torch.stack(list(terms.values())).tolist(), strict=True)) if terms else {}
        for name, value in values.items():
            if not math.isfinite(value):
                phase, _, term = name.partition("/")
                if self._unproven is not None and next(iter(values)).startswith(f"{phase}/"):
                    # A term of the step's first phase: no weights have moved since the save, so the saved ones are bad.
                    self._unproven.unlink()
                raise Diverged(self.step, f"phase {phase}: term {term} is {value}")
        return values

    def _record(self, history: History, speed: float) -> None:
        last = self.step == self.options.steps
        with _writing(self.run):
            if self.step % self.options.log_every == 0 or last:
                history.log(self.step, {**self.losses, "pictures_per_second": round(speed, 2)})
            if self.step % self.options.sample_every == 0 or last:
                # Without compiled kernels: torch.compile would build new ones for this batch size.
                with torch.no_grad(), torch.compiler.set_stance("force_eager"), self.averages.swapped_in():
                    samples = self.recipe.samples(self.sample_batch)
                if not samples.isfinite().all():
                    raise Diverged(self.step, "the sample pictures are not finite")
                history.show(self.step, samples, self.run.data.picture)
        if self.step % self.options.save_every == 0 or last:
            self._save()
            if last:
                self._drop_old_checkpoints()

    def _save(self) -> None:
        """Saves the state; Diverged if the last update, which followed finite terms, gave non-finite weights."""
        for name, network in self.recipe.networks.items():
            if not torch.stack([weights.isfinite().all() for weights in network.parameters()]).all():
                raise Diverged(self.step, f"the weights of the network {name} are not finite")
        content = Checkpoint(
            recipe=self.recipe.name,
            step=self.step,
            losses=self.losses,
            networks={name: network.state_dict() for name, network in self.recipe.networks.items()},
            averages=self.averages.weights,
            optimizers={name: turn.state() for name, turn in self._turns.items()},
            precision=self.autocast.scaler.state_dict(),
            state=self.recipe.state(),
        )
        self._unproven = save(self.run.checkpoints, content)

    def _drop_old_checkpoints(self) -> None:
        for old in saved(self.run.checkpoints)[self.options.checkpoints :]:
            old.unlink()
        self._unproven = None


@contextmanager
def _writing(run: Run) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(
            f"{run.folder} can't be written: {error.strerror}; make room and resume from the last checkpoint"
        ) from error
