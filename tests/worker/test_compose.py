"""The change at full size: exact where it can be, absent where nothing changed, soft at borders; and contact sheets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from support.pictures import difference, noise, scene

from models.bundle.manifest import Picture
from models.bundle.pixels import Square, crop_box, look, shrink
from worker.imaging import compose
from worker.imaging.compose import carry, sheet

Pixels = NDArray[np.uint8]


def whole(image: Image.Image) -> tuple[int, int, int, int]:
    """The box of the whole picture."""
    return (0, 0, *image.size)


def shifted(pixels: Pixels, levels: int) -> Pixels:
    """The pixels, brighter by some levels."""
    return np.clip(pixels.astype(np.int16) + levels, 0, 255).astype(np.uint8)


def random_pixels(seed: int, size: int = 16) -> Pixels:
    """Noise as the network's picture."""
    return np.asarray(noise(size, size, seed=seed))


# --- exactness


@given(st.integers(0, 10_000), st.integers(0, 10_000))
@settings(deadline=None, derandomize=True, max_examples=30)
def test_at_the_networks_size_the_result_is_the_networks_picture(first: int, second: int) -> None:
    """Where box and network agree in size, strength 1 gives `after` to the bit, whatever the network made."""
    original, after = noise(16, 16, seed=first), random_pixels(second)
    result = carry(original, whole(original), np.asarray(original), after, 1.0)
    assert np.array_equal(np.asarray(result), after)


@pytest.mark.parametrize("strength", [0.25, 0.5, 1.5, 2.0])
def test_at_the_networks_size_strength_is_linear(strength: float) -> None:
    """On the network's own size the result is x + strength * (G(x) - x), rounded and clipped."""
    original, after = noise(16, 16), random_pixels(1)
    before = np.asarray(original)
    result = carry(original, whole(original), before, after, strength)
    expected = before + strength * (after.astype(np.float64) - before)
    assert np.array_equal(np.asarray(result), np.clip(np.floor(expected + 0.5), 0, 255))


@pytest.mark.parametrize("size", [(16, 16), (50, 37), (9, 200), (5, 5), (1, 1)])
@pytest.mark.parametrize("case", ["strength 0", "no change"])
def test_no_change_gives_the_original_back(size: tuple[int, int], case: str) -> None:
    """Strength 0, or a network that changed nothing, leaves every bit of the original, at any size."""
    original = noise(*size)
    before = shrink(original, Picture(size=16, crop="none"))
    after, strength = (random_pixels(1), 0.0) if case == "strength 0" else (before, 1.7)
    result = carry(original, whole(original), before, after, strength)
    assert np.array_equal(np.asarray(result), np.asarray(original))


def test_the_original_is_not_written_to() -> None:
    """The original that was handed in stays as it was."""
    original = noise(64, 64)
    carry(original, whole(original), random_pixels(1), random_pixels(2), 1.0)
    assert np.array_equal(np.asarray(original), np.asarray(noise(64, 64)))


@pytest.mark.parametrize("scale", [1, 4, 7])
def test_far_from_the_change_every_bit_stays(scale: int) -> None:
    """A change of one patch moves nothing further away than two of the network's pixels."""
    original = noise(32 * scale, 32 * scale)
    before = shrink(original, Picture(size=32))
    after = before.copy()
    after[8:16, 12:20] = 255 - after[8:16, 12:20]
    result = carry(original, whole(original), before, after, 2.0)
    changed = np.any(difference(result, original), axis=-1)
    near = np.zeros_like(changed)
    near[6 * scale : 18 * scale, 10 * scale : 22 * scale] = True
    assert changed[8 * scale : 16 * scale, 12 * scale : 20 * scale].mean() > 0.9
    assert not changed[~near].any()


# --- detail


def fine_stripes(size: int = 256) -> Image.Image:
    """Grey with one-pixel stripes of +-20 levels: detail that a network of a quarter of the size cannot see."""
    return Image.fromarray(
        np.where(np.arange(size) % 2, 148, 108).astype(np.uint8)[None, :, None].repeat(size, 0).repeat(3, 2)
    )


def stripes_left(image: Image.Image) -> float:
    """How strong the stripes still are, in levels, in the picture's middle."""
    row = np.asarray(image)[128, 64:192, 1].astype(float)
    return float(np.abs(np.diff(row)).mean() / 2)


