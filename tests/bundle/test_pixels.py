"""Picture to tensor and back: crops, resizing, ranges, channels, rounding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from models.bundle.manifest import Picture
from models.bundle.pixels import Square, crop_box, shrink, to_pixels, to_tensor, upright

RANGES = [(-1.0, 1.0), (0.0, 1.0), (0.0, 255.0), (-2.1, 2.64)]
EVERY_LEVEL = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
@pytest.mark.parametrize("span", RANGES)
def test_pixels_survive_the_way_to_the_tensor_and_back(span: tuple[float, float], channels: str) -> None:
    """Every level of every channel comes back as it was, in any range and channel order."""
    picture = Picture.model_validate({"size": 16, "range": span, "channels": channels})
    pixels = EVERY_LEVEL.copy()
    pixels[..., 1] = pixels[..., 1][:, ::-1]
    pixels[..., 2] //= 2
    np.testing.assert_array_equal(to_pixels(to_tensor(pixels, picture), picture), pixels)


@given(hnp.arrays(np.uint8, st.tuples(*[st.integers(1, 4)] * 3, st.just(3))))
def test_any_shape_survives(pixels: np.ndarray) -> None:
    """Batches of any shape, square or not, come back bit for bit."""
    picture = Picture(size=4, channels="bgr")
    np.testing.assert_array_equal(to_pixels(to_tensor(pixels, picture), picture), pixels)


@pytest.mark.parametrize("span", RANGES)
def test_black_and_white_are_the_ends_of_the_range(span: tuple[float, float]) -> None:
    """Level 0 is exactly the range's low end and level 255 its high end, as float32."""
    tensor = to_tensor(np.array([[[[0, 255, 0]]]], np.uint8), Picture(size=1, range=span))
    assert tensor.dtype == np.float32
    assert tensor[0, 0, 0, 0] == np.float32(span[0])
    assert tensor[0, 1, 0, 0] == pytest.approx(span[1], rel=1e-6)


def test_channels_are_planes_in_the_order_that_the_picture_names() -> None:
    """RGB pixels become [n,3,h,w] planes, red first for rgb and blue first for bgr."""
    pixels = np.zeros((2, 5, 7, 3), np.uint8)
    pixels[..., 0] = 255
    rgb = to_tensor(pixels, Picture(size=1))
    bgr = to_tensor(pixels, Picture(size=1, channels="bgr"))
    assert rgb.shape == bgr.shape == (2, 3, 5, 7)
    assert rgb[:, 0].min() == 1
    assert rgb[:, 1:].max() == -1
    assert bgr[:, 2].min() == 1
    assert bgr[:, :2].max() == -1


def test_tensors_are_rounded_half_up_and_clipped() -> None:
    """Halves go up, and what lies outside of the range, infinities too, becomes black or white."""
    values = np.array([0.5, 1.49, 1.5, -3.0, 256.0, np.inf, -np.inf, 254.5], np.float32).reshape(1, 1, 1, 8)
    tensor = values.repeat(3, axis=1)
    pixels = to_pixels(tensor, Picture(size=1, range=(0, 255)))
    assert pixels[0, 0, :, 0].tolist() == [1, 1, 2, 0, 255, 255, 0, 255]


def test_conversion_leaves_its_input_alone() -> None:
    """Neither direction writes into what it was given."""
    tensor = np.full((1, 3, 2, 2), 0.25, np.float32)
    to_pixels(tensor, Picture(size=2))
    assert (tensor == 0.25).all()


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from(["centre", "face"]))
def test_the_centre_crop_is_the_largest_centred_square(width: int, height: int, crop: str) -> None:
    """The box is square, as large as the shorter side, inside the picture, off the centre by half a pixel at most."""
    left, top, right, bottom = crop_box((width, height), crop)
    assert right - left == bottom - top == min(width, height)
    assert left >= 0
    assert top >= 0
    assert abs(left + right - width) <= 1
    assert abs(top + bottom - height) <= 1


def test_no_crop_is_the_whole_picture() -> None:
    """With `none` all of a picture of any aspect is resized to the square."""
    assert crop_box((7, 3), "none") == (0, 0, 7, 3)
    halves = Image.new("RGB", (40, 10), "red")
    halves.paste("blue", (20, 0, 40, 10))
    small = shrink(halves, Picture(size=8, crop="none"))
    assert small.shape == (8, 8, 3)
    assert small[:, 0].tolist() == [[255, 0, 0]] * 8
    assert small[:, -1].tolist() == [[0, 0, 255]] * 8


