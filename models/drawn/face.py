"""The parts of a face but the mouth: outline, ears, skin, eyes, brows, nose, the marks of age, and glasses.

The face's frame has its origin between the eyes; half a face is about 21 units wide, and the chin lies near y = 27. An
expression moves the lids and brows from their neutral places.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from models.drawn.canvas import (
    WHITE,
    Canvas,
    Colour,
    Field,
    Gradient,
    Point,
    Shape,
    blob,
    curve,
    ellipse,
    mix,
    scale,
    stroke,
    symmetric,
)
from models.drawn.person import Person, Tones

Three = tuple[float, float, float]

_FRAME_COLOUR: Colour = (40, 36, 46)
_ANGULAR_LENS = (
    *((-6.6, -3.4), (-4.6, -4.8), (4.6, -4.8), (6.6, -3.4)),
    *((6.2, 3.4), (4.0, 5.6), (-4.0, 5.6), (-6.2, 3.4)),
)
_BROW_Y = -9.0


@dataclass(frozen=True)
class Expression:
    """What an expression adds to the lids and brow of one side, in the face's units.

    Threes run from the nose outward; positive is down, as in the picture.
    """

    lid: Three = (0.0, 0.0, 0.0)
    floor: float = 2.9  # the lower lid below the eye's middle
    brow: Three = (0.0, 0.0, 0.0)
    together: float = 0.0  # how far the brow's inner end moves to the nose
    iris: float = 1.0
    gaze: tuple[float, float] = (0.0, 0.0)
    heavy: float = 0.0  # opacity of the upper lid, 0 to 1


# The eight expressions of the Radboud Faces Database. Mouths have shapes of their own, in `mouth.py`.
_EXPRESSIONS: dict[str, Expression] = {
    "neutral": Expression(),
    "happy": Expression(floor=1.5),
    "sad": Expression(lid=(0.2, 1.0, 1.9), floor=2.6, brow=(-4.2, 0.4, 3.0), gaze=(0.0, 0.7), heavy=0.7),
    "angry": Expression(lid=(2.5, 1.5, 0.2), floor=2.2, brow=(4.2, 3.4, -1.4), together=2.4, iris=0.92),
    "surprised": Expression(lid=(-1.2, -1.8, -1.5), floor=4.0, brow=(-3.6, -6.4, -2.6), iris=0.86),
    "fearful": Expression(lid=(-1.2, -1.6, -0.4), floor=3.6, brow=(-5.0, -2.6, 0.6), together=1.8, iris=0.70),
    "disgusted": Expression(lid=(1.6, 1.7, 1.0), floor=1.3, brow=(3.0, 2.6, 1.0), together=1.6, heavy=0.5),
    "contemptuous": Expression(lid=(1.2, 1.7, 1.4), floor=2.3, brow=(1.2, 2.2, 1.2), heavy=1.0),
}
_RAISED = replace(_EXPRESSIONS["contemptuous"], brow=(-1.6, -5.4, -1.6), lid=(0.8, 1.2, 1.0))


def expression(person: Person, side: int) -> Expression:
    """The expression of the eye and brow on a side, -1 or 1; only contempt differs between them."""
    name = person.attributes.expression
    if name == "contemptuous" and side == person.parting:
        return _RAISED
    return _EXPRESSIONS[name]


def outline(person: Person) -> Shape:
    """The face from forehead to chin; gender sets the jaw's breadth, and age lets it sag."""
    # The largest outline must stay within the head's mask, which is that of an old man.
    male, old = person.attributes.gender == "male", person.attributes.age == "old"
    jaw = (18.2 if male else 15.4) + 0.7 * person.jaw + (0.9 if old else 0.0)
    chin = (10.0 if male else 6.4) + 0.6 * person.jaw
    low = 27.6 if male else 27.0
    cheek = 20.4 if male else 20.0
    return symmetric(
        [(0, -29), (10, -27.6), (18, -20), (21.3, -8), (21.2, 2), (cheek, 10), (jaw, 18.6), (chin, low - 2.2), (0, low)]
    )


def paint_ears(canvas: Canvas, tones: Tones, person: Person) -> None:
    """Both ears, behind the face."""
    for side in (-1, 1):
        base = tones.skin if side == person.light else mix(tones.skin, tones.skin_shade, 0.55)
        canvas.paint(ellipse(side * 21.6, 3.5, 4.0, 6.4), base)
        canvas.paint(ellipse(side * 22.2, 3.6, 2.2, 4.2), tones.skin_shade, 0.8, soft=1.4)
        canvas.paint(
            stroke(curve((side * 23.0, 0.5), (side * 21.2, 2.5), (side * 22.6, 6.0)), (0.2, 0.5, 0.2)),
            tones.skin_deep,
            0.35,
        )