def test_a_weak_change_keeps_the_originals_detail() -> None:
    """Below four levels the change is added, and the fine detail stays."""
    original = fine_stripes()
    before = shrink(original, Picture(size=64))
    result = carry(original, whole(original), before, shifted(before, 3), 1.0)
    assert stripes_left(result) == pytest.approx(20, abs=0.5)
    assert np.asarray(result).mean() == pytest.approx(128 + 3, abs=0.5)


def test_a_strong_change_replaces_the_originals_detail() -> None:
    """Above forty levels only the network's own picture is seen."""
    original = fine_stripes()
    before = shrink(original, Picture(size=64))
    result = carry(original, whole(original), before, shifted(before, 60), 1.0)
    assert stripes_left(result) < 1
    assert np.asarray(result).mean() == pytest.approx(128 + 60, abs=0.5)


def test_detail_gives_way_by_degrees() -> None:
    """The stronger the change, the less detail is left; at half the strength, half of the lost detail stays."""
    original = fine_stripes()
    before = shrink(original, Picture(size=64))
    left = [
        stripes_left(carry(original, whole(original), before, shifted(before, levels), 1.0))
        for levels in (4, 15, 25, 45)
    ]
    assert left == sorted(left, reverse=True)
    half = carry(original, whole(original), before, shifted(before, 60), 0.5)
    assert stripes_left(half) == pytest.approx(10, abs=0.5)
    assert np.asarray(half).mean() == pytest.approx(128 + 30, abs=0.5)


def test_more_than_full_strength_does_not_invert_the_detail() -> None:
    """At strength 2 the change doubles, and the detail is gone, not inverted."""
    original = fine_stripes()
    before = shrink(original, Picture(size=64))
    result = carry(original, whole(original), before, shifted(before, 50), 2.0)
    assert stripes_left(result) < 1
    assert np.asarray(result).mean() == pytest.approx(128 + 100, abs=0.5)


# --- boxes


def test_outside_the_box_every_bit_stays() -> None:
    """Nothing changes outside the box."""
    original = noise(120, 80)
    box = crop_box(original.size, "centre")
    before = shrink(original, Picture(size=16), box)
    result = carry(original, box, before, shifted(before, 50), 1.0)
    changed = np.any(difference(result, original), axis=-1)
    assert changed[:, 20:100].any()
    assert not changed[:, :20].any()
    assert not changed[:, 100:].any()


def test_sides_inside_the_picture_are_feathered() -> None:
    """The change rises from zero at sides of the box inside the picture, and is full at the picture's edges."""
    original = Image.new("RGB", (400, 200), (100, 100, 100))
    before = np.full((16, 16, 3), 100, np.uint8)
    result = np.asarray(carry(original, (100, 0, 300, 200), before, shifted(before, 50), 1.0))[..., 0]
    assert np.unique(result, axis=0).shape[0] == 1  # top and bottom are the picture's own edges
    line = result[100].astype(int)
    assert line[99] == 100
    assert line[100] <= 101
    assert line[110] == line[200] == line[289] == 150
    assert (np.diff(line[99:111]) >= 0).all()
    assert line.tolist() == line[::-1].tolist()


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (3, 2), (2000, 700)])
def test_any_shape_of_picture_works(size: tuple[int, int]) -> None:
    """Pictures smaller than the network, very narrow ones and ones of several strips all take the change."""
    original = Image.new("RGB", size, (100, 100, 100))
    before = np.full((16, 16, 3), 100, np.uint8)
    result = carry(original, whole(original), before, shifted(before, 30), 1.0)
    assert np.unique(np.asarray(result)).tolist() == [130]


