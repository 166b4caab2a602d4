"""Small real bundles for tests, made with onnx's helpers alone; each docstring says what happens to a pixel."""

import io
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from support.graphs import classifier_graph, labelled_graph

from models.bundle.archive import Bundle, write
from models.bundle.manifest import Domain, Graph, Manifest, Picture, Sample

HAIR = ("black", "blond", "brown", "grey")

TOY_LEVELS: dict[str, tuple[int, int, int]] = {
    "black": (-60, -60, -60),
    "blond": (60, 44, 0),
    "brown": (32, 0, -32),
    "grey": (16, 16, 16),
    "smiling": (0, 40, 0),
    "glasses": (0, 0, 48),
}
"""What each label of the toy bundle adds to red, green and blue, in levels of 0..255."""

EXTRA_LEVELS = (12, -12, 12)
"""The same, for each of `extra_domains`."""

HORSE_SHIFT = 20
"""What the flip bundle's `horse` adds to every channel, in levels of 0..255."""

PATCH = 8
"""Side of the toy classifier's corner patches, in pixels."""

Shape = list[str | int]
Constants = dict[str, NDArray[np.float32] | NDArray[np.int64]]

_LEVEL = 2.0 / 255.0  # one level of 0..255 in the tensors' range -1..1
_OPSET = 17
_IR_VERSION = 10


def toy_bundle(
    store: Path,
    *,
    name: str = "toy",
    version: str = "1",
    size: int = 32,
    extra_domains: tuple[str, ...] = (),
    folder: str = "",
) -> Bundle:
    """Write an attribute bundle into `store/folder` (default: `store/name`), replacing one that is there.

    Columns: black, blond, brown, grey (group hair), smiling, glasses, then `extra_domains` (at most 6, in no group).
    Aliases: `blonde` and `Blond_Hair` for blond, `Gray` for grey. Family stargan, size x size fixed, crop centre.

    - Graph `generator`: out = clip(in + sum over columns of label * levels, 0, 255) for each channel, in levels of
      0..255 (`TOY_LEVELS`, `EXTRA_LEVELS`), rounded half up; `toy_translated` computes it.
    - Graph `classifier`: logit = 10 * mean, in the tensors' range -1..1, of one channel of one 8x8 corner patch.
      Columns 0, 1, 2 read red, green, blue of the top left corner; 3, 4, 5 of the top right; 6, 7, 8 of the bottom
      left; 9, 10, 11 of the bottom right. So bright means yes and dark no; `toy_picture` paints wanted labels.
    - One sample, `samples/blond.png`: `toy_picture({"blond", "smiling"}, size=size)`.
    """
    order = (*TOY_LEVELS, *extra_domains)
    manifest = Manifest(
        name=name,
        version=version,
        title="Toy attributes",
        family="stargan",
        domains=tuple(_toy_domain(domain, column) for column, domain in enumerate(order)),
        graphs={
            "generator": labelled_graph("generator.onnx", len(order)),
            "classifier": classifier_graph("classifier.onnx", len(order)),
        },
        picture=Picture(size=size),
        classifier="classifier",
        label_order=order,
        licence="CC0-1.0",
        samples=(Sample(file="samples/blond.png", title="Blond and smiling"),),
    )
    sample = io.BytesIO()
    toy_picture({"blond", "smiling"}, size=size).save(sample, "png")
    files: dict[str, bytes | Path] = {
        "generator.onnx": _toy_generator(len(order), size),
        "classifier.onnx": _toy_classifier(len(order), size),
        "samples/blond.png": sample.getvalue(),
        "README.md": b"# Toy\n\nAdds levels to channels; for tests.\n",
    }
    return write(store / (folder or name), manifest, files)


def flip_bundle(store: Path, *, name: str = "flip", version: str = "1", folder: str = "") -> Bundle:
    """Write a fixed-target bundle into `store/folder` (default: `store/name`), replacing one that is there.

    Family cyclegan; domains zebra and horse, in no group, a graph each of the same name, without labels and classifier.
    Size 32, multiple 4, height and width dynamic, crop none, no samples.

    - Graph `zebra`: out = 255 - in, for every channel. Graph `horse`: out = min(in + 20, 255).
    """
    manifest = Manifest(
        name=name,
        version=version,
        title="Zebra and horse",
        family="cyclegan",
        domains=(Domain(name="zebra", graph="zebra"), Domain(name="horse", graph="horse")),
        graphs={"zebra": Graph(file="zebra.onnx"), "horse": Graph(file="horse.onnx")},
        picture=Picture(size=32, multiple=4, free=True, crop="none"),
        licence="CC0-1.0",
    )
    files: dict[str, bytes | Path] = {"zebra.onnx": _zebra(), "horse.onnx": _horse()}
    return write(store / (folder or name), manifest, files)


