"""A training's run folder, which has everything that a resume, an export or an evaluation needs.

RUN/config.json      recipe, data folder, resolved options, description of the data, versions
RUN/checkpoints/     STEP.ckpt, each one file of tensors and plain data
RUN/metrics.jsonl    one line a log: step, terms, pictures a second
RUN/tensorboard/     the same for TensorBoard
RUN/samples/         STEP.png
"""

import json
import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, cast

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from models.data.data import Description
from models.errors import CheckpointError, OptionsError, RunError
from models.recipes import RECIPES, AnyRecipe
from models.recipes.options import Options
from models.recipes.recipe import State

_SUFFIX = ".ckpt"
_UNFINISHED = ".tmp"


class Checkpoint(TypedDict):
    """The saved state of a step; `averages`, `optimizers` and `precision` are PyTorch's state dicts."""

    recipe: str
    step: int
    losses: dict[str, float]
    networks: dict[str, dict[str, Tensor]]
    averages: dict[str, dict[str, Tensor]]
    optimizers: dict[str, dict[str, Any]]
    precision: dict[str, Any]
    state: State


class Stage(BaseModel):
    """A part of a training before a resume with other options: its options, and the step at which it ended."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    until: int
    options: dict[str, Any]


@dataclass(frozen=True)
class Run:
    """A run folder and its resolved config; `stages` are the parts with earlier options."""

    folder: Path
    recipe: type[AnyRecipe]
    options: Options
    data_folder: Path
    data: Description
    stages: tuple[Stage, ...] = ()
    from_step: int | None = None
    """The step of the checkpoint to go on from; None: the newest readable one."""

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.folder / "checkpoints"

    def write(self) -> None:
        """Writes config.json atomically, and makes the folder."""
        config = {
            "recipe": self.recipe.name,
            "data_folder": str(self.data_folder.resolve()),
            "options": self.options.model_dump(mode="json"),
            "stages": [stage.model_dump(mode="json") for stage in self.stages],
            "data": self.data.model_dump(mode="json"),
            "versions": {"python": platform.python_version(), "torch": torch.__version__},
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        beside = self.folder / "config.json.tmp"
        beside.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        os.replace(beside, self.folder / "config.json")

    @property
    def set_options(self) -> dict[str, Any]:
        """The options that a user must set to train like this: those that are no defaults, now or in an earlier stage.

        `pretrained` is only the bundle's name, since cards show it to people with other folders.
        """
        # An option that went back to its default still needs its word: a resumed run keeps the earlier value.
        mentioned = set(self.options.model_dump(exclude_defaults=True)).union(*(stage.options for stage in self.stages))
        values = {**self.options.model_dump(mode="json"), "pretrained": Path(self.options.pretrained).name}
        return {name: value for name, value in values.items() if name in mentioned}

    def latest(self) -> Checkpoint | None:
        """The checkpoint of `from_step`, else the newest readable one; None if there are no checkpoints.

        CheckpointError if there is none of that step, if none is readable, or if it is another recipe's.
        """
        paths = saved(self.checkpoints)
        if self.from_step is not None:
            steps = ", ".join(str(int(path.stem)) for path in paths) or "none"
            paths = [path for path in paths if int(path.stem) == self.from_step]
            if not paths:
                raise CheckpointError(f"{self.folder} has no checkpoint of step {self.from_step}; it has {steps}")
        problems: list[str] = []
        for path in paths:
            try:
                content = load(path)
            except CheckpointError as error:
                problems.append(str(error))
                continue
            if content["recipe"] != self.recipe.name:
                raise CheckpointError(f"{path} is of the recipe {content['recipe']}, not {self.recipe.name}")
            return content
        if problems:
            raise CheckpointError(problems[0])
        return None

    def trained(self) -> tuple[AnyRecipe, int]:
        """The recipe in inference mode with its newest weights, averaged ones where there are any, and their step."""
        content = self.latest()
        if content is None:
            raise CheckpointError(f"{self.folder} holds no checkpoint yet; train it first")
        recipe = self.recipe.create(self.options, self.data)
        weights = {**content["networks"], **content["averages"]}  # averaged ones replace live ones
        for name, network in recipe.networks.items():
            load_weights(network, name, weights)
            network.eval().requires_grad_(False)
        return recipe, content["step"]


def open_run(folder: Path) -> Run:
    """Reads RUN/config.json."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        recipe = RECIPES[config["recipe"]]
        options = recipe.options_type.model_validate(config["options"])
        data = Description.model_validate(config["data"])
        stages = tuple(Stage.model_validate(stage) for stage in config.get("stages", []))
        return Run(folder, recipe, options, Path(config["data_folder"]), data, stages)
    except OSError as error:
        raise OptionsError(f"{folder} is not the run of a training: it has no config.json") from error
    except (KeyError, ValueError, ValidationError) as error:
        raise OptionsError(f"{path} is not the config of a run: {str(error).splitlines()[0]}") from error


def load_weights(network: torch.nn.Module, name: str, weights: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Loads one network strictly; CheckpointError names the network or the key that does not fit."""
    if name not in weights:
        raise CheckpointError(f"the checkpoint has no network {name}; keep the run's options")
    try:
        network.load_state_dict(weights[name])
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise CheckpointError(f"the checkpoint does not fit the network {name}: {reason}") from error


def saved(folder: Path) -> list[Path]:
    """The checkpoints in a folder, newest first."""
    return sorted(folder.glob(f"*{_SUFFIX}"), reverse=True)


def save(folder: Path, content: Checkpoint) -> Path:
    """Writes `folder/STEP.ckpt` under another name, flushes it and renames it.

    A kill, a full disk or a power cut leaves the earlier checkpoints. RunError if it can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"*{_UNFINISHED}"):  # from a save that was killed
        left.unlink()
    path = folder / f"{content['step']:08d}{_SUFFIX}"
    beside = path.with_suffix(_UNFINISHED)
    try:
        with beside.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        # The folder too: after a power cut the new name must exist before old checkpoints are gone.
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except (OSError, RuntimeError) as error:
        # After the system's error PyTorch's writer fails again as it closes the file, and raises the second error.
        reason: BaseException | None = error
        while reason is not None and not isinstance(reason, OSError):
            reason = reason.__context__
        if reason is None:
            raise
        wrote, free = beside.stat().st_size if beside.exists() else 0, shutil.disk_usage(folder).free
        good = [left.name for left in saved(folder)]
        raise RunError(
            f"{path} can't be written: {reason.strerror} after {wrote / 1e6:.0f} MB, {free / 1e6:.0f} MB are free; "
            f"make room and resume, {f'the last good checkpoint is {good[0]}' if good else 'there is no earlier one'}"
        ) from error
    finally:
        beside.unlink(missing_ok=True)
    return path


def load(path: Path) -> Checkpoint:
    """Reads a checkpoint; no code in the file runs. CheckpointError if it isn't one."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torn bytes can make the unpickler raise anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path} is not a readable checkpoint: {reason}") from error
    if not isinstance(content, dict) or not {"recipe", "step", "networks"} <= content.keys():
        raise CheckpointError(f"{path} is no checkpoint of `recast train`")
    # The first versions saved neither losses nor the scale of 16-mixed.
    return cast(Checkpoint, {"losses": {}, "precision": {}, **content})
