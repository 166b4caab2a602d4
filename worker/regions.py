"""The parts of a picture that a network works on: all of it, or the square around each face, turned as the face is.

A canvas keeps the faces that were found in it, so that the next network works on the same ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.bundle.manifest import Picture
from models.bundle.pixels import Box, Square, crop_box, look, shrink, upright
from worker.faces import Face
from worker.imaging import compose

Pixels = NDArray[np.uint8]
Part = Box | Square


@dataclass(frozen=True)
class Canvas:
    """The picture in its present state, RGB, and its alpha."""

    image: Image.Image
    alpha: Image.Image | None
    faces: tuple[Face, ...] = ()
    """Its faces, the largest first; empty before the search."""
    chosen: bool = False
    """Whether it is a part of a picture that was chosen already, so that all of it counts as the one face."""

    def with_faces(self, faces: tuple[Face, ...]) -> "Canvas":
        """The canvas with its faces."""
        return replace(self, faces=faces)

    def parts(self, picture: Picture, *, by_face: bool) -> tuple[Part, ...]:
        """What a network sees: the square around every face, or the one part that its crop rule says."""
        if not by_face:
            return (crop_box(self.image.size, picture.crop),)
        if self.chosen:
            return ((0, 0, *self.image.size),)
        return tuple(Square.around((face.left, face.right), picture.eyes) for face in self.faces)

    def portrait(self, picture: Picture) -> "Canvas":
        """The largest face alone, upright, as large as it is."""
        face = self.faces[0]
        square = Square.around((face.left, face.right), picture.eyes)
        side = max(1, round(square.side))
        image, alpha = (
            None if each is None else Image.fromarray(upright(each, square, side, Image.Resampling.BICUBIC))
            for each in (self.image, self.alpha)
        )
        return Canvas(image or self.image, alpha, chosen=True)

    def crop_to(self, part: Part, pixels: Pixels) -> "Canvas":
        """The network's view of the part, uint8 [s,s,3], in place of the picture."""
        image, alpha = Image.fromarray(pixels), self.alpha
        if alpha is not None:
            alpha = (
                Image.fromarray(upright(alpha, part, image.width, Image.Resampling.BICUBIC))
                if isinstance(part, Square)
                else alpha.resize(image.size, Image.Resampling.BICUBIC, box=part)
            )
        return Canvas(image, alpha, chosen=True)

    def apply(self, parts: Sequence[Part], before: Pixels, after: Pixels, strength: float) -> "Canvas":
        """The canvas with each part's change, uint8 [n,s,s,3] to [n,s,s,3], carried over; the first ends on top."""
        image = self.image
        for part, seen, made in reversed(list(zip(parts, before, after, strict=True))):
            image = compose.carry(image, part, seen, made, strength)
        return replace(self, image=image)


def views(image: Image.Image, picture: Picture, parts: Sequence[Part]) -> Pixels:
    """The network's view of each part, uint8 [n,size,size,3]."""
    return np.stack(
        [look(image, picture, part) if isinstance(part, Square) else shrink(image, picture, part) for part in parts]
    )
