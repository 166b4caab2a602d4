"""Files become the network's pictures by the bundle's rule, whatever their mode, and are decoded once."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.bundle.manifest import Picture
from models.bundle.pixels import shrink
from models.data import pictures
from models.data.pictures import Pictures
from models.errors import DataError

PICTURE = Picture(size=16, crop="centre")


def noise(height: int = 20, width: int = 24) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def saved(image: Image.Image, path: Path) -> Path:
    image.save(path)
    return path


def test_pictures_are_decoded_by_the_bundles_rule(tmp_path: Path) -> None:
    """Training sees the bytes that serving sees."""
    path = saved(Image.fromarray(noise()), tmp_path / "a.png")
    assert (Pictures([path], PICTURE)[0] == shrink(Image.fromarray(noise()), PICTURE)).all()


def test_a_picture_is_decoded_once(tmp_path: Path) -> None:
    """What was decoded is kept, even when the file goes."""
    path = saved(Image.fromarray(noise()), tmp_path / "a.png")
    files = Pictures([path], PICTURE)
    before = files[0].copy()
    path.unlink()
    assert (files[0] == before).all()


def test_what_does_not_fit_is_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache holds the first pictures that fit into its bytes; the others are read when they are asked for."""
    monkeypatch.setattr(pictures, "CACHE_BYTES", 16 * 16 * 3)
    paths = [saved(Image.fromarray(noise()), tmp_path / name) for name in ("a.png", "b.png")]
    files = Pictures(paths, PICTURE)
    assert not files.fit
    for index, path in enumerate(paths):
        files[index]
        Image.new("RGB", (16, 16), "red").save(path)
    assert (files[0] != (255, 0, 0)).any()
    assert (files[1] == (255, 0, 0)).all()


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "1", "LA", "RGBA"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    """Grey, palette, CMYK, two-level and opaque pictures with alpha come out as Pillow shows them in RGB."""
    image = Image.fromarray(noise()).convert(mode)
    path = saved(image, tmp_path / ("a.tif" if mode == "CMYK" else "a.png"))
    assert (Pictures([path], PICTURE)[0] == shrink(image.convert("RGB"), PICTURE)).all()


def test_sixteen_bits_are_scaled(tmp_path: Path) -> None:
    """Half of 65535 is half of 255; plain conversion would clip it to white."""
    path = saved(Image.fromarray(np.full((16, 16), 32_768, np.uint16)), tmp_path / "a.png")
    assert (Pictures([path], PICTURE)[0] == 128).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_lies_over_white(tmp_path: Path, mode: str) -> None:
    """The colour below full transparency does not show."""
    image = Image.new("RGBA", (16, 16), (0, 0, 0, 0)).convert(mode)
    path = tmp_path / "a.png"
    if mode == "P":
        image.info["transparency"] = 0
    image.save(path)
    assert (Pictures([path], PICTURE)[0] == 255).all()


def test_pictures_are_turned_upright(tmp_path: Path) -> None:
    """A camera's EXIF orientation is applied, as serving does."""
    upside = noise(16, 16)
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(upside).save(tmp_path / "a.png", exif=exif)
    assert (Pictures([tmp_path / "a.png"], PICTURE)[0] == upside[::-1, ::-1]).all()


def test_sizes_may_differ(tmp_path: Path) -> None:
    """Pictures of any size and aspect become the one size."""
    paths = [saved(Image.fromarray(noise(*size)), tmp_path / f"{size[0]}.png") for size in ((9, 70), (64, 48))]
    assert [Pictures(paths, PICTURE)[index].shape for index in range(2)] == [(16, 16, 3)] * 2


def test_two_pictures_of_one_file_do_not_see_each_other(tmp_path: Path) -> None:
    """Each half is cropped and resized by itself, so that no pixel bleeds over the border."""
    left, right = noise(32, 32), 255 - noise(32, 32)
    path = saved(Image.fromarray(np.concatenate([left, right], axis=1)), tmp_path / "a.png")
    both = Pictures([path], PICTURE, columns=2)[0]
    assert (both[:, :16] == shrink(Image.fromarray(left), PICTURE)).all()
    assert (both[:, 16:] == shrink(Image.fromarray(right), PICTURE)).all()


def spoiled(path: Path, how: str) -> Path:
    if how == "empty":
        path.write_bytes(b"")
    elif how == "text":
        path.write_bytes(b"not a picture")
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    elif how == "float":
        path = saved(Image.fromarray(np.zeros((16, 16), np.float32)), path.with_suffix(".tif"))
    else:
        path.unlink()
    return path


@pytest.mark.parametrize(
    ("how", "message", "header"),
    [
        ("empty", "it is empty", True),
        ("text", "it has no format that is known", True),
        ("gone", "it is not there", True),
        ("float", "its values have 32 bits", True),
        ("cut", "truncated", False),
    ],
)
def test_what_cannot_be_read_is_named_with_the_reason(tmp_path: Path, how: str, message: str, header: bool) -> None:
    """Decoding says which file and why, and so does the look at its header but where the header is whole."""
    path = spoiled(saved(Image.fromarray(noise()), tmp_path / "a.jpg"), how)
    files = Pictures([path], PICTURE)
    with pytest.raises(DataError, match=rf"a\.(jpg|tif) is no picture that can be read: .*{message}"):
        files[0]
    if header:
        with pytest.raises(DataError, match=message):
            files.probe(0)
    else:
        files.probe(0)


@pytest.mark.parametrize("size", [(33, 16), (16, 16), (64, 16)])
def test_a_file_that_holds_no_pair_is_refused_with_its_size(tmp_path: Path, size: tuple[int, int]) -> None:
    """An odd width, a single picture and a strip are no two pictures side by side; the header is enough to know."""
    path = saved(Image.new("RGB", size), tmp_path / "a.png")
    files = Pictures([path], PICTURE, columns=2)
    with pytest.raises(DataError, match=f"it is {size[0]} x {size[1]}; two pictures side by side"):
        files.probe(0)
    with pytest.raises(DataError, match="two pictures side by side"):
        files[0]


def test_only_pictures_are_listed(tmp_path: Path) -> None:
    """A folder's notes, thumbnails of file managers and sub-folders are passed over; names give the order."""
    for name in ("b.JPG", "a.png", "README.md", "._a.png", "Thumbs.db"):
        (tmp_path / name).touch()
    (tmp_path / "c.png.d").mkdir()
    assert [path.name for path in pictures.listed(tmp_path)] == ["a.png", "b.JPG"]
    assert pictures.listed(tmp_path / "nowhere") == []