def paint_skin(canvas: Canvas, tones: Tones, person: Person, face: Shape, covered: Field) -> None:
    """The face itself: light from one side, a rim of shade on the other, cheeks and freckles."""
    light = float(person.light)
    canvas.paint(
        face,
        Gradient(
            (light * 18, -22),
            (-light * 20, 24),
            mix(tones.skin, tones.skin_light, 0.30),
            mix(tones.skin, tones.skin_shade, 0.42),
        ),
    )
    canvas.paint(
        face.grow(2) - ellipse(light * 5.0, -3.0, 22.5, 29.5), tones.skin_shade, 0.75, soft=7.0, inside=covered
    )
    canvas.paint(ellipse(light * 6.5, -17.0, 9.5, 6.5), tones.skin_light, 0.42, soft=10.0, inside=covered)
    for side in (-1, 1):
        canvas.paint(
            ellipse(side * 12.6, 10.0, 5.6, 3.8),
            mix((232, 92, 88), tones.skin, 0.35),
            0.18 + 0.20 * person.blush,
            soft=6.0,
            inside=covered,
        )
        canvas.paint(ellipse(side * 9.6, -2.6, 6.4, 4.4), tones.skin_deep, 0.13, soft=4.0, inside=covered)
    canvas.paint(ellipse(light * 12.5, 5.4, 4.4, 2.4), tones.skin_light, 0.40, soft=4.5, inside=covered)
    if person.freckles:
        chance = random.Random(f"{person.grain}/freckles")
        for _ in range(18):
            x, y = (2.0 * chance.random() - 1.0) * 13.5, 5.4 + 6.0 * chance.random()
            canvas.paint(ellipse(x, y, 0.5, 0.5), tones.skin_deep, 0.42, soft=0.6)


def paint_age(canvas: Canvas, tones: Tones, covered: Field) -> None:
    """Lines of the forehead, crow's feet, bags under the eyes, and the folds beside nose and mouth."""

    def crease(start: Point, control: Point, end: Point, half: float, opacity: float = 0.62) -> None:
        canvas.paint(
            stroke(curve(start, control, end), (0.12, half, 0.12)), tones.skin_deep, opacity, soft=0.7, inside=covered
        )

    for y, reach in ((-20.2, 9.0), (-16.8, 11.0), (-13.6, 9.5)):
        crease((-reach, y + 0.5), (0, y - 1.5), (reach, y + 0.5), 0.55, 0.55)
    crease((-1.5, -11.0), (-1.9, -9.0), (-1.3, -7.0), 0.45)
    crease((1.5, -11.0), (1.9, -9.0), (1.3, -7.0), 0.45)
    for side in (-1, 1):
        canvas.paint(ellipse(side * 9.8, 5.6, 5.2, 2.2), tones.skin_deep, 0.34, soft=2.6, inside=covered)
        crease((side * 5.0, 4.8), (side * 9.0, 9.0), (side * 14.4, 5.4), 0.60, 0.75)
        for y in (-2.2, 0.6, 3.4):
            crease(
                (side * 15.6, 0.4 + y * 0.35), (side * 17.2, 0.4 + y * 0.6), (side * 19.4, 0.2 + y * 1.3), 0.48, 0.70
            )
        crease((side * 4.8, 8.6), (side * 10.4, 12.0), (side * 11.2, 19.0), 0.75, 0.72)
        canvas.paint(ellipse(side * 12.8, 13.6, 2.6, 4.4), tones.skin_deep, 0.30, soft=3.4, inside=covered)
        crease((side * 9.4, 20.0), (side * 10.0, 22.0), (side * 9.0, 24.4), 0.5, 0.5)


def paint_nose(canvas: Canvas, tones: Tones, person: Person) -> None:
    """Shade along the side away from the light, a bright tip, the nostrils; disgust wrinkles it."""
    light, wide, tip = float(person.light), 3.6 + 0.7 * person.nose_width, 9.0 + 0.8 * person.nose_length
    bridge = curve((-light * 2.2, -3.0), (-light * 2.4, 4.0), (-light * wide, tip - 0.6))
    canvas.paint(stroke(bridge, (0.4, 0.9, 1.5)), tones.skin_shade, 0.72, soft=2.0)
    canvas.paint(ellipse(0, tip + 1.0, wide + 0.6, 1.5), tones.skin_deep, 0.34, soft=1.8)
    canvas.paint(ellipse(0, tip - 0.6, wide, 2.6), mix(tones.skin, tones.skin_shade, 0.25), 0.8, soft=2.2)
    canvas.paint(
        stroke([(light * 0.6, -4.0), (light * 0.7, tip - 3.0)], (0.5, 0.7, 0.5)), tones.skin_light, 0.50, soft=1.6
    )
    canvas.paint(ellipse(light * 1.0, tip - 1.3, 1.5, 1.2), mix(tones.skin_light, WHITE, 0.3), 0.48, soft=1.6)
    for side in (-1, 1):
        canvas.paint(ellipse(side * (wide - 1.7), tip + 1.1, 1.1, 0.65), tones.skin_deep, 0.85, soft=0.7)
    if person.attributes.expression == "disgusted":
        for y in (-2.4, 0.4, 3.2):
            fold = curve((-3.0, y + 0.9), (0, y - 1.5), (3.0, y + 0.9))
            canvas.paint(stroke(fold, (0.1, 0.5, 0.1)), tones.skin_deep, 0.6, soft=0.7)
        for side in (-1, 1):
            fold = curve((side * 3.4, 3.0), (side * 5.4, 5.0), (side * 5.8, 8.4))
            canvas.paint(stroke(fold, (0.1, 0.6, 0.2)), tones.skin_deep, 0.62, soft=0.9)


