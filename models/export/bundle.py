"""A trained run becomes a bundle; what was written is run in ONNX Runtime and compared with PyTorch before it is kept.

The comparison is made in the network's own units (tanh, -1 to 1; logits for a classifier) on random and on real
pictures, at two batch sizes. fp16 keeps norms and tanh in fp32 and must stay near the fp32 graph.
"""

import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime.transformers.float16 import convert_float_to_float16
from PIL import Image

from models.bundle import archive
from models.bundle.manifest import Manifest, Sample
from models.bundle.pixels import to_tensor
from models.data.data import Data
from models.drawn import sets
from models.errors import ExportError, OptionsError
from models.export.card import card
from models.export.runtime import GraphRunner, Tensor
from models.recipes.recipe import Exported
from models.training.run import Run

Precision = Literal["fp32", "fp16"]

LARGEST_DIFFERENCE = 1e-4
"""Between an fp32 graph and its network, in the network's own units; logits are compared relative to their size."""
LOWEST_PSNR = 45.0
"""Between a fp16 graph's pictures and the network's, dB over the range from -1 to 1."""

# Instance norm in half precision is wrong or overflows in several runtimes; Pad, Resize and Tanh lose for no gain.
_KEPT_IN_FP32 = ["InstanceNormalization", "BatchNormalization", "Tanh", "Sigmoid", "Pad", "Resize", "ReduceMean"]
_SAMPLES = 6
_CHECKED = 8


@dataclass(frozen=True)
class Facts:
    """What a person says of a bundle; `samples` is a folder of pictures for the page, of any size.

    Without one the first held-out pictures are taken, at the network's size.
    """

    version: str = "1"
    title: str = ""
    licence: str = "not stated"
    samples: Path | None = None


def export(run: Run, to: Path, precision: Precision, facts: Facts, data_folder: Path | None) -> dict[str, float]:
    """Writes the bundle `to` and gives the differences measured, by graph name.

    ExportError when a graph disagrees; CheckpointError, DataError, OptionsError or BundleError when a part is missing.
    Nothing is written unless everything fits.
    """
    recipe, step = run.trained()
    graphs = recipe.exported()
    data = run.recipe.read(data_folder or run.data_folder, run.options, "test")
    manifest = _with_facts(recipe.manifest(bundle_name(to), run.data), run, step, precision, facts)
    files: dict[str, bytes | Path] = {}
    differences: dict[str, float] = {}
    for name, exported in graphs.items():
        graph = to_onnx(exported, manifest.picture.size, manifest.picture.free)
        inputs = _check_inputs(exported, data, manifest)
        differences[name] = compare(name, exported, graph, inputs)
        if precision == "fp16":
            graph = to_fp16(graph)
            differences[f"{name} fp16"] = compare_fp16(name, exported, graph, inputs)
        files[manifest.graphs[name].file] = graph
    samples = chosen_samples(facts.samples) if facts.samples else _samples(graphs, data)
    files |= samples
    manifest = manifest.model_copy(update={"samples": tuple(Sample(file=file) for file in samples)})
    files["README.md"] = card(manifest).encode()
    archive.write(to, manifest, files)
    return differences


