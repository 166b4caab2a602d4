"""Anti-aliased drawing with signed distance fields; every machine draws the same bytes.

Only operations that IEEE 754 rounds exactly touch pixel arrays: + - * / sqrt, minimum, maximum, comparisons and rint.
A sine, a power or a sum over an array may differ in the last bit between processors, so never add one here. Picture
units run from 0 to 100.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating]  # always float32; the wider type is for mypy, which takes float32 * float for float64
Point = tuple[float, float]
Box = tuple[float, float, float, float]
Colour = tuple[float, float, float]

EVERYWHERE: Box = (-1000.0, -1000.0, 1000.0, 1000.0)
WHITE: Colour = (255.0, 255.0, 255.0)


@dataclass(frozen=True)
class Frame:
    """Coordinates: origin in picture units, scale of each axis, and rotation as the tangent of half the angle."""

    origin: Point = (0.0, 0.0)
    wide: float = 1.0
    tall: float = 1.0
    turn: float = 0.0

    @property
    def rotation(self) -> Point:
        """Cosine and sine of the rotation."""
        # Rational functions of the half-angle's tangent: math.cos and math.sin are not exactly rounded.
        square = self.turn * self.turn
        return (1.0 - square) / (1.0 + square), 2.0 * self.turn / (1.0 + square)

    def outward(self, x: float, y: float) -> Point:
        """Converts a point of this frame to picture units."""
        cosine, sine = self.rotation
        across, down = x * self.wide, y * self.tall
        return self.origin[0] + cosine * across - sine * down, self.origin[1] + sine * across + cosine * down

    def inward(self, u: Field, v: Field) -> tuple[Field, Field]:
        """Converts picture units to this frame; arrays keep their shape."""
        cosine, sine = self.rotation
        across, down = u - self.origin[0], v - self.origin[1]
        return (across * cosine + down * sine) / self.wide, (down * cosine - across * sine) / self.tall


@dataclass(frozen=True)
class Shape:
    """A region: its bounding box and its signed distance (negative inside), both in the units of its frame."""

    box: Box
    distance: Callable[[Field, Field], Field]

    def __or__(self, other: Shape) -> Shape:
        """The union."""
        a, b = self.box, other.box
        box = (min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))
        return Shape(box, lambda x, y: np.minimum(self.distance(x, y), other.distance(x, y)))

    def __and__(self, other: Shape) -> Shape:
        """The intersection."""
        a, b = self.box, other.box
        box = (max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))
        return Shape(box, lambda x, y: np.maximum(self.distance(x, y), other.distance(x, y)))

    def __sub__(self, other: Shape) -> Shape:
        """The difference: this region without the other."""
        return Shape(self.box, lambda x, y: np.maximum(self.distance(x, y), -other.distance(x, y)))

    def grow(self, by: float) -> Shape:
        """The region with its edge moved outward by `by` units."""
        left, top, right, bottom = self.box
        return Shape((left - by, top - by, right + by, bottom + by), lambda x, y: self.distance(x, y) - by)

    def move(self, dx: float, dy: float) -> Shape:
        """The region, shifted."""
        left, top, right, bottom = self.box
        box = (left + dx, top + dy, right + dx, bottom + dy)
        return Shape(box, lambda x, y: self.distance(x - dx, y - dy))


@dataclass(frozen=True)
class Gradient:
    """A colour that changes smoothly from `first` at `start` to `last` at `end`, and stays constant beyond them."""

    start: Point
    end: Point
    first: Colour
    last: Colour

    def at(self, x: Field, y: Field) -> Field:
        """The colours [h, w, 3] at coordinates [h, w]."""
        across, down = self.end[0] - self.start[0], self.end[1] - self.start[1]
        along = ((x - self.start[0]) * across + (y - self.start[1]) * down) / (across * across + down * down)
        share = _smooth_step(np.minimum(np.maximum(along, 0.0), 1.0))[..., None]
        first, last = np.array(self.first, np.float32), np.array(self.last, np.float32)
        return first + (last - first) * share


class Canvas:
    """A square picture to paint on, float32 [size, size, 3] in 0..255, in the coordinates of a frame."""

    def __init__(self, size: int, frame: Frame | None = None, pixels: Field | None = None) -> None:
        """A black square of `size` pixels a side, or a view of the given pixels."""
        self.size = size
        self.pixels = np.zeros((size, size, 3), np.float32) if pixels is None else pixels
        self._frame = frame or Frame()
        self._pixel = 100.0 / size / min(self._frame.wide, self._frame.tall)
        middle = (np.arange(size, dtype=np.float32) + 0.5) * (100.0 / size)
        u, v = np.broadcast_to(middle[None, :], (size, size)), np.broadcast_to(middle[:, None], (size, size))
        self._x, self._y = self._frame.inward(u, v)

    def within(self, frame: Frame) -> Canvas:
        """The same picture in the coordinates of another frame; both share their pixels."""
        return Canvas(self.size, frame, self.pixels)

    def coverage(self, shape: Shape, soft: float = 0.0) -> Field:
        """The share of each pixel that the shape covers, [size, size] in 0..1; its edge is `soft` units wide."""
        covered = np.zeros((self.size, self.size), np.float32)
        rows, columns = self._window(shape.box, soft)
        if rows.start < rows.stop and columns.start < columns.stop:
            covered[rows, columns] = self._covered(shape, soft, rows, columns)
        return covered

    def paint(
        self,
        shape: Shape,
        paint: Colour | Gradient,
        opacity: float = 1.0,
        soft: float = 0.0,
        inside: Field | None = None,
    ) -> None:
        """Paints the shape; `inside` is a coverage [size, size] that masks the paint."""
        rows, columns = self._window(shape.box, soft)
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return
        alpha = self._covered(shape, soft, rows, columns) * opacity
        if inside is not None:
            alpha = alpha * inside[rows, columns]
        if isinstance(paint, Gradient):
            colours = paint.at(self._x[rows, columns], self._y[rows, columns])
        else:
            colours = np.array(paint, np.float32)
        under = self.pixels[rows, columns]
        self.pixels[rows, columns] = under + (colours - under) * alpha[..., None]

    def to_pixels(self) -> NDArray[np.uint8]:
        """The picture as uint8 [size, size, 3], rounded half to even."""
        return np.rint(np.minimum(np.maximum(self.pixels, 0.0), 255.0)).astype(np.uint8)

    def _covered(self, shape: Shape, soft: float, rows: slice, columns: slice) -> Field:
        width = max(soft, self._pixel)
        distance = shape.distance(self._x[rows, columns], self._y[rows, columns])
        share = np.minimum(np.maximum(0.5 - distance / width, 0.0), 1.0)
        return _smooth_step(share) if soft > self._pixel else share

    def _window(self, box: Box, soft: float) -> tuple[slice, slice]:
        """The rows and columns that the box may touch: a small shape need not be computed for the whole picture."""
        margin = 0.5 * max(soft, self._pixel)
        left, top, right, bottom = box[0] - margin, box[1] - margin, box[2] + margin, box[3] + margin
        corners = [self._frame.outward(x, y) for x in (left, right) for y in (top, bottom)]
        across, down = ([corner[axis] * self.size / 100.0 for corner in corners] for axis in (0, 1))
        rows, columns = (
            slice(max(0, math.floor(min(values))), min(self.size, math.ceil(max(values)))) for values in (down, across)
        )
        return rows, columns


def everywhere() -> Shape:
    """The whole plane."""
    return Shape(EVERYWHERE, lambda x, y: np.full_like(x, -1000.0))


def below(edge: Callable[[Field], Field]) -> Shape:
    """The region below the line y = edge(x). Its distance is vertical, so the edge must not be steep."""
    return Shape(EVERYWHERE, lambda x, y: edge(x) - y)


def ellipse(x: float, y: float, across: float, down: float) -> Shape:
    """An ellipse by its centre and radii."""

    def distance(u: Field, v: Field) -> Field:
        # An ellipse has no closed distance: the implicit function over its gradient is right to first order at the
        # edge, and only the edge shows.
        u, v = (u - x) / across, (v - y) / down
        reach = np.sqrt(u * u + v * v)
        p, q = u / across, v / down
        result: Field = reach * (reach - 1.0) / np.maximum(np.sqrt(p * p + q * q), 1e-6)
        return result

    return Shape((x - across, y - down, x + across, y + down), distance)


def polygon(corners: Sequence[Point]) -> Shape:
    """A closed polygon with sharp corners."""
    edges = list(zip(corners, [*corners[1:], corners[0]], strict=True))
    return Shape(_bounds(corners), lambda x, y: _to_outline(x, y, edges))


def blob(points: Sequence[Point], steps: int = 3) -> Shape:
    """A closed smooth curve through the points."""
    return polygon(smooth(points, steps))


def symmetric(points: Sequence[Point], steps: int = 3) -> Shape:
    """A smooth region symmetric about x = 0, from the points of its right half; the first and the last lie at x = 0."""
    whole = [*points, *((-x, y) for x, y in reversed(points[1:-1]))]
    half = smooth(whole, steps)[: (len(points) - 1) * steps + 1]
    edges = list(pairwise(half))
    reach = max(x for x, _ in half)
    box = (-reach, min(y for _, y in half), reach, max(y for _, y in half))
    return Shape(box, lambda x, y: _to_outline(np.abs(x), y, edges))


def stroke(points: Sequence[Point], widths: tuple[float, float, float]) -> Shape:
    """A line through the points with half widths given at its start, middle and end; its ends are round."""
    reach, last = max(widths), len(points) - 1
    start, middle, end = widths
    shares = [index / last for index in range(len(points))]
    halves = [
        start + (middle - start) * 2.0 * share if share < 0.5 else middle + (end - middle) * (2.0 * share - 1.0)
        for share in shares
    ]
    left, top, right, bottom = _bounds(points)

    def distance(x: Field, y: Field) -> Field:
        nearest = np.full_like(x, 1e6)
        for index in range(last):
            px, py, share = _to_segment(x, y, points[index], points[index + 1])
            half = halves[index] + share * (halves[index + 1] - halves[index])
            nearest = np.minimum(nearest, np.sqrt(px * px + py * py) - half)
        return nearest

    return Shape((left - reach, top - reach, right + reach, bottom + reach), distance)


def curve(start: Point, control: Point, end: Point, steps: int = 6) -> list[Point]:
    """`steps` + 1 points of a quadratic Bézier curve."""
    found = []
    for share in (index / steps for index in range(steps + 1)):
        rest = 1.0 - share
        a, b, c = rest * rest, 2.0 * rest * share, share * share
        found.append((a * start[0] + b * control[0] + c * end[0], a * start[1] + b * control[1] + c * end[1]))
    return found


def smooth(points: Sequence[Point], steps: int) -> list[Point]:
    """The closed Catmull-Rom spline through the points, `steps` pieces between neighbours."""
    count = len(points)
    found = []
    for index in range(count):
        around = [points[(index + offset) % count] for offset in (-1, 0, 1, 2)]
        xs, ys = [x for x, _ in around], [y for _, y in around]
        found += [(_spline(xs, step / steps), _spline(ys, step / steps)) for step in range(steps)]
    return found


def mix(first: Colour, last: Colour, share: float) -> Colour:
    """Linear interpolation: `share` 0 is the first colour, 1 the last."""
    return (
        first[0] + (last[0] - first[0]) * share,
        first[1] + (last[1] - first[1]) * share,
        first[2] + (last[2] - first[2]) * share,
    )


def scale(colour: Colour, by: float) -> Colour:
    """The colour, darker (`by` below 1) or lighter (above 1)."""
    return colour[0] * by, colour[1] * by, colour[2] * by


def _smooth_step(share: Field) -> Field:
    return share * share * (3.0 - 2.0 * share)


def _to_outline(x: Field, y: Field, edges: Sequence[tuple[Point, Point]]) -> Field:
    """Signed distance to a chain of edges; a point is inside when a ray to the right crosses an odd number of them."""
    nearest = np.full_like(x, 1e12)
    inside = np.zeros(x.shape, np.bool_)
    for (ax, ay), (bx, by) in edges:
        dx, dy, _ = _to_segment(x, y, (ax, ay), (bx, by))
        nearest = np.minimum(nearest, dx * dx + dy * dy)
        if by != ay:  # a horizontal edge never crosses the ray
            inside ^= ((y >= ay) != (y >= by)) & (x - ax < (y - ay) * ((bx - ax) / (by - ay)))
    distance = np.sqrt(nearest)
    return np.where(inside, -distance, distance)


def _to_segment(x: Field, y: Field, a: Point, b: Point) -> tuple[Field, Field, Field]:
    """Vectors from the segment's nearest point, and that point's share of the way from a to b."""
    ex, ey = b[0] - a[0], b[1] - a[1]
    px, py = x - a[0], y - a[1]
    # The smallest divisor is for repeated points, whose segment has no length.
    share = np.minimum(np.maximum((px * ex + py * ey) / max(ex * ex + ey * ey, 1e-9), 0.0), 1.0)
    return px - share * ex, py - share * ey, share


def _bounds(points: Sequence[Point]) -> Box:
    across, down = [x for x, _ in points], [y for _, y in points]
    return min(across), min(down), max(across), max(down)


def _spline(p: Sequence[float], t: float) -> float:
    """One coordinate of a Catmull-Rom piece between p[1] and p[2], t in 0..1."""
    linear = p[2] - p[0]
    square = 2.0 * p[0] - 5.0 * p[1] + 4.0 * p[2] - p[3]
    cube = 3.0 * p[1] - 3.0 * p[2] + p[3] - p[0]
    return 0.5 * (2.0 * p[1] + t * (linear + t * (square + t * cube)))
