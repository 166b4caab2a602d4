"""What an importer makes from a publisher's files, and how it becomes a bundle."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from models.bundle.manifest import Domain, Graph, Manifest, Picture, Precision
from models.bundle.pixels import shrink, to_tensor
from models.drawn.person import person
from models.drawn.portrait import Portrait
from models.errors import ExportError
from models.export import bundle
from models.export.bundle import Facts, bundle_name, sample_files
from models.export.graphs import (
    GraphRunner,
    Tensor,
    Tensors,
    compare,
    compare_fp16,
    draw_inputs,
    network,
    to_fp16,
    to_onnx,
)
from models.recipes.recipe import Exported

CLASSIFIER = "classifier"
"""The name of the graph that reads a picture's own labels."""

_PEOPLE = 2
_DRAWN = 128  # pixels


@dataclass(frozen=True)
class Checked:
    """A fp32 graph that ran and agrees with its source."""

    entry: Graph
    """Its entry in the manifest."""
    graph: bytes
    difference: float
    """The largest one: of pictures in tanh units, of logits relative to their size."""
    inputs: Sequence[Tensors]
    """What it ran on."""


@dataclass(frozen=True)
class Source:
    """The file that a graph comes from."""

    file: str
    """Its name, without folders."""
    sha256: str
    summary: str
    """What the importer found in it, in words."""


@dataclass(frozen=True)
class Imported:
    """Graphs by name, and all that the files and the command line say about them."""

    family: str
    domains: tuple[Domain, ...]
    picture: Picture
    graphs: Mapping[str, Checked]
    origin: str
    """What kind of files, and whose layout."""
    sources: Mapping[str, Source]
    """The file of each graph."""
    options: Mapping[str, str] = field(default_factory=dict)
    """The publisher's own options, where a file beside the checkpoint has them."""
    half: bool = False
    """Whether the publisher's graphs have half-precision weights."""
    masks: tuple[str, ...] = ()
    """The sets of a joint training, in the order of their mask columns."""


def check(name: str, exported: Exported, picture: Picture) -> Checked:
    """Writes the network as a graph and compares both on noise and drawn people; ExportError where they differ."""
    graph, random = to_onnx(exported, picture), np.random.default_rng(0)
    inputs = [
        draw_inputs(exported.inputs, len(pixels), picture, random, given={"pixels": pixels})
        for pixels in pictures(picture)
    ]
    return Checked(exported.entry(name), graph, compare(name, network(exported), graph, inputs), inputs)


def pictures(picture: Picture) -> list[Tensor]:
    """Trial pictures, float32 [n,3,size,size] in the picture's range: noise, one and three, and drawn people."""
    random = np.random.default_rng(0)
    noise = [random.uniform(*picture.range, (count, 3, picture.size, picture.size)) for count in (1, 3)]
    people = np.stack([shrink(one, picture) for one in _people()])
    return [*(pixels.astype(np.float32) for pixels in noise), to_tensor(people, picture)]


@cache
def _people() -> tuple[Image.Image, ...]:
    # Real content, as noise alone hides a wrong resize or range; cached, as an import draws them several times.
    return tuple(Image.fromarray(Portrait(person(0, who)).draw(_DRAWN)) for who in range(_PEOPLE))


def write(imported: Imported, to: Path, precision: Precision, facts: Facts) -> dict[str, float]:
    """Writes the bundle `to` and returns the measured differences by graph name; those of fp16 are in dB.

    ExportError where fp16 is too coarse, OptionsError or BundleError where the folder or the samples don't fit; then
    nothing is written.
    """
    precision = "fp16" if imported.half else precision
    differences = {name: checked.difference for name, checked in imported.graphs.items()}
    graphs = {name: checked.graph for name, checked in imported.graphs.items()}
    for name, checked in imported.graphs.items():
        if precision == "fp16" and not imported.half:
            try:
                graphs[name] = to_fp16(checked.graph)
                # Loaded here, as the converter can return a broken graph without an error.
                GraphRunner(graphs[name])
            except Exception as error:  # the exceptions of the two libraries share no base
                raise ExportError(
                    f"graph {name} can't be converted to fp16 ({' '.join(str(error).split())}); take fp32"
                ) from error
            reference = GraphRunner(checked.graph)
            differences[f"{name} fp16"] = compare_fp16(name, reference, graphs[name], checked.inputs, imported.picture)
    training: dict[str, Any] = {
        "imported_from": imported.origin,
        "sources": {name: asdict(source) for name, source in imported.sources.items()},
        "options": dict(imported.options),
    }
    manifest = Manifest(
        name=bundle_name(to),
        version=facts.version,
        title=facts.title,
        family=imported.family,
        domains=imported.domains,
        graphs={name: checked.entry for name, checked in imported.graphs.items()},
        picture=imported.picture,
        classifier=CLASSIFIER if CLASSIFIER in imported.graphs else None,
        label_order=tuple(domain.name for domain in imported.domains if domain.column is not None),
        mask_columns=imported.masks,
        precision=precision,
        licence=facts.licence,
        training=training,
    )
    bundle.write(to, manifest, graphs, sample_files(facts.samples) if facts.samples else {})
    return differences
