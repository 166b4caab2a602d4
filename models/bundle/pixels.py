"""The one way from picture to tensor and back, for training, export and serving; crops first, then resizes."""

from dataclasses import dataclass
from math import atan2, ceil, cos, floor, hypot, sin
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.bundle.manifest import Picture

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom are outside."""
Points = tuple[tuple[float, float], tuple[float, float]]
"""x and y of two points, such as the eyes: first the one that is on the left when the face is upright."""


@dataclass(frozen=True)
class Square:
    """A square of a picture, turned about its centre, in pixels of the picture; it may reach beyond the picture."""

    x: float
    """The centre's; the picture begins at 0, and its first pixel's centre is 0.5."""
    y: float
    side: float
    angle: float = 0.0
    """Clockwise, in radians: how far a face in it is tilted."""

    @classmethod
    def around(cls, eyes: Points, places: Points) -> Self:
        """The square in which the two eyes, points of the picture, stand at `places`, points of a square of side 1."""
        (x, y), (across, down) = _middle(eyes)
        (u, v), (wide, high) = _middle(places)
        side, angle = hypot(across, down) / hypot(wide, high), atan2(down, across) - atan2(high, wide)
        u, v = (u - 0.5) * side, (v - 0.5) * side
        return cls(x - u * cos(angle) + v * sin(angle), y - u * sin(angle) - v * cos(angle), side, angle)

    def bounds(self, size: tuple[int, int]) -> Box:
        """The smallest box that holds what of the square lies in a picture of `size`; empty where nothing does."""
        reach = self.side / 2 * (abs(cos(self.angle)) + abs(sin(self.angle)))
        left, top = max(0, floor(self.x - reach)), max(0, floor(self.y - reach))
        return left, top, max(left, min(size[0], ceil(self.x + reach))), max(top, min(size[1], ceil(self.y + reach)))

    def find(self, points: NDArray[np.float32], size: float) -> NDArray[np.float32]:
        """Points [...,2] of the picture as points of the square cut out upright, `size` pixels wide."""
        turn = np.array([[cos(self.angle), -sin(self.angle)], [sin(self.angle), cos(self.angle)]])
        found: NDArray[np.float64] = ((points - (self.x, self.y)) @ turn / self.side + 0.5) * size
        return found.astype(np.float32)

    def place(self, points: NDArray[np.float32], size: float) -> NDArray[np.float32]:
        """Points [...,2] of the square cut out upright, `size` pixels wide, as points of the picture."""
        turn = np.array([[cos(self.angle), sin(self.angle)], [-sin(self.angle), cos(self.angle)]])
        placed: NDArray[np.float64] = (points / size - 0.5) * self.side @ turn + (self.x, self.y)
        return placed.astype(np.float32)


def _middle(points: Points) -> Points:
    """The middle of two points, and the way from the one to the other."""
    (x0, y0), (x1, y1) = points
    return ((x0 + x1) / 2, (y0 + y1) / 2), (x1 - x0, y1 - y0)


_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
# Pillow first averages whole blocks when it shrinks more than 6-fold: 12 megapixels to 128 in 11 ms instead of 56.
_REDUCING_GAP = 3.0


def crop_box(size: tuple[int, int], crop: str) -> Box:
    """The part of a picture of `size` (width, height) that the network sees.

    `none`: all of it. `centre`: the largest centred square. `face`: the same, for callers that found no face.
    """
    width, height = size
    if crop == "none":
        return 0, 0, width, height
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def shrink(image: Image.Image, picture: Picture, box: Box | None = None) -> NDArray[np.uint8]:
    """Crop an RGB image to `box` (default: the picture's own crop rule) and resize it: uint8 [size,size,3], RGB.

    Pixels outside the box have no influence. Raises ValueError for any other mode than RGB.
    """
    if image.mode != "RGB":
        raise ValueError(f"the image has mode {image.mode}; convert it to RGB first")
    cropped = image.crop(box or crop_box(image.size, picture.crop))
    side = (picture.size, picture.size)
    return np.array(cropped.resize(side, _FILTERS[picture.resize], reducing_gap=_REDUCING_GAP))


def look(image: Image.Image, picture: Picture, square: Square) -> NDArray[np.uint8]:
    """As `shrink`, but of a square that may be turned and reach beyond the image, whose borders then repeat."""
    return upright(image, square, picture.size, _FILTERS[picture.resize])


def upright(
    image: Image.Image, square: Square, size: int, resample: Image.Resampling = Image.Resampling.BILINEAR
) -> NDArray[np.uint8]:
    """A square of an RGB or L image, turned upright: uint8 [size,size,3] or [size,size], without aliasing.

    Beyond the image its borders repeat. Raises ValueError where the square lies outside.
    """
    turned = abs(cos(square.angle)) + abs(sin(square.angle))
    scale = square.side / size  # pixels of the picture for one of the cut
    reach = square.side / 2 * turned + 2 * max(1.0, scale)  # what the filters read
    left, top, right, bottom = square.x - reach, square.y - reach, square.x + reach, square.y + reach
    box = (max(0, floor(left)), max(0, floor(top)), min(image.width, ceil(right)), min(image.height, ceil(bottom)))
    if box[0] >= box[2] or box[1] >= box[3]:
        raise ValueError(f"{square} lies outside a picture of {image.width} x {image.height}")
    part = image.crop(box)
    if scale > 1:
        small = (max(1, round(part.width / scale)), max(1, round(part.height / scale)))
        part = part.resize(small, resample, reducing_gap=_REDUCING_GAP)
    across, down = (box[2] - box[0]) / part.width, (box[3] - box[1]) / part.height
    before = (max(0, ceil((box[0] - left) / across)), max(0, ceil((box[1] - top) / down)))
    after = (max(0, ceil((right - box[2]) / across)), max(0, ceil((bottom - box[3]) / down)))
    if any((*before, *after)):
        pixels = np.asarray(part)
        margins = [(before[1], after[1]), (before[0], after[0]), (0, 0)][: pixels.ndim]
        part = Image.fromarray(np.pad(pixels, margins, mode="edge"))
    a, b = scale * cos(square.angle), scale * sin(square.angle)
    x, y = square.x - size / 2 * (a - b) - box[0], square.y - size / 2 * (a + b) - box[1]
    places = (a / across, -b / across, x / across + before[0], b / down, a / down, y / down + before[1])
    # Pillow turns with no finer filter than bicubic.
    turning = Image.Resampling.BILINEAR if resample == Image.Resampling.BILINEAR else Image.Resampling.BICUBIC
    return np.array(part.transform((size, size), Image.Transform.AFFINE, places, turning))


def to_tensor(pixels: NDArray[np.uint8], picture: Picture) -> NDArray[np.float32]:
    """RGB uint8 [n,h,w,3] to contiguous float32 [n,3,h,w] in `picture.range` and `picture.channels`."""
    low, high = picture.range
    ordered = pixels[..., ::-1] if picture.channels == "bgr" else pixels
    # Transposed as bytes, a quarter of the traffic; divided before it is scaled, so that black and white are exact.
    tensor = np.ascontiguousarray(ordered.transpose(0, 3, 1, 2)).astype(np.float32)
    tensor /= np.float32(255)
    tensor *= np.float32(high - low)
    tensor += np.float32(low)
    return tensor


def to_pixels(tensor: NDArray[np.float32], picture: Picture) -> NDArray[np.uint8]:
    """Finite float32 [n,3,h,w] in `picture.range` to contiguous RGB uint8 [n,h,w,3]: clipped, rounded half up."""
    low, high = picture.range
    levels = (tensor - np.float32(low)) * np.float32(255 / (high - low))
    # A cast after adding one half rounds halves up; np.rint would round them to even.
    levels += np.float32(0.5)
    pixels = np.clip(levels, 0, 255, out=levels).astype(np.uint8).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(pixels[..., ::-1] if picture.channels == "bgr" else pixels)