def toy_translated(pixels: NDArray[np.uint8], labels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """What the toy's generator makes of uint8 [n,h,w,3] and labels [n,c]; halves may differ by one level."""
    shift = labels.astype(np.float64) @ _toy_levels(labels.shape[1])
    moved = np.floor(pixels.astype(np.float64) + shift[:, None, None, :] + 0.5)
    return np.clip(moved, 0, 255).astype(np.uint8)


def toy_picture(labels: set[str], *, size: int = 32, fill: tuple[int, int, int] = (120, 110, 100)) -> Image.Image:
    """A plain RGB picture whose corners make the toy's classifier see exactly these labels (of the six named ones)."""
    pixels = np.full((size, size, 3), fill, np.uint8)
    values = [255 if name in labels else 0 for name in TOY_LEVELS]
    pixels[:PATCH, :PATCH] = values[:3]
    pixels[:PATCH, -PATCH:] = values[3:]
    return Image.fromarray(pixels)


def _toy_domain(name: str, column: int) -> Domain:
    aliases = {"blond": ("blonde", "Blond_Hair"), "grey": ("Gray",)}
    return Domain(name=name, group="hair" if name in HAIR else None, aliases=aliases.get(name, ()), column=column)


def _toy_levels(columns: int) -> NDArray[np.float64]:
    return np.array([*TOY_LEVELS.values(), *[EXTRA_LEVELS] * (columns - len(TOY_LEVELS))], np.float64)


def _toy_generator(columns: int, size: int) -> bytes:
    nodes = [
        helper.make_node("MatMul", ["labels", "levels"], ["shift"]),
        helper.make_node("Unsqueeze", ["shift", "plane_axes"], ["planes"]),
        helper.make_node("Add", ["pixels", "planes"], ["moved"]),
        helper.make_node("Clip", ["moved", "black", "white"], ["translated"]),
    ]
    constants: Constants = {
        "levels": (_toy_levels(columns) * _LEVEL).astype(np.float32),
        "plane_axes": np.array([2, 3], np.int64),
        **_black_and_white(),
    }
    pixels: Shape = ["n", 3, size, size]
    return _graph("toy", nodes, constants, {"pixels": pixels, "labels": ["n", columns]}, {"translated": pixels})


def _toy_classifier(columns: int, size: int) -> bytes:
    # One weight per column, channel and pixel: 10 / 64 inside the column's patch, 0 elsewhere.
    if columns > 12 or size < 2 * PATCH:
        raise ValueError(f"{columns} columns, size {size}: the corner patches allow 12 columns, from size {2 * PATCH}")
    weights = np.zeros((columns, 3, size, size), np.float32)
    for column in range(columns):
        corner, channel = divmod(column, 3)
        rows = slice(0, PATCH) if corner < 2 else slice(size - PATCH, size)
        across = slice(0, PATCH) if corner % 2 == 0 else slice(size - PATCH, size)
        weights[column, channel, rows, across] = 10.0 / PATCH**2
    nodes = [
        helper.make_node("Flatten", ["pixels"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
    ]
    constants: Constants = {"weights": np.ascontiguousarray(weights.reshape(columns, -1).T)}
    return _graph("toy_classifier", nodes, constants, {"pixels": ["n", 3, size, size]}, {"logits": ["n", columns]})


def _zebra() -> bytes:
    shape: Shape = ["n", 3, "h", "w"]
    nodes = [helper.make_node("Neg", ["pixels"], ["translated"])]
    return _graph("zebra", nodes, {}, {"pixels": shape}, {"translated": shape})


def _horse() -> bytes:
    shape: Shape = ["n", 3, "h", "w"]
    nodes = [
        helper.make_node("Add", ["pixels", "shift"], ["moved"]),
        helper.make_node("Clip", ["moved", "black", "white"], ["translated"]),
    ]
    constants: Constants = {"shift": np.array(HORSE_SHIFT * _LEVEL, np.float32), **_black_and_white()}
    return _graph("horse", nodes, constants, {"pixels": shape}, {"translated": shape})


def _black_and_white() -> Constants:
    return {"black": np.array(-1, np.float32), "white": np.array(1, np.float32)}


def _graph(
    name: str,
    nodes: list[onnx.NodeProto],
    constants: Constants,
    inputs: dict[str, Shape],
    outputs: dict[str, Shape],
) -> bytes:
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(key, TensorProto.FLOAT, shape) for key, shape in inputs.items()],
        [helper.make_tensor_value_info(key, TensorProto.FLOAT, shape) for key, shape in outputs.items()],
        [numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())
