"""Evaluations that take a second: small judges, models that paint what is asked by rule, and what they leave."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from support.graphs import classifier_graph, labelled_graph

from models.bundle.manifest import Domain, Graph, Manifest, Picture
from models.bundle.pixels import to_pixels, to_tensor
from models.evaluation.evaluate import evaluate
from models.evaluation.figures import Evaluation
from models.evaluation.instruments import Instruments
from models.evaluation.judge import Training
from models.evaluation.subject import Subject
from models.export.graphs import Run

Array = NDArray[np.float32]
Painter = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
SIDE = 32
PICTURE = Picture(size=SIDE)
TOY = ("red", "green", "bright")


def tools(steps: int = 40, count: int = 40, judges: Path | None = None) -> Instruments:
    """Instruments with a judge of so many steps; 40 are enough for the plain sets of support.data."""
    return Instruments(count, Training(steps, judges, width=8), lambda what, done, total: None)


def measure(subject: Subject, data: Path, steps: int = 40) -> Evaluation:
    """An evaluation on the plain sets."""
    return evaluate(subject, data, tools(steps))


def toy_manifest(masks: tuple[str, ...] = ()) -> Manifest:
    """A model of the plain labelled set; with masks, of the joint set of support.data."""
    named = [(name, "hue" if name in ("red", "green") else None, "toy") for name in TOY]
    named = [("dark", "domain", "shade"), ("light", "domain", "shade"), *named] if masks else named
    return Manifest(
        name="toy",
        version="1",
        family="stargan",
        domains=tuple(
            Domain(name=name, group=group, column=column, mask=mask if masks else None)
            for column, (name, group, mask) in enumerate(named)
        ),
        graphs={
            "generator": labelled_graph("g.onnx", len(named) + len(masks)),
            "classifier": classifier_graph("c.onnx", len(named)),
        },
        picture=PICTURE,
        classifier="classifier",
        label_order=tuple(name for name, _, _ in named),
        mask_columns=masks,
        licence="",
    )


def ideal() -> Subject:
    """A model of the plain labelled set that paints what is asked: halves in the colours of support.data."""
    return Subject("ideal", toy_manifest(), {"generator": graph(painted), "classifier": graph(read, "logits")})


def painted(tensor: Array, labels: Array) -> Array:
    """The plain set's pictures of labels n x 3: red, green, bright."""
    pixels = to_pixels(tensor, PICTURE)
    for picture, (red, green, bright) in zip(pixels, labels, strict=True):
        picture[:, : SIDE // 2] = np.array([red, green, 0]) * 200 + 10
        picture[:, SIDE // 2 :] = 200 if bright else 20
    return to_tensor(pixels, PICTURE)


def read(tensor: Array) -> Array:
    """The logits of the plain set's labels."""
    left, right = np.split(tensor.mean(2), 2, axis=2)
    red, green, _ = left.mean(2).T
    return np.stack([red - green, green - red, right.mean((1, 2)) + 0.4], axis=1) * 20


def fixed(family: str, domains: dict[str, str], **painters: Painter) -> Subject:
    """A model with a graph for each domain (name: graph) that paints uint8 pictures by rule."""
    manifest = Manifest(
        name=family,
        version="1",
        family=family,
        domains=tuple(Domain(name=name, graph=graph) for name, graph in domains.items()),
        graphs={graph: Graph(file=f"{graph}.onnx") for graph in domains.values()},
        picture=Picture(size=SIDE, crop="none"),
        licence="",
    )
    graphs = {name.replace("_", "-"): _graph(painter) for name, painter in painters.items()}
    sources = {graph: "b" if graph == "b-to-a" else "a" for graph in graphs}
    return Subject(family, manifest, graphs, sources=sources)


def graph(function: Callable[..., Array], kind: str = "translated") -> Run:
    """A function of pixels, and of labels where they are given, as a graph that gives one output."""
    return lambda inputs: {kind: function(*inputs.values())}


def _graph(painter: Painter) -> Run:
    return graph(lambda tensor: to_tensor(painter(to_pixels(tensor, PICTURE)), PICTURE))
