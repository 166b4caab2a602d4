"""Line drawings made from pictures: thin dark outlines wherever the colour changes, as in a colouring book.

Canny's method ("A Computational Approach to Edge Detection", 1986) with Di Zenzo's gradient for several channels ("A
Note on the Gradient of a Multi-Image", 1986). Only + - * / sqrt and comparisons touch pixel arrays, so that all
machines draw the same with one version of Pillow.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Field = NDArray[np.float32]

SCALE = 2
"""A drawing has this many pixels for each pixel of the picture's side."""

_INK = (38, 38, 42)
_SMOOTHINGS = 6  # before the gradient; each adds half a pixel squared to the variance
# Gradients, in full colour ranges a pixel: a line starts at the first, and goes on down to the second.
_STRONG, _WEAK = 0.055, 0.022
_PEN = 6  # smoothings of the lines, which widen them
_CONTRAST, _THRESHOLD = 11.0, 0.8
_MARGIN = 4


def draw_lines(picture: Image.Image) -> Image.Image:
    """The line drawing of an RGBA picture of w x h pixels: ink alone, RGBA, SCALE times as wide and high."""
    width, height = picture.size
    framed = Image.new("RGBA", (width + 2 * _MARGIN, height + 2 * _MARGIN))
    framed.paste(picture, (_MARGIN, _MARGIN))
    finer = framed.convert("RGBa").resize((framed.width * SCALE, framed.height * SCALE), Image.Resampling.BICUBIC)
    values = np.asarray(finer, np.float32) / np.float32(255.0)
    opacity = values[..., 3:]
    # Colour before white, and opacity, so that white things have an outline too: [h, w, 4] in 0..1.
    channels = np.concatenate([values[..., :3] + (1.0 - opacity), opacity], axis=2)
    for _ in range(_SMOOTHINGS):
        channels = _smooth(channels)
    strength, across, down = _gradient(channels)
    # Non-maximum suppression: stronger than one pixel ahead and one behind along the gradient.
    ridge = (strength >= _ahead(strength, across, down)) & (strength > _ahead(strength, -across, -down))
    lines, weak = ridge & (strength > _STRONG), ridge & (strength > _WEAK)
    # Hysteresis: the strong pixels, and the weak ones that a chain of weak pixels connects to a strong one.
    while True:
        padded = np.pad(lines, 1)
        tall = padded[:-2] | padded[1:-1] | padded[2:]
        grown = (tall[:, :-2] | tall[:, 1:-1] | tall[:, 2:]) & weak
        if np.array_equal(grown, lines):
            break
        lines = grown
    ink = lines[..., None].astype(np.float32)
    for _ in range(_PEN):  # smoothing removes the steps of the lines; the contrast below sets their width
        ink = _smooth(ink)
    ink = np.minimum(np.maximum(_CONTRAST * ink[..., 0] - _THRESHOLD, 0.0), 1.0)
    left = _MARGIN * SCALE
    drawing = Image.new("RGBA", (width * SCALE, height * SCALE), _INK)
    drawing.putalpha(Image.fromarray(np.rint(255.0 * ink).astype(np.uint8)[left:-left, left:-left]))
    return drawing


def _smooth(values: Field) -> Field:
    """Weights 1 2 1 along both axes, the binomial approximation of a Gaussian."""
    tall = np.pad(values, ((1, 1), (0, 0), (0, 0)), "edge")
    values = (tall[:-2] + 2.0 * tall[1:-1] + tall[2:]) * 0.25
    wide = np.pad(values, ((0, 0), (1, 1), (0, 0)), "edge")
    return (wide[:, :-2] + 2.0 * wide[:, 1:-1] + wide[:, 2:]) * 0.25


def _gradient(values: Field) -> tuple[Field, Field, Field]:
    """Di Zenzo's gradient of the channels [h, w, 4]: its strength, and the unit vector of its direction, [h, w] each.

    They are the root of the largest eigenvalue of the structure tensor, and its eigenvector.
    """
    dx, dy = np.zeros_like(values), np.zeros_like(values)
    dx[:, 1:-1] = (values[:, 2:] - values[:, :-2]) * 0.5
    dy[1:-1] = (values[2:] - values[:-2]) * 0.5
    xx, yy, xy = _total(dx * dx), _total(dy * dy), _total(dx * dy)
    apart = xx - yy
    spread = np.sqrt(apart * apart + 4.0 * xy * xy)
    largest = 0.5 * (xx + yy + spread)
    # Of the eigenvector's two forms, take the one that can't vanish.
    wide = apart >= 0.0
    across = np.where(wide, 0.5 * (apart + spread), xy)
    down = np.where(wide, xy, 0.5 * (spread - apart))
    length = np.maximum(np.sqrt(across * across + down * down), 1e-12)
    return np.sqrt(largest), across / length, down / length


def _total(values: Field) -> Field:
    return values[..., 0] + values[..., 1] + values[..., 2] + values[..., 3]


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
