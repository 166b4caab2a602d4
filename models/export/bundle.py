"""Makes a bundle from a trained run; each graph runs in ONNX Runtime and is compared with PyTorch before it is kept.

The comparison is on drawn inputs and held-out examples, at several batch sizes. Imports share the writing.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.bundle import archive
from models.bundle.manifest import Manifest, Precision, Sample
from models.bundle.pixels import to_tensor
from models.data.data import Data
from models.drawn import sets
from models.errors import ExportError, OptionsError
from models.export.card import card
from models.export.graphs import Tensor, Tensors, compare, compare_fp16, draw_inputs, network, to_fp16, to_onnx
from models.recipes.recipe import Exported
from models.training.run import Run

_SAMPLES = 6
_CHECKED = 8


@dataclass(frozen=True)
class Facts:
    """What the user says about a bundle; `samples` is a folder of pictures for the page, of any size.

    Without it, an export takes the first held-out pictures, at the network's size.
    """

    version: str = "1"
    title: str = ""
    licence: str = "not stated"
    samples: Path | None = None


def export(run: Run, to: Path, precision: Precision, facts: Facts, data_folder: Path | None) -> dict[str, float]:
    """Writes the bundle `to` and returns the measured differences by graph name.

    ExportError if a graph disagrees; CheckpointError, DataError, OptionsError or BundleError if a part is missing; then
    nothing is written.
    """
    recipe, step = run.trained()
    exported = recipe.exported()
    data = run.recipe.read(data_folder or run.data_folder, run.options, "test")
    manifest = _with_facts(recipe.manifest(bundle_name(to), run.data), run, step, precision, facts)
    graphs: dict[str, bytes] = {}
    differences: dict[str, float] = {}
    for name, each in exported.items():
        if manifest.graphs.get(name) != each.entry(name):
            raise ExportError(f"the recipe's manifest lists other ports of graph {name} than its network has")
        inputs, reference = _trial_inputs(each, data, manifest), network(each)
        graphs[name] = to_onnx(each, manifest.picture)
        differences[name] = compare(name, reference, graphs[name], inputs)
        if precision == "fp16":
            graphs[name] = to_fp16(graphs[name])
            differences[f"{name} fp16"] = compare_fp16(name, reference, graphs[name], inputs, manifest.picture)
    write(to, manifest, graphs, sample_files(facts.samples) if facts.samples else _held_out_samples(exported, data))
    return differences


def _trial_inputs(exported: Exported, data: Data, manifest: Manifest) -> list[Tensors]:
    """Trial inputs for a graph: one and three rows of draws, then rows with the pixels or text of held-out examples."""
    random = np.random.default_rng(0)
    real: dict[str, Tensor] = {}
    examples = [data.example(index, np.random.default_rng(0)) for index in range(min(_CHECKED, len(data)))]
    if any(port.kind == "pixels" for port in exported.inputs):
        real["pixels"] = to_tensor(np.stack([example[exported.source] for example in examples]), manifest.picture)
    elif any(port.kind == "text" for port in exported.inputs):
        real["text"] = np.stack([example[exported.source] for example in examples]).astype(np.float32)
    return [
        draw_inputs(exported.inputs, rows, manifest.picture, random, latent=manifest.latent, given=given)
        for rows, given in ((1, {}), (3, {}), (len(examples), real))
    ]


def sample_files(folder: Path) -> dict[str, bytes | Path]:
    """The pictures of a folder by their names in a bundle; OptionsError if there are none."""
    found = sorted(path for path in folder.glob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp"))
    if not found:
        raise OptionsError(f"there are no sample pictures (png, jpg, webp) in {folder}")
    return {f"samples/{path.name}": path for path in found}


def _held_out_samples(graphs: Mapping[str, Exported], data: Data) -> dict[str, bytes | Path]:
    """The first held-out pictures, as many for each entry that a graph takes; none if no graph takes pictures."""
    takers = [graph for graph in graphs.values() if any(port.kind == "pixels" for port in graph.inputs)]
    sources = dict.fromkeys(graph.source for graph in takers)
    samples: dict[str, bytes | Path] = {}
    for source in sources:
        for index in range(min(_SAMPLES // len(sources), len(data))):
            written = io.BytesIO()
            picture: NDArray[np.uint8] = data.example(index, np.random.default_rng(0))[source]
            Image.fromarray(picture).save(written, "PNG", optimize=True)
            samples[f"samples/{len(samples) + 1}.png"] = written.getvalue()
    return samples


def write(to: Path, manifest: Manifest, graphs: Mapping[str, bytes], samples: Mapping[str, bytes | Path]) -> None:
    """Writes the bundle `to`: its graphs by name, its samples by path, and its card; BundleError where it can't."""
    manifest = manifest.model_copy(update={"samples": tuple(Sample(file=file) for file in samples)})
    files = {manifest.graphs[name].file: graph for name, graph in graphs.items()}
    archive.write(to, manifest, {**files, **samples, "README.md": card(manifest).encode()})


def bundle_name(to: Path) -> str:
    """The name of a bundle in this folder; OptionsError if the folder's name can't be one."""
    name = to.resolve().name
    if not name or name != name.lower():
        raise OptionsError(f"{str(to)!r}: a bundle's folder is its name, in lower case")
    return name


def _with_facts(manifest: Manifest, run: Run, step: int, precision: Precision, facts: Facts) -> Manifest:
    training = {
        **manifest.training,
        "recipe": run.recipe.name,
        "data": run.data.name,
        "data_command": sets.command(run.data_folder),
        "pictures": run.data.count,
        "steps": step,
        "options": run.set_options,
        **({"stages": [stage.model_dump(mode="json") for stage in run.stages]} if run.stages else {}),
    }
    metrics: dict[str, float] = {}
    evaluation = run.folder / "evaluation" / "metrics.json"
    if evaluation.exists():
        # The figures of the run's last evaluation, if it was of these weights.
        for one in json.loads(evaluation.read_text(encoding="utf-8")).get("subjects", []):
            if (one["subject"], one["step"]) == (run.folder.resolve().name, step):
                metrics = one["metrics"]
    changes = {
        "version": facts.version,
        "title": facts.title,
        "licence": facts.licence,
        "precision": precision,
        "training": training,
        "metrics": metrics,
    }
    return Manifest.model_validate({**manifest.model_dump(), **changes})
