"""Imports any ONNX graph that makes a picture from a picture.

The importer finds what the user does not say: axes and sides from the input's shape and from running the graph, the
range of values from what the graph makes of pictures. Where more than one answer fits, the user must choose. Nothing in
a graph shows the order of colours, so RGB is assumed.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, ValueInfoProto

from models.bundle.manifest import Graph, Picture
from models.data.tables import domain
from models.errors import CheckpointError, ExportError, OptionsError
from models.export.graphs import LARGEST_DIFFERENCE, GraphRunner, Tensor
from models.imports.checkpoint import sha256
from models.imports.imported import Checked, Imported, Source, pictures
from models.imports.surgery import Ends, Graft, Layout, attach, can_loop, keep, load

Range = tuple[float, float]

_SIDE = 256
_MULTIPLES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_SMALLEST_TRIED = 32
# The usual ranges, the narrowest first, and how far values may lie outside of each, as not every graph clips.
_RANGES: dict[Range, float] = {(0.0, 1.0): 0.1, (-1.0, 1.0): 0.5, (0.0, 255.0): 255.0}
_BYTES: Range = (0.0, 255.0)
_LEAST_OF_BYTES = 32.0
_TYPES: dict[int, Any] = {TensorProto.FLOAT: np.float32, TensorProto.FLOAT16: np.float16, TensorProto.UINT8: np.uint8}
"""The element types that pictures may have."""

_CHANNELS: dict[Layout, int] = {"nchw": 1, "nhwc": 3}
"""The axis of the colours."""
_SIDES: dict[Layout, slice] = {"nchw": slice(2, 4), "nhwc": slice(1, 3)}
"""The axes of height and width."""
_LEVEL = 2 / 255
"""One of 255 levels in tanh units: half precision and bytes can't agree more closely."""


@dataclass(frozen=True)
class Hints:
    """What the user says about a graph; the importer finds what is None."""

    layout: Layout | None = None
    channels: Literal["rgb", "bgr"] = "rgb"
    range: Range | None = None
    """The graph's input values for black and white."""
    size: int | Literal["free"] | None = None
    """The side of its pictures, in pixels; `free` requires that it takes any."""


def parse_hints(layout: Layout | None, channels: Literal["rgb", "bgr"], range_: str | None, size: str | None) -> Hints:
    """Hints from the words of a command line, `-1,1` and `256` or `free`; OptionsError for others."""
    values: Range | None = None
    if range_ is not None:
        try:
            low, high = (float(part) for part in range_.split(","))
        except ValueError as error:
            raise OptionsError(f"--range is {range_!r}; it must be black's value and white's, such as -1,1") from error
        if not -np.inf < low < high < np.inf:
            raise OptionsError(f"--range is {range_!r}; it must rise from black to white")
        values = (low, high)
    if size is None or size == "free":
        return Hints(layout, channels, values, "free" if size else None)
    if not size.isdigit() or not int(size):
        raise OptionsError(f"--image-size is {size!r}; it must be a number of pixels, or free")
    return Hints(layout, channels, values, int(size))


class _Foreign:
    """The graph as its publisher runs it, one picture after another; NumPy makes its axes and type.

    The importer tries it to find the hints, and compares the bundle's graph with it.
    """

    takes: Layout = "nchw"
    makes: Layout = "nchw"

    def __init__(self, path: Path, model: ModelProto, ends: Ends) -> None:
        self.path = path
        self.ends = ends
        try:
            self._runner = GraphRunner(model.SerializeToString())
        except Exception as error:  # ONNX Runtime's exceptions share no base
            raise CheckpointError(f"{path} does not load in ONNX Runtime: {_line(error)}") from error

    def raw(self, picture: Tensor) -> NDArray[Any]:
        """The graph's output for one picture [1,3,h,w], with its own axes and type."""
        given = picture.transpose(0, 2, 3, 1) if self.takes == "nhwc" else picture
        kind = _TYPES[self.ends.taken]
        given = np.floor(given + 0.5) if kind is np.uint8 else given
        array = cast(Tensor, np.ascontiguousarray(given).astype(kind))
        return self._runner({self.ends.input: array})[self.ends.output]

    def __call__(self, pixels: Tensor) -> Tensor:
        """The graph's output for pictures [n,3,h,w], with the same axes, float32; CheckpointError where it fails."""
        try:
            rows = np.concatenate([self.raw(pixels[row : row + 1]) for row in range(len(pixels))]).astype(np.float32)
        except Exception as error:  # see above
            raise CheckpointError(f"{self.path} can't be run on {list(pixels.shape)}: {_line(error)}") from error
        made: Tensor = rows.transpose(0, 3, 1, 2) if self.makes == "nhwc" else rows
        if made.shape != pixels.shape:
            raise CheckpointError(
                f"{self.path} makes {list(made.shape)} from {list(pixels.shape)}; sizes must be the same"
            )
        if not np.isfinite(made).all():
            raise CheckpointError(f"{self.path} makes non-finite values from ordinary pictures")
        return made

    def makes_of(self, takes: Layout, default: int) -> Layout | None:
        """The output's order of axes if the input has the order `takes`, tried at `default` pixels if sides are free.

        None where it can't run so, or makes no picture of the same size.
        """
        height, width = (side or default for side in self.ends.axes[_SIDES[takes]])
        self.takes = takes
        try:
            made = self.raw(np.zeros((1, 3, height, width), np.float32)).shape
        except Exception:  # see above; another order may run
            return None
        shapes: dict[Layout, tuple[int, ...]] = {"nchw": (1, 3, height, width), "nhwc": (1, height, width, 3)}
        return next((makes for makes, shape in shapes.items() if made == shape), None)

    @property
    def fixed(self) -> list[int]:
        """Those of its sides that are fixed."""
        return [side for side in self.ends.axes[_SIDES[self.takes]] if side is not None]


