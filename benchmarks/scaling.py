"""Training in several processes against one: speed with the same whole batch, cost of the exchange, equality.

Torchrun starts the processes; each takes its share of the CPU's threads, or a GPU of its own. One process and several
take turns. Reading pictures is not timed.

    recast bench scaling [--processes N] [--size S] [--width W] [--batch B] [--steps N] [--rounds N]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from models.data.loader import batches
from models.drawn import people
from models.training.start import start


def main() -> None:
    """Prints the pictures a second of both, and how far apart the gradients of their first step are."""
    given = _parse_options()
    if given.folder is not None:  # one of the processes
        _train(given)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        people.write("avatars", folder / "data", max(100, given.batch), given.size, 0, lambda done, total: None)
        found: dict[int, list[dict[str, float]]] = {1: [], given.processes: []}
        for _ in range(given.rounds):
            for processes, rounds in found.items():
                rounds.append(_launch(processes, folder))
        _print(found, given, folder)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--width", type=int, default=32, help="of both networks")
    parser.add_argument("--batch", type=int, default=16, help="of all processes together")
    parser.add_argument("--steps", type=int, default=5, help="timed steps of critic and generator in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _launch(processes: int, folder: Path) -> dict[str, float]:
    """Starts the processes; what the leading one measured, in seconds."""
    threads = max(1, (os.cpu_count() or 1) // processes)
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "benchmarks.scaling", *sys.argv[1:], f"--folder={folder}"],
        env={**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def _train(given: argparse.Namespace) -> None:
    """One process: the gradients of the first turns, then timed steps, then the exchange alone.

    It trains StarGAN with five domains, as deep as the size allows. The rate is so small that the weights stay as they
    are, so that all gradients can be compared.
    """
    layers = min(6, (given.size & -given.size).bit_length() - 1)
    words = [f"size={given.size}", f"width={given.width}", f"critic_width={given.width}", f"batch={given.batch}"]
    words += [f"critic_layers={layers}", "domains=hair=black|blond|brown,male,old", "rate=1e-30"]
    trainer = start("stargan", given.folder / "data", given.folder / "run", None, words, resume=False)
    batch = trainer.to_device(next(batches(trainer.data, given.batch, 0, 0, rows=trainer.rows)))
    gradients: dict[str, Tensor] = {}
    for phase in trainer.recipe.phases:
        trainer.turn(phase, batch)
        for name in phase.trains:
            weights = trainer.recipe.networks[name].parameters()
            gradients[name] = torch.cat([each.grad.flatten() for each in weights if each.grad is not None])
    step_s = _time(lambda: [trainer.turn(phase, batch) for phase in trainer.recipe.phases], given.steps)
    exchange_s = _time(lambda: trainer.world.average(list(gradients.values())), given.steps)
    if trainer.world.leads:
        found = {name: gradient.cpu() for name, gradient in gradients.items()}
        torch.save(found, given.folder / f"{trainer.world.ranks}.pt")
        print(json.dumps({"step_s": step_s, "exchange_s": exchange_s}))


def _time(work: Callable[[], object], times: int) -> float:
    """The median seconds of a call, with its work on the device."""
    took: list[float] = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        took.append(time.perf_counter() - begun)
    return statistics.median(took)


def _print(found: dict[int, list[dict[str, float]]], given: argparse.Namespace, folder: Path) -> None:
    sizes = f"{given.size} px, width {given.width}, whole batch {given.batch}"
    print(f"{sizes}, {os.cpu_count()} CPUs, medians of {given.rounds} rounds")
    for processes, rounds in found.items():
        step_s, exchange_s = (statistics.median(each[key] for each in rounds) for key in ("step_s", "exchange_s"))
        share = f"exchange {1000 * exchange_s:6.1f} ms, {exchange_s / step_s:.1%}"
        print(f"  {processes} processes {given.batch / step_s:8.2f} pictures/s   step {step_s:7.3f} s   {share}")
    ratios = [one["step_s"] / several["step_s"] for one, several in zip(*found.values(), strict=True)]
    print(f"  {given.processes} processes do {statistics.median(ratios):.2f} times the work of one")
    one, several = (torch.load(folder / f"{processes}.pt") for processes in found)
    for name, gradient in one.items():
        difference = (several[name] - gradient).norm() / gradient.norm()
        print(f"  gradient of the {name}: {difference:.1e} apart, relative")


if __name__ == "__main__":
    main()
