"""How fast a step of StarGAN is, compared with the published implementation, of which this module has a copy.

Both sides have the same networks, weights, batch and random draws, and the benchmark compares their losses before it
times anything. A cycle is five steps of the critic and one of the generator, as published. Each cycle runs in a process
of its own, after one step of each to warm up, and the sides take turns. Reading pictures is not timed.

    recast bench training [--size S] [--width W] [--batch B] [--rounds N] [--sides NAME ...]
"""

import argparse
import copy
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks._load import processor
from models.data.loader import batches
from models.drawn import people
from models.recipes.recipe import Batch
from models.training.loop import Trainer
from models.training.start import begin, prepare

CRITIC_STEPS = 5
SIDES: dict[str, tuple[str, ...]] = {
    "reference": (),
    "fp32": (),
    "fp32 channels last": ("channels_last=true",),
    "bf16": ("precision=bf16-mixed",),
    "bf16 channels last": ("precision=bf16-mixed", "channels_last=true"),
}
"""The options of each side; the others are compared with the first one."""


@dataclass(frozen=True)
class Cycle:
    """The seconds of one step of the critic and one of the generator in a cycle."""

    critic_s: float
    generator_s: float

    @property
    def all_s(self) -> float:
        """The whole cycle."""
        return CRITIC_STEPS * self.critic_s + self.generator_s


class Reference:
    """The published step, with all the work that it does in vain.

    The critic's step builds a graph for its pictures and then detaches them; real, made and mixed pictures pass one
    after another. The generator's step also computes the critic's gradients, and drops them. The generator's norms keep
    running statistics that nothing reads. Adam has PyTorch's default implementation.
    """

    def __init__(self, generator: nn.Module, critic: nn.Module) -> None:
        self.generator = copy.deepcopy(generator).requires_grad_(True)
        for norm in self.generator.modules():
            if isinstance(norm, nn.InstanceNorm2d):
                norm.track_running_stats = True
                norm.running_mean, norm.running_var = torch.zeros_like(norm.weight), torch.ones_like(norm.weight)
                norm.num_batches_tracked = torch.tensor(0)
        self.critic = copy.deepcopy(critic).requires_grad_(True)
        self._optimizers = {
            name: torch.optim.Adam(network.parameters(), 1e-4, (0.5, 0.999))
            for name, network in (("critic", self.critic), ("generator", self.generator))
        }

    def step(self, phase: str, batch: Batch) -> dict[str, float]:
        """One phase's losses, backward pass and update."""
        terms = self.critic_terms(batch) if phase == "critic" else self.generator_terms(batch)
        for optimizer in self._optimizers.values():
            optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        self._optimizers[phase].step()
        return {name: term.item() for name, term in terms.items()}

    def critic_terms(self, batch: Batch) -> dict[str, Tensor]:
        """Equation (5) of the paper."""
        x, c, c_t = batch["pixels"], batch["labels"], batch["targets"]
        score, logits = self.critic(x)
        classification = _classification(logits, c)
        made = self.generator(x, c_t)
        made_score, _ = self.critic(made.detach())
        mix = batch["mix"]
        between = (mix * x + (1 - mix) * made.detach()).requires_grad_(True)
        between_score, _ = self.critic(between)
        (slope,) = torch.autograd.grad(
            between_score, between, torch.ones_like(between_score), retain_graph=True, create_graph=True
        )
        norm = slope.flatten(1).square().sum(dim=1).sqrt()
        return {
            "adversarial": -score.mean() + made_score.mean(),
            "classification": classification,
            "penalty": 10 * (norm - 1).square().mean(),
        }

    def generator_terms(self, batch: Batch) -> dict[str, Tensor]:
        """Equation (6) of the paper."""
        x, c, c_t = batch["pixels"], batch["labels"], batch["targets"]
        made = self.generator(x, c_t)
        score, logits = self.critic(made)
        back = self.generator(made, c)
        return {
            "adversarial": -score.mean(),
            "classification": _classification(logits, c_t),
            "reconstruction": 10 * (x - back).abs().mean(),
        }


