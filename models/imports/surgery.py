"""Reads foreign ONNX graphs and adds the nodes that serving needs around them: names, axes, types, scale, any batch.

The foreign graph itself does not change. Where its nodes fix a batch of one, it becomes the body of a loop over the
batch (ONNX's Scan), which is as slow as single pictures, but right.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, compose, helper, inliner, numpy_helper
from onnx.external_data_helper import ExternalDataInfo, load_external_data_for_model, uses_external_data

from models.errors import CheckpointError

Layout = Literal["nchw", "nhwc"]

MAX_BYTES = 2**31 - 1
"""The most bytes that one ONNX file holds; a graph with data in several files becomes one file."""

_STANDARD = ("", "ai.onnx", "ai.onnx.ml")
_OLDEST_OPSET = 7  # the oldest that ONNX Runtime reads
_LOOP_OPSET = 13  # from here on Unsqueeze and Squeeze take their axes as an input
_IR_VERSION = 8
_INNER = "inner/"
"""Prefix of every name in the foreign graph, so that none equals one of ours."""


@dataclass(frozen=True)
class Ends:
    """The picture that a foreign graph takes and the picture that it makes."""

    input: str
    output: str
    taken: int
    """The input's element type, as in TensorProto."""
    made: int
    """The output's element type."""
    axes: tuple[int | None, ...]
    """The input's axes; None where they are dynamic."""


@dataclass(frozen=True)
class Graft:
    """The nodes between `pixels` and the foreign input, and between its output and `translated`."""

    ends: Ends
    takes: Layout
    makes: Layout
    side: int | None
    """Height and width; None where they are dynamic."""
    scale: float = 1.0
    """Multiplies what the graph makes."""
    shift: float = 0.0
    """Added after that."""

    def head(self, source: str) -> list[NodeProto]:
        """Nodes from float32 pixels [n,3,h,w] to the foreign input."""
        steps: list[NodeProto] = []  # `_chain` fills in their first input and their output
        if self.takes == "nhwc":
            steps.append(helper.make_node("Transpose", [""], [""], perm=(0, 2, 3, 1)))
        if self.ends.taken == TensorProto.UINT8:
            # A level that came through floating point may lie just below its number.
            steps += [helper.make_node("Add", ["", "half"], [""]), helper.make_node("Floor", [""], [""])]
        if self.ends.taken != TensorProto.FLOAT:
            steps.append(helper.make_node("Cast", [""], [""], to=self.ends.taken))
        return _chain(steps, source, _INNER + self.ends.input, "head")

    def tail(self, target: str) -> list[NodeProto]:
        """Nodes from the foreign output to float32 pixels [n,3,h,w]."""
        steps: list[NodeProto] = []
        if self.ends.made != TensorProto.FLOAT:
            steps.append(helper.make_node("Cast", [""], [""], to=TensorProto.FLOAT))
        if self.makes == "nhwc":
            steps.append(helper.make_node("Transpose", [""], [""], perm=(0, 3, 1, 2)))
        if (self.scale, self.shift) != (1.0, 0.0):
            steps += [helper.make_node("Mul", ["", "scale"], [""]), helper.make_node("Add", ["", "shift"], [""])]
        return _chain(steps, _INNER + self.ends.output, target, "tail")

    def constants(self) -> list[TensorProto]:
        """The constants that these nodes use."""
        values = {"half": 0.5, "scale": self.scale, "shift": self.shift}
        used = {name for node in (*self.head(""), *self.tail("")) for name in node.input}
        return [
            numpy_helper.from_array(np.array(value, np.float32), name) for name, value in values.items() if name in used
        ]


