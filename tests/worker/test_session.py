"""One graph in onnxruntime: what is loaded, what is refused, and with which words."""

import os
import re
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from support.bundles import flip_bundle, toy_bundle
from support.graphs import PIXELS, SIZE, bundle_of, model

from models.bundle.archive import Bundle
from worker.engine.session import CPU, CUDA, ProviderMissing, Session, cores, has_gpu
from worker.errors import EngineError


def opened(bundle: Bundle, graph: str = "generator", *, device: str = "cpu") -> Session:
    """The session of a bundle's graph, with one thread."""
    return Session(bundle, graph, device=device, threads=1)


def test_a_translator_runs(tmp_path: Path) -> None:
    """Pixels and labels go in as the manifest says, pixels of the same shape come out, for any batch size."""
    session = opened(toy_bundle(tmp_path))
    assert session.provider == CPU
    for rows in (1, 3):
        labels = np.zeros((rows, 6), np.float32)
        labels[:, 4] = 1  # smiling: 40 levels of green
        out = session.run({"pixels": np.zeros((rows, 3, 32, 32), np.float32), "labels": labels})["translated"]
        assert out.shape == (rows, 3, 32, 32)
        assert out[:, 1] == pytest.approx(40 * 2 / 255)
        assert not out[:, 0].any()


def test_a_classifier_runs(tmp_path: Path) -> None:
    """The graph that the manifest calls its classifier gives logits, one row a picture."""
    session = opened(toy_bundle(tmp_path), "classifier")
    assert session.run({"pixels": np.ones((2, 3, 32, 32), np.float32)})["logits"] == pytest.approx(
        np.full((2, 6), 10.0)
    )


def test_free_sides_run(tmp_path: Path) -> None:
    """A graph with dynamic height and width takes pictures of any size, one after the other."""
    session = opened(flip_bundle(tmp_path), "zebra")
    for height, width in ((4, 8), (36, 12), (4, 8)):
        assert (session.run({"pixels": np.ones((1, 3, height, width), np.float32)})["translated"] == -1).all()


def test_a_gpu_that_is_missing_is_an_error(tmp_path: Path) -> None:
    """Asking for CUDA where it does not work raises ProviderMissing, and never runs on the CPU instead."""
    if has_gpu("cuda:0"):
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(ProviderMissing, match=r"toy@1: graph 'generator' .*cuda:0.*RECAST_DEVICE=cpu"):
        opened(toy_bundle(tmp_path), device="cuda:0")


def test_auto_takes_what_is_there(tmp_path: Path) -> None:
    """`auto` runs on the GPU where onnxruntime has one, and on the CPU elsewhere."""
    provider = opened(toy_bundle(tmp_path), device="auto").provider
    assert provider in ({CUDA, CPU} if has_gpu("auto") else {CPU})


@pytest.mark.filterwarnings("ignore:Specified provider 'CUDAExecutionProvider'")
def test_a_gpu_that_is_promised_and_does_not_work_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the build names CUDA and the session still runs on the CPU, `cuda:0` fails; `auto` takes the CPU."""
    if has_gpu("cuda:0"):
        pytest.skip("this onnxruntime has CUDA")
    bundle = toy_bundle(tmp_path)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    with pytest.raises(ProviderMissing, match="no working CUDAExecutionProvider"):
        opened(bundle, device="cuda:0")
    assert opened(bundle, device="auto").provider == CPU


def test_cpu_never_looks_for_a_gpu() -> None:
    """With `cpu` no GPU is tried, whatever is installed; with the others, only where the build has CUDA."""
    assert not has_gpu("cpu")
    assert has_gpu("auto") == has_gpu("cuda:1") == (CUDA in onnxruntime.get_available_providers())


@pytest.mark.parametrize(
    ("quota", "most"),
    [("50000 100000", 1), ("150000 100000", 2), ("max 100000", None), ("nonsense", None), (None, None)],
)
def test_cores_obey_a_quota(tmp_path: Path, quota: str | None, most: int | None) -> None:
    """A container's quota, rounded up, bounds the cores; without one, or with an odd one, the affinity alone does."""
    file = tmp_path / "cpu.max"
    if quota is not None:
        file.write_text(quota)
    here = len(os.sched_getaffinity(0))
    assert cores(file) == min(here, most or here)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            model(inputs={"image": PIXELS}, nodes=[helper.make_node("Identity", ["image"], ["translated"])]),
            "has inputs",
        ),
        (
            model(outputs={"out": PIXELS}, nodes=[helper.make_node("Identity", ["pixels"], ["out"])]),
            r"has outputs \['out'\], but the manifest asks for \['translated'\]",
        ),
        (model(inputs={"pixels": PIXELS, "labels": ("n", 2)}), r"has inputs \['labels', 'pixels'\]"),
        (model(inputs={"pixels": (1, 3, 8, 8)}), r"'pixels' has shape \[1, 3, 8, 8\], .* \['dynamic', 3, 8, 8\]"),
        (model(inputs={"pixels": ("n", 3, 16, 16)}, outputs={"translated": ("n", 3, "h", "w")}), "asks for"),
        (model(inputs={"pixels": ("n", 3, 64)}, outputs={"translated": ("n", 3, 64)}), "asks for"),
        (model(element=TensorProto.FLOAT16), r"is tensor\(float16\), but must be tensor\(float\)"),
    ],
    ids=["input", "output", "labels", "batch", "side", "rank", "type"],
)
def test_a_graph_that_does_not_fit_the_manifest_is_refused(tmp_path: Path, content: ModelProto, words: str) -> None:
    """Other names, types, ranks, sides, or a fixed batch size are refused when the graph is loaded."""
    with pytest.raises(EngineError, match=f"odd@1: graph 'generator'.*{words}"):
        opened(bundle_of(tmp_path, content.SerializeToString()))


