"""Trainings that take a second: every recipe at its smallest, on one thread, so that sums come out alike everywhere."""

from pathlib import Path

from models.training.loop import Trainer
from models.training.start import start

SMALLEST: dict[str, list[str]] = {
    "stargan": [
        "size=32", "batch=4", "width=4", "blocks=1", "critic_width=4", "critic_layers=3", "generator_every=2",
        "keep=0.3", "identity=1", "erase=0.5", "average=0.9",
    ],
    "stargan joint": [
        "size=32", "batch=6", "width=4", "blocks=1", "critic_width=4", "critic_layers=3", "generator_every=2",
    ],
    "pix2pix": ["size=64", "batch=2", "width=4", "discriminator_width=4", "layers=2", "average=0.9"],
    "cyclegan": [
        "size=32", "batch=2", "width=4", "blocks=1", "discriminator_width=4", "layers=2", "pool=3", "average=0.9",
    ],
}  # fmt: skip
"""Options by case, a recipe's name and what is special; every optional term is on, so that it is tested too."""

FOLDERS = {"stargan": "labelled_set", "stargan joint": "joint_set", "pix2pix": "pair_set", "cyclegan": "unpaired_set"}
"""The fixture of each case's data."""


def words(case: str, steps: int, *more: str) -> list[str]:
    """The options of a short run as `--set` takes them."""
    return [*SMALLEST[case], f"steps={steps}", "log_every=1", "sample_every=1000", *more]


def trainer(case: str, data: Path, out: Path, steps: int, *more: str, resume: bool = False) -> Trainer:
    """A trainer of a short run in `out`."""
    return start(case.split()[0], data, out, None, words(case, steps, *more), resume)


def trained(case: str, data: Path, out: Path, steps: int, *more: str, resume: bool = False) -> Trainer:
    """The same, after its last step."""
    made = trainer(case, data, out, steps, *more, resume=resume)
    made.train(lambda progress: None)
    return made
