"""Trainings that take a second: every recipe at its smallest, on one thread, so that sums come out alike everywhere."""

from pathlib import Path

from models.training.loop import Trainer
from models.training.start import start

SMALLEST: dict[str, list[str]] = {
    "stargan": [
        "size=32", "batch=4", "width=4", "blocks=1", "critic_width=4", "critic_layers=3", "generator_every=2",
        "keep=0.3", "identity=1", "average=0.9",
    ],
}  # fmt: skip
"""Options by recipe; every optional term is on, so that it is tested too."""


def words(recipe: str, steps: int, *more: str) -> list[str]:
    """The options of a short run as `--set` takes them."""
    return [*SMALLEST[recipe], f"steps={steps}", "log_every=1", "sample_every=1000", *more]


def trainer(recipe: str, data: Path, out: Path, steps: int, *more: str, resume: bool = False) -> Trainer:
    """A trainer of a short run in `out`."""
    return start(recipe, data, out, None, words(recipe, steps, *more), resume)


def trained(recipe: str, data: Path, out: Path, steps: int, *more: str, resume: bool = False) -> Trainer:
    """The same, after its last step."""
    made = trainer(recipe, data, out, steps, *more, resume=resume)
    made.train(lambda progress: None)
    return made
