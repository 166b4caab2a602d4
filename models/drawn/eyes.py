"""Eyes and brows, in the frame of the face; an expression moves their points, and a neutral one none."""

from __future__ import annotations

from collections.abc import Callable

from models.drawn.canvas import WHITE, Canvas, Field, Gradient, Point, blob, curve, ellipse, mix, scaled, stroke
from models.drawn.expression import Expression, expression
from models.drawn.person import Person
from models.drawn.tones import Tones

_BROW_Y = -9.0


def eye_x(person: Person) -> float:
    """How far the middle of an eye is from the middle of the face."""
    return 9.5 + 0.6 * person.eye_spacing


def paint_eyes(canvas: Canvas, tones: Tones, person: Person) -> None:
    """Both eyes, as open as the expression has them; a smile raises the lower lids."""
    for side in (-1, 1):
        _paint_eye(canvas, tones, person, side)


def paint_brows(canvas: Canvas, tones: Tones, person: Person) -> None:
    """Brows in the colour of the hair: broad and low on men, thin and arched on women."""
    male = person.attributes.gender == "male"
    middle = eye_x(person)
    arch = (1.3 if male else 3.2) + 0.7 * person.brow_arch
    low = _BROW_Y + (0.9 if male else -0.1)
    widths = (1.25, 1.75, 0.5) if male else (0.62, 0.85, 0.18)
    for side in (-1, 1):
        shown = expression(person, side)
        path = curve(
            (side * (middle - 5.2 - shown.together), low + 0.9 + shown.brow[0]),
            (side * (middle + 0.6), low - arch * 1.5 + shown.brow[1]),
            (side * (middle + 6.6), low + 1.5 + shown.brow[2]),
            8,
        )
        if shown.brow[0] > 2.0:
            frown = curve((side * 1.4, -10.0), (side * 2.4, -7.6), (side * 1.5, -4.6))
            canvas.paint(stroke(frown, (0.15, 0.55, 0.1)), tones.skin_deep, 0.6, soft=0.8)
        canvas.paint(stroke(path, widths), tones.brow, 0.96, soft=0.5)


def _paint_eye(canvas: Canvas, tones: Tones, person: Person, side: int) -> None:
    shown = expression(person, side)
    x, big, slant = eye_x(person), 1.0 + 0.09 * person.eye_size, 0.8 * person.eye_slant
    inner, top, outer = shown.lid

    def at(dx: float, dy: float) -> Point:
        return side * (x + dx * big), 0.4 + dy * big - slant * dx / 5.4

    upper = [at(-5.0, 1.0), at(-3.4, -1.8 + inner), at(0, -3.3 + top), at(3.4, -2.2 + outer), at(5.4, 0.2)]
    if shown.heavy:
        lid = [at(-5.0, 1.0), at(-3.4, -2.2), at(0, -4.0), at(3.6, -2.8), at(5.4, 0.2), *reversed(upper[1:4])]
        canvas.paint(blob(lid), mix(tones.skin, tones.skin_shade, 0.9), shown.heavy, soft=0.7)
    floor = shown.floor
    white = blob([*upper, at(3.0, floor * 0.74), at(0, floor), at(-3.2, floor * 0.80)])
    inside = canvas.coverage(white)
    canvas.paint(white, Gradient((0, -3), (0, 3), (222, 222, 230), (255, 253, 250)))
    _paint_iris(canvas, person, at(side * shown.gaze[0], -0.3 + shown.gaze[1]), big, shown, inside)
    canvas.paint(stroke(upper, (0.5, 0.9, 0.6)), tones.skin_deep, 0.4, soft=1.6, inside=inside)
    _paint_lids(canvas, tones, person, at, shown, upper)


def _paint_iris(canvas: Canvas, person: Person, middle: Point, big: float, shown: Expression, inside: Field) -> None:
    cx, cy = middle
    big = big * shown.iris
    canvas.paint(ellipse(cx, cy, 3.1 * big, 3.1 * big), scaled(person.eye_colour, 0.55), inside=inside)
    canvas.paint(ellipse(cx, cy + 0.2, 2.6 * big, 2.6 * big), person.eye_colour, inside=inside)
    canvas.paint(
        ellipse(cx, cy + 1.4, 1.8 * big, 1.1 * big), mix(person.eye_colour, WHITE, 0.42), 0.7, soft=1.2, inside=inside
    )
    canvas.paint(ellipse(cx, cy, 1.4 * big, 1.4 * big), (18, 14, 20), inside=inside)
    canvas.paint(ellipse(cx + person.light * 1.1, cy - 1.1 + 0.4 * max(shown.lid[1], 0.0), 0.9, 0.9), WHITE)


def _paint_lids(
    canvas: Canvas,
    tones: Tones,
    person: Person,
    at: Callable[[float, float], Point],
    shown: Expression,
    upper: list[Point],
) -> None:
    """The rims of the lids with their lashes, the crease above and, where the lower lid is raised, the one below."""
    female, floor, outer = person.attributes.gender == "female", shown.floor, shown.lid[2]
    high = min(shown.lid[1], 0.0)
    ink = (30, 20, 26) if female else mix(tones.skin_deep, (30, 20, 26), 0.62)
    canvas.paint(stroke(upper, (0.3, 0.95, 0.8) if female else (0.25, 0.62, 0.42)), ink)
    canvas.paint(
        stroke([at(-4.0, -2.8 + high), at(0, -5.0 + high), at(4.6, -2.8 + high)], (0.15, 0.4, 0.15)),
        tones.skin_deep,
        0.5,
        soft=0.8,
    )
    canvas.paint(
        stroke([at(-3.8, floor * 0.86), at(0, floor + 0.3), at(4.0, floor * 0.72)], (0.1, 0.35, 0.2)),
        tones.skin_deep,
        0.5,
        soft=0.7,
    )
    if female:
        canvas.paint(stroke([at(3.4, -1.9 + outer), at(5.4, -0.9), at(7.6, -2.6)], (0.9, 0.75, 0.12)), ink)
        canvas.paint(
            stroke([at(3.0, -2.4 + outer), at(4.8, -2.9 + outer), at(6.2, -4.3 + outer)], (0.6, 0.42, 0.1)), ink
        )
    if floor < 2.0:
        canvas.paint(
            stroke([at(-3.6, 3.4), at(0.6, 4.6), at(4.8, 3.0)], (0.15, 0.5, 0.15)), tones.skin_deep, 0.42, soft=0.9
        )
