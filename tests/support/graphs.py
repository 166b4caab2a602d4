"""Bundles around one odd graph, for tests of what an engine must refuse or survive."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from onnx import ModelProto, NodeProto, TensorProto, helper

from models.bundle import ports
from models.bundle.archive import Bundle, write
from models.bundle.manifest import Domain, Graph, Manifest, Picture
from models.bundle.ports import Input, Output

SIZE = 8
Axes = Sequence[str | int]
PIXELS: Axes = ("n", 3, SIZE, SIZE)


def model(
    nodes: Sequence[NodeProto] | None = None,
    *,
    inputs: Mapping[str, Axes] | None = None,
    outputs: Mapping[str, Axes] | None = None,
    element: int = TensorProto.FLOAT,
    initializers: Sequence[TensorProto] = (),
    domains: Sequence[str] = ("",),
) -> ModelProto:
    """A graph that copies `pixels` to `translated`, unless told otherwise."""
    nodes = nodes or [helper.make_node("Identity", ["pixels"], ["translated"])]
    inputs, outputs = inputs or {"pixels": PIXELS}, outputs or {"translated": PIXELS}
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, element, axes) for name, axes in inputs.items()],
        [helper.make_tensor_value_info(name, element, axes) for name, axes in outputs.items()],
        initializers,
    )
    opsets = [helper.make_opsetid(domain, 1 if domain else 17) for domain in domains]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def labelled_graph(file: str, columns: int) -> Graph:
    """A graph that takes pixels and labels of so many columns."""
    return Graph(file=file, inputs=(ports.PIXELS, Input(kind="labels", shape=(columns,))))


def classifier_graph(file: str, columns: int) -> Graph:
    """A graph that reads labels of so many columns."""
    return Graph(file=file, outputs=(Output(kind="logits", shape=(columns,)),))


def bundle_of(store: Path, content: bytes, *, name: str = "odd", labels: bool = False, free: bool = False) -> Bundle:
    """A bundle `odd@1` with this one graph, `generator`; two domains, with a column each if it takes labels."""
    names = ("zebra", "horse")
    graph = labelled_graph("generator.onnx", len(names)) if labels else Graph(file="generator.onnx")
    manifest = Manifest(
        name=name,
        version="1",
        family="stargan",
        domains=tuple(Domain(name=name, column=at if labels else None) for at, name in enumerate(names)),
        graphs={"generator": graph},
        picture=Picture(size=SIZE, free=free),
        label_order=names if labels else (),
        licence="CC0-1.0",
    )
    return write(store / name, manifest, {"generator.onnx": content})


def square_root_bundle(store: Path, *, name: str = "roots") -> Bundle:
    """Translates 8x8 pictures to the square root of their tensor: not a number where a channel is below 128."""
    return bundle_of(
        store, model([helper.make_node("Sqrt", ["pixels"], ["translated"])]).SerializeToString(), name=name
    )


def failing_bundle(store: Path, *, name: str = "failing") -> Bundle:
    """Loads, but makes infinity of every picture, so that it can't be warmed."""
    nodes = [
        helper.make_node("Sub", ["pixels", "pixels"], ["zero"]),
        helper.make_node("Reciprocal", ["zero"], ["translated"]),
    ]
    return bundle_of(store, model(nodes).SerializeToString(), name=name)
