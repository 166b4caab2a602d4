"""Foreign ONNX graphs of any axes, types, range and batch become bundles; the importer finds what the user omits."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper
from support.foreign import NCHW, NHWC, SIDE, byte_darkening, convolution, convolved, half_convolution, node
from support.graphs import Axes, model
from support.importing import difference, noise
from torch import Tensor

from models.bundle import archive
from models.bundle.manifest import Picture
from models.errors import CheckpointError, ExportError, ModelError, OptionsError
from models.export.bundle import Facts
from models.export.graphs import GraphRunner
from models.imports import surgery
from models.imports.imported import Imported, write
from models.imports.onnx import Hints, convert, parse_hints

LIMIT = 1e-5
LEVEL = 2 / 255


def imported(folder: Path, graph: ModelProto, hints: Hints | None = None) -> Imported:
    """An import of the graph."""
    onnx.save_model(graph, folder / "any.onnx")
    return convert(folder / "any.onnx", "hayao", hints or Hints())


def served(found: Imported, pixels: Tensor) -> Tensor:
    """What the bundle's graph makes."""
    return torch.from_numpy(GraphRunner(found.graphs["generator"].graph)({"pixels": pixels.numpy()})["translated"])


def summary(found: Imported) -> str:
    """What was found, in words."""
    return found.sources["generator"].summary


ONE = np.array([1, 3, SIDE, SIDE], np.int64)
UPWARDS = [node("Mul", "made", "scaled", "scale"), node("Add", "scaled", "out", "shift")]


def scaled(factor: float, summand: float) -> dict[str, NDArray[Any]]:
    """The constants of UPWARDS."""
    return {"scale": np.array(factor, np.float32), "shift": np.array(summand, np.float32)}


@dataclass(frozen=True)
class Case:
    """A graph, its expected summary, and its output for pixels in the range of the summary."""

    graph: ModelProto
    found: str
    makes: Callable[[Tensor], Tensor]
    hints: Hints = field(default_factory=Hints)
    limit: float = LIMIT