def paint_temples(canvas: Canvas, person: Person) -> None:
    """The sides of the glasses' frame, which hair may cover."""
    outer = eye_x(person) + 6.5
    for side in (-1, 1):
        canvas.paint(stroke([(side * outer, -1.6), (side * 21.4, -0.6)], (0.75, 0.75, 0.75)), _FRAME_COLOUR)


def paint_glasses(canvas: Canvas, person: Person) -> None:
    """Dark frames with a faint tint: angular over a collar, else round, so that the picture tells which."""
    angular = person.clothes == "collar"
    middle = eye_x(person) + 0.3
    for side in (-1, 1):
        x = side * middle
        lens = blob([(x + dx, dy) for dx, dy in _ANGULAR_LENS]) if angular else ellipse(x, 0.6, 6.6, 6.1)
        canvas.paint(lens, (206, 226, 240), 0.16)
        canvas.paint(
            stroke([(side * middle - 3.6, 3.4), (side * middle + 0.6, -3.6)], (0.7, 0.9, 0.7)),
            WHITE,
            0.22,
            soft=0.8,
            inside=canvas.coverage(lens),
        )
        canvas.paint(lens.grow(0.85) - lens.grow(-0.65), _FRAME_COLOUR)
    canvas.paint(
        stroke(curve((-middle + 6.0, -0.6), (0, -3.2), (middle - 6.0, -0.6)), (0.75, 0.75, 0.75)), _FRAME_COLOUR
    )


def eye_x(person: Person) -> float:
    """How far the middle of an eye is from the middle of the face."""
    return 9.5 + 0.6 * person.eye_spacing


def paint_eyes(canvas: Canvas, tones: Tones, person: Person) -> None:
    """Both eyes, as open as the expression has them."""
    x, big, slant = eye_x(person), 1.0 + 0.09 * person.eye_size, 0.8 * person.eye_slant
    for side in (-1, 1):
        shown = expression(person, side)

        def at(dx: float, dy: float, side: int = side) -> Point:
            """A point of this eye; dx runs from the nose outward."""
            return side * (x + dx * big), 0.4 + dy * big - slant * dx / 5.4

        inner, top, outer = shown.lid
        upper = [at(-5.0, 1.0), at(-3.4, -1.8 + inner), at(0, -3.3 + top), at(3.4, -2.2 + outer), at(5.4, 0.2)]
        if shown.heavy:
            lid = [at(-5.0, 1.0), at(-3.4, -2.2), at(0, -4.0), at(3.6, -2.8), at(5.4, 0.2), *reversed(upper[1:4])]
            canvas.paint(blob(lid), mix(tones.skin, tones.skin_shade, 0.9), shown.heavy, soft=0.7)
        white = blob([*upper, at(3.0, shown.floor * 0.74), at(0, shown.floor), at(-3.2, shown.floor * 0.80)])
        inside = canvas.coverage(white)
        canvas.paint(white, Gradient((0, -3), (0, 3), (222, 222, 230), (255, 253, 250)))
        # Both irises look the same way, so the gaze is not mirrored.
        cx, cy = at(side * shown.gaze[0], -0.3 + shown.gaze[1])
        iris, colour = big * shown.iris, person.eye_colour
        canvas.paint(ellipse(cx, cy, 3.1 * iris, 3.1 * iris), scale(colour, 0.55), inside=inside)
        canvas.paint(ellipse(cx, cy + 0.2, 2.6 * iris, 2.6 * iris), colour, inside=inside)
        glow = ellipse(cx, cy + 1.4, 1.8 * iris, 1.1 * iris)
        canvas.paint(glow, mix(colour, WHITE, 0.42), 0.7, soft=1.2, inside=inside)
        canvas.paint(ellipse(cx, cy, 1.4 * iris, 1.4 * iris), (18, 14, 20), inside=inside)
        canvas.paint(ellipse(cx + person.light * 1.1, cy - 1.1 + 0.4 * max(top, 0.0), 0.9, 0.9), WHITE)
        canvas.paint(stroke(upper, (0.5, 0.9, 0.6)), tones.skin_deep, 0.4, soft=1.6, inside=inside)
        _paint_lids(canvas, tones, person, at, shown, upper)


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


def _paint_lids(
    canvas: Canvas,
    tones: Tones,
    person: Person,
    at: Callable[[float, float], Point],
    shown: Expression,
    upper: list[Point],
) -> None:
    """The rims of the lids, lashes, the crease above the eye and, under a raised lower lid, the one below."""
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
