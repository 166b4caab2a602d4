"""One bundle as an engine: exact pixels, batches of any length, and what it refuses."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support.bundles import HORSE_SHIFT, flip_bundle, toy_bundle, toy_picture, toy_translated

from models.bundle.archive import Bundle
from worker.engine.engine import Engine, buckets, run_in_parts
from worker.engine.session import CPU
from worker.errors import EngineError
from worker.settings import EngineSettings

Floats = NDArray[np.float32]


def engine_of(bundle: Bundle, *, max_batch: int = 4) -> Engine:
    """An engine on the CPU, with one thread."""
    return Engine(bundle, EngineSettings(device="cpu", threads=1, max_batch=max_batch))


def noise(rows: int, height: int = 32, width: int = 32) -> NDArray[np.uint8]:
    """The same random pictures each time."""
    return np.random.default_rng(7).integers(0, 256, (rows, height, width, 3), np.uint8)


@pytest.mark.parametrize("rows", [0, 1, 4, 9])
def test_translate_is_exact_for_any_number_of_pictures(tmp_path: Path, rows: int) -> None:
    """Every picture gets its own labels, in order, whether the batch is empty, full, or cut into several."""
    engine = engine_of(toy_bundle(tmp_path))
    labels = (np.arange(rows * 6).reshape(rows, 6) % 5 == 0).astype(np.float32)
    pixels = noise(rows)
    translated = engine.translate("generator", pixels, labels)
    assert translated.dtype == np.uint8
    np.testing.assert_array_equal(translated, toy_translated(pixels, labels))


def test_graphs_without_labels_translate(tmp_path: Path) -> None:
    """A bundle's graphs are told apart by name, and take pictures of any size where the bundle is free."""
    engine = engine_of(flip_bundle(tmp_path))
    pixels = noise(2, 8, 20)
    np.testing.assert_array_equal(engine.translate("zebra", pixels, None), 255 - pixels)
    brighter = np.minimum(pixels.astype(np.int64) + HORSE_SHIFT, 255)
    np.testing.assert_array_equal(engine.translate("horse", pixels, None), brighter)


def test_classify_gives_probabilities(tmp_path: Path) -> None:
    """The classifier's logits become a softmax within the group and sigmoids elsewhere."""
    engine = engine_of(toy_bundle(tmp_path))
    seen = engine.classify(np.stack([np.asarray(toy_picture({"blond", "glasses"})), np.asarray(toy_picture({"grey"}))]))
    assert seen.shape == (2, 6)
    assert seen[0] == pytest.approx([0, 1, 0, 0, 0, 1], abs=1e-3)
    assert seen[1] == pytest.approx([0, 0, 0, 1, 0, 0], abs=1e-3)
    assert seen[:, :4].sum(axis=1) == pytest.approx(1)
    assert engine.classify(noise(0)).shape == (0, 6)


def test_a_bundle_without_classifier_does_not_classify(tmp_path: Path) -> None:
    """Asking for labels where there is no classifier is the caller's error."""
    with pytest.raises(ValueError, match="flip@1 has no classifier"):
        engine_of(flip_bundle(tmp_path)).classify(noise(1))


@pytest.mark.parametrize(
    ("pixels", "labels", "words"),
    [
        (noise(1), None, r"labels of shape \(1, 6\), and got None"),
        (noise(2), np.zeros((1, 6), np.float32), r"labels of shape \(2, 6\), and got \(1, 6\)"),
        (noise(1), np.zeros((1, 5), np.float32), "and got"),
        (noise(1, 32, 16), np.zeros((1, 6), np.float32), "sides of 32, and got 32 x 16"),
        (noise(1)[0], np.zeros((32, 6), np.float32), r"uint8 \[n,h,w,3\], and got uint8 \[32, 32, 3\]"),
        (noise(1).astype(np.float32), np.zeros((1, 6), np.float32), "and got float32"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    tmp_path: Path, pixels: NDArray[np.uint8], labels: Floats | None, words: str
) -> None:
    """Wrong shapes, types and label widths are told by value and limit before anything runs."""
    with pytest.raises(ValueError, match=words):
        engine_of(toy_bundle(tmp_path)).translate("generator", pixels, labels)


def test_labels_for_a_graph_without_are_refused(tmp_path: Path) -> None:
    """A graph that takes no labels is given none."""
    with pytest.raises(ValueError, match=r"labels of shape None, and got \(1, 2\)"):
        engine_of(flip_bundle(tmp_path)).translate("zebra", noise(1), np.zeros((1, 2), np.float32))


def test_sides_must_be_multiples(tmp_path: Path) -> None:
    """A free bundle still takes only sides that its network can halve."""
    with pytest.raises(ValueError, match="multiples of 4, and got 8 x 6"):
        engine_of(flip_bundle(tmp_path)).translate("zebra", noise(1, 8, 6), None)


def test_an_unknown_graph_is_refused(tmp_path: Path) -> None:
    """The error lists the graphs that there are."""
    with pytest.raises(ValueError, match="flip@1 has no graph 'lion'; it has zebra, horse"):
        engine_of(flip_bundle(tmp_path)).translate("lion", noise(1), None)


def test_a_warm_engine_gives_the_same_pictures(tmp_path: Path) -> None:
    """Warming runs every graph and changes nothing."""
    engine = engine_of(toy_bundle(tmp_path))
    pixels, labels = noise(3), np.eye(6, dtype=np.float32)[:3]
    cold = engine.translate("generator", pixels, labels)
    engine.warm()
    np.testing.assert_array_equal(engine.translate("generator", pixels, labels), cold)


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
        engine.translate("zebra", noise(1), None)


def test_threads_may_share_an_engine(tmp_path: Path) -> None:
    """Calls from several threads at once each get their own pictures."""
    engine = engine_of(toy_bundle(tmp_path))

    def ask(column: int) -> bool:
        pixels, labels = noise(column + 1), np.eye(6, dtype=np.float32)[[column] * (column + 1)]
        return all(
            (engine.translate("generator", pixels, labels) == toy_translated(pixels, labels)).all() for _ in range(10)
        )

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(ask, range(6)))


def test_buckets_are_dense_at_the_low_end() -> None:
    """A GPU sees powers of two up to the largest batch, and that batch itself."""
    assert [buckets(most) for most in (1, 2, 3, 8, 12)] == [(1,), (1, 2), (1, 2, 3), (1, 2, 4, 8), (1, 2, 4, 8, 12)]


@pytest.mark.parametrize(
    ("rows", "sizes", "shapes"),
    [(3, (1, 2, 4), [4]), (9, (1, 2, 4), [4, 4, 1]), (6, (1, 2, 4), [4, 2]), (7, (), [4, 3]), (0, (1, 2, 4), [])],
)
def test_parts_are_padded_to_the_next_bucket(rows: int, sizes: tuple[int, ...], shapes: list[int]) -> None:
    """Each part has a bucket's length, labels are padded alike, and the padding never comes back."""
    seen: list[int] = []

    def run(pixels: Floats, labels: Floats | None) -> Floats:
        assert labels is not None
        assert (pixels[:, 0] == labels[:, 0]).all()
        seen.append(len(pixels))
        return pixels * 2

    numbers = np.arange(rows, dtype=np.float32)[:, None]
    parts = list(run_in_parts(run, numbers, numbers, most=4, sizes=sizes))
    assert seen == shapes
    assert [value for part in parts for value in part[:, 0]] == [2 * number for number in range(rows)]
