"""Places a drawing on a square picture before a background, at random: so one emoji becomes many pictures."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.drawn.canvas import WHITE, Colour, Frame

SIZES = range(16, 257)
"""Sides of pictures, pixels; the font's own are 136 x 128."""

_FINEST = 256  # drawings are rotated on a grid of about this many points a side, then averaged
_BACKGROUNDS: tuple[tuple[Colour, Colour], ...] = (
    ((255, 255, 255), (240, 242, 246)),
    ((253, 236, 220), (250, 206, 178)),
    ((222, 240, 248), (168, 208, 232)),
    ((228, 242, 216), (172, 214, 170)),
    ((240, 226, 248), (204, 176, 228)),
    ((253, 244, 206), (248, 220, 146)),
    ((252, 222, 230), (240, 174, 194)),
    ((210, 238, 234), (140, 204, 200)),
    ((232, 234, 240), (184, 190, 204)),
    ((120, 134, 170), (72, 84, 122)),
    ((98, 148, 146), (52, 98, 108)),
    ((172, 128, 146), (116, 78, 104)),
)


@dataclass(frozen=True)
class Placement:
    """The place of a drawing on its square; lengths are shares of the square's side."""

    background: tuple[Colour, Colour] = (WHITE, WHITE)  # at the top and at the bottom
    scale: float = 0.94  # of the drawing's longer side
    turn: float = 0.0  # the tangent of half the angle
    shift: tuple[float, float] = (0.0, 0.0)


def random_placement(chance: random.Random, coloured: bool) -> Placement:
    """A random placement with the whole drawing inside: rotated up to 7 degrees, before white or a colour."""
    scale = 0.78 + 0.16 * chance.random()
    turn = 0.06 * (2.0 * chance.random() - 1.0)
    room = 0.5 * (0.98 - scale)
    shift = (room * (2.0 * chance.random() - 1.0), room * (2.0 * chance.random() - 1.0))
    background = _BACKGROUNDS[int(chance.random() * len(_BACKGROUNDS))]
    return Placement(background if coloured else (WHITE, WHITE), scale, turn, shift)


def place(drawing: Image.Image, placement: Placement, size: int) -> NDArray[np.uint8]:
    """An RGBA drawing before the background, RGB [size, size, 3]."""
    layer = np.asarray(_layer(drawing, placement, size), np.float32)
    top, bottom = (np.array(colour, np.float32) for colour in placement.background)
    down = ((np.arange(size, dtype=np.float32) + 0.5) / np.float32(size))[:, None, None]
    behind = top + (bottom - top) * down
    opacity = layer[..., 3:] / np.float32(255.0)
    return np.rint(np.minimum(layer[..., :3] + behind * (1.0 - opacity), 255.0)).astype(np.uint8)


def mask(drawing: Image.Image, placement: Placement, size: int) -> NDArray[np.bool_]:
    """Where an RGBA drawing is, [size, size]."""
    return np.asarray(_layer(drawing, placement, size))[..., 3] > 0


def _layer(drawing: Image.Image, placement: Placement, size: int) -> Image.Image:
    """The drawing alone in its place, size x size, with premultiplied alpha (mode RGBa)."""
    finer = max(1, _FINEST // size)
    side = size * finer
    stretch = placement.scale * side / max(drawing.size)
    middle = (side * (0.5 + placement.shift[0]), side * (0.5 + placement.shift[1]))
    # Pillow wants the inverse of the map: from places on the grid to places in the drawing.
    cosine, sine = Frame(turn=placement.turn).rotation
    a, b, d, e = cosine / stretch, sine / stretch, -sine / stretch, cosine / stretch
    c = drawing.width / 2 - a * middle[0] - b * middle[1]
    f = drawing.height / 2 - d * middle[0] - e * middle[1]
    grid = drawing.convert("RGBa").transform(
        (side, side), Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BICUBIC
    )
    return grid.reduce(finer)
