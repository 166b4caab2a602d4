"""Begins or resumes a training: it checks options, data and files before any time is spent."""

import logging
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

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
    """A training that is ready to begin: options and files are checked, and nothing is written yet."""

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
    """A trainer at step 0 or at a checkpoint of the run; it writes the run folder when its `train` begins."""
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
    """Checks options and data of a training without writing anything.

    `thorough` decodes every file, even those that don't fit into the cache; `notify` gets the number of checked files.
    A resumed run goes on from the checkpoint of `from_step`, by default the newest. Raises OptionsError, DataError or
    CheckpointError.
    """
    if recipe not in RECIPES:
        raise OptionsError(f"there is no recipe {recipe!r}; choose one of {', '.join(sorted(RECIPES))}")
    if from_step is not None and not resume:
        raise OptionsError(f"--from-step {from_step} needs --resume")
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
    latest, stages = earlier.latest(), earlier.stages  # errors here come before the files, which may take minutes
    training, samples = _read(kind, data, options, thorough, notify)
    _check_meaning(earlier, options, training.description)
    if latest and options != earlier.options:
        stages = (*stages, Stage(until=latest["step"], options=earlier.set_options))
    run = replace(earlier, options=options, data_folder=data, data=training.description, stages=stages)
    return Prepared(run, training, samples)


def _check_meaning(earlier: Run, options: Options, data: Description) -> None:
    """OptionsError if labels or sides would have another meaning than the weights have learned."""
    was, now = (
        ", ".join(
            # `hair=black` in a group, `attributes/smiling` in a joint training: group and set are part of the meaning.
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
    """Both parts of the data; DataError with every problem of both."""
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

    def count(checked: int, _: int) -> None:
        notify(done + checked, total)

    for part, data in parts.items():
        # Training pictures that all fit into the cache are decoded now instead of later.
        decode = thorough or (part == "train" and data.pictures.fit)
        problems += find_broken(data.pictures, decode, count)
        done += len(data.pictures)
    if problems:
        raise DataError(*problems)
    counts = parts["train"].description.counts
    if few := [name for name, count in counts.items() if count == 1]:
        _log.warning("%s: a single training picture, which will be learned by heart", ", ".join(few))
    return parts["train"], parts["test"]


def resolve(kind: type[Options], base: Mapping[str, Any], config: Path | None, words: Sequence[str]) -> Options:
    """Options from `base` (a resumed run's), the TOML file and `key=value` words; later ones win.

    OptionsError with all problems at once.
    """
    bad = [word for word in words if "=" not in word]
    if bad:
        raise OptionsError(f"--set wants key=value, not {bad[0]!r}")
    pairs = (word.split("=", 1) for word in words)
    given = {key.strip().replace("-", "_"): value for key, value in pairs}
    file: dict[str, Any] = {}
    if config is not None:
        try:
            file = tomllib.loads(config.read_text(encoding="utf-8"))
        except OSError as error:
            raise OptionsError(f"the config file {config} can't be read: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise OptionsError(f"the config file {config} is not TOML: {error}") from error
    try:
        return kind.model_validate({**base, **file, **given})
    except ValidationError as error:
        problems: list[str] = []
        for problem in error.errors():
            name = ".".join(str(part) for part in problem["loc"]) or "options"
            if problem["type"] == "extra_forbidden":
                problems.append(f"there is no option {name}; choose one of {', '.join(kind.model_fields)}")
            else:
                problems.append(f"option {name}={problem['input']!r}: {problem['msg'].lower()}")
        raise OptionsError("; ".join(problems)) from error


def describe(prepared: Prepared) -> list[str]:
    """A summary of the training in a few lines: recipe, data, domains and networks.

    CheckpointError or OptionsError if its first weights don't fit.
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
    with torch.device("meta"):  # shapes only: it takes no memory
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
