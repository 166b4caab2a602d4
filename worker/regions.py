"""The parts of a picture that a network works on: all of it, or the square around each face, the largest first.

A canvas that was searched keeps its faces, so that the next network works on the same squares.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.bundle.manifest import Picture
from models.bundle.pixels import Box, crop_box, shrink
from worker.errors import NoFace
from worker.imaging import compose, faces

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Canvas:
    """The picture in its present state, RGB, and its alpha."""

    image: Image.Image
    alpha: Image.Image | None
    faces: tuple[Box, ...] = ()
    """The squares around its faces; empty before the search."""

    def find_faces(self) -> "Canvas":
        """The canvas with its faces. Raises NoFace if there is none, InvalidParameter as faces.require does."""
        found = faces.find(self.image)
        if not found:
            raise NoFace(
                "there is no face, or none that is upright, seen from the front and larger than a twentieth of the "
                "picture's long side; region=whole translates the whole picture"
            )
        return replace(self, faces=tuple(faces.surroundings(face, self.image.size) for face in found))

    def boxes(self, picture: Picture, *, by_face: bool) -> tuple[Box, ...]:
        """The boxes that a network sees: every face, or the one that its crop rule gives."""
        return self.faces if by_face else (crop_box(self.image.size, picture.crop),)

    def portrait(self) -> "Canvas":
        """The largest face alone."""
        box = self.faces[0]
        return _one_face(self.image.crop(box), None if self.alpha is None else self.alpha.crop(box))

    def crop_to(self, box: Box, pixels: Pixels) -> "Canvas":
        """The network's view of the box, uint8 [s,s,3], in place of the picture."""
        image = Image.fromarray(pixels)
        alpha = None if self.alpha is None else self.alpha.resize(image.size, Image.Resampling.BICUBIC, box=box)
        return _one_face(image, alpha)

    def apply(self, boxes: Sequence[Box], before: Pixels, after: Pixels, strength: float) -> "Canvas":
        """The canvas with each box's change, uint8 [n,s,s,3] to [n,s,s,3], carried over; the first box ends on top."""
        image = self.image
        for box, seen, made in reversed(list(zip(boxes, before, after, strict=True))):
            image = compose.carry(image, box, seen, made, strength)
        return replace(self, image=image)


def views(image: Image.Image, picture: Picture, boxes: Sequence[Box]) -> Pixels:
    """The network's view of each box, uint8 [n,size,size,3]."""
    return np.stack([shrink(image, picture, box) for box in boxes])


def _one_face(image: Image.Image, alpha: Image.Image | None) -> Canvas:
    # The face is chosen: later steps take the whole canvas as that face and don't search again.
    return Canvas(image, alpha, ((0, 0, *image.size),))
