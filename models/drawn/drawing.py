"""Line drawings made from pictures: thin dark outlines wherever the colour changes, as in a colouring book.

Canny's way ("A Computational Approach to Edge Detection", 1986) with Di Zenzo's gradient of a picture of several
channels. Pixel arrays see + - * / sqrt and comparisons alone: with one version of Pillow all machines draw the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Field = NDArray[np.float32]
Mask = NDArray[np.bool_]

FINER = 2
"""Pixels of a drawing's side for each of the picture's."""
_INK = (38, 38, 42)

_SMOOTHINGS = 6  # each widens the variance by half a fine pixel
_STRONG, _WEAK = 0.055, 0.022  # gradients, in whole ranges of colour a fine pixel: a line starts, a line goes on
_PEN = 6  # smoothings of a drawn line, which give it its breadth
_CONTRAST, _THRESHOLD = 11.0, 0.8
_MARGIN = 4


def outlined(picture: Image.Image) -> Image.Image:
    """The drawing of an RGBA picture of w x h pixels: ink alone (RGBA), FINER times as wide and high."""
    width, height = picture.size
    framed = Image.new("RGBA", (width + 2 * _MARGIN, height + 2 * _MARGIN))
    framed.paste(picture, (_MARGIN, _MARGIN))
    channels = _channels(framed)
    for _ in range(_SMOOTHINGS):
        channels = _smoothed(channels)
    strength, across, down = _gradient(channels)
    ridge = _ridge(strength, across, down)
    lines = _connected(ridge & (strength > _STRONG), ridge & (strength > _WEAK))
    left = _MARGIN * FINER
    drawing = Image.new("RGBA", (width * FINER, height * FINER), _INK)
    drawing.putalpha(Image.fromarray(_ink(lines)[left:-left, left:-left]))
    return drawing


def _channels(picture: Image.Image) -> Field:
    """Colour before white, and opacity, which parts white things from the ground: [h, w, 4] in 0..1."""
    finer = picture.convert("RGBa").resize((picture.width * FINER, picture.height * FINER), Image.Resampling.BICUBIC)
    values = np.asarray(finer, np.float32) / np.float32(255.0)
    opacity = values[..., 3:]
    return np.concatenate([values[..., :3] + (1.0 - opacity), opacity], axis=2)


def _smoothed(values: Field) -> Field:
    """Weights 1 2 1 along both axes: the binomial stand-in for a Gaussian."""
    tall = np.pad(values, ((1, 1), (0, 0), (0, 0)), "edge")
    values = (tall[:-2] + 2.0 * tall[1:-1] + tall[2:]) * 0.25
    wide = np.pad(values, ((0, 0), (1, 1), (0, 0)), "edge")
    return (wide[:, :-2] + 2.0 * wide[:, 1:-1] + wide[:, 2:]) * 0.25


def _gradient(values: Field) -> tuple[Field, Field, Field]:
    """How fast the channels change together, and the unit vector of the direction in which they do."""
    dx, dy = np.zeros_like(values), np.zeros_like(values)
    dx[:, 1:-1] = (values[:, 2:] - values[:, :-2]) * 0.5
    dy[1:-1] = (values[2:] - values[:-2]) * 0.5
    xx, yy, xy = _total(dx * dx), _total(dy * dy), _total(dx * dy)
    apart = xx - yy
    spread = np.sqrt(apart * apart + 4.0 * xy * xy)
    largest = 0.5 * (xx + yy + spread)
    # Of the two forms of the eigenvector the one that does not vanish.
    wide = apart >= 0.0
    across = np.where(wide, 0.5 * (apart + spread), xy)
    down = np.where(wide, xy, 0.5 * (spread - apart))
    length = np.maximum(np.sqrt(across * across + down * down), 1e-12)
    return np.sqrt(largest), across / length, down / length


def _total(values: Field) -> Field:
    return values[..., 0] + values[..., 1] + values[..., 2] + values[..., 3]


def _ridge(strength: Field, across: Field, down: Field) -> Mask:
    """Where the gradient is stronger than one pixel before and one behind, along its own direction."""
    return (strength >= _ahead(strength, across, down)) & (strength > _ahead(strength, -across, -down))


def _ahead(values: Field, across: Field, down: Field) -> Field:
    """The values one pixel along the unit vectors, interpolated between the four pixels around that point."""
    padded = np.pad(values, 2, "edge")
    rows, columns = np.indices(values.shape)
    left, top = np.floor(across), np.floor(down)
    x, y = columns + 2 + left.astype(np.intp), rows + 2 + top.astype(np.intp)
    u, v = across - left, down - top
    upper = padded[y, x] + (padded[y, x + 1] - padded[y, x]) * u
    lower = padded[y + 1, x] + (padded[y + 1, x + 1] - padded[y + 1, x]) * u
    ahead: Field = upper + (lower - upper) * v
    return ahead


def _connected(strong: Mask, weak: Mask) -> Mask:
    """The weak pixels that hang together with a strong one."""
    found = strong
    while True:
        grown = _grown(found) & weak
        if np.array_equal(grown, found):
            return found
        found = grown


def _grown(mask: Mask) -> Mask:
    padded = np.pad(mask, 1)
    tall = padded[:-2] | padded[1:-1] | padded[2:]
    return tall[:, :-2] | tall[:, 1:-1] | tall[:, 2:]


def _ink(lines: Mask) -> NDArray[np.uint8]:
    """How much ink is where, 0 to 255: lines smoothed, so that they don't waver, and cut to their breadth."""
    ink = lines[..., None].astype(np.float32)
    for _ in range(_PEN):
        ink = _smoothed(ink)
    share = np.minimum(np.maximum(_CONTRAST * ink[..., 0] - _THRESHOLD, 0.0), 1.0)
    opacity: NDArray[np.uint8] = np.rint(255.0 * share).astype(np.uint8)
    return opacity
