"""Begins or resumes a training: everything that can be wrong is found here, before any time is spent."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from models.data.data import Data
from models.data.parts import Part
from models.data.pictures import Notify, find_broken
from models.errors import DataError, OptionsError
from models.recipes import RECIPES
from models.recipes.recipe import Options, Recipe
from models.training.loop import Trainer
from models.training.options import resolve
from models.training.run import Run, open_run

_log = logging.getLogger(__name__)
_PARTS: tuple[Part, ...] = ("train", "test")


@dataclass(frozen=True)
class Prepared:
    """A training that can begin: options fit, every file has been looked at, and nothing is written yet."""

    run: Run
    training: Data
    samples: Data


def start(recipe: str, data: Path, out: Path, config: Path | None, words: Sequence[str], resume: bool) -> Trainer:
    """`begin` of what is prepared without more ado."""
    return begin(prepare(recipe, data, out, config, words, resume))


def begin(prepared: Prepared) -> Trainer:
    """A trainer at step 0, or at the newest checkpoint of the run; it writes the run folder as it begins."""
    return Trainer(prepared.run, prepared.training, prepared.samples)


def prepare(
    recipe: str,
    data: Path,
    out: Path,
    config: Path | None,
    words: Sequence[str],
    resume: bool,
    thorough: bool = False,
    notify: Notify = lambda done, total: None,
) -> Prepared:
    """Options and data of a training, checked; nothing is written.

    `thorough` decodes every file, even those that are not kept; `notify` is told how many are done. OptionsError,
    DataError or CheckpointError, one line each.
    """
    if recipe not in RECIPES:
        raise OptionsError(f"there is no recipe {recipe!r}; there are {', '.join(sorted(RECIPES))}")
    base: dict[str, Any] = {}
    earlier: Run | None = None
    if resume:
        earlier = open_run(out)
        if earlier.recipe.name != recipe:
            raise OptionsError(f"{out} is a run of the recipe {earlier.recipe.name}, not {recipe}")
        base = earlier.options.model_dump()
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OptionsError(f"{out} is not empty; add --resume to go on with it, or name another folder")
    kind = RECIPES[recipe]
    options = resolve(kind.options_type, base, config, words)
    training, samples = _read(kind, data, options, thorough, notify)
    stages = earlier.resumed(options) if earlier else ()
    return Prepared(Run(out, kind, options, data, training.description, stages), training, samples)


def _read(kind: type[Recipe], folder: Path, options: Options, thorough: bool, notify: Notify) -> tuple[Data, Data]:
    """Both parts of the data; DataError with all that is wrong with either."""
    parts: dict[Part, Data] = {}
    problems: list[str] = []
    for part in _PARTS:
        try:
            parts[part] = kind.read(folder, options, part)
        except DataError as error:
            problems += error.problems
    total = sum(len(data.pictures) for data in parts.values())
    done = 0
    for part, data in parts.items():
        # Training pictures that are all kept are decoded now, and need not be later.
        decode = thorough or (part == "train" and data.pictures.fit)
        problems += find_broken(data.pictures, decode, partial(_advance, notify, done, total))
        done += len(data.pictures)
    if problems:
        raise DataError(*problems)
    _warn(parts["train"])
    return parts["train"], parts["test"]


def _advance(notify: Notify, before: int, total: int, done: int, _: int) -> None:
    notify(before + done, total)


def _warn(training: Data) -> None:
    few = [name for name, count in training.description.counts.items() if count == 1]
    if few:
        _log.warning("%s: one training picture alone, which will be learned by heart", ", ".join(few))