def test_the_label_width_must_fit(tmp_path: Path) -> None:
    """A graph whose labels have another width than the manifest's columns is refused."""
    content = model(inputs={"pixels": PIXELS, "labels": ("n", 3)}).SerializeToString()
    with pytest.raises(EngineError, match=r"'labels' has shape \['n', 3\], but the manifest asks for \['dynamic', 2\]"):
        opened(bundle_of(tmp_path, content, labels=True))


def test_free_sides_must_be_dynamic(tmp_path: Path) -> None:
    """A manifest that promises free sides needs a graph whose height and width are dynamic."""
    with pytest.raises(EngineError, match="'dynamic', 3, 'dynamic', 'dynamic'"):
        opened(bundle_of(tmp_path, model().SerializeToString(), free=True))


@pytest.mark.parametrize("content", [b"", b"no graph", b"ORTM" * 20])
def test_what_is_no_graph_is_refused(tmp_path: Path, content: bytes) -> None:
    """Other bytes than an ONNX graph are an EngineError that names the bundle and the graph."""
    with pytest.raises(EngineError, match="odd@1: graph 'generator' does not load: "):
        opened(bundle_of(tmp_path, content))


def test_foreign_operators_are_refused(tmp_path: Path) -> None:
    """Operators that need code from outside onnxruntime are refused by name."""
    node = helper.make_node("Foo", ["pixels"], ["translated"], domain="my.ops")
    with pytest.raises(EngineError, match=r"does not load: .*my\.ops:Foo"):
        opened(bundle_of(tmp_path, model([node], domains=("", "my.ops")).SerializeToString()))


def outside(store: Path, location: str) -> Bundle:
    """A bundle whose graph adds weights that it says lie at `location`; there are some beside the bundle."""
    weights = np.full((1, 3, 1, 1), 0.25, np.float32)
    tensor = numpy_helper.from_array(weights, "weights")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(weights.nbytes))):
        tensor.external_data.add(key=key, value=value)
    node = helper.make_node("Add", ["pixels", "weights"], ["translated"])
    bundle = bundle_of(store, model([node], initializers=[tensor]).SerializeToString())
    (store / "secret.bin").write_bytes(weights.tobytes())
    return bundle


@pytest.mark.parametrize("location", ["../secret.bin", "{store}/secret.bin", "link.bin", "none.bin"])
def test_weights_outside_the_bundle_are_refused(tmp_path: Path, location: str) -> None:
    """External data is read from the bundle's folder only: no `..`, no absolute path, no link; errors have no path."""
    bundle = outside(tmp_path, location.format(store=tmp_path))
    (bundle.folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(EngineError, match="does not load") as caught:
        opened(bundle)
    assert str(tmp_path) not in str(caught.value)
    assert not re.search(r"(?<![\w.])/\w", str(caught.value))


def test_weights_inside_the_bundle_are_read(tmp_path: Path) -> None:
    """External data in the bundle's own folder is loaded, whatever the current folder is."""
    bundle = outside(tmp_path, "weights.bin")
    (bundle.folder / "weights.bin").write_bytes((tmp_path / "secret.bin").read_bytes())
    assert (opened(bundle).run({"pixels": np.zeros((1, 3, SIZE, SIZE), np.float32)})["translated"] == 0.25).all()


def test_a_graph_that_was_replaced_is_refused(tmp_path: Path) -> None:
    """A graph whose bytes are no longer those of the manifest is not run under it."""
    bundle = bundle_of(tmp_path, model().SerializeToString())
    bundle.graph("generator").write_bytes(
        model([helper.make_node("Neg", ["pixels"], ["translated"])]).SerializeToString()
    )
    with pytest.raises(EngineError, match="does not fit its SHA-256"):
        opened(bundle)


def test_values_that_are_not_finite_are_an_error(tmp_path: Path) -> None:
    """Infinity or not-a-number never becomes a picture."""
    node = helper.make_node("Log", ["pixels"], ["translated"])
    session = opened(bundle_of(tmp_path, model([node]).SerializeToString()))
    assert not session.run({"pixels": np.ones((1, 3, SIZE, SIZE), np.float32)})["translated"].any()
    with pytest.raises(EngineError, match="odd@1: graph 'generator' made values that are not finite"):
        session.run({"pixels": np.zeros((1, 3, SIZE, SIZE), np.float32)})


def test_another_shape_is_an_error(tmp_path: Path) -> None:
    """A graph that promises dynamic sides and then changes them is found out when it runs."""
    node = helper.make_node("Transpose", ["pixels"], ["translated"], perm=[0, 1, 3, 2])
    axes = {"pixels": ("n", 3, "h", "w")}
    content = model([node], inputs=axes, outputs={"translated": ("n", 3, "w", "h")}).SerializeToString()
    session = opened(bundle_of(tmp_path, content, free=True))
    with pytest.raises(EngineError, match=r"made translated of shape \[1, 3, 6, 4\], not \[1, 3, 4, 6\]"):
        session.run({"pixels": np.zeros((1, 3, 4, 6), np.float32)})


def test_a_run_that_fails_is_an_engine_error(tmp_path: Path) -> None:
    """What onnxruntime raises comes out as EngineError with its reason."""
    with pytest.raises(EngineError, match=r"graph 'generator' failed: .*pixels"):
        opened(toy_bundle(tmp_path)).run(
            {"pixels": np.zeros((1, 3, 32, 31), np.float32), "labels": np.zeros((1, 6), np.float32)}
        )