CASES = {
    "fixed, one at a time": Case(
        convolution(), "nchw of float32, rgb, sides of 32, values -1..1; any batch", lambda x: convolved(x).tanh()
    ),
    "shapes within": Case(
        onnx.shape_inference.infer_shapes(convolution()),
        "nchw of float32, rgb, sides of 32, values -1..1; any batch",
        lambda x: convolved(x).tanh(),
    ),
    "axes of TensorFlow": Case(
        convolution(NHWC), "nhwc of float32, rgb, sides of 32, values -1..1; any batch", lambda x: convolved(x).tanh()
    ),
    "axes that turn": Case(
        convolution(NHWC, then=[node("Identity", "made", "out")], made_axes=NCHW),
        "nhwc of float32, rgb, sides of 32, values -1..1; any batch",
        lambda x: convolved(x).tanh(),
    ),
    "free": Case(
        convolution(("n", 3, "h", "w")),
        "nchw of float32, rgb, sides of any multiple of 1 pixels, 256 are served, values -1..1; any batch",
        lambda x: convolved(x).tanh(),
    ),
    "axes without numbers": Case(
        convolution(("a", "b", "c", "d")),
        "nchw of float32, rgb, sides of any multiple of 1 pixels, 64 are served, values -1..1; any batch",
        lambda x: convolved(x).tanh(),
        Hints(size=64),
    ),
    "a batch of one, held fast": Case(
        convolution(then=[node("Reshape", "made", "out", "one")], constants={"one": ONE}),
        "nchw of float32, rgb, sides of 32, values -1..1; one picture after another",
        lambda x: convolved(x).tanh(),
    ),
    "0 to 1": Case(
        convolution(activation="Sigmoid"),
        "nchw of float32, rgb, sides of 32, values 0..1; any batch",
        lambda x: convolved(x).sigmoid(),
    ),
    "0 to 255": Case(
        convolution(activation="Sigmoid", then=UPWARDS, constants=scaled(255, 0)),
        "nchw of float32, rgb, sides of 32, values 0..255; any batch",
        lambda x: 255 * convolved(x).sigmoid(),
        limit=255 * LIMIT,
    ),
    "-1 to 1 in, 0 to 1 out": Case(
        convolution(activation="Sigmoid"),
        "nchw of float32, bgr, sides of 32, values -1..1, makes 0..1, which is scaled to that; any batch",
        lambda x: 2 * convolved(x).sigmoid() - 1,
        Hints(range=(-1, 1), channels="bgr"),
    ),
    "half precision": Case(
        half_convolution(),
        "nchw of float16, rgb, sides of 32, values -1..1; any batch",
        lambda x: convolved(x).tanh(),
        limit=LEVEL,
    ),
    "bytes": Case(
        byte_darkening(),
        "nhwc of uint8, rgb, sides of 32, values 0..255; any batch",
        lambda x: (x / 2).floor(),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_is_served_is_what_the_graph_makes(tmp_path: Path, case: Case) -> None:
    """The bundle's graph takes and gives float32 pixels [n,3,h,w] in any batch, and the summary says what was found."""
    found = imported(tmp_path, case.graph, case.hints)
    assert summary(found) == case.found
    low, high = found.picture.range
    pixels = (low + (noise(3, SIDE, SIDE) + 1) / 2 * (high - low)).round() if high == 255 else noise(3, SIDE, SIDE)
    assert difference(served(found, pixels), case.makes(pixels)) <= case.limit


def test_levels_that_arithmetic_left_just_below_are_whole(tmp_path: Path) -> None:
    """A byte graph gets 255 for 254.99998."""
    below = torch.full((1, 3, SIDE, SIDE), 254.99998)
    assert difference(served(imported(tmp_path, byte_darkening()), below), torch.full_like(below, 127)) == 0
    below = torch.full((1, 3, SIDE, SIDE), 253.99998)
    assert difference(served(imported(tmp_path, byte_darkening()), below), torch.full_like(below, 127)) == 0


def test_the_bundle_is_complete(tmp_path: Path) -> None:
    """One domain, one graph, the layout that was found; precision, card and hash."""
    found = imported(tmp_path, convolution(), Hints(channels="bgr"))
    measured = write(found, tmp_path / "hayao", "fp16", Facts(title="Hayao"))
    bundle = archive.read(tmp_path / "hayao")
    assert [domain.name for domain in bundle.manifest.domains] == ["hayao"]
    assert bundle.manifest.picture == Picture(size=SIDE, channels="bgr")
    assert (bundle.manifest.family, bundle.manifest.precision) == ("onnx", "fp16")
    assert measured["generator fp16"] > 60
    assert "Imported from an ONNX graph; trained elsewhere." in bundle.path("README.md").read_text()


def test_half_precision_stays_what_it_is(tmp_path: Path) -> None:
    """A graph with half-precision weights makes a fp16 bundle."""
    write(imported(tmp_path, half_convolution()), tmp_path / "half", "fp32", Facts())
    assert archive.read(tmp_path / "half").manifest.precision == "fp16"


ANY: Axes = ("n", 3, SIDE, SIDE)
COARSE = model(
    [node("Mul", "pixels", "translated", "much")],
    inputs={"pixels": ANY},
    outputs={"translated": ANY},
    initializers=[numpy_helper.from_array(np.full(3, 1e6, np.float32).reshape(3, 1, 1), "much")],
)


def test_a_graph_that_can_not_be_halved_is_refused(tmp_path: Path) -> None:
    """fp16 is refused for values beyond half precision and for graphs that the converter breaks."""
    found = imported(tmp_path, convolution())
    whole = found.graphs["generator"]
    torn = (whole.graph[:-9], r"can't be converted to fp16 \(.*\); take fp32")
    coarse = (COARSE.SerializeToString(), r"fp16 has -\d+\.\d dB PSNR to fp32 in translated, less than 45; take fp32")
    for graph, message in (torn, coarse):
        with pytest.raises(ExportError, match=message):
            write(
                replace(found, graphs={"generator": replace(whole, graph=graph)}), tmp_path / "bundle", "fp16", Facts()
            )
    assert not (tmp_path / "bundle").exists()


def test_data_of_other_files_are_merged(tmp_path: Path) -> None:
    """Weights that lie beside the graph come into the bundle's one file."""
    folder = tmp_path / "spread"
    folder.mkdir()
    onnx.save_model(
        convolution(), folder / "any.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    found = convert(folder / "any.onnx", "hayao", Hints())
    assert (folder / "weights.bin").exists()
    pixels = noise(1, SIDE, SIDE)
    assert difference(served(found, pixels), convolved(pixels).tanh()) <= LIMIT


def test_pictures_do_not_see_their_neighbours(tmp_path: Path) -> None:
    """A graph that averages over its batch, as batch norm in training mode does, takes one picture after another."""
    mean = helper.make_node("ReduceMean", ["made"], ["mean"], axes=[0, 2, 3])
    graph = convolution(("n", 3, SIDE, SIDE), then=[mean, node("Sub", "made", "out", "mean")])
    found = imported(tmp_path, graph, Hints(range=(-1, 1)))
    assert summary(found).endswith("one picture after another")
    pixels = noise(3, SIDE, SIDE)
    made = convolved(pixels).tanh()
    assert difference(served(found, pixels), made - made.mean((2, 3), keepdim=True)) <= LIMIT


def test_a_loop_may_be_free_and_in_half_precision(tmp_path: Path) -> None:
    """Sides stay dynamic within the loop, and so does its precision."""
    mean = helper.make_node("ReduceMean", ["made"], ["mean"], axes=[0, 2, 3])
    graph = convolution(("n", 3, "h", "w"), then=[mean, node("Sub", "made", "out", "mean")])
    found = imported(tmp_path, graph, Hints(range=(-1, 1), size=64))
    assert served(found, noise(2, 40, 48)).shape == (2, 3, 40, 48)
    assert write(found, tmp_path / "loop", "fp16", Facts())["generator fp16"] > 60


def pooled(side: int) -> ModelProto:
    """A graph that needs sides of multiples of `side`: it shrinks by that, and enlarges again."""
    then = [
        helper.make_node("AveragePool", ["made"], ["small"], kernel_shape=[side, side], strides=[side, side]),
        helper.make_node("Resize", ["small", "", "scales"], ["out"], mode="nearest"),
    ]
    scales = np.array([1, 1, side, side], np.float32)
    return convolution(("n", 3, "h", "w"), then=then, constants={"scales": scales})


def test_the_multiple_of_free_sides_is_found(tmp_path: Path) -> None:
    """Running the graph finds the multiple of its sides; another side is refused."""
    assert imported(tmp_path, pooled(4)).picture == Picture(size=256, multiple=4, free=True)
    assert imported(tmp_path, pooled(4), Hints(size="free")).picture.free
    with pytest.raises(OptionsError, match=r"--image-size is 66, but .* needs multiples of 4"):
        imported(tmp_path, pooled(4), Hints(size=66))


def test_sides_that_only_seem_free_have_to_be_said(tmp_path: Path) -> None:
    """A graph with dynamic sides that runs at one of them alone."""
    graph = convolution((1, 3, "h", "w"), then=[node("Reshape", "made", "out", "one")], constants={"one": ONE})
    assert imported(tmp_path, graph, Hints(size=SIDE)).picture == Picture(size=SIDE)
    with pytest.raises(ModelError, match="makes no RGB picture"):
        imported(tmp_path, graph)


def test_what_lies_beside_the_picture_is_left_out(tmp_path: Path) -> None:
    """Outputs that are no pictures, constants that old graphs list as inputs, functions of the graph's own."""
    graph = convolution()
    graph.graph.output.append(helper.make_tensor_value_info("features", TensorProto.FLOAT, [1]))
    graph.graph.input.append(helper.make_tensor_value_info("kernel", TensorProto.FLOAT, [3, 3, 3, 3]))
    graph.ir_version = 3
    halve = helper.make_function(
        "mine", "Halve", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    graph.functions.append(halve)
    graph.opset_import.append(helper.make_opsetid("mine", 1))
    graph.graph.node[0].CopyFrom(helper.make_node("Halve", ["in"], ["x"], domain="mine"))
    pixels = noise(2, SIDE, SIDE)
    assert difference(served(imported(tmp_path, graph), pixels), convolved(2 * pixels).tanh()) <= LIMIT


IDENTITY = model([node("Identity", "in", "out")], inputs={"in": NCHW}, outputs={"out": NCHW})


def of(axes: Axes, kind: int = TensorProto.FLOAT) -> ModelProto:
    """A copying graph of these axes."""
    return model([node("Identity", "in", "out")], inputs={"in": axes}, outputs={"out": axes}, element=kind)


def with_two_inputs() -> ModelProto:
    graph = convolution()
    graph.graph.input.append(helper.make_tensor_value_info("labels", TensorProto.FLOAT, [1, 5]))
    return graph


def with_two_pictures() -> ModelProto:
    graph = convolution()
    graph.graph.output.append(helper.make_tensor_value_info("made", TensorProto.FLOAT, NCHW))
    return graph


def with_foreign_operator() -> ModelProto:
    graph = convolution()
    graph.graph.node[1].CopyFrom(helper.make_node("FusedConv", ["x", "kernel"], ["features"], domain="com.microsoft"))
    graph.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return graph


def with_sparse_weights() -> ModelProto:
    graph = convolution()
    values = numpy_helper.from_array(np.ones(1, np.float32), "sparse")
    places = numpy_helper.from_array(np.zeros(1, np.int64), "places")
    graph.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [9]))
    return graph


def of_opset(version: int, graph: ModelProto) -> ModelProto:
    graph.opset_import[0].version = version
    return graph


HELD = [node("Reshape", "made", "out", "one")]
BEYOND = convolution(then=UPWARDS, constants=scaled(4000, 0))
NOT_FINITE = convolution(then=[node("Log", "made", "out")])
ENLARGED = convolution(
    then=[helper.make_node("Resize", ["made", "", "twice"], ["out"], mode="nearest")],
    made_axes=(1, 3, 2 * SIDE, 2 * SIDE),
    constants={"twice": np.array([1, 1, 2, 2], np.float32)},
)

REFUSED = {
    "range not told": (IDENTITY, Hints(), r"does not show which values it takes \(0..1 from 0..1; -1..1 from -1..1;"),
    "range of nothing": (BEYOND, Hints(range=(-1, 1)), "not a usual range"),
    "range of bytes": (byte_darkening(), Hints(range=(-1, 1)), "--range is -1..1, but .* takes bytes"),
    "layout not told": (of((1, "a", "b", "c")), Hints(), "runs with either order of axes; say --layout nchw or nhwc"),
    "layout of others": (convolution(), Hints(layout="nhwc"), r"--layout is nhwc, but .* takes \[1, 3, 32, 32\]"),
    "side of others": (convolution(), Hints(size=64), "--image-size is 64, but .* takes 32 and no other"),
    "not free": (convolution(), Hints(size="free"), "--image-size is free, but .* takes 32 and no other"),
    "no square": (of((1, 3, 32, 64)), Hints(), "only squares are served"),
    "another size": (ENLARGED, Hints(), "makes no RGB picture of the same size"),
    "grey": (of((1, 1, 32, 32)), Hints(), "makes no RGB picture of the same size"),
    "four at a time": (of((4, 3, 32, 32)), Hints(), "one or any number at a time"),
    "three axes": (of((3, 32, 32)), Hints(), "pictures of 4 axes"),
    "whole numbers": (of(NCHW, kind=TensorProto.INT32), Hints(), "INT32 and INT32; it must be FLOAT, FLOAT16 or UINT8"),
    "two inputs": (with_two_inputs(), Hints(), r"takes 2 inputs \(in, labels\)"),
    "two pictures": (with_two_pictures(), Hints(), r"makes 2 outputs \(out, made\); exactly one"),
    "operators of others": (with_foreign_operator(), Hints(), r"not ONNX's own: com.microsoft.FusedConv"),
    "sparse": (with_sparse_weights(), Hints(), "has sparse weights"),
    "too old": (of_opset(6, convolution()), Hints(), "has opset 6; the oldest that runs is 7"),
    "too old to loop": (
        of_opset(12, convolution(then=HELD, constants={"one": ONE})),
        Hints(),
        "can't take several pictures",
    ),
    "not finite": (NOT_FINITE, Hints(range=(-1, 1)), "makes non-finite values"),
}


@pytest.mark.parametrize(("graph", "hints", "message"), REFUSED.values(), ids=REFUSED)
def test_what_can_not_be_served_is_refused(tmp_path: Path, graph: ModelProto, hints: Hints, message: str) -> None:
    """The error is one line that says why, and what to do."""
    with pytest.raises(ModelError, match=message) as refused:
        imported(tmp_path, graph, hints)
    assert "\n" not in str(refused.value)


def test_more_than_one_file_holds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is that of one ONNX file, 2 GiB; the data of other files count."""
    monkeypatch.setattr(surgery, "MAX_BYTES", 100)
    with pytest.raises(CheckpointError, match="has more than 100 bytes with its data"):
        imported(tmp_path, convolution())


def test_data_outside_the_folder_are_refused(tmp_path: Path) -> None:
    """A graph can't read a file outside its folder."""
    (tmp_path / "secret.bin").write_bytes(bytes(1000))
    folder = tmp_path / "graph"
    folder.mkdir()
    graph = convolution()
    kernel = graph.graph.initializer[0]
    kernel.ClearField("raw_data")
    kernel.data_location = TensorProto.EXTERNAL
    kernel.external_data.add(key="location", value="../secret.bin")
    with pytest.raises(CheckpointError, match="is not a readable ONNX file"):
        imported(folder, graph)


@pytest.mark.parametrize("content", [b"", b"no graph at all", None])
def test_what_is_no_graph_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """Other bytes, no bytes and no file are refused."""
    if content is not None:
        (tmp_path / "any.onnx").write_bytes(content)
    with pytest.raises(CheckpointError, match="is not a readable ONNX file"):
        convert(tmp_path / "any.onnx", "hayao", Hints())


@pytest.mark.parametrize(
    ("range_", "size", "message"),
    [
        ("1", None, "--range is '1'; it must be black's value and white's"),
        ("a,b", None, "--range is 'a,b'"),
        ("1,-1", None, "must rise from black to white"),
        ("nan,1", None, "must rise from black to white"),
        ("0,inf", None, "must rise from black to white"),
        (None, "wide", "--image-size is 'wide'; it must be a number of pixels, or free"),
        (None, "0", "--image-size is '0'"),
        (None, "-1", "--image-size is '-1'"),
    ],
)
def test_words_that_say_nothing_are_refused(range_: str | None, size: str | None, message: str) -> None:
    """The error names the option, its value and what it must be."""
    with pytest.raises(OptionsError, match=message):
        parse_hints(None, "rgb", range_, size)


def test_words_are_understood() -> None:
    """The hints of the command line are -1,1 and 256, or free."""
    assert parse_hints("nhwc", "bgr", "-1,1", "256") == Hints("nhwc", "bgr", (-1, 1), 256)
    assert parse_hints(None, "rgb", None, "free") == Hints(size="free")


def test_a_graph_makes_one_domain(tmp_path: Path) -> None:
    """Two names for one graph are refused."""
    with pytest.raises(OptionsError, match="--domains is 'a,b'; a graph makes one domain"):
        convert(tmp_path / "any.onnx", "a,b", Hints())
