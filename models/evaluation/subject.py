"""The subject of an evaluation: a run's networks in PyTorch, or a bundle's graphs in ONNX Runtime."""

import json
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
from models.evaluation.features import best_device
from models.evaluation.figures import Curve
from models.evaluation.metrics import Pixels
from models.export.graphs import GraphRunner, Run, Tensors
from models.recipes.recipe import Exported
from models.training.run import open_run

_BATCH = 32


@dataclass(frozen=True)
class Subject:
    """Graphs by name, and the manifest that says how to call them. `step` is the training's, 0 for a bundle.

    `sources` has the side of a pair, `a` or `b`, from which each graph takes its pictures, where that is known.
    """

    name: str
    manifest: Manifest
    graphs: Mapping[str, Run]
    step: int = 0
    sources: Mapping[str, str] = field(default_factory=dict)
    curves: Mapping[str, Curve] = field(default_factory=dict)

    def translate(self, domain: Domain, pixels: Pixels, labels: NDArray[np.float32] | None = None) -> Pixels:
        """Translates pictures n x s x s x 3; with label vectors n x (c + masks) where the domain has a column."""
        graph = self.graphs[domain.graph]
        parts: list[NDArray[np.float32]] = []
        for rows in (slice(i, i + _BATCH) for i in range(0, len(pixels), _BATCH)):
            inputs = {"pixels": to_tensor(pixels[rows], self.manifest.picture)}
            if labels is not None:
                inputs["labels"] = labels[rows]
            parts.append(graph(inputs)["translated"])
        return to_pixels(np.concatenate(parts), self.manifest.picture)

    def own_labels(self, pixels: Pixels) -> NDArray[np.float32]:
        """The labels n x c that the model's own classifier reads from pictures; zeros without one, as in serving."""
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
    """Opens several; where two have the same name, each gets its folder as name."""
    subjects = [open_subject(folder) for folder in folders]
    names = [subject.name for subject in subjects]
    return [
        replace(subject, name=str(folder)) if names.count(subject.name) > 1 else subject
        for subject, folder in zip(subjects, folders, strict=True)
    ]


def open_subject(folder: Path) -> Subject:
    """Opens a run folder or a bundle folder; OptionsError when it is neither, and the errors of both when broken."""
    if (folder / "config.json").exists():
        run = open_run(folder)
        recipe, step = run.trained()
        exported = recipe.exported()
        return Subject(
            name=folder.resolve().name,
            manifest=recipe.manifest("run", run.data),
            graphs={name: _on_device(one) for name, one in exported.items()},
            step=step,
            sources={name: one.source for name, one in exported.items()},
            curves=read_curves(folder / "metrics.jsonl"),
        )
    if (folder / "bundle.json").exists():
        bundle = archive.read(folder)
        graphs: dict[str, Run] = {name: GraphRunner(bundle.graph(name)) for name in bundle.manifest.graphs}
        # A manifest does not name the sources. Of two domains the first is A, which is made from B. A single graph
        # takes A, unless its name or the training's options say otherwise.
        domains = bundle.manifest.domains
        backward = bundle.manifest.training.get("options", {}).get("direction") == "BtoA"
        sources = {domain.graph: "b" if backward or domain.graph == "b-to-a" else "a" for domain in domains}
        if len(domains) == 2:
            sources = {domain.graph: source for domain, source in zip(domains, "ba", strict=True)}
        return Subject(bundle.ref, bundle.manifest, graphs, sources=sources)
    raise OptionsError(f"{folder} is neither a run (config.json) nor a bundle (bundle.json)")


def _on_device(exported: Exported) -> Run:
    """A network of a run as a function of arrays, on the GPU if there is one."""
    exported.module.to(best_device())

    def run(inputs: Tensors) -> dict[str, NDArray[np.float32]]:
        made = exported({kind: torch.from_numpy(array).to(best_device()) for kind, array in inputs.items()})
        return {kind: tensor.cpu().numpy() for kind, tensor in made.items()}

    return run


def read_curves(path: Path) -> dict[str, Curve]:
    """Every logged term of a metrics.jsonl by name; none without the file. An incomplete last line is left out."""
    curves: dict[str, Curve] = {}
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    for line in lines:
        if not line.endswith("\n"):  # a killed training may leave half a line
            continue
        terms = json.loads(line)
        step = terms.pop("step")
        for name, value in terms.items():
            curves.setdefault(name, []).append((step, float(value)))
    return curves
