"""A bundle's graphs run on ONNX Runtime's CPU provider, for checks and figures; serving has its own engine."""

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

Tensor = NDArray[np.float32]


class GraphRunner:
    """One ONNX graph, from bytes or a file."""

    def __init__(self, model: bytes | Path) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is raised
        source = model if isinstance(model, bytes) else str(model)
        self._session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        self._inputs = [value.name for value in self._session.get_inputs()]

    def __call__(self, *inputs: Tensor) -> Tensor:
        """pixels [n,3,h,w] and, where the graph takes them, labels [n,c] to its one output."""
        result: Tensor = self._session.run(None, dict(zip(self._inputs, inputs, strict=True)))[0]
        return result
