"""The parts of a picture that a network works on: all of it, or the square around each face, the largest first.

A canvas keeps the faces that were found in it, so that the next network works on the same ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.bundle.manifest import Picture
from models.bundle.pixels import Box, Square, crop_box, shrink
from worker.faces import Face
from worker.imaging import compose

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Canvas:
    """The picture as it is so far, RGB, and its alpha."""

    image: Image.Image
    alpha: Image.Image | None
    faces: tuple[Face, ...] = ()
    """Its faces, the largest first; empty before the search."""
    chosen: bool = False
    """Whether it is a part of a picture that was chosen already, so that all of it counts as the one face."""

    def found(self, faces: tuple[Face, ...]) -> "Canvas":
        """With its faces."""
        return replace(self, faces=faces)

    def boxes(self, picture: Picture, *, by_face: bool) -> tuple[Box, ...]:
        """What a network sees: the square around every face, or the one part that its crop rule says."""
        if not by_face:
            return (crop_box(self.image.size, picture.crop),)
        if self.chosen:
            return ((0, 0, *self.image.size),)
        squares = (Square.around((face.left, face.right), picture.eyes) for face in self.faces)
        return tuple(level(square, self.image.size) for square in squares)

    def portrait(self, picture: Picture) -> "Canvas":
        """The largest face alone, as a network sees it."""
        box = self.boxes(picture, by_face=True)[0]
        return _alone(self.image.crop(box), None if self.alpha is None else self.alpha.crop(box))

    def reduced(self, box: Box, pixels: Pixels) -> "Canvas":
        """What the network sees of the box in place of the picture."""
        image = Image.fromarray(pixels)
        alpha = None if self.alpha is None else self.alpha.resize(image.size, Image.Resampling.BICUBIC, box=box)
        return _alone(image, alpha)

    def changed(self, boxes: Sequence[Box], before: Pixels, after: Pixels, strength: float) -> "Canvas":
        """With the change of each box, uint8 [n,s,s,3] to [n,s,s,3], carried over; the first box ends up on top."""
        image = self.image
        for box, seen, made in reversed(list(zip(boxes, before, after, strict=True))):
            image = compose.carry(image, box, seen, made, strength)
        return replace(self, image=image)


def seen(image: Image.Image, picture: Picture, boxes: Sequence[Box]) -> Pixels:
    """The network's view of each box, uint8 [n,size,size,3]."""
    return np.stack([shrink(image, picture, box) for box in boxes])


def level(square: Square, size: tuple[int, int]) -> Box:
    """The square, not turned, in a picture of `size` (width, height).

    Near an edge it is moved inwards, not cut; it is smaller only if the picture is.
    """
    side = min(max(1, round(square.side)), *size)
    x, y = (
        min(max(0, round(centre - side / 2)), length - side)
        for centre, length in zip((square.x, square.y), size, strict=True)
    )
    return x, y, x + side, y + side


def _alone(image: Image.Image, alpha: Image.Image | None) -> Canvas:
    return Canvas(image, alpha, chosen=True)
