"""A foreign ONNX graph as its publisher runs it: what an import is found out from, and compared with."""

from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, ValueInfoProto

from models.errors import CheckpointError
from models.export.graphs import GraphRunner, Tensor
from models.imports.surgery import Ends, Layout

TYPES: dict[int, Any] = {TensorProto.FLOAT: np.float32, TensorProto.FLOAT16: np.float16, TensorProto.UINT8: np.uint8}
"""The element types that pictures may have."""

CHANNELS: dict[Layout, int] = {"nchw": 1, "nhwc": 3}
"""Which axis holds the colours."""

SIDES: dict[Layout, slice] = {"nchw": slice(2, 4), "nhwc": slice(1, 3)}
"""Which hold height and width."""


def picture_ends(path: Path, model: ModelProto) -> Ends:
    """The picture in and the picture out."""
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise CheckpointError(f"{path} takes {len(inputs)} inputs ({names}); it must take a picture and nothing else")
    outputs = [value for value in graph.output if len(graph.output) == 1 or 3 in _axes(value)[1:]]
    if len(outputs) != 1:
        names = ", ".join(value.name for value in graph.output)
        raise CheckpointError(f"{path} makes {len(graph.output)} outputs ({names}); exactly one must be a picture")
    axes = _axes(inputs[0])
    kinds = [value.type.tensor_type.elem_type for value in (inputs[0], outputs[0])]
    if len(axes) != 4 or axes[0] not in (1, None):
        raise CheckpointError(
            f"{path} takes {list(axes)}; it must take pictures of 4 axes, one or any number at a time"
        )
    if not set(kinds) <= set(TYPES):
        words = " and ".join(TensorProto.DataType.Name(kind) for kind in kinds)
        raise CheckpointError(f"{path} takes and makes {words}; it must be FLOAT, FLOAT16 or UINT8")
    return Ends(inputs[0].name, outputs[0].name, kinds[0], kinds[1], axes)


def _axes(value: ValueInfoProto) -> tuple[int | None, ...]:
    dimensions = value.type.tensor_type.shape.dim
    return tuple(dimension.dim_value if dimension.dim_value > 0 else None for dimension in dimensions)


def line(error: Exception) -> str:
    """What ONNX Runtime says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__


class Foreign:
    """The graph as its publisher runs it: one picture after another, brought to its axes and type by NumPy."""

    takes: Layout = "nchw"
    makes: Layout = "nchw"

    def __init__(self, path: Path, model: ModelProto, ends: Ends) -> None:
        self.path = path
        self.ends = ends
        try:
            self._runner = GraphRunner(model.SerializeToString())
        except Exception as error:  # ONNX Runtime's exceptions share no base of their own
            raise CheckpointError(f"{path} does not load in ONNX Runtime: {line(error)}") from error

    def raw(self, picture: Tensor) -> NDArray[Any]:
        """What it makes of one picture [1,3,h,w], with its own axes and type."""
        given = picture.transpose(0, 2, 3, 1) if self.takes == "nhwc" else picture
        kind = TYPES[self.ends.taken]
        given = np.floor(given + 0.5) if kind is np.uint8 else given
        array = cast(Tensor, np.ascontiguousarray(given).astype(kind))
        return self._runner({self.ends.input: array})[self.ends.output]

    def __call__(self, pixels: Tensor) -> Tensor:
        """What it makes of pictures [n,3,h,w], in axes as theirs, float32; CheckpointError where it fails."""
        try:
            rows = np.concatenate([self.raw(pixels[row : row + 1]) for row in range(len(pixels))]).astype(np.float32)
        except Exception as error:  # as above
            raise CheckpointError(f"{self.path} can't be run on {list(pixels.shape)}: {line(error)}") from error
        made: Tensor = rows.transpose(0, 3, 1, 2) if self.makes == "nhwc" else rows
        if made.shape != pixels.shape:
            raise CheckpointError(
                f"{self.path} makes {list(made.shape)} of {list(pixels.shape)}; sizes must be the same"
            )
        if not np.isfinite(made).all():
            raise CheckpointError(f"{self.path} makes values that are not finite of ordinary pictures")
        return made

    def makes_of(self, takes: Layout, default: int) -> Layout | None:
        """The order of axes in which it makes a picture of one of that order, of `default` pixels where sides are free.

        None where it can't be run so, or makes no picture of the same size.
        """
        height, width = (side or default for side in self.ends.axes[SIDES[takes]])
        self.takes = takes
        try:
            made = self.raw(np.zeros((1, 3, height, width), np.float32)).shape
        except Exception:  # ONNX Runtime's exceptions share no base of their own; and another order may run
            return None
        shapes: dict[Layout, tuple[int, ...]] = {"nchw": (1, 3, height, width), "nhwc": (1, height, width, 3)}
        return next((makes for makes, shape in shapes.items() if made == shape), None)

    @property
    def fixed(self) -> list[int]:
        """Its sides as far as they are fixed."""
        return [side for side in self.ends.axes[SIDES[self.takes]] if side is not None]
