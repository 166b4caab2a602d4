"""A network as an ONNX graph: writes it, halves its precision, runs it in ONNX Runtime and compares it."""

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxruntime.transformers.float16 import convert_float_to_float16

from models.bundle.manifest import Picture
from models.bundle.ports import PICTURES, Input, Latent
from models.errors import ExportError
from models.recipes.recipe import Exported

Tensor = NDArray[np.float32]
Tensors = Mapping[str, Tensor]
"""Tensors by the kinds of a graph's ports."""
Run = Callable[[Tensors], dict[str, Tensor]]
"""A graph or a network, from inputs to outputs."""

LARGEST_DIFFERENCE = 1e-4
"""Between a fp32 graph and its network: for pictures in tanh units, for all else relative to the largest value."""
LOWEST_PSNR = 45.0
"""Between a fp16 graph and its network, dB: for pictures over their range, for all else over the largest value."""

# Instance norm in half precision is wrong or overflows in several runtimes; Pad, Resize and Tanh lose for no gain.
_KEPT_IN_FP32 = ["InstanceNormalization", "BatchNormalization", "Tanh", "Sigmoid", "Pad", "Resize", "ReduceMean"]


class GraphRunner:
    """One ONNX graph on ONNX Runtime's CPU provider, for checks and figures; serving has its own engine."""

    def __init__(self, model: bytes | Path) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # a failure raises; the log would only repeat it
        source = model if isinstance(model, bytes) else str(model)
        self._session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        self._outputs = [value.name for value in self._session.get_outputs()]

    def __call__(self, inputs: Tensors) -> dict[str, Tensor]:
        """The outputs by name, given the inputs by name."""
        return dict(zip(self._outputs, self._session.run(None, dict(inputs)), strict=True))


def network(exported: Exported) -> Run:
    """The network in PyTorch, called with arrays."""

    def run(inputs: Tensors) -> dict[str, Tensor]:
        made = exported({kind: torch.from_numpy(array) for kind, array in inputs.items()})
        return {kind: tensor.numpy() for kind, tensor in made.items()}

    return run


def to_onnx(exported: Exported, picture: Picture) -> bytes:
    """The network as one ONNX file, weights inside; the batch is dynamic, and so are height and width if free.

    ExportError if the network gives other shapes than its ports say.
    """
    rows = [picture.row(port) for port in exported.inputs]
    batch = torch.export.Dim("n", min=1, max=4096)
    axes = [
        {0: batch} | {axis: torch.export.Dim.DYNAMIC for axis, length in enumerate(row, start=1) if length is None}
        for row in rows
    ]
    with _quiet_exporter():
        program = torch.onnx.export(
            exported.module.eval(),
            # Two rows: the exporter takes an axis of length 1 for one that never changes.
            tuple(torch.zeros(2, *(length or picture.size for length in row)) for row in rows),
            input_names=[port.kind for port in exported.inputs],
            output_names=[port.kind for port in exported.outputs],
            dynamic_shapes=tuple(axes),
            opset_version=20,
            dynamo=True,
            verbose=False,
        )
    model = cast(torch.onnx.ONNXProgram, program).model_proto
    for value, port in zip(model.graph.output, exported.outputs, strict=True):
        _, *made = (axis.dim_value or None for axis in value.type.tensor_type.shape.dim)
        if len(made) != len(row := picture.row(port)) or any(
            found not in (None, wanted) for found, wanted in zip(made, row, strict=True)
        ):
            raise ExportError(f"the network gives {port.kind} of shape {made}, but its port says {list(row)}")
    written = io.BytesIO()
    onnx.save_model(model, written)
    return written.getvalue()


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silences the exporter, which warns of unneeded packages and its own deprecations; errors still come through."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def to_fp16(graph: bytes) -> bytes:
    """Half-precision weights and arithmetic; inputs, outputs, norms and tanh stay in fp32."""
    model = onnx.load_model_from_string(graph)
    converted = convert_float_to_float16(
        model, keep_io_types=True, disable_shape_infer=True, op_block_list=_KEPT_IN_FP32
    )
    # For each node that wants a tensor in fp32 the converter adds one more cast with the same output name: keep one.
    nodes = {tuple(node.output): node for node in converted.graph.node}
    del converted.graph.node[:]
    converted.graph.node.extend(nodes.values())
    result: bytes = converted.SerializeToString()
    return result


def draw_inputs(
    inputs: Sequence[Input],
    rows: int,
    picture: Picture,
    random: np.random.Generator,
    *,
    latent: Latent | None = None,
    given: Tensors | None = None,
) -> dict[str, Tensor]:
    """Float32 rows for every input; draws those that `given` lacks.

    Pixels are uniform over the picture's range, labels 0 or 1, text is printable ASCII of any length up to the longest,
    padded with zeros; latents follow `latent`.
    """
    drawn = dict(given or {})
    for port in inputs:
        if port.kind in drawn:
            continue
        shape = (rows, *(length or picture.size for length in picture.row(port)))
        if port.kind == "pixels":
            values = random.uniform(*picture.range, shape)
        elif port.kind == "labels":
            values = random.integers(0, 2, shape).astype(np.float64)
        elif port.kind == "text":
            ends = random.integers(1, shape[1] + 1, (rows, 1))
            values = np.where(np.arange(shape[1]) < ends, random.integers(32, 127, shape), 0).astype(np.float64)
        elif latent is not None and latent.distribution == "uniform":
            values = random.uniform(-1, 1, shape)
        else:
            values = random.standard_normal(shape)
        drawn[port.kind] = values.astype(np.float32)
    return drawn


def compare(name: str, reference: Run, graph: bytes, inputs: Sequence[Tensors]) -> float:
    """The largest difference between graph and reference over the inputs; ExportError beyond the limit."""
    runner, largest = GraphRunner(graph), 0.0
    for given in inputs:
        made = runner(given)
        for kind, expected in reference(given).items():
            unit = 1.0 if kind in PICTURES else max(1.0, float(np.abs(expected).max()))
            difference = float(np.abs(made[kind] - expected).max()) / unit
            # Not `>`, which is false for a difference that is NaN.
            if not difference <= LARGEST_DIFFERENCE:
                raise ExportError(
                    f"graph {name} differs from the network in {kind} by {difference:.2e}, "
                    f"more than {LARGEST_DIFFERENCE:.0e}"
                )
            largest = max(largest, difference)
    return largest


def compare_fp16(name: str, reference: Run, graph: bytes, inputs: Sequence[Tensors], picture: Picture) -> float:
    """The lowest PSNR in dB between fp16 graph and reference over the inputs; ExportError below the limit."""
    runner, lowest = GraphRunner(graph), np.inf
    for given in inputs:
        made = runner(given)
        for kind, expected in reference(given).items():
            # The largest value of an output of zeros is 0, which can't be a peak: its error counts against 1.
            peak = picture.range[1] - picture.range[0] if kind in PICTURES else float(np.abs(expected).max()) or 1.0
            error = float(np.square(made[kind].astype(np.float64) - expected).mean())
            psnr = float(10 * np.log10(peak**2 / max(error, 1e-20)))
            # Not `<`, which is false for NaN.
            if not psnr >= LOWEST_PSNR:
                raise ExportError(
                    f"graph {name} in fp16 has {psnr:.1f} dB PSNR to fp32 in {kind}, "
                    f"less than {LOWEST_PSNR:.0f}; take fp32"
                )
            lowest = min(lowest, psnr)
    return lowest