def convert(file: Path, domains: str, hints: Hints) -> Imported:
    """The bundle of one graph; `domains` names what the graph makes. Raises ModelErrors."""
    if "," in domains:
        raise OptionsError(f"--domains is {domains!r}; a graph makes one domain")
    model = load(file)
    ends = _picture_ends(file, model)
    keep(model, ends)
    foreign = _Foreign(file, model, ends)
    _settle_layout(foreign, hints)
    side, multiple, free = _sides(foreign, hints.size)
    taken, made = _ranges(foreign, side, hints.range)
    picture = Picture(size=side, multiple=multiple, free=free, channels=hints.channels, range=taken)
    scale = (taken[1] - taken[0]) / (made[1] - made[0])
    graft = Graft(
        ends=foreign.ends,
        takes=foreign.takes,
        makes=foreign.makes,
        side=None if free else side,
        scale=scale,
        shift=taken[0] - made[0] * scale,
    )
    half = any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer)
    exact = not half and foreign.ends.taken == foreign.ends.made == TensorProto.FLOAT
    graph, loops = _check(model, graft, foreign, picture, LARGEST_DIFFERENCE if exact else _LEVEL)
    kind = np.dtype(_TYPES[foreign.ends.taken]).name
    sides = f"any multiple of {multiple} pixels, {side} are served" if free else side
    output = "" if made == taken else f", makes {_words(made)}, which is scaled to that"
    batch = "one picture after another" if loops else "any batch"
    summary = (
        f"{foreign.takes} of {kind}, {picture.channels}, sides of {sides}, values {_words(taken)}{output}; {batch}"
    )
    return Imported(
        family="onnx",
        domains=(domain(domains),),
        picture=picture,
        graphs={"generator": graph},
        origin="an ONNX graph",
        sources={"generator": Source(file.name, sha256(file), summary)},
        half=half,
    )


def _settle_layout(foreign: _Foreign, hints: Hints) -> None:
    """Sets the order of axes in and out: by the input's shape, and where that is open, by running the graph."""
    path, axes = foreign.path, foreign.ends.axes
    if hints.layout is not None and axes[_CHANNELS[hints.layout]] not in (3, None):
        raise OptionsError(f"--layout is {hints.layout}, but {path} takes {list(axes)}; leave the option out")
    by_shape: list[Layout] = [layout for layout, axis in _CHANNELS.items() if axes[axis] == 3]
    by_shape = by_shape or [layout for layout, axis in _CHANNELS.items() if axes[axis] is None]
    tried = [hints.layout] if hints.layout else by_shape
    defaults = (_SIDE, hints.size) if isinstance(hints.size, int) else (_SIDE,)
    running = {takes: makes for takes in tried for side in defaults if (makes := foreign.makes_of(takes, side))}
    if len(running) > 1:
        raise OptionsError(f"{path} takes {list(axes)}, and runs with either order of axes; say --layout nchw or nhwc")
    if not running:
        raise CheckpointError(f"{path} takes {list(axes)} and makes no RGB picture of the same size; it must")
    ((foreign.takes, foreign.makes),) = running.items()


