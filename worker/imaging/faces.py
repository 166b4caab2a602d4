"""Finds upright, frontal faces with OpenCV's Haar cascades; needs the extra `faces`.

A face is the box that the cascades find, from brows to mouth; `surroundings` is what a network should see of it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.bundle.pixels import Box
from worker.errors import InvalidParameter

try:
    import cv2
except ModuleNotFoundError:
    cv2 = None  # type: ignore[assignment]

MOST = 16
"""Faces found in one picture, at most."""


def version() -> str | None:
    """OpenCV's version; None where it is missing or has no cascades, as 5.0."""
    return cv2.__version__ if hasattr(cv2, "CascadeClassifier") else None


def require() -> None:
    """Raises InvalidParameter, with the remedy, where faces can't be looked for."""
    if version() is None:
        raise InvalidParameter(
            "faces can't be looked for here: OpenCV 4, the extra `faces`, is not installed (`make install` brings it); "
            "ask for region=whole"
        )


def find(image: Image.Image) -> list[Box]:
    """The faces of an RGB picture, the largest first, at most `MOST`, none smaller than 1/20 of the long side.

    Each is a square within the picture, up to a pixel of rounding. They may overlap, but none contains the centre of
    another. Raises InvalidParameter as `require` does.
    """
    require()
    scale = min(_LONGEST, max(_SHORTEST, *image.size)) / max(image.size)
    small = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    grey = image.resize(small, Image.Resampling.BILINEAR, reducing_gap=_REDUCING_GAP).convert("L").point(_BRIGHTER)
    found = sorted(_candidates(np.asarray(grey)), key=lambda face: face[2] - face[0], reverse=True)
    apart: list[Box] = []
    for face in found:
        if not any(_holds_centre(face, other) or _holds_centre(other, face) for other in apart):
            apart.append(face)
    boxes = [[round(value / scale) for value in face] for face in apart[:MOST]]
    return [(left, top, min(right, image.width), min(bottom, image.height)) for left, top, right, bottom in boxes]


def surroundings(face: Box, size: tuple[int, int]) -> Box:
    """The square around a face, hair and chin included, in a picture of `size` (width, height).

    Near an edge it is moved inwards, not cut; it is smaller only if the picture is. It contains the whole face.
    """
    left, top, right, bottom = face
    side = min(round(_MARGIN * (right - left)), *size)
    up = round(_UP * (right - left))
    x = _start((left + right - side) // 2, side, left, right, size[0])
    y = _start((top + bottom - side) // 2 - up, side, top, bottom, size[1])
    return x, y, x + side, y + side


_CASCADES = ("haarcascade_frontalface_alt.xml", "haarcascade_frontalface_alt2.xml")
_LONGEST, _SHORTEST = 640, 160  # pixels of the long side of the searched picture; the cascades' window has 20
_SMALLEST = 1 / 20  # of the long side
_STEP = 1.1  # from one size that is searched for to the next
_VOTES = 5  # windows that must agree, of both cascades together
_ALIKE = 0.2  # how far windows that agree may differ, relative to their side
_REDUCING_GAP = 2.0
# The square root: the cascades miss faces with dark skin most often, and even more of them without it.
_BRIGHTER = [round((255 * level) ** 0.5) for level in range(256)]
# Measured on avatars: the found box fills 1 / 1.77 of the frame, its centre 0.11 of its side below the frame's.
_MARGIN, _UP = 1.8, 0.1


def _candidates(grey: NDArray[np.uint8]) -> list[Box]:
    """Boxes in uint8 [h,w] that enough windows agree on; a box within another, as around an eye, is seldom a face."""
    cv2.setNumThreads(1)  # searches run beside each other already, and OpenCV's threads spin while they wait
    least = round(_SMALLEST * max(grey.shape))
    windows: list[Sequence[int]] = []
    for name in _CASCADES:
        # Loaded again each time (6 ms): a classifier keeps its working memory, so threads can't share one.
        classifier = cv2.CascadeClassifier(cv2.data.haarcascades + name)  # type: ignore[attr-defined]
        seen = classifier.detectMultiScale(grey, _STEP, minNeighbors=0, minSize=(least, least))
        windows += [[int(value) for value in window] for window in seen]
    agreed, _ = cv2.groupRectangles(windows, _VOTES, _ALIKE)
    return [(int(x), int(y), int(x + width), int(y + height)) for x, y, width, height in agreed]


def _holds_centre(face: Box, other: Box) -> bool:
    x, y = (other[0] + other[2]) / 2, (other[1] + other[3]) / 2
    return face[0] <= x < face[2] and face[1] <= y < face[3]


def _start(wished: int, side: int, first: int, last: int, length: int) -> int:
    """Where `side` pixels start that contain first to last and lie within `length`: at `wished`, if possible."""
    return min(max(wished, last - side, 0), first, length - side)
