"""Picture files as a network sees them: decoded by the bundle's own rule, once, and kept while there is room.

Any 8-bit or 16-bit picture is taken: it is turned upright, grey, palette and CMYK become RGB, and what is transparent
is laid over white. Colour profiles are not applied.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from models.bundle.manifest import Picture
from models.bundle.pixels import crop_box, shrink
from models.errors import DataError

_log = logging.getLogger(__name__)

Pixels = NDArray[np.uint8]
"""h x w x 3, RGB."""

CACHE_BYTES = 2 * 1024**3
"""What the decoded pictures of one set may take."""

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".avif", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"}
"""Files with these endings are pictures; folders are read by them."""

_PAIR_ASPECTS = (1.6, 2.7)  # two halves of 4 : 5 to 4 : 3; a single photograph is narrower


class Pictures:
    """A list of files, each decoded to size x size; with `columns=2` each holds two pictures side by side.

    Threads may share it: two that ask for one picture may both decode it, to the same bytes.
    """

    def __init__(self, paths: Sequence[Path], picture: Picture, columns: int = 1) -> None:
        self.paths = tuple(paths)
        self.picture = picture
        self.columns = columns
        shape = (picture.size, columns * picture.size, 3)
        self._kept = min(len(self.paths), CACHE_BYTES // int(np.prod(shape)))
        self._cache = np.zeros((self._kept, *shape), np.uint8)  # takes memory only where it is written
        self._filled = np.zeros(self._kept, bool)

    def __len__(self) -> int:
        """Files in the list."""
        return len(self.paths)

    @property
    def fit(self) -> bool:
        """Whether all of them are kept, so that decoding them ahead is no waste."""
        return self._kept == len(self.paths)

    def __getitem__(self, index: int) -> Pixels:
        """The picture at `index`, size x (columns size) x 3, not to be written to; DataError names a broken file."""
        if index < self._kept and self._filled[index]:
            kept: Pixels = self._cache[index]
            return kept
        pixels = _decoded(self.paths[index], self.picture, self.columns)
        if index < self._kept:
            self._cache[index] = pixels
            self._filled[index] = True  # after the pixels, for the thread that asks next
        return pixels

    def probe(self, index: int) -> None:
        """Reads the header of a file alone; DataError when even that is broken, or when it can't be a pair."""
        path = self.paths[index]
        try:
            with Image.open(path) as image:
                _check(image, self.columns)
        except Exception as error:
            raise _unreadable(path, error) from error


def listed(folder: Path) -> list[Path]:
    """The pictures that lie in a folder itself, by name; none where there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))


def _decoded(path: Path, picture: Picture, columns: int) -> Pixels:
    # Pillow raises nearly anything on broken bytes (SyntaxError, struct.error, KeyError, ...), so all is caught.
    try:
        with Image.open(path) as image:
            _check(image, columns)
            upright = _rgb(_turned(image))
        width, height = upright.size
        left, top, right, bottom = crop_box((width // columns, height), picture.crop)
        starts = [column * width // columns for column in range(columns)]
        parts = [shrink(upright, picture, (start + left, top, start + right, bottom)) for start in starts]
        return np.concatenate(parts, axis=1)
    except Exception as error:
        raise _unreadable(path, error) from error


def _check(image: Image.Image, columns: int) -> None:
    if image.mode in ("I", "F"):
        raise ValueError("its values have 32 bits, and no agreed white; save it with 8 or 16")
    if columns == 1:
        return
    width, height = image.size
    if width % columns or not _PAIR_ASPECTS[0] <= width / height <= _PAIR_ASPECTS[1]:
        raise ValueError(
            f"it is {width} x {height}; two pictures side by side have an even width of about twice the height"
        )


def _turned(image: Image.Image) -> Image.Image:
    image.load()
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except Exception as error:  # the pixels are there; what fails is EXIF, which nobody needs
        _log.info("EXIF ignored: %s: %s", type(error).__name__, error)
    return image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.float32) * np.float32(255 / 65_535)
        return Image.fromarray(np.floor(values + np.float32(0.5)).astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    full = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", full.size, "white"), full).convert("RGB")


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = str(error)
    if not path.exists():
        reason = "it is not there"
    elif path.stat().st_size == 0:
        reason = "it is empty"
    elif isinstance(error, UnidentifiedImageError):
        reason = "it has no format that is known"
    return DataError(f"{path} is no picture that can be read: {reason}; replace it")
