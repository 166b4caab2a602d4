"""The folder that one training leaves; everything that is needed to go on, to export or to evaluate lies in it.

RUN/config.json      recipe, data folder, resolved options, description of the data, versions
RUN/checkpoints/     STEP.ckpt
RUN/metrics.jsonl    one line a log: step, terms, pictures a second
RUN/tensorboard/     the same for TensorBoard
RUN/samples/         STEP.png
"""

import json
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from models.data.data import Description
from models.errors import CheckpointError, OptionsError
from models.recipes import RECIPES
from models.recipes.recipe import Options, Recipe
from models.training import checkpoint


class Stage(BaseModel):
    """A part of a training that was resumed with other options: what had to be said for it, and until which step."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    until: int
    options: dict[str, Any]


@dataclass(frozen=True)
class Run:
    """A run folder and its resolved config; `stages` are what came before the options that hold now."""

    folder: Path
    recipe: type[Recipe]
    options: Options
    data_folder: Path
    data: Description
    stages: tuple[Stage, ...] = ()

    @property
    def checkpoints(self) -> Path:
        """Where the checkpoints lie."""
        return self.folder / "checkpoints"

    def write(self) -> None:
        """Writes config.json atomically; makes the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        beside = self.folder / "config.json.tmp"
        beside.write_text(json.dumps(self._config(), indent=2) + "\n", encoding="utf-8")
        os.replace(beside, self.folder / "config.json")

    def _config(self) -> dict[str, Any]:
        return {
            "recipe": self.recipe.name,
            "data_folder": str(self.data_folder.resolve()),
            "options": self.options.model_dump(mode="json"),
            "stages": [stage.model_dump(mode="json") for stage in self.stages],
            "data": self.data.model_dump(mode="json"),
            "versions": {"python": platform.python_version(), "torch": torch.__version__},
        }

    @property
    def said(self) -> dict[str, Any]:
        """The options that must be said to train so: those that are no defaults, now or in an earlier stage.

        Of a bundle that it began with only the name, since this is shown to people who have other folders.
        """
        mentioned = set(self.options.model_dump(exclude_defaults=True)).union(*(stage.options for stage in self.stages))
        values = {**self.options.model_dump(mode="json"), "pretrained": Path(self.options.pretrained).name}
        return {name: value for name, value in values.items() if name in mentioned}

    def resumed(self, options: Options) -> tuple[Stage, ...]:
        """The stages of this run when it goes on with `options`: one more where they differ, and steps were made."""
        latest = self.latest() if options != self.options else None
        if latest is None:
            return self.stages
        return (*self.stages, Stage(until=int(latest["step"]), options=self.said))

    def latest(self) -> dict[str, Any] | None:
        """The newest checkpoint that can be read, None when there is none at all.

        CheckpointError when there are some and none can be read, or when it is another recipe's.
        """
        problems: list[str] = []
        for path in checkpoint.saved(self.checkpoints):
            try:
                content = checkpoint.load(path)
            except CheckpointError as error:
                problems.append(str(error))
                continue
            if content["recipe"] != self.recipe.name:
                raise CheckpointError(f"{path} is of the recipe {content['recipe']}, not {self.recipe.name}")
            return content
        if problems:
            raise CheckpointError(problems[0])
        return None

    def trained(self) -> tuple[Recipe, int]:
        """The recipe with its newest weights, averaged where they were averaged, in inference mode; and their step."""
        content = self.latest()
        if content is None:
            raise CheckpointError(f"{self.folder} holds no checkpoint yet; train it first")
        recipe = self.recipe.create(self.options, self.data)
        weights = {**content["networks"], **content["averages"]}
        for name, network in recipe.networks.items():
            load_weights(network, name, weights)
            network.eval().requires_grad_(False)
        return recipe, int(content["step"])


def load_weights(network: torch.nn.Module, name: str, weights: dict[str, Any]) -> None:
    """Loads one network strictly; CheckpointError names what does not fit."""
    try:
        network.load_state_dict(weights[name])
    except (KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise CheckpointError(f"the checkpoint does not fit the network {name}: {reason}") from error


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
        raise OptionsError(f"{folder} is no run of a training: it has no config.json") from error
    except (KeyError, ValueError, ValidationError) as error:
        raise OptionsError(f"{path} is not the config of a run: {str(error).splitlines()[0]}") from error
