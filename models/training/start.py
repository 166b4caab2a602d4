"""Begins or resumes a training: everything that can be wrong is found here, before any time is spent."""

import logging
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from models.data.data import Data, Description
from models.data.parts import Part
from models.data.pictures import Notify, find_broken
from models.errors import DataError, OptionsError
from models.recipes import RECIPES, AnyRecipe
from models.recipes.options import Options
from models.training.loop import Trainer
from models.training.pretrained import begin_with
from models.training.run import Run, Stage, open_run

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """A training that can begin: options fit, every file has been looked at, and nothing is written yet."""

    run: Run
    training: Data
    samples: Data


def start(
    recipe: str,
    data: Path,
    out: Path,
    config: Path | None,
    words: Sequence[str],
    resume: bool,
    from_step: int | None = None,
) -> Trainer:
    """`prepare` and `begin` in one call."""
    return begin(prepare(recipe, data, out, config, words, resume, from_step=from_step))


def begin(prepared: Prepared) -> Trainer:
    """A trainer at step 0, or at a checkpoint of the run; it writes the run folder as it begins."""
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
    from_step: int | None = None,
) -> Prepared:
    """Options and data of a training, checked; nothing is written.

    `thorough` decodes every file, even those that are not kept; `notify` is told how many are done. `from_step` is the
    step of the checkpoint that a resumed run goes on from, by default the newest. OptionsError, DataError or
    CheckpointError, one line each.
    """
    if recipe not in RECIPES:
        raise OptionsError(f"there is no recipe {recipe!r}; there are {', '.join(sorted(RECIPES))}")
    if from_step is not None and not resume:
        raise OptionsError(f"--from-step {from_step} is for a run that is resumed; add --resume")
    kind = RECIPES[recipe]
    if not resume:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise OptionsError(f"{out} is not empty; add --resume to go on with it, or name another folder")
        options = resolve(kind.options_type, {}, config, words)
        training, samples = _read(kind, data, options, thorough, notify)
        return Prepared(Run(out, kind, options, data, training.description), training, samples)
    earlier = replace(open_run(out), from_step=from_step)
    if earlier.recipe.name != recipe:
        raise OptionsError(f"{out} is a run of the recipe {earlier.recipe.name}, not {recipe}")
    options = resolve(kind.options_type, earlier.options.model_dump(), config, words)
    latest, stages = earlier.latest(), earlier.stages  # before all files are read, which may take minutes
    training, samples = _read(kind, data, options, thorough, notify)
    _check_meaning(earlier, options, training.description)
    if latest and options != earlier.options:
        stages = (*stages, Stage(until=latest["step"], options=earlier.said))
    run = replace(earlier, options=options, data_folder=data, data=training.description, stages=stages)
    return Prepared(run, training, samples)


def _check_meaning(earlier: Run, options: Options, data: Description) -> None:
    """OptionsError where as many labels or sides would stand for something else than what the weights have learned."""
    was, now = (
        ", ".join(
            # `hair=black` in a group, `attributes/smiling` where sets are joined: both say what a column means.
            "".join([f"{one.mask}/" if one.mask else "", f"{one.group}=" if one.group else "", one.name])
            for one in description.domains
        )
        for description in (earlier.data, data)
    )
    if was != now:
        raise OptionsError(
            f"{earlier.folder} has learned the domains {was}, and the data now have {now}; give it the same ones in "
            "the same order (domains.txt, --set domains=...), or begin a new run with --set pretrained=BUNDLE"
        )
    for name in earlier.recipe.settled:
        before, after = getattr(earlier.options, name), getattr(options, name)
        if before != after:
            raise OptionsError(f"{earlier.folder} was begun with {name}={before}, which can't become {after}")


def _read(kind: type[AnyRecipe], folder: Path, options: Options, thorough: bool, notify: Notify) -> tuple[Data, Data]:
    """Both parts of the data; DataError with all that is wrong with either."""
    parts: dict[Part, Data] = {}
    problems: list[str] = []
    wanted: tuple[Part, ...] = ("train", "test")
    for part in wanted:
        try:
            parts[part] = kind.read(folder, options, part)
        except DataError as error:
            problems += error.problems
    total = sum(len(data.pictures) for data in parts.values())
    done = 0
    for part, data in parts.items():
        # Training pictures that are all kept are decoded now, and need not be later.
        decode = thorough or (part == "train" and data.pictures.fit)
        problems += find_broken(data.pictures, decode, partial(_add_to, notify, done, total))
        done += len(data.pictures)
    if problems:
        raise DataError(*problems)
    counts = parts["train"].description.counts
    if few := [name for name, count in counts.items() if count == 1]:
        _log.warning("%s: a single training picture, which will be learned by heart", ", ".join(few))
    return parts["train"], parts["test"]


def _add_to(notify: Notify, before: int, total: int, done: int, _: int) -> None:
    notify(before + done, total)


def resolve(kind: type[Options], base: Mapping[str, Any], config: Path | None, words: Sequence[str]) -> Options:
    """Options from `base` (a resumed run's), the TOML file and `key=value` words, the later the stronger.

    OptionsError with all problems at once.
    """
    bad = [word for word in words if "=" not in word]
    if bad:
        raise OptionsError(f"--set wants key=value, not {bad[0]!r}")
    pairs = (word.split("=", 1) for word in words)
    said = {key.strip().replace("-", "_"): value for key, value in pairs}
    values = {**base, **(_from_file(config) if config else {}), **said}
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise OptionsError("; ".join(_problem(kind, problem) for problem in error.errors())) from error


def _from_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionsError(f"the config file {path} can't be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionsError(f"the config file {path} is no TOML: {error}") from error


def _problem(kind: type[Options], problem: ErrorDetails) -> str:
    name = ".".join(str(part) for part in problem["loc"]) or "options"
    if problem["type"] == "extra_forbidden":
        return f"there is no option {name}; there are {', '.join(kind.model_fields)}"
    return f"option {name}={problem['input']!r}: {problem['msg'].lower()}"


def describe(prepared: Prepared) -> list[str]:
    """What a training would do, in a few lines for people: recipe, data, domains and networks.

    CheckpointError or OptionsError where weights to begin with don't fit.
    """
    run, options = prepared.run, prepared.run.options
    latest = run.latest()
    beginning = "begins anew"
    if latest:
        beginning = f"goes on at step {latest['step']:,}"
    elif options.pretrained:
        bundle = begin_with(Path(options.pretrained), run.recipe.create(options, run.data), run.data)
        beginning = f"begins with the weights of {bundle}"
    training, held_out = _size(prepared.training), _size(prepared.samples)
    gaps = {name: f" ({count:,} unknown)" for name, count in run.data.unknown.items()}
    counts = [f"{name} {count:,}{gaps.get(name, '')}" for name, count in run.data.counts.items()]
    with torch.device("meta"):  # shapes alone: no memory is taken
        networks = run.recipe.create(options, run.data).networks
    sizes = {name: sum(weights.numel() for weights in network.parameters()) for name, network in networks.items()}
    return [
        f"recipe: {run.recipe.name}, {options.steps:,} steps, batch {options.batch}, {options.size} px; {beginning}",
        f"data: {run.data.name}, {training} to train with, {held_out} held out",
        f"domains: {', '.join(counts or [domain.name for domain in run.data.domains])}",
        f"networks: {', '.join(f'{name} {size:,} parameters' for name, size in sizes.items())}",
    ]


def _size(data: Data) -> str:
    files = len(data.pictures)
    return f"{len(data):,} examples" + (f" of {files:,} files" if files != len(data) else "")