def main() -> None:
    """Prints a table of all sides. With --side, runs one cycle of that side instead."""
    given = _parse_options()
    if given.side:
        print(json.dumps(asdict(_run_cycle(_step(given.side, given)))))
        return
    machine = f"{processor()}, {torch.get_num_threads()} threads of {os.cpu_count()} CPUs"
    if torch.cuda.is_available():
        machine = torch.cuda.get_device_name()
    sizes = f"{given.size} px, width {given.width}, batch {given.batch}, {given.rounds} rounds"
    print(f"{machine}, torch {torch.__version__}; {sizes}")
    cycles: dict[str, list[Cycle]] = {name: [] for name in SIDES if name in {next(iter(SIDES)), *given.sides}}
    with tempfile.TemporaryDirectory() as name:
        people.write("avatars", Path(name) / "data", max(100, 2 * given.batch), given.size, 0, lambda done, total: None)
        for _ in range(given.rounds):
            for side, mine in cycles.items():
                mine.append(_launch(side, name))
    _print(cycles, given.batch)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--width", type=int, default=64, help="of both networks")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES), help="besides the reference")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _launch(side: str, folder: str) -> Cycle:
    """Runs a cycle of one side in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.training", *sys.argv[1:], f"--side={side}", f"--folder={folder}"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Cycle(**json.loads(done.stdout))


def _step(side: str, given: argparse.Namespace) -> Callable[[str], object]:
    """A function that runs one step of a side, given the name of the phase.

    It trains StarGAN with five domains, as deep as the size allows.
    """
    layers = min(6, (given.size & -given.size).bit_length() - 1)
    words = [f"size={given.size}", f"width={given.width}", f"critic_width={given.width}", f"batch={given.batch}"]
    words += [f"critic_layers={layers}", "domains=hair=black|blond|brown,male,old", *SIDES[side]]
    prepared = prepare("stargan", given.folder / "data", given.folder / "run", None, words, resume=False)
    batch = next(batches(prepared.training, given.batch, 0, 0))
    if side == "reference":
        recipe = prepared.run.recipe.create(prepared.run.options, prepared.run.data)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        reference = Reference(*(recipe.networks[name].to(device) for name in ("generator", "critic")))
        drawn = recipe.phases[0].before(batch)
        return partial(reference.step, batch={name: tensor.to(device) for name, tensor in drawn.items()})
    trainer = begin(prepared)
    placed = trainer.to_device(batch)
    if side == "fp32":
        _compare(trainer, placed)
    phases = {phase.name: phase for phase in trainer.recipe.phases}
    return lambda phase: trainer.turn(phases[phase], placed)


def _compare(trainer: Trainer, batch: Batch) -> None:
    """Ends the benchmark when the two sides compute different losses."""
    recipe = trainer.recipe
    reference = Reference(recipe.networks["generator"], recipe.networks["critic"])
    drawn = recipe.phases[0].before(batch)
    for phase, published in zip(recipe.phases, (reference.critic_terms, reference.generator_terms), strict=True):
        ours, theirs = phase.terms(drawn, 0), published(drawn)
        for name, term in theirs.items():
            if not torch.allclose(ours[name], term, rtol=1e-4, atol=1e-5):
                sys.exit(f"{phase.name}/{name} is {ours[name].item()} here and {term.item()} in the reference")


def _classification(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, labels, reduction="sum") / len(logits)


def _run_cycle(step: Callable[[str], object]) -> Cycle:
    """The seconds of each phase's step, the mean for the critic; the first step of each phase only warms up."""

    def wait_for_device() -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    seconds: dict[str, float] = {}
    for phase, times in (("critic", 1), ("generator", 1), ("critic", CRITIC_STEPS), ("generator", 1)):
        wait_for_device()
        begun = time.perf_counter()
        for _ in range(times):
            step(phase)
        wait_for_device()
        seconds[phase] = (time.perf_counter() - begun) / times
    return Cycle(seconds["critic"], seconds["generator"])


def _print(cycles: dict[str, list[Cycle]], batch: int) -> None:
    print(f"{'':20} {'critic, s':>10} {'generator, s':>13} {'pictures/s':>11} {'faster than the reference':>27}")
    first = next(iter(cycles.values()))
    for name, mine in cycles.items():
        critic, generator = (statistics.median(getattr(c, key) for c in mine) for key in ("critic_s", "generator_s"))
        per_second = batch * CRITIC_STEPS / statistics.median(cycle.all_s for cycle in mine)
        ratios = sorted(theirs.all_s / ours.all_s for theirs, ours in zip(first, mine, strict=True))
        spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(f"{name:20} {critic:10.3f} {generator:13.3f} {per_second:11.1f} {spread:>27}")


if __name__ == "__main__":
    main()