def to_onnx(exported: Exported, size: int, free: bool) -> bytes:
    """The network as one ONNX file, weights inside; the batch axis is dynamic, height and width where it is `free`."""
    pixels = torch.zeros(2, 3, size, size)
    inputs = (pixels, torch.zeros(2, exported.labels)) if exported.labels else (pixels,)
    batch = torch.export.Dim("n", min=1, max=4096)
    sides = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    axes = {0: batch, **(sides if free and exported.output == "translated" else {})}
    with _quiet_exporter():
        program = torch.onnx.export(
            exported.module.eval(),
            inputs,
            input_names=["pixels", "labels"][: len(inputs)],
            output_names=[exported.output],
            dynamic_shapes=(axes, {0: batch})[: len(inputs)],
            opset_version=20,
            dynamo=True,
            verbose=False,
        )
    written = io.BytesIO()
    onnx.save_model(cast(torch.onnx.ONNXProgram, program).model_proto, written)
    return written.getvalue()


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """The exporter warns of packages that are not needed and of its own deprecations; its errors still come through."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logger.setLevel(level)


def to_fp16(graph: bytes) -> bytes:
    """Half-precision weights and arithmetic; inputs, outputs, norms and tanh stay in fp32."""
    model = onnx.load_model_from_string(graph)
    converted = convert_float_to_float16(
        model, keep_io_types=True, disable_shape_infer=True, op_block_list=_KEPT_IN_FP32
    )
    _cast_once(converted.graph)
    result: bytes = converted.SerializeToString()
    return result


def _cast_once(graph: onnx.GraphProto) -> None:
    """The converter casts a tensor again for each node that wants it in fp32, under one name; one cast serves all."""
    nodes = {tuple(node.output): node for node in graph.node}
    del graph.node[:]
    graph.node.extend(nodes.values())


def compare(name: str, exported: Exported, graph: bytes, inputs: Sequence[tuple[Tensor, ...]]) -> float:
    """The largest difference between graph and network; ExportError beyond the limit."""
    difference = max(
        float((np.abs(ours - theirs) / _unit(exported, theirs)).max())
        for ours, theirs in _both(exported, GraphRunner(graph), inputs)
    )
    if not difference <= LARGEST_DIFFERENCE:
        raise ExportError(
            f"graph {name} differs from the network by {difference:.2e}, more than {LARGEST_DIFFERENCE:.0e}"
        )
    return difference


def compare_fp16(name: str, exported: Exported, graph: bytes, inputs: Sequence[tuple[Tensor, ...]]) -> float:
    """The lowest PSNR in dB between fp16 graph and network over the inputs; ExportError below the limit."""
    lowest = min(
        _psnr(ours, theirs, 2.0 if exported.output == "translated" else float(np.abs(theirs).max()))
        for ours, theirs in _both(exported, GraphRunner(graph), inputs)
    )
    if not lowest >= LOWEST_PSNR:
        raise ExportError(
            f"graph {name} in fp16 is at {lowest:.1f} dB to the network, less than {LOWEST_PSNR:.0f}; take fp32"
        )
    return lowest


def _both(exported: Exported, runner: GraphRunner, inputs: Sequence[tuple[Tensor, ...]]) -> list[tuple[Tensor, Tensor]]:
    pairs: list[tuple[Tensor, Tensor]] = []
    for given in inputs:
        with torch.no_grad():
            expected = exported.module(*(torch.from_numpy(array) for array in given)).numpy()
        pairs.append((runner(*given), expected))
    return pairs


def _unit(exported: Exported, values: Tensor) -> float:
    return 1.0 if exported.output == "translated" else max(1.0, float(np.abs(values).max()))


def _psnr(ours: Tensor, theirs: Tensor, peak: float) -> float:
    error = float(np.square(ours.astype(np.float64) - theirs).mean())
    return float(10 * np.log10(peak**2 / max(error, 1e-20)))


def _check_inputs(exported: Exported, data: Data, manifest: Manifest) -> list[tuple[Tensor, ...]]:
    """Random pictures one and three at a time, and real held-out pictures, each with random labels."""
    random = np.random.default_rng(0)
    size = manifest.picture.size
    noise = [random.uniform(-1, 1, (count, 3, size, size)).astype(np.float32) for count in (1, 3)]
    shown = [_picture(data, index, exported.source) for index in range(min(_CHECKED, len(data)))]
    real = to_tensor(np.stack(shown), manifest.picture)
    inputs: list[tuple[Tensor, ...]] = []
    for pixels in (*noise, real):
        labels = random.integers(0, 2, (len(pixels), exported.labels)).astype(np.float32)
        inputs.append((pixels, labels) if exported.labels else (pixels,))
    return inputs


def _picture(data: Data, index: int, source: str) -> NDArray[np.uint8]:
    picture: NDArray[np.uint8] = data.example(index, np.random.default_rng(0))[source]
    return picture


def chosen_samples(folder: Path) -> dict[str, bytes | Path]:
    """The pictures of a folder, by their names in a bundle; OptionsError where there are none."""
    found = sorted(path for path in folder.glob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp"))
    if not found:
        raise OptionsError(f"there are no sample pictures (png, jpg, webp) in {folder}")
    return {f"samples/{path.name}": path for path in found}


def _samples(graphs: Mapping[str, Exported], data: Data) -> dict[str, bytes | Path]:
    """The first held-out pictures, as many of each kind that a graph takes."""
    sources = dict.fromkeys(graph.source for graph in graphs.values())
    samples: dict[str, bytes | Path] = {}
    for source in sources:
        for index in range(min(_SAMPLES // len(sources), len(data))):
            written = io.BytesIO()
            Image.fromarray(_picture(data, index, source)).save(written, "PNG", optimize=True)
            samples[f"samples/{len(samples) + 1}.png"] = written.getvalue()
    return samples


def bundle_name(to: Path) -> str:
    """The name of the bundle that is to be written there; OptionsError for a folder that can't be one."""
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
        "options": run.said,
        **({"stages": [stage.model_dump(mode="json") for stage in run.stages]} if run.stages else {}),
    }
    changes = {
        "version": facts.version,
        "title": facts.title,
        "licence": facts.licence,
        "precision": precision,
        "training": training,
        "metrics": _metrics(run, step),
    }
    return Manifest.model_validate({**manifest.model_dump(), **changes})


def _metrics(run: Run, step: int) -> dict[str, float]:
    """The figures of the run's last evaluation, if it was of these weights."""
    path = run.folder / "evaluation" / "metrics.json"
    if not path.exists():
        return {}
    evaluated = json.loads(path.read_text(encoding="utf-8")).get("subjects", [])
    own = (one["metrics"] for one in evaluated if (one["subject"], one["step"]) == (run.folder.resolve().name, step))
    return dict(next(own, {}))
