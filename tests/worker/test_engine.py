"""One bundle as an engine: exact pixels, batches of any length, and what it refuses."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support.bundles import HORSE_SHIFT, flip_bundle, toy_bundle, toy_picture, toy_translated

from models.bundle.archive import Bundle
from models.bundle.labels import probabilities
from worker.engine.engine import Engine, buckets, run_in_parts
from worker.engine.session import CPU
from worker.errors import EngineError
from worker.settings import EngineSettings
from worker.translator import Arrays

Floats = NDArray[np.float32]


def engine_of(bundle: Bundle, *, max_batch: int = 4) -> Engine:
    """An engine on the CPU, with one thread."""
    return Engine(bundle, EngineSettings(device="cpu", threads=1, max_batch=max_batch))


def noise(rows: int, height: int = 32, width: int = 32) -> NDArray[np.uint8]:
    """The same random pictures each time."""
    return np.random.default_rng(7).integers(0, 256, (rows, height, width, 3), np.uint8)


@pytest.mark.parametrize("rows", [1, 4, 9])
def test_pictures_are_exact_for_any_number_of_them(tmp_path: Path, rows: int) -> None:
    """Every picture gets its own labels, in order, whether the batch is short, full, or cut into several."""
    engine = engine_of(toy_bundle(tmp_path))
    labels = (np.arange(rows * 6).reshape(rows, 6) % 5 == 0).astype(np.float32)
    pixels = noise(rows)
    translated = engine.run("generator", {"pixels": pixels, "labels": labels})["translated"]
    assert translated.dtype == np.uint8
    np.testing.assert_array_equal(translated, toy_translated(pixels, labels))


def test_graphs_without_labels_run(tmp_path: Path) -> None:
    """A bundle's graphs are called by name, and take pictures of any size if the bundle allows it."""
    engine = engine_of(flip_bundle(tmp_path))
    pixels = noise(2, 8, 20)
    np.testing.assert_array_equal(engine.run("zebra", {"pixels": pixels})["translated"], 255 - pixels)
    brighter = np.minimum(pixels.astype(np.int64) + HORSE_SHIFT, 255)
    np.testing.assert_array_equal(engine.run("horse", {"pixels": pixels})["translated"], brighter)


def test_logits_come_as_they_are(tmp_path: Path) -> None:
    """The classifier's logits leave the engine as float32; probabilities are for the caller to make of them."""
    bundle = toy_bundle(tmp_path)
    pixels = np.stack([np.asarray(toy_picture({"blond", "glasses"})), np.asarray(toy_picture({"grey"}))])
    logits = engine_of(bundle).run("classifier", {"pixels": pixels})["logits"]
    assert logits.dtype == np.float32
    seen = probabilities(bundle.manifest, logits)
    assert seen[0] == pytest.approx([0, 1, 0, 0, 0, 1], abs=1e-3)
    assert seen[1] == pytest.approx([0, 0, 0, 1, 0, 0], abs=1e-3)


