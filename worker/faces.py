"""Finds faces and their eyes with a bundle that detects: BlazeFace proposes places, FaceMesh says whether and how.

Bazarevsky et al., "BlazeFace" (2019), and Kartynnik et al., "Real-time facial surface geometry" (2019). The graphs run
wherever the translator runs them, so this needs no ONNX Runtime.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import atan2, ceil, hypot
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.bundle.pixels import Square, upright

T = TypeVar("T")
Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Point = tuple[float, float]

MOST = 64
"""Faces found in one picture, at most."""

Run = Callable[[str, Pixels], Awaitable[Floats]]
"""Runs a graph of the bundle by name: pixels uint8 [n,side,side,3] to features float32 [n,f]."""


class Threads(Protocol):
    """Runs a function in a thread."""

    async def __call__(self, function: Callable[[], T], /) -> T:
        """The function's result."""


@dataclass(frozen=True)
class Face:
    """A face in a picture: its eyes, each the middle between its two corners, in pixels of the picture."""

    left: Point
    """The eye that is on the left of the picture when the face is upright."""
    right: Point

    @property
    def apart(self) -> float:
        """Pixels from eye to eye."""
        return hypot(self.right[0] - self.left[0], self.right[1] - self.left[1])

    @property
    def middle(self) -> Point:
        """Between the eyes."""
        return (self.left[0] + self.right[0]) / 2, (self.left[1] + self.right[1]) / 2


async def find(image: Image.Image, run: Run, threads: Threads) -> tuple[Face, ...]:
    """The faces of an RGB picture, the largest first, at most `MOST`, whichever way they are tilted.

    Windows of half the picture are searched too, for smaller ones, where none is wider than an eighth of the long side.
    """
    small = await threads(partial(_reduced, image))
    whole, scale = Square(small.width / 2, small.height / 2, max(small.size)), max(image.size) / max(small.size)
    proposals = await _propose(small, [whole], run, threads)
    meshes = await _confirm(image, merge(proposals, scale, image.size), run, threads)
    if max(small.size) > _VIEW and not any(mesh.width > max(image.size) / 8 for mesh in meshes):
        closer = await _propose(small, list(windows(*small.size)), run, threads)
        squares = merge(np.concatenate([proposals, closer]), scale, image.size)
        meshes = await _confirm(image, squares, run, threads)
    return tuple(sorted((mesh.face for mesh in meshes), key=lambda face: face.apart, reverse=True))


def windows(width: int, height: int) -> Iterator[Square]:
    """Squares of half the long side that cover a picture; neighbours share half of themselves."""
    side = max(width, height) / 2
    rows, columns = (
        np.linspace(side / 2, length - side / 2, ceil(2 * length / side) - 1) if length > side else (length / 2,)
        for length in (height, width)
    )
    return (Square(float(x), float(y), side) for y, x in product(rows, columns))


def decode(features: Floats, view: Square) -> Floats:
    """Proposals [m,8] of the detector's features [896 * 17] of a view.

    Score, centre, side of the square around brows and mouth, left eye, right eye; places in pixels of the picture.
    """
    count = len(_ANCHORS)
    values, logits = features[: 16 * count].reshape(count, 8, 2), features[16 * count :]
    likely = np.flatnonzero((logits > _PROPOSED) & (values[:, 1].max(axis=-1) > 0))
    # Of each anchor eight pairs: the centre, the size, and six points, of which the first two are the eyes.
    points = view.place(values[likely][:, [0, 2, 3]] + _ANCHORS[likely, None] * _VIEW, _VIEW)
    sides = values[likely, 1].max(axis=-1) * (view.side / _VIEW)
    scores = 1 / (1 + np.exp(-logits[likely]))
    return np.column_stack([scores, points[:, 0], sides, points[:, 1], points[:, 2]]).astype(np.float32)


def merge(proposals: Floats, scale: float, size: tuple[int, int]) -> list[Square]:
    """What to look at closely in a picture of `size`, `scale` times as large as the one of the proposals.

    The squares are turned as the faces seem to be, the surest first. Proposals that overlap become their mean, weighted
    by score, as in BlazeFace's paper: the points of a face are surer then than the best proposal's.
    """
    squares: list[Square] = []
    proposals = np.concatenate([proposals[:, :1], proposals[:, 1:] * scale], axis=1)
    left = proposals[np.argsort(-proposals[:, 0])]
    while len(left) and len(squares) < MOST:
        ends = np.stack([left[:, 1:3] - left[:, 3:4] / 2, left[:, 1:3] + left[:, 3:4] / 2])
        sides = np.minimum(ends[1], ends[1, 0]) - np.maximum(ends[0], ends[0, 0])
        shared = np.clip(sides, 0, None).prod(axis=-1)
        alike = shared > _ALIKE * (left[:, 3] ** 2 + left[0, 3] ** 2 - shared)
        alike[0] = True
        x, y, side, *eyes = (float(value) for value in np.average(left[alike, 1:], axis=0, weights=left[alike, 0]))
        square = Square(x, y, _AROUND * side, atan2(eyes[3] - eyes[1], eyes[2] - eyes[0]))
        if within(square, size):
            squares.append(square)
        left = left[~alike]
    return squares


