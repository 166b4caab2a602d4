"""What is evaluated: a run's network in PyTorch or a bundle's graphs in ONNX Runtime, asked in the same way."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models.bundle import archive
from models.bundle.domains import own_labels, probabilities
from models.bundle.manifest import Manifest
from models.bundle.pixels import to_pixels, to_tensor
from models.errors import OptionsError
from models.evaluation.metrics import Pixels
from models.recipes.recipe import Exported
from models.runtime import GraphRunner
from models.training.run import open_run

Graph = Callable[..., NDArray[np.float32]]
_BATCH = 32


@dataclass(frozen=True)
class Subject:
    """Graphs by name, and the manifest that says how they are fed. `step` is the training's, 0 for a bundle."""

    name: str
    manifest: Manifest
    graphs: dict[str, Graph]
    step: int = 0

    def translate(self, pixels: Pixels, labels: NDArray[np.float32]) -> Pixels:
        """Pictures n x s x s x 3 and label vectors n x c to pictures of the same shape."""
        graph = self.graphs[self.manifest.domains[0].graph]
        parts = [
            graph(to_tensor(pixels[i : i + _BATCH], self.manifest.picture), labels[i : i + _BATCH])
            for i in range(0, len(pixels), _BATCH)
        ]
        return to_pixels(np.concatenate(parts), self.manifest.picture)

    def own_labels(self, pixels: Pixels) -> NDArray[np.float32]:
        """The labels n x c that the model itself reads from pictures, as serving does."""
        if self.manifest.classifier is None:
            raise OptionsError(f"{self.name} has no classifier to read a picture's own labels")
        graph = self.graphs[self.manifest.classifier]
        parts = [graph(to_tensor(pixels[i : i + 256], self.manifest.picture)) for i in range(0, len(pixels), 256)]
        shares = probabilities(self.manifest, np.concatenate(parts))
        return np.stack([own_labels(self.manifest, row) for row in shares])


def open_subject(folder: Path) -> Subject:
    """A run folder or a bundle folder; one line of error when it is neither or broken."""
    if (folder / "config.json").exists():
        return _from_run(folder)
    if (folder / "bundle.json").exists():
        bundle = archive.read(folder)
        graphs: dict[str, Graph] = {name: GraphRunner(bundle.graph(name)) for name in bundle.manifest.graphs}
        return Subject(bundle.ref, bundle.manifest, graphs)
    raise OptionsError(f"{folder} is neither a run (config.json) nor a bundle (bundle.json)")


def _from_run(folder: Path) -> Subject:
    run = open_run(folder)
    recipe, step = run.trained()
    manifest = recipe.manifest("run", run.data)
    return Subject(folder.name, manifest, {name: _call(graph) for name, graph in recipe.exported().items()}, step)


def _call(exported: Exported) -> Graph:
    def call(*inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            result: NDArray[np.float32] = exported.module(*map(torch.from_numpy, inputs)).numpy()
        return result

    return call