@pytest.mark.parametrize(
    ("pixels", "labels", "words"),
    [
        (noise(1), None, "takes labels, pixels, and got pixels"),
        (noise(2), np.zeros((1, 6), np.float32), r"labels as float32 \[2, 6\], and got float32 \[1, 6\]"),
        (noise(1), np.zeros((1, 5), np.float32), r"labels as float32 \[1, 6\], and got float32 \[1, 5\]"),
        (noise(1), np.zeros((1, 6)), "and got float64"),
        (noise(1, 32, 16), np.zeros((1, 6), np.float32), r"uint8 \[1, 32, 32, 3\], and got uint8 \[1, 32, 16, 3\]"),
        (noise(1)[0], np.zeros((32, 6), np.float32), r"uint8 \[32, 32, 32, 3\], and got uint8 \[32, 32, 3\]"),
        (noise(1).astype(np.float32), np.zeros((1, 6), np.float32), "and got float32"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    tmp_path: Path, pixels: NDArray[np.uint8], labels: Floats | None, words: str
) -> None:
    """Inputs that are missing or have another shape or type are named, with what is wanted, before anything runs."""
    inputs: Arrays = {"pixels": pixels} if labels is None else {"pixels": pixels, "labels": labels}
    with pytest.raises(ValueError, match=words):
        engine_of(toy_bundle(tmp_path)).run("generator", inputs)


def test_labels_for_a_graph_without_are_refused(tmp_path: Path) -> None:
    """A graph that takes no labels is given none."""
    with pytest.raises(ValueError, match="takes pixels, and got labels, pixels"):
        engine_of(flip_bundle(tmp_path)).run("zebra", {"pixels": noise(1), "labels": np.zeros((1, 2), np.float32)})


def test_sides_must_be_multiples(tmp_path: Path) -> None:
    """A free bundle still takes only sides that its network can halve."""
    with pytest.raises(ValueError, match="multiples of 4, and got 8 x 6"):
        engine_of(flip_bundle(tmp_path)).run("zebra", {"pixels": noise(1, 8, 6)})


def test_an_unknown_graph_is_refused(tmp_path: Path) -> None:
    """The error lists the graphs that there are."""
    with pytest.raises(ValueError, match="flip@1 has no graph 'lion'; it has zebra, horse"):
        engine_of(flip_bundle(tmp_path)).run("lion", {"pixels": noise(1)})


def test_a_warm_engine_gives_the_same_pictures(tmp_path: Path) -> None:
    """Warming runs every graph and changes nothing."""
    engine = engine_of(toy_bundle(tmp_path))
    pixels, labels = noise(3), np.eye(6, dtype=np.float32)[:3]
    cold = engine.run("generator", {"pixels": pixels, "labels": labels})["translated"]
    engine.warm()
    np.testing.assert_array_equal(engine.run("generator", {"pixels": pixels, "labels": labels})["translated"], cold)


def test_an_engine_tells_where_it_runs_and_what_it_weighs(tmp_path: Path) -> None:
    """The providers are the real ones, and the bytes those of the graphs on disk."""
    bundle = toy_bundle(tmp_path)
    engine = engine_of(bundle)
    assert engine.providers == (CPU,)
    assert engine.bytes == sum(bundle.graph(name).stat().st_size for name in ("generator", "classifier"))


def test_a_closed_engine_runs_nothing(tmp_path: Path) -> None:
    """After close() translating is an EngineError that names the bundle."""
    engine = engine_of(flip_bundle(tmp_path))
    engine.close()
    with pytest.raises(EngineError, match="flip@1 is closed"):
        engine.run("zebra", {"pixels": noise(1)})


def test_threads_may_share_an_engine(tmp_path: Path) -> None:
    """Calls from several threads at once each get their own pictures."""
    engine = engine_of(toy_bundle(tmp_path))

    def ask(column: int) -> bool:
        pixels, labels = noise(column + 1), np.eye(6, dtype=np.float32)[[column] * (column + 1)]
        expected = toy_translated(pixels, labels)
        runs = (engine.run("generator", {"pixels": pixels, "labels": labels})["translated"] for _ in range(10))
        return all((made == expected).all() for made in runs)

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(ask, range(6)))


def test_buckets_are_dense_at_the_low_end() -> None:
    """A GPU sees powers of two up to the largest batch, and that batch itself."""
    assert [buckets(most) for most in (1, 2, 3, 8, 12)] == [(1,), (1, 2), (1, 2, 3), (1, 2, 4, 8), (1, 2, 4, 8, 12)]


@pytest.mark.parametrize(
    ("rows", "sizes", "shapes"),
    [(3, (1, 2, 4), [4]), (9, (1, 2, 4), [4, 4, 1]), (6, (1, 2, 4), [4, 2]), (7, (), [4, 3])],
)
def test_parts_are_padded_to_the_next_bucket(rows: int, sizes: tuple[int, ...], shapes: list[int]) -> None:
    """Each part has a bucket's length, all inputs are padded alike, and the padding never comes back."""
    seen: list[int] = []

    def run(inputs: Mapping[str, Floats]) -> dict[str, Floats]:
        assert (inputs["pixels"][:, 0] == inputs["labels"][:, 0]).all()
        seen.append(len(inputs["pixels"]))
        return {"translated": inputs["pixels"] * 2, "logits": inputs["labels"]}

    numbers = np.arange(rows, dtype=np.float32)[:, None]
    parts = list(run_in_parts(run, {"pixels": numbers, "labels": numbers}, most=4, sizes=sizes))
    assert seen == shapes
    assert [value for part in parts for value in part["translated"][:, 0]] == [2 * number for number in range(rows)]
    assert [value for part in parts for value in part["logits"][:, 0]] == list(range(rows))
