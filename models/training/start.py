"""Begins or resumes a training: everything that can be wrong is found here, before any time is spent."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.errors import OptionsError
from models.recipes import RECIPES
from models.training.loop import Trainer
from models.training.options import resolve
from models.training.run import Run, open_run


def start(recipe: str, data: Path, out: Path, config: Path | None, words: Sequence[str], resume: bool) -> Trainer:
    """A trainer at step 0, or at the newest checkpoint of `out`; the run folder is written only when all fits.

    OptionsError, DataError or CheckpointError, one line each.
    """
    if recipe not in RECIPES:
        raise OptionsError(f"there is no recipe {recipe!r}; there are {', '.join(sorted(RECIPES))}")
    base: dict[str, Any] = {}
    if resume:
        earlier = open_run(out)
        if earlier.recipe.name != recipe:
            raise OptionsError(f"{out} is a run of the recipe {earlier.recipe.name}, not {recipe}")
        base = earlier.options.model_dump()
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OptionsError(f"{out} is not empty; add --resume to go on with it, or name another folder")
    kind = RECIPES[recipe]
    options = resolve(kind.options_type, base, config, words)
    training = kind.read(data, options, "train")
    samples = kind.read(data, options, "test")
    run = Run(out, kind, options, data, training.description)
    trainer = Trainer(run, training, samples)
    run.write()
    return trainer