def test_a_picture_of_the_networks_size_is_not_resampled() -> None:
    """Shrinking to the same size gives the same pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    np.testing.assert_array_equal(shrink(Image.fromarray(pixels), Picture(size=32)), pixels)


def test_nothing_outside_of_the_box_has_influence() -> None:
    """Two pictures that agree inside the box, and nowhere else, shrink to the same pixels."""
    inside = np.random.default_rng(1).integers(0, 256, (90, 90, 3), np.uint8)
    results = []
    for surrounding in ("black", "white"):
        image = Image.new("RGB", (150, 120), surrounding)
        image.paste(Image.fromarray(inside), (30, 20))
        results.append(shrink(image, Picture(size=16), (30, 20, 120, 110)))
    np.testing.assert_array_equal(results[0], results[1])


@pytest.mark.parametrize("resize", ["bilinear", "bicubic", "lanczos"])
def test_shrinking_is_antialiased(resize: str) -> None:
    """Every filter makes an even grey from a fine checkerboard, also when it shrinks many-fold."""
    board = np.indices((256, 256)).sum(axis=0) % 2 * np.uint8(255)
    image = Image.fromarray(np.repeat(board[..., None], 3, axis=2).astype(np.uint8))
    small = shrink(image, Picture.model_validate({"size": 16, "resize": resize}))
    assert abs(small.astype(int) - 127.5).max() < 4


def test_only_rgb_is_shrunk() -> None:
    """An image in another mode is refused by name, instead of being converted silently."""
    with pytest.raises(ValueError, match="mode RGBA"):
        shrink(Image.new("RGBA", (4, 4)), Picture(size=2))


# --- turned squares


@given(
    st.tuples(*[st.floats(-100, 100)] * 2),
    st.floats(5, 300),
    st.floats(-3.1, 3.1),
    st.sampled_from([((0.385, 0.48), (0.615, 0.48)), ((0.3, 0.4), (0.65, 0.5))]),
)
def test_a_square_around_eyes_has_them_at_their_places(
    at: tuple[float, float],
    apart: float,
    angle: float,
    places: tuple[tuple[float, float], tuple[float, float]],
) -> None:
    """Wherever two eyes are, and however tilted, the square puts them where they are wanted."""
    other = (at[0] + apart * np.cos(angle), at[1] + apart * np.sin(angle))
    square = Square.around((at, other), places)
    np.testing.assert_allclose(square.place(np.array(places, np.float32), 1), (at, other), atol=0.01 + apart * 1e-4)


def test_a_square_that_is_not_turned_is_a_crop() -> None:
    """At its own size every pixel comes back as it was; beyond the picture the border's pixels are repeated."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8))
    pixels = np.asarray(picture)
    np.testing.assert_array_equal(upright(picture, Square(25, 20, 20), 20), pixels[10:30, 15:35])
    beyond = upright(picture, Square(0, 20, 20), 20)
    np.testing.assert_array_equal(beyond[:, 10:], pixels[10:30, :10])
    np.testing.assert_array_equal(beyond[:, :10], np.repeat(pixels[10:30, :1], 10, axis=1))


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_a_turned_square_is_turned_upright(degrees: int) -> None:
    """What was turned clockwise with the picture stands as before."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8))
    turned = picture.rotate(-degrees)
    made = upright(turned, Square(20, 20, 40, np.deg2rad(degrees)), 40).astype(int)
    assert np.abs(made - np.asarray(picture))[1:-1, 1:-1].max() <= 1


def test_a_large_square_is_cut_without_aliasing() -> None:
    """Stripes as fine as pixels become grey, at any angle."""
    stripes = np.zeros((600, 600, 3), np.uint8)
    stripes[:, ::2] = 255
    for degrees in (0, 30, 45):
        made = upright(Image.fromarray(stripes), Square(300, 300, 400, np.deg2rad(degrees)), 32)
        assert np.abs(made.astype(int) - 127).max() <= 12


def test_a_square_beside_the_picture_is_refused() -> None:
    """There is nothing to cut."""
    with pytest.raises(ValueError, match="outside a picture of 40 x 30"):
        upright(Image.new("RGB", (40, 30)), Square(200, 10, 20), 16)
