"""ONNX graphs of other people's making: one 3x3 convolution and an activation, in any layout, type and batch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from support.graphs import Axes, model
from torch import Tensor
from torch.nn import functional as F

SIDE = 32
NCHW: Axes = (1, 3, SIDE, SIDE)
NHWC: Axes = (1, SIDE, SIDE, 3)
KERNEL = torch.randn(3, 3, 3, 3, generator=torch.Generator().manual_seed(0)) * 0.2

Constants = Mapping[str, NDArray[Any]]


def node(kind: str, source: str, target: str, *constants: str) -> NodeProto:
    """A node without attributes."""
    return helper.make_node(kind, [source, *constants], [target])


def convolution(
    axes: Axes = NCHW,
    *,
    activation: str = "Tanh",
    then: Sequence[NodeProto] = (),
    constants: Constants | None = None,
    made_axes: Axes | None = None,
) -> ModelProto:
    """From `in` to `out`, float32; `then` are nodes from `made`, [n,3,h,w], to `out`, a copy where there are none."""
    nhwc = axes[-1] == 3
    nodes = [_turned("in", "x", (0, 3, 1, 2))] if nhwc else [node("Identity", "in", "x")]
    nodes += [
        helper.make_node("Conv", ["x", "kernel"], ["features"], pads=(1, 1, 1, 1)),
        node(activation, "features", "made"),
        *(then or [_turned("made", "out", (0, 2, 3, 1)) if nhwc else node("Identity", "made", "out")]),
    ]
    return _model(nodes, axes, made_axes or axes, TensorProto.FLOAT, {"kernel": KERNEL.numpy(), **(constants or {})})


def half_convolution() -> ModelProto:
    """The same with tanh, in and out and within in half precision."""
    nodes = [helper.make_node("Conv", ["in", "kernel"], ["x"], pads=(1, 1, 1, 1)), node("Tanh", "x", "out")]
    return _model(nodes, NCHW, NCHW, TensorProto.FLOAT16, {"kernel": KERNEL.numpy().astype(np.float16)})


def byte_darkening() -> ModelProto:
    """Halves bytes [1,h,w,3]; halves of a level are cut off."""
    nodes = [
        helper.make_node("Cast", ["in"], ["x"], to=TensorProto.FLOAT),
        node("Mul", "x", "y", "half"),
        helper.make_node("Cast", ["y"], ["out"], to=TensorProto.UINT8),
    ]
    return _model(nodes, NHWC, NHWC, TensorProto.UINT8, {"half": np.array(0.5, np.float32)})


def convolved(pixels: Tensor) -> Tensor:
    """What the convolution makes of pixels [n,3,h,w], before its activation."""
    return F.conv2d(pixels, KERNEL, padding=1)


def _turned(source: str, target: str, order: tuple[int, ...]) -> NodeProto:
    return helper.make_node("Transpose", [source], [target], perm=order)


def _model(nodes: Sequence[NodeProto], taken: Axes, made: Axes, element: int, constants: Constants) -> ModelProto:
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    return model(nodes, inputs={"in": taken}, outputs={"out": made}, element=element, initializers=initializers)