def load(path: Path) -> ModelProto:
    """The graph, with the data of other files merged and its own functions inlined.

    CheckpointError if the file is no ONNX file, is too large, or has operators beyond the standard.
    """
    try:
        model = onnx.load_model(path, load_external_data=False)
        # Before the data are read, which might not fit into memory.
        if _size(path, model) <= MAX_BYTES:
            load_external_data_for_model(model, str(path.parent))
            onnx.checker.check_model(model)
            model = inliner.inline_local_functions(model)
    except Exception as error:  # foreign bytes can make the parser raise anything
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path} is not a readable ONNX file: {line}") from error
    if _size(path, model) > MAX_BYTES:
        raise CheckpointError(
            f"{path} has more than {MAX_BYTES} bytes with its data, the most that one ONNX file holds"
        )
    nodes = (node for graph in _graphs(model.graph) for node in graph.node)
    beyond = sorted({f"{node.domain}.{node.op_type}" for node in nodes if node.domain not in _STANDARD})
    if beyond:
        raise CheckpointError(
            f"{path} has operators that are not ONNX's own: {', '.join(beyond)}; export it without optimisation"
        )
    if model.graph.sparse_initializer:
        raise CheckpointError(f"{path} has sparse weights; export it with plain ones")
    if _opset(model) < _OLDEST_OPSET:
        raise CheckpointError(f"{path} has opset {_opset(model)}; the oldest that runs is {_OLDEST_OPSET}")
    return model


def keep(model: ModelProto, ends: Ends) -> None:
    """Removes all other inputs and outputs; old graphs also list their constants as inputs."""
    for values, name in ((model.graph.input, ends.input), (model.graph.output, ends.output)):
        kept = [value for value in values if value.name == name]
        del values[:]
        values.extend(kept)
    model.ir_version = max(model.ir_version, _IR_VERSION)  # before 4, constants had to be inputs


def attach(model: ModelProto, graft: Graft, *, loop: bool) -> ModelProto:
    """A graph from `pixels` [n,3,h,w] to `translated`, float32, for any batch; `loop` takes the pictures one by one."""
    inner = compose.add_prefix(model, _INNER)
    constants = [*inner.graph.initializer, *graft.constants()]
    axes: list[str | int] = [3, graft.side or "h", graft.side or "w"]
    if loop:
        nodes = [
            helper.make_node("Unsqueeze", ["picture", "first_axis"], ["picture_batch"]),
            *graft.head("picture_batch"),
            *inner.graph.node,
            *graft.tail("made_batch"),
            helper.make_node("Squeeze", ["made_batch", "first_axis"], ["made"]),
        ]
        constants.append(numpy_helper.from_array(np.array([0], np.int64), "first_axis"))
        body = _graph("one_picture", nodes, constants, "picture", "made", axes)
        scan = helper.make_node("Scan", ["pixels"], ["translated"], num_scan_inputs=1, body=body)
        graph = _graph("recast", [scan], [], "pixels", "translated", ["n", *axes])
    else:
        nodes = [*graft.head("pixels"), *inner.graph.node, *graft.tail("translated")]
        graph = _graph("recast", nodes, constants, "pixels", "translated", ["n", *axes])
    opsets = [opset for opset in inner.opset_import if opset.domain in _STANDARD]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=model.ir_version)
    made.metadata_props.extend(model.metadata_props)
    return made


def can_loop(model: ModelProto) -> bool:
    """Whether the graph is recent enough to be the body of a loop."""
    return _opset(model) >= _LOOP_OPSET


def _graph(
    name: str,
    nodes: list[NodeProto],
    constants: list[TensorProto],
    source: str,
    target: str,
    axes: list[str | int],
) -> GraphProto:
    """A graph from one tensor to another with the same axes, both float32.

    It leaves out the foreign graph's intermediate shapes, which may fix a batch of one.
    """
    ends = [helper.make_tensor_value_info(end, TensorProto.FLOAT, axes) for end in (source, target)]
    return helper.make_graph(nodes, name, ends[:1], ends[1:], constants)


def _chain(steps: list[NodeProto], source: str, target: str, name: str) -> list[NodeProto]:
    """Connects the steps from `source` to `target`; without steps, a node that copies."""
    steps = steps or [helper.make_node("Identity", [""], [""])]
    for place, step in enumerate(steps):
        step.input[0] = source if place == 0 else f"{name}_{place}"
        step.output[0] = target if place == len(steps) - 1 else f"{name}_{place + 1}"
    return steps


def _size(path: Path, model: ModelProto) -> int:
    """Bytes of the file and of the data files that it names."""
    tensors = (tensor for graph in _graphs(model.graph) for tensor in graph.initializer)
    data = {ExternalDataInfo(tensor).location for tensor in tensors if uses_external_data(tensor)}
    return sum((path.parent / name).stat().st_size for name in (path.name, *data))


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from _graphs(inner)


def _opset(model: ModelProto) -> int:
    return next((opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx")), 0)