def test_strips_leave_no_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture computed in many strips equals one computed at once, up to rounding."""
    original = noise(150, 90)
    before, after = shrink(original, Picture(size=16, crop="none")), random_pixels(1)
    at_once = carry(original, whole(original), before, after, 1.0)
    monkeypatch.setattr(compose, "_STRIP", 150 * 7)
    in_strips = carry(original, whole(original), before, after, 1.0)
    assert difference(at_once, in_strips).max() <= 1
    assert difference(at_once, in_strips).mean() < 0.001


# --- contact sheet


def test_a_sheet_shows_every_picture_once_and_whole() -> None:
    """Each picture stands on the sheet unchanged, in reading order, the first at the top left."""
    pictures = [(f"name-{seed}", noise(60, 40, seed=seed)) for seed in range(5)]
    page = np.asarray(sheet(pictures))
    corners = [np.asarray(picture)[:3, :3].tobytes() for _, picture in pictures]
    found = {
        corners.index(page[y : y + 3, x : x + 3].tobytes()): (y, x)
        for y in range(page.shape[0] - 2)
        for x in range(page.shape[1] - 2)
        if page[y : y + 3, x : x + 3].tobytes() in corners
    }
    assert [found[place] for place in range(5)] == sorted(found.values())
    for place, (y, x) in found.items():
        assert np.array_equal(page[y : y + 40, x : x + 60], np.asarray(pictures[place][1]))


@pytest.mark.parametrize("count", [1, 2, 5, 7, 12, 41])
def test_a_sheet_has_about_the_shape_of_a_page(count: int) -> None:
    """For any number of pictures the sheet is neither very wide nor very tall, and no column is empty."""
    page = sheet([("name", Image.new("RGB", (64, 64), "black"))] * count)
    assert 0.4 < page.width / page.height < 2.5
    dark = np.any((np.asarray(page) < 20).all(axis=-1), axis=0)
    assert dark[-20:].any()


def test_labels_are_written_below_their_pictures() -> None:
    """Different labels give different sheets, and a label that is too long is made to fit its picture's width."""
    blank = Image.new("RGB", (128, 128), "white")
    short, other = sheet([("a", blank)]), sheet([("b", blank)])
    assert difference(short, other).any()
    long = sheet([("original", blank), ("a-rather-long-name-for-one", blank)])
    ink = np.flatnonzero((np.asarray(long.convert("L")) < 180).any(axis=0))
    assert ink.max() < long.width - 6


def test_pictures_of_different_sizes_are_centred() -> None:
    """A smaller picture stands in the middle of a cell of the largest one's size."""
    small = Image.new("RGB", (20, 10), "red")
    page = np.asarray(sheet([("large", Image.new("RGB", (60, 40), "blue")), ("small", small)]))
    blue, red = ((page == colour).all(axis=-1) for colour in ((0, 0, 255), (255, 0, 0)))
    rows = [np.flatnonzero(mask.any(axis=1)) for mask in (blue, red)]
    assert rows[1].mean() == rows[0].mean()
    assert red.sum() == 200


def test_a_sheet_of_a_picture_that_was_drawn_is_not_drawn_upon() -> None:
    """Making a sheet leaves the pictures as they were."""
    picture = scene()
    ImageDraw.Draw(picture).line((0, 0, 5, 5), fill="white")
    before = np.asarray(picture).copy()
    sheet([("original", picture), ("again", picture)])
    assert np.array_equal(np.asarray(picture), before)


# --- turned squares


@pytest.mark.parametrize("degrees", [0, 30, -75, 180])
@pytest.mark.parametrize("at", [(60.0, 50.0), (5.0, 90.0)])
def test_a_turned_squares_change_lies_in_it(degrees: int, at: tuple[float, float]) -> None:
    """An even change is there in full in the middle, fades out at the sides, and nothing beyond them moves a bit."""
    original = Image.new("RGB", (120, 100), (100, 100, 100))
    square = Square(*at, 60, np.deg2rad(degrees))
    before = look(original, Picture(size=32), square)
    result = np.asarray(carry(original, square, before, shifted(before, 80), 1.0))[..., 0].astype(int)
    rows, columns = np.mgrid[:100, :120] + 0.5
    within = square.find(np.stack([columns, rows], axis=-1).astype(np.float32), 1)
    depth = (0.5 - np.abs(within - 0.5)).min(axis=-1)
    assert (result[depth > 0.05] == 180).all()
    assert (result[depth < 0] == 100).all()
    assert 100 < result[(depth > 0.015) & (depth < 0.025)].mean() < 180


def test_a_turned_squares_pixels_are_not_turned() -> None:
    """Where the network changed nothing, detail finer than its pixels stays to the bit, whatever else it changed."""
    original = noise(200, 200)
    square = Square(100, 100, 150, 0.5)
    before = look(original, Picture(size=32), square)
    after = before.copy()
    after[:8] = 255 - after[:8]
    changed = difference(carry(original, square, before, after, 1.0), original).max(axis=-1) > 0
    rows, columns = np.nonzero(changed)
    heights = square.find(np.stack([columns + 0.5, rows + 0.5], axis=-1).astype(np.float32), 32)[:, 1]
    assert heights.max() < 10.5
    assert changed.any()


def test_a_square_beside_the_picture_changes_nothing() -> None:
    """Nothing of it is in the picture."""
    original, pixels = noise(40, 40), random_pixels(0)
    assert carry(original, Square(200, 20, 30, 0.3), pixels, random_pixels(1), 1.0) is original
