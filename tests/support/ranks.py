"""What each process does in the tests of several: torchrun runs `-m support.ranks FOLDER`, one process also calls it.

FOLDER/cases.json maps cases to data folders. Each case leaves FOLDER/CASE.RANK.pt with the terms and gradients of its
phases, and goes on with the run FOLDER/grown/CASE. The first one is also trained by the command line.
"""

import json
import sys
from pathlib import Path

import torch
from support.balanced import balanced, k_of
from support.training import trained, trainer
from support.training import words as small_words
from torch import Tensor

from cli.app import app
from models.data.loader import batches
from models.errors import CheckpointError
from models.training.loop import Trainer

WORDS = ("batch=4", "save_every=2", "checkpoints=9", "decay_from=1")
EXACT: dict[str, tuple[str, ...]] = {"pix2pix": ("norm=instance", "dropout=false")}
"""What must be off for a batch in parts to equal the whole: batch norm and dropout see each part by itself."""


def words(case: str) -> tuple[str, ...]:
    """The options that a case has here beside its smallest."""
    return (*WORDS, *EXACT.get(case, ()))


def gradients(case: str, data: Path, out: Path, *more: str) -> dict[str, Tensor]:
    """Terms, `phase/term`, and gradients, `phase/network.parameter`, of every phase's first turn.

    Weights stay as they are drawn: an optimiser's first step is all sign, and rounding would decide it.
    """
    made = trainer(case, data, out, 4, "rate=1e-30", *words(case), *more)
    options = made.options
    batch = made.to_device(next(batches(made.data, options.batch, options.seed, 0, rows=made.rows)))
    found: dict[str, Tensor] = {}
    for phase in made.recipe.phases:
        found.update(made.turn(phase, batch))
        for name in phase.trains:
            for key, parameter in made.recipe.networks[name].named_parameters():
                assert parameter.grad is not None
                found[f"{phase.name}/{name}.{key}"] = parameter.grad.clone()
    return found


def differing(some: dict[str, Tensor], whole: dict[str, Tensor]) -> list[str]:
    """What is not equal up to the rounding of sums, of a tensor or, where it is 0 but for rounding, of the largest."""
    assert some.keys() == whole.keys()
    least = 1e-6 * max(float(tensor.norm()) for tensor in whole.values())
    return [name for name, wanted in whole.items() if (some[name] - wanted).norm() > 1e-5 * wanted.norm() + least]


def main(folder: Path) -> None:
    """All cases, in one process of several; the first one's run goes on by the command line."""
    torch.set_num_threads(1)
    cases = {case: Path(data) for case, data in json.loads((folder / "cases.json").read_text()).items()}
    for case, data in cases.items():
        found = gradients(case, data, folder / "gradients" / case)
        rank = torch.distributed.get_rank()  # the first trainer has begun them
        torch.save(found, folder / f"{case}.{rank}.pt")
        alike = trained(case, data, folder / "alike" / case, 2, "batch=4")
        torch.save([alike.recipe.state(), *bits(alike)], folder / f"alike.{case}.{rank}.pt")
        made = trained(case, data, folder / "grown" / case, 4, *words(case), resume=True)
        disagree(made, folder / f"disagreement.{rank}.txt")
    case, data = next(iter(cases.items()))
    steered = balanced(data, folder / "balanced", 6)
    steered.train(lambda progress: None)
    torch.save(k_of(steered), folder / f"balanced.{steered.world.rank}.pt")
    options = [part for word in small_words(case, 4, *words(case)) for part in ("--set", word)]
    command = ["train", case, "--data", str(data), "--out", str(folder / "commanded"), *options]
    app(command, standalone_mode=False)


def bits(made: Trainer) -> list[dict[str, Tensor]]:
    """All weights and statistics, of the live networks and of the averaged ones."""
    return [*(network.state_dict() for network in made.recipe.networks.values()), *made.averages.weights.values()]


def disagree(made: Trainer, path: Path) -> None:
    """Leaves what a process says when the others begin at other steps."""
    try:
        made.world.agree(made.world.rank)
    except CheckpointError as error:
        path.write_text(str(error))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
