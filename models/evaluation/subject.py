"""What is evaluated: a run's network in PyTorch or a bundle's graphs in ONNX Runtime, asked in the same way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models.bundle import archive
from models.bundle.labels import own_labels, probabilities
from models.bundle.manifest import Domain, Manifest
from models.bundle.pixels import to_pixels, to_tensor
from models.errors import OptionsError
from models.evaluation.curves import read_curves
from models.evaluation.evaluation import Curve
from models.evaluation.features import best_device
from models.evaluation.metrics import Pixels
from models.export.graphs import GraphRunner, Run, Tensors
from models.recipes.recipe import Exported
from models.training.run import open_run

_BATCH = 32


@dataclass(frozen=True)
class Subject:
    """Graphs by name, and the manifest that says how they are fed. `step` is the training's, 0 for a bundle.

    `sources` says of which entry of a batch each graph takes its pictures, `a` or `b`, where that is known.
    """

    name: str
    manifest: Manifest
    graphs: Mapping[str, Run]
    step: int = 0
    sources: Mapping[str, str] = field(default_factory=dict)
    curves: Mapping[str, Curve] = field(default_factory=dict)

    def translate(self, domain: Domain, pixels: Pixels, labels: NDArray[np.float32] | None = None) -> Pixels:
        """Pictures n x s x s x 3, and label vectors n x (c + masks) where the domain has a column, to such pictures."""
        graph = self.graphs[domain.graph]
        parts: list[NDArray[np.float32]] = []
        for rows in (slice(i, i + _BATCH) for i in range(0, len(pixels), _BATCH)):
            inputs = {"pixels": to_tensor(pixels[rows], self.manifest.picture)}
            if labels is not None:
                inputs["labels"] = labels[rows]
            parts.append(graph(inputs)["translated"])
        return to_pixels(np.concatenate(parts), self.manifest.picture)

    def own_labels(self, pixels: Pixels) -> NDArray[np.float32]:
        """The labels n x c that the model itself reads from pictures; as in serving, none without a classifier."""
        if self.manifest.classifier is None:
            return np.zeros((len(pixels), len(self.manifest.label_order)), np.float32)
        graph = self.graphs[self.manifest.classifier]
        parts = [
            graph({"pixels": to_tensor(pixels[i : i + 256], self.manifest.picture)})["logits"]
            for i in range(0, len(pixels), 256)
        ]
        shares = probabilities(self.manifest, np.concatenate(parts))
        return np.stack([own_labels(self.manifest, row) for row in shares])


def open_subjects(folders: Sequence[Path]) -> list[Subject]:
    """Several of them, each with a name of its own: where two are called alike, the folder's."""
    subjects = [open_subject(folder) for folder in folders]
    names = [subject.name for subject in subjects]
    return [
        replace(subject, name=str(folder)) if names.count(subject.name) > 1 else subject
        for subject, folder in zip(subjects, folders, strict=True)
    ]


def open_subject(folder: Path) -> Subject:
    """A run folder or a bundle folder; one line of error when it is neither or broken."""
    if (folder / "config.json").exists():
        return _from_run(folder)
    if (folder / "bundle.json").exists():
        bundle = archive.read(folder)
        graphs: dict[str, Run] = {name: GraphRunner(bundle.graph(name)) for name in bundle.manifest.graphs}
        return Subject(bundle.ref, bundle.manifest, graphs, sources=_sources(bundle.manifest))
    raise OptionsError(f"{folder} is neither a run (config.json) nor a bundle (bundle.json)")


def _sources(manifest: Manifest) -> dict[str, str]:
    """Of two domains the first is A, made of B; what makes one alone takes A, unless its name or options deny it."""
    if len(manifest.domains) == 2:
        return {domain.graph: source for domain, source in zip(manifest.domains, "ba", strict=True)}
    backward = manifest.training.get("options", {}).get("direction") == "BtoA"
    return {domain.graph: "b" if backward or domain.graph == "b-to-a" else "a" for domain in manifest.domains}


def _from_run(folder: Path) -> Subject:
    run = open_run(folder)
    recipe, step = run.trained()
    exported = recipe.exported()
    return Subject(
        name=folder.resolve().name,
        manifest=recipe.manifest("run", run.data),
        graphs={name: _on_device(graph) for name, graph in exported.items()},
        step=step,
        sources={name: graph.source for name, graph in exported.items()},
        curves=read_curves(folder / "metrics.jsonl"),
    )


def _on_device(exported: Exported) -> Run:
    exported.module.to(best_device())

    def run(inputs: Tensors) -> dict[str, NDArray[np.float32]]:
        made = exported({kind: torch.from_numpy(array).to(best_device()) for kind, array in inputs.items()})
        return {kind: tensor.cpu().numpy() for kind, tensor in made.items()}

    return run