def _sides(foreign: _Foreign, size: int | Literal["free"] | None) -> tuple[int, int, bool]:
    """The side of pictures, what sides must be multiples of, and whether they are free."""
    path, fixed = foreign.path, set(foreign.fixed)
    if len(fixed) > 1:
        raise CheckpointError(f"{path} takes {list(foreign.ends.axes)}; only squares are served")
    if fixed:
        (side,) = fixed
        if size not in (None, side):
            raise OptionsError(f"--image-size is {size}, but {path} takes {side} and no other; leave the option out")
        return side, 1, False
    side = size if isinstance(size, int) else _SIDE
    for multiple in _MULTIPLES:
        # An odd factor: the sides, which differ, are multiples of this number and of no higher power of 2.
        factor = -(-_SMALLEST_TRIED // multiple) | 1
        with suppress(CheckpointError):
            foreign(np.zeros((1, 3, multiple * factor, multiple * (factor + 2)), np.float32))
            break
    else:
        if not isinstance(size, int):
            raise OptionsError(f"{path} does not take sides of every multiple of {_MULTIPLES[-1]}; say --image-size N")
        return side, 1, False
    if side % multiple:
        raise OptionsError(f"--image-size is {side}, but {path} needs multiples of {multiple}")
    return side, multiple, True


def _ranges(foreign: _Foreign, side: int, given: Range | None) -> tuple[Range, Range]:
    """The ranges of the input's and of the output's values."""
    if foreign.ends.taken == TensorProto.UINT8:
        if given not in (None, _BYTES):
            raise OptionsError(f"--range is {_words(given)}, but {foreign.path} takes bytes; leave the option out")
        given = _BYTES
    if given is not None:
        low, high = _extremes(foreign, side, given)
        made = _range_of(low, high, given)
        if made is None:
            raise CheckpointError(
                f"{foreign.path}, given {_words(given)}, makes {_words((low, high))}, not a usual range"
            )
        return given, made
    extremes = {taken: _extremes(foreign, side, taken) for taken in _RANGES}
    fitting = [taken for taken, (low, high) in extremes.items() if _range_of(low, high, None) == taken]
    if len(fitting) != 1:
        outputs = "; ".join(f"{_words(made)} from {_words(taken)}" for taken, made in extremes.items())
        raise OptionsError(
            f"the output of {foreign.path} does not show which values it takes ({outputs}); "
            "say --range=LOW,HIGH as its publisher does, such as --range=-1,1"
        )
    return fitting[0], fitting[0]


def _extremes(foreign: _Foreign, side: int, taken: Range) -> Range:
    """The least and the greatest output value for black, white, noise and drawn people."""
    noise, _, people = pictures(Picture(size=side, range=taken))
    plain = [np.full_like(noise, value) for value in taken]
    made = foreign(np.concatenate([*plain, noise, people]))
    return float(made.min()), float(made.max())


def _range_of(low: float, high: float, taken: Range | None) -> Range | None:
    """The narrowest range that holds the values: the input's own if that is unusual, or a usual one; None if none."""
    ranges = _RANGES if taken is None or taken in _RANGES else {taken: 0.1 * (taken[1] - taken[0]), **_RANGES}
    for known, slack in ranges.items():
        if known[0] - slack <= low and high <= known[1] + slack and (known != _BYTES or high >= _LEAST_OF_BYTES):
            return known
    return None


def _check(model: ModelProto, graft: Graft, foreign: _Foreign, picture: Picture, limit: float) -> tuple[Checked, bool]:
    """The bundle's graph, compared with the foreign one, and whether it loops; ExportError where none agrees."""
    inputs = pictures(picture)
    if picture.free:
        inputs.append(np.ascontiguousarray(inputs[0][:, :, : -picture.multiple or None]))
    expected = [foreign(pixels) * np.float32(graft.scale) + np.float32(graft.shift) for pixels in inputs]
    reasons: list[str] = []
    for loop in (False, True) if can_loop(model) else (False,):
        graph = attach(model, graft, loop=loop).SerializeToString()
        try:
            runner = GraphRunner(graph)
            made = [runner({"pixels": pixels})["translated"] for pixels in inputs]
        except Exception as error:  # ONNX Runtime's exceptions share no base; the loop may run
            reasons.append(_line(error))
            continue
        if any(ours.shape != theirs.shape for ours, theirs in zip(made, expected, strict=True)):
            reasons.append("it gives pictures of another size")
            continue
        differences = (float(np.abs(ours - theirs).max()) for ours, theirs in zip(made, expected, strict=True))
        difference = max(differences) * 2 / (picture.range[1] - picture.range[0])
        if difference <= limit:
            entry = Graph(file="generator.onnx")
            return Checked(entry, graph, difference, [{"pixels": pixels} for pixels in inputs]), loop
        reasons.append(f"it differs by {difference:.2e} of half the range, more than {limit:.0e}")
    raise ExportError(f"{foreign.path} can't take several pictures at a time: {'; '.join(reasons)}")


def _words(values: Range) -> str:
    return f"{values[0]:g}..{values[1]:g}"


def _picture_ends(path: Path, model: ModelProto) -> Ends:
    """The graph's input and output picture; CheckpointError where there is not exactly one of each."""
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
    if not set(kinds) <= set(_TYPES):
        words = " and ".join(TensorProto.DataType.Name(kind) for kind in kinds)
        raise CheckpointError(f"{path} takes and makes {words}; it must be FLOAT, FLOAT16 or UINT8")
    return Ends(inputs[0].name, outputs[0].name, kinds[0], kinds[1], axes)


def _axes(value: ValueInfoProto) -> tuple[int | None, ...]:
    dimensions = value.type.tensor_type.shape.dim
    return tuple(dimension.dim_value if dimension.dim_value > 0 else None for dimension in dimensions)


def _line(error: Exception) -> str:
    """ONNX Runtime's message, on one line."""
    return " ".join(str(error).split()) or type(error).__name__
