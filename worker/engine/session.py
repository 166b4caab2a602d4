"""One ONNX graph in onnxruntime, on the requested device; a GPU that silently became a CPU is an error here.

The graph's bytes are hashed again as they are loaded, so that the manifest's graph runs even while the folder is being
replaced. onnxruntime itself refuses weights outside the bundle's folder and operators it does not know.
"""

import logging
import os
import re
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from models.bundle.archive import Bundle, BundleError
from models.bundle.manifest import Picture
from models.bundle.ports import Input, Output
from worker.errors import EngineError

logger = logging.getLogger(__name__)

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"

Floats = NDArray[np.float32]


class ProviderMissing(EngineError):
    """The requested device does not work here."""


class Session:
    """One graph, ready to run; safe to use from several threads, which then take turns."""

    def __init__(self, bundle: Bundle, graph: str, *, device: str, threads: int) -> None:
        """Loads the graph named `graph` in the manifest and checks its inputs and outputs against it.

        device: `cpu`, `cuda:N`, or `auto` (the first GPU if it works, else the CPU). threads: for one run on the CPU; 0
        takes every core that this process may use. Raises EngineError, or ProviderMissing for a GPU that does not work.
        """
        self._label = f"{bundle.ref}: graph {graph!r}"
        try:
            content = bundle.load(bundle.manifest.graphs[graph].file)
        except BundleError as error:
            raise EngineError(f"{self._label} does not load: {error}") from error
        self._ports, self._picture = bundle.manifest.graphs[graph], bundle.manifest.picture
        folder = bundle.graph(graph).parent
        self._session = _open(content, folder, self._label, device=device, threads=threads or cores())
        _check_ports("input", self._session.get_inputs(), self._ports.inputs, self._picture, self._label)
        _check_ports("output", self._session.get_outputs(), self._ports.outputs, self._picture, self._label)
        self.bytes = len(content)
        self._turn = threading.Lock()

    @property
    def provider(self) -> str:
        """The execution provider that the graph really runs on, as onnxruntime names it."""
        return str(self._session.get_providers()[0])

    def run(self, inputs: Mapping[str, Floats]) -> dict[str, Floats]:
        """Runs float32 inputs by kind, [n, ...] as their ports say, and returns all outputs by kind.

        Raises EngineError where the graph fails, gives another shape, or a value that is not finite.
        """
        kinds = [port.kind for port in self._ports.outputs]
        try:
            with self._turn:
                outputs: dict[str, Floats] = dict(zip(kinds, self._session.run(kinds, dict(inputs)), strict=True))
        except Exception as error:  # onnxruntime's exceptions share no base of their own
            raise EngineError(f"{self._label} failed: {_reason(error)}") from error
        rows = len(next(iter(inputs.values())))
        sides = inputs["pixels"].shape[2:] if "pixels" in inputs else ()
        for port in self._ports.outputs:
            made, expected = outputs[port.kind].shape, (rows, *self._picture.row(port, sides))
            if made != expected:
                raise EngineError(f"{self._label} made {port.kind} of shape {list(made)}, not {list(expected)}")
            if not np.isfinite(outputs[port.kind]).all():
                raise EngineError(f"{self._label} made values that are not finite in {port.kind}")
        return outputs


def cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """The cores that this process may use: its affinity, and a container's CPU quota rounded up."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):  # no control groups here, or none of version 2, or no quota ("max")
        most, period = (int(word) for word in quota.read_text().split())
        allowed = min(allowed, -(-most // period))
    return max(1, allowed)


def providers() -> str:
    """ONNX Runtime's version and the execution providers that it has, for people."""
    return f"{onnxruntime.__version__} offers {', '.join(onnxruntime.get_available_providers())}"


def has_gpu(device: str) -> bool:
    """Whether sessions for `device` will try a GPU here; one that then does not work shows only in a session."""
    return device != "cpu" and CUDA in onnxruntime.get_available_providers()


def _open(content: bytes, folder: Path, label: str, *, device: str, threads: int) -> onnxruntime.InferenceSession:
    if has_gpu(device):
        # Finds the libraries of the nvidia wheels, which the loader would not.
        onnxruntime.preload_dlls(directory="")
        index = device.removeprefix("cuda:") if device.startswith("cuda:") else "0"
        # The default search times every algorithm for each new shape, which stalls the first pictures for seconds.
        gpu = (CUDA, {"device_id": index, "cudnn_conv_algo_search": "HEURISTIC"})
        session = _create(content, folder, label, providers=[gpu, CPU], threads=1)
        if CUDA in session.get_providers():
            return session
        logger.warning("%s: the GPU build of onnxruntime is here, but no GPU works", label)
    if device.startswith("cuda"):
        raise ProviderMissing(
            f"{label} was to run on {device}, but onnxruntime has no working {CUDA} here; "
            "install onnxruntime-gpu and the NVIDIA driver that fits it, or set RECAST_DEVICE=cpu"
        )
    return _create(content, folder, label, providers=[CPU], threads=threads)


def _create(
    content: bytes,
    folder: Path,
    label: str,
    *,
    providers: Sequence[str | tuple[str, Mapping[str, str]]],
    threads: int,
) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Both keep the memory of the largest batch ever seen, and measured no gain: batch sizes vary from run to run.
    options.enable_mem_pattern = False
    options.enable_cpu_mem_arena = False
    # Idle threads that spin take the cores from decoding and encoding.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
    try:
        session = onnxruntime.InferenceSession(content, options, providers=list(providers))
    except Exception as error:  # onnxruntime's exceptions share no base of their own
        raise EngineError(f"{label} does not load: {_reason(error)}") from error
    # A GPU that fails in the middle of a run must fail that run, not go on ten times slower on the CPU.
    session.disable_fallback()
    return session


def _reason(error: Exception) -> str:
    """onnxruntime's message on one line, without its prefix and without paths."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error))
    return re.sub(r"\"?(?<![\w.])/[^\s\":]+\"?", "(a path)", " ".join(text.split()))


def _check_ports(
    side: str, found: Sequence[Any], ports: Sequence[Input | Output], picture: Picture, label: str
) -> None:
    """Raises EngineError where the inputs or outputs that onnxruntime found are not those of the manifest."""
    names, kinds = {value.name for value in found}, {port.kind for port in ports}
    if names != kinds:
        raise EngineError(f"{label} has {side}s {sorted(names)}, but the manifest asks for {sorted(kinds)}")
    shapes = {port.kind: (None, *picture.row(port)) for port in ports}
    for value in found:
        shape = shapes[value.name]
        if value.type != "tensor(float)":
            raise EngineError(f"{label}: {side} {value.name!r} is {value.type}, but must be tensor(float)")
        # A dynamic axis of the graph fits any number; a free one of the manifest must be dynamic.
        if len(value.shape) != len(shape) or any(
            isinstance(found, int) and found != wanted for found, wanted in zip(value.shape, shape, strict=True)
        ):
            wanted = ["dynamic" if axis is None else axis for axis in shape]
            raise EngineError(
                f"{label}: {side} {value.name!r} has shape {value.shape}, but the manifest asks for {wanted}"
            )
