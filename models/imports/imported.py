"""What an importer made of somebody else's files, and the bundle that it becomes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from models.bundle import archive
from models.bundle.manifest import Domain, Graph, Manifest, Picture, Sample
from models.bundle.pixels import shrink, to_tensor
from models.drawn.person import person
from models.drawn.portrait import draw
from models.errors import ExportError
from models.export.bundle import LOWEST_PSNR, Facts, Precision, bundle_name, chosen_samples, compare, to_fp16, to_onnx
from models.export.card import card
from models.export.runtime import GraphRunner, Tensor
from models.recipes.recipe import Exported

CLASSIFIER = "classifier"
"""The name of the graph that reads a picture's own labels."""

_PEOPLE = 2
_DRAWN = 128


@dataclass(frozen=True)
class Checked:
    """An fp32 graph that was run and agrees with what it was made from."""

    graph: bytes
    difference: float
    """The largest one, in tanh units; of logits relative to their size."""
    inputs: Sequence[tuple[Tensor, ...]]
    """What it was run on."""


@dataclass(frozen=True)
class Source:
    """The file that a graph was made from."""

    file: str
    """Its name, without folders."""
    sha256: str
    summary: str
    """What was found in it, in words."""


@dataclass(frozen=True)
class Imported:
    """Graphs by name, and all that the files and the command line say of them."""

    family: str
    domains: tuple[Domain, ...]
    picture: Picture
    graphs: Mapping[str, Checked]
    origin: str
    """What was imported, and whose layout it has."""
    sources: Mapping[str, Source]
    """The file of each graph."""
    options: Mapping[str, str] = field(default_factory=dict)
    """The publisher's own options, where they lay beside."""
    half: bool = False
    """Whether the graphs have half-precision weights as they came."""
    masks: tuple[str, ...] = ()
    """The sets of a joint training, in the order of their mask columns."""


def checked(name: str, exported: Exported, picture: Picture) -> Checked:
    """The network as a graph, compared with it on noise and on drawn people; ExportError where they differ."""
    graph = to_onnx(exported, picture.size, picture.free)
    random = np.random.default_rng(0)
    inputs: list[tuple[Tensor, ...]] = []
    for pixels in pictures(picture):
        labels = random.integers(0, 2, (len(pixels), exported.labels)).astype(np.float32)
        inputs.append((pixels, labels) if exported.labels else (pixels,))
    return Checked(graph, compare(name, exported, graph, inputs), inputs)


def pictures(picture: Picture) -> list[Tensor]:
    """What graphs are tried on: noise, one picture and three, and drawn people.

    float32 [n,3,size,size] in the picture's range.
    """
    random = np.random.default_rng(0)
    noise = [random.uniform(*picture.range, (count, 3, picture.size, picture.size)) for count in (1, 3)]
    people = np.stack([shrink(drawn, picture) for drawn in _people()])
    return [*(pixels.astype(np.float32) for pixels in noise), to_tensor(people, picture)]


@cache
def _people() -> tuple[Image.Image, ...]:
    return tuple(Image.fromarray(draw(person(0, who), _DRAWN)) for who in range(_PEOPLE))


def write(imported: Imported, to: Path, precision: Precision, facts: Facts) -> dict[str, float]:
    """Writes the bundle `to` and gives the differences measured, by graph name; in dB those of fp16.

    ExportError where fp16 is too coarse, OptionsError or BundleError where the folder or the samples don't fit; then
    nothing is written.
    """
    precision = "fp16" if imported.half else precision
    differences = {name: graph.difference for name, graph in imported.graphs.items()}
    files: dict[str, bytes | Path] = {}
    for name, graph in imported.graphs.items():
        files[f"{name}.onnx"] = graph.graph
        if precision == "fp16" and not imported.half:
            files[f"{name}.onnx"], differences[f"{name} fp16"] = _halved(name, graph, imported.picture)
    samples = chosen_samples(facts.samples) if facts.samples else {}
    manifest = _manifest(imported, bundle_name(to), precision, facts, tuple(samples))
    archive.write(to, manifest, {**files, **samples, "README.md": card(manifest).encode()})
    return differences


def _halved(name: str, graph: Checked, picture: Picture) -> tuple[bytes, float]:
    """The graph in fp16, and its lowest PSNR to the one in fp32, in dB."""
    try:
        half = to_fp16(graph.graph)
        runner = GraphRunner(half)
    except Exception as error:  # neither the converter's nor ONNX Runtime's exceptions share a base of their own
        raise ExportError(
            f"graph {name} can't be brought to fp16 ({' '.join(str(error).split())}); take fp32"
        ) from error
    lowest = min(_psnr(name, GraphRunner(graph.graph)(*given), runner(*given), picture) for given in graph.inputs)
    if not lowest >= LOWEST_PSNR:
        raise ExportError(f"graph {name} in fp16 is at {lowest:.1f} dB to fp32, less than {LOWEST_PSNR:.0f}; take fp32")
    return half, lowest


def _psnr(name: str, whole: Tensor, half: Tensor, picture: Picture) -> float:
    peak = float(np.abs(whole).max()) if name == CLASSIFIER else picture.range[1] - picture.range[0]
    error = float(np.square(half.astype(np.float64) - whole).mean())
    return float(10 * np.log10(peak**2 / max(error, 1e-20)))


def _manifest(imported: Imported, name: str, precision: Precision, facts: Facts, samples: tuple[str, ...]) -> Manifest:
    labelled = {domain.graph for domain in imported.domains if domain.column is not None}
    training: dict[str, Any] = {
        "imported_from": imported.origin,
        "sources": {name: asdict(source) for name, source in imported.sources.items()},
        "options": dict(imported.options),
    }
    return Manifest(
        name=name,
        version=facts.version,
        title=facts.title,
        family=imported.family,
        domains=imported.domains,
        graphs={name: Graph(file=f"{name}.onnx", labels=name in labelled) for name in imported.graphs},
        picture=imported.picture,
        classifier=CLASSIFIER if CLASSIFIER in imported.graphs else None,
        label_order=tuple(domain.name for domain in imported.domains if domain.column is not None),
        mask_columns=imported.masks,
        precision=precision,
        licence=facts.licence,
        samples=tuple(Sample(file=file) for file in samples),
        training=training,
    )
