"""Picture files as a network sees them: decoded by the bundle's rule and cached, checked, cropped and flipped.

8-bit and 16-bit pictures are read: rotated upright, grey, palette and CMYK converted to RGB, transparent ones laid over
white. Colour profiles are not applied.
"""

import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from models.bundle.manifest import Picture
from models.bundle.pixels import crop_box, shrink
from models.errors import DataError, OptionsError

_log = logging.getLogger(__name__)

Pixels = NDArray[np.uint8]
"""h x w x 3, RGB."""

CACHE_BYTES = 2 * 1024**3
"""The limit of the cache of decoded pictures, for each set."""

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".avif", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"}
"""Files with these endings are read as pictures; others in a folder are ignored."""

Notify = Callable[[int, int], object]
"""Called with the number of checked files, and the number of all."""

_PAIR_ASPECTS = (1.6, 2.7)  # two halves of 4 : 5 to 4 : 3; a single photograph is narrower
_NAMED = 5
_BLOCK = 256  # files in flight; an interrupt waits for them


class Pictures:
    """A list of files, each decoded to size x size; with `columns=2` each has two pictures side by side.

    Safe to use from several threads: two may decode the same picture at once, to the same bytes.
    """

    def __init__(self, paths: Sequence[Path], picture: Picture, columns: int = 1) -> None:
        self.paths = tuple(paths)
        self.picture = picture
        self.columns = columns
        shape = (picture.size, columns * picture.size, 3)
        self._kept = min(len(self.paths), CACHE_BYTES // int(np.prod(shape)))
        self._cache = np.zeros((self._kept, *shape), np.uint8)  # memory is taken only for pages that are written
        self._filled = np.zeros(self._kept, bool)

    def __len__(self) -> int:
        """Files in the list."""
        return len(self.paths)

    @property
    def fit(self) -> bool:
        """Whether the cache has room for all of them, so that it pays to decode them ahead."""
        return self._kept == len(self.paths)

    def __getitem__(self, index: int) -> Pixels:
        """The picture at `index`, size x (columns size) x 3; do not write to it. DataError names a broken file."""
        if index < self._kept and self._filled[index]:
            kept: Pixels = self._cache[index]
            return kept
        pixels = _decode(self.paths[index], self.picture, self.columns)
        if index < self._kept:
            self._cache[index] = pixels
            self._filled[index] = True  # only after the pixels, since other threads read filled ones
        return pixels

    def probe(self, index: int) -> None:
        """Reads only the header of a file; DataError if it is broken, or has the wrong shape for a pair."""
        path = self.paths[index]
        try:
            with Image.open(path) as image:
                _check(image, self.columns)
        except Exception as error:
            raise _unreadable(path, error) from error


def list_pictures(folder: Path) -> list[Path]:
    """The pictures in a folder itself, by name; none if there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))


def load_rule(picture: Picture, load_size: int, train: bool) -> Picture:
    """How files are decoded: for training at `load_size`, from which `augment` crops `picture.size`; else at that size.

    OptionsError if `load_size` is below the size.
    """
    if load_size < picture.size:
        raise OptionsError(f"load_size is {load_size}; it must be at least the size, {picture.size}")
    size = load_size if train else picture.size
    return picture.model_copy(update={"size": size, "multiple": 1})


def augment(pictures: Sequence[Pixels], size: int, flip: bool, random: np.random.Generator) -> list[Pixels]:
    """Crops pictures of one size to size x size and, with `flip`, mirrors them half of the time; all in one way."""
    height, width = pictures[0].shape[:2]
    top, left = (int(random.integers(side - size + 1)) if side > size else 0 for side in (height, width))
    turn = -1 if flip and random.random() < 0.5 else 1
    return [pixels[top : top + size, left : left + size][:, ::turn] for pixels in pictures]


def find_broken(pictures: Pictures, decode: bool, notify: Notify = lambda done, total: None) -> list[str]:
    """Opens every file; their problems, a sentence each.

    Without `decode` only headers are read, which finds files that are missing, empty or not pictures, but not truncated
    ones. With it, pictures are decoded into the cache, so that a training does not decode them again.
    """

    def look(index: int) -> str:
        try:
            if decode:
                pictures[index]
            else:
                pictures.probe(index)
        except DataError as error:
            return str(error)
        return ""

    problems: list[str] = []
    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="check") as pool:
        for start in range(0, len(pictures), _BLOCK):
            block = range(start, min(start + _BLOCK, len(pictures)))
            for done, problem in enumerate(pool.map(look, block), start + 1):
                problems += [problem] if problem else []
                notify(done, len(pictures))
    return problems


def refuse(problems: Sequence[str], pictures: Pictures) -> None:
    """DataError if there are problems, together with those of the files, which are opened only then."""
    if problems:
        raise DataError(*problems, *find_broken(pictures, decode=False))


def problem_of(what: str, names: Sequence[object]) -> list[str]:
    """The problem that some pictures share, "7 pictures WHAT: a, b, ..."; empty without pictures."""
    if not names:
        return []
    first = ", ".join(str(name) for name in names[:_NAMED])
    return [f"{len(names)} picture{'s' * (len(names) > 1)} {what}: {first}{', ...' if len(names) > _NAMED else ''}"]


def _decode(path: Path, picture: Picture, columns: int) -> Pixels:
    # Pillow raises nearly anything for broken bytes (SyntaxError, struct.error, KeyError, ...), so catch everything.
    try:
        with Image.open(path) as image:
            _check(image, columns)
            image.load()
            try:
                ImageOps.exif_transpose(image, in_place=True)
            except Exception as error:  # broken EXIF data; the pixels are fine
                _log.info("EXIF ignored: %s: %s", type(error).__name__, error)
            if image.mode.startswith("I;16"):
                # Pillow's own conversion clips 16-bit values to 255 instead of scaling them.
                values = np.asarray(image).astype(np.float32) * np.float32(255 / 65_535)
                upright = Image.fromarray(np.floor(values + np.float32(0.5)).astype(np.uint8)).convert("RGB")
            elif image.has_transparency_data:
                full = image.convert("RGBA")
                upright = Image.alpha_composite(Image.new("RGBA", full.size, "white"), full).convert("RGB")
            else:
                upright = image.convert("RGB")
        width, height = upright.size
        left, top, right, bottom = crop_box((width // columns, height), picture.crop)
        starts = [column * width // columns for column in range(columns)]
        parts = [shrink(upright, picture, (start + left, top, start + right, bottom)) for start in starts]
        return np.concatenate(parts, axis=1)
    except Exception as error:
        raise _unreadable(path, error) from error


def _check(image: Image.Image, columns: int) -> None:
    if image.mode in ("I", "F"):
        raise ValueError("its values have 32 bits, and nothing says which value is white; save it with 8 or 16")
    if columns == 1:
        return
    width, height = image.size
    if width % columns or not _PAIR_ASPECTS[0] <= width / height <= _PAIR_ASPECTS[1]:
        raise ValueError(
            f"it is {width} x {height}; two pictures side by side have an even width of about twice the height"
        )


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = str(error)
    if not path.exists():
        reason = "it is missing"
    elif path.stat().st_size == 0:
        reason = "it is empty"
    elif isinstance(error, UnidentifiedImageError):
        reason = "its format is unknown"
    return DataError(f"{path} is not a readable picture: {reason}; replace it")