@dataclass(frozen=True, eq=False)
class Mesh:
    """What the mesh makes of a view: points [468,2] in pixels of the picture, and the logit of there being a face."""

    points: Floats
    logit: float

    @classmethod
    def read(cls, features: Floats, view: Square) -> "Mesh":
        """From its features [468 * 3 + 1]; of a point's three numbers the third is depth."""
        return cls(view.place(features[:-1].reshape(-1, 3)[:, :2], _CLOSE_VIEW), float(features[-1]))

    @property
    def face(self) -> Face:
        """Its eyes."""
        (x0, y0), (x1, y1) = self.points[_CORNERS].mean(axis=1).tolist()
        return Face((x0, y0), (x1, y1))

    @property
    def width(self) -> float:
        """Pixels from ear to ear, or from brows to chin where that is more."""
        return self.square.side / _AROUND

    @property
    def square(self) -> Square:
        """Where to look closer: the square around its points, turned as the eyes are, as MediaPipe follows faces."""
        face = self.face
        angle = atan2(face.right[1] - face.left[1], face.right[0] - face.left[0])
        level = Square(0, 0, 1, -angle).place(self.points + 0.5, 1)
        low, high = level.min(axis=0), level.max(axis=0)
        (x, y) = Square(0, 0, 1, angle).place((low + high) / 2 + 0.5, 1).tolist()
        return Square(x, y, _AROUND * float((high - low).max()), angle)


def distinct(meshes: Iterable[Mesh]) -> list[Mesh]:
    """Each face once: of two whose eyes lie nearer than they are apart, the surer one."""
    kept: list[Mesh] = []
    for mesh in sorted(meshes, key=lambda mesh: mesh.logit, reverse=True):
        (x, y), apart = mesh.face.middle, mesh.face.apart
        if all(
            hypot(x - other.face.middle[0], y - other.face.middle[1]) > max(apart, other.face.apart) for other in kept
        ):
            kept.append(mesh)
    return kept


def within(square: Square, size: tuple[int, int]) -> bool:
    """Whether its centre lies in a picture of that width and height."""
    return 0 <= square.x < size[0] and 0 <= square.y < size[1]


async def _confirm(image: Image.Image, squares: Sequence[Square], run: Run, threads: Threads) -> list[Mesh]:
    """What of the squares are faces, each once.

    Looked at twice: cut by its own points a face is seen more exactly than by a proposal's, and anything else falls
    apart.
    """
    meshes: list[Mesh] = []
    for least in (_POSSIBLE, _CONFIRMED):
        if not squares:
            return []
        features = await run("mesh", await threads(partial(_cut, image, squares, _CLOSE_VIEW)))
        seen = (Mesh.read(row, square) for row, square in zip(features, squares, strict=True))
        meshes = distinct(mesh for mesh in seen if mesh.logit > least)
        squares = [mesh.square for mesh in meshes if within(mesh.square, image.size)]
    return meshes


async def _propose(image: Image.Image, views: Sequence[Square], run: Run, threads: Threads) -> Floats:
    features = await run("detector", await threads(partial(_cut, image, views, _VIEW)))
    return np.concatenate([decode(row, view) for row, view in zip(features, views, strict=True)])


def _reduced(image: Image.Image) -> Image.Image:
    """The picture as large as its windows need it: cut out of that, they cost a third."""
    scale = min(1.0, 2 * _VIEW / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=_REDUCING_GAP)


def _cut(image: Image.Image, squares: Sequence[Square], size: int) -> Pixels:
    return np.stack([upright(image, square, size) for square in squares])


def _anchors() -> Floats:
    """The centres [896,2] of the detector's anchors in a view of side 1: two a cell of 16 px, then six a cell of 32."""
    cells = [
        np.repeat((np.indices((count, count)).reshape(2, -1)[::-1].T + 0.5) / count, anchors, axis=0)
        for count, anchors in ((16, 2), (8, 6))
    ]
    return np.concatenate(cells).astype(np.float32)


_VIEW, _CLOSE_VIEW = 256, 192  # the sides of what detector and mesh see
_ANCHORS = _anchors()
_REDUCING_GAP = 3.0  # as where networks see pictures
_PROPOSED, _POSSIBLE, _CONFIRMED = -1.0, 0.0, 8.0  # logits; measured, see docs/faces.md
_ALIKE = 0.3  # the least intersection over union of two proposals of one face
_AROUND = 1.5  # the mesh's square for one of a proposal, as MediaPipe cuts it
_CORNERS = [[33, 133], [362, 263]]  # of either eye, in the mesh
