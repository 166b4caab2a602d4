"""One ONNX graph in onnxruntime, on the device that was asked for; a GPU that silently became a CPU is an error here.

The graph's bytes are hashed once more as they are loaded, so what runs is what the manifest names, even while the
folder is being replaced. onnxruntime itself refuses weights outside the bundle's folder and operators it does not know.
"""

import logging
import os
import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from models.bundle.archive import Bundle, BundleError
from models.bundle.manifest import Manifest
from worker.errors import EngineError

logger = logging.getLogger(__name__)

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"

Shape = tuple[int | None, ...]


class ProviderMissing(EngineError):
    """The device that was asked for does not work here."""


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
        self._output = "logits" if graph == bundle.manifest.classifier else "translated"
        folder = bundle.graph(graph).parent
        self._session = _open(content, folder, self._label, device=device, threads=threads or cores())
        _check(self._session, bundle.manifest, graph, self._label)
        self.bytes = len(content)
        self._turn = threading.Lock()

    @property
    def provider(self) -> str:
        """The execution provider that the graph really runs on, as onnxruntime names it."""
        return str(self._session.get_providers()[0])

    def run(self, pixels: NDArray[np.float32], labels: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Pixels float32 [n,3,h,w] (and labels [n,c]) to pixels of the same shape, or to logits [n,c].

        Raises EngineError where the graph fails, gives another shape, or a value that is not finite.
        """
        inputs = {"pixels": pixels} if labels is None else {"pixels": pixels, "labels": labels}
        try:
            with self._turn:
                output: NDArray[np.float32] = self._session.run([self._output], inputs)[0]
        except Exception as error:  # onnxruntime's exceptions share no base of their own
            raise EngineError(f"{self._label} failed: {_reason(error)}") from error
        expected = pixels.shape if self._output == "translated" else (len(pixels), *output.shape[1:])
        if output.shape != expected:
            raise EngineError(f"{self._label} made {list(output.shape)} of {list(pixels.shape)}")
        if not np.isfinite(output).all():
            raise EngineError(f"{self._label} made values that are not finite")
        return output


def cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """The cores that this process may use: its affinity, and a container's CPU quota rounded up."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, _quota(quota, otherwise=allowed)))


def label_width(manifest: Manifest) -> int:
    """Columns of the `labels` that a graph takes: the domains, then the masks of joint training."""
    return len(manifest.label_order) + len(manifest.mask_columns)


def providers() -> str:
    """ONNX Runtime's version and the execution providers that it has, for people."""
    return f"{onnxruntime.__version__} offers {', '.join(onnxruntime.get_available_providers())}"


def has_gpu(device: str) -> bool:
    """Whether sessions for `device` will try a GPU here; one that then does not work shows only in a session."""
    return device != "cpu" and CUDA in onnxruntime.get_available_providers()


def _quota(file: Path, *, otherwise: int) -> int:
    try:
        quota, period = file.read_text().split()
        return otherwise if quota == "max" else -(-int(quota) // int(period))
    except (OSError, ValueError):  # no control groups here, or none of version 2
        return otherwise


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
    options.log_severity_level = 3
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


def _check(session: onnxruntime.InferenceSession, manifest: Manifest, graph: str, label: str) -> None:
    inputs, outputs = _expected(manifest, graph)
    _check_values("input", session.get_inputs(), inputs, label)
    _check_values("output", session.get_outputs(), outputs, label)


def _expected(manifest: Manifest, graph: str) -> tuple[dict[str, Shape], dict[str, Shape]]:
    """Inputs and outputs by name; an axis that is None must be dynamic, a number must be that or dynamic."""
    size = manifest.picture.size
    if graph == manifest.classifier:
        return {"pixels": (None, 3, size, size)}, {"logits": (None, len(manifest.label_order))}
    side = None if manifest.picture.free else size
    inputs: dict[str, Shape] = {"pixels": (None, 3, side, side)}
    if manifest.graphs[graph].labels:
        inputs["labels"] = (None, label_width(manifest))
    return inputs, {"translated": (None, 3, side, side)}


def _check_values(kind: str, found: Sequence[Any], expected: Mapping[str, Shape], label: str) -> None:
    names = {value.name for value in found}
    if names != set(expected):
        raise EngineError(f"{label} has {kind}s {sorted(names)}, but the manifest asks for {sorted(expected)}")
    for value in found:
        shape = expected[value.name]
        if value.type != "tensor(float)":
            raise EngineError(f"{label}: {kind} {value.name!r} is {value.type}, but must be tensor(float)")
        if len(value.shape) != len(shape) or not all(map(_fits, value.shape, shape)):
            wanted = ["dynamic" if axis is None else axis for axis in shape]
            raise EngineError(
                f"{label}: {kind} {value.name!r} has shape {value.shape}, but the manifest asks for {wanted}"
            )


def _fits(found: int | str | None, expected: int | None) -> bool:
    return not isinstance(found, int) or found == expected
