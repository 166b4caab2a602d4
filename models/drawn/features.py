"""What a face is made of: its outline, eyes, brows, nose, mouth, the marks of age, and glasses.

The face's frame has its origin between the eyes; half a face is about 21 units wide, and the chin lies near y = 27.
"""

from __future__ import annotations

import random

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
    mirrored,
    mix,
    stroke,
)
from models.drawn.eyes import eye_x
from models.drawn.person import Person
from models.drawn.tones import Tones

_FRAME_COLOUR: Colour = (40, 36, 46)


def outline(person: Person) -> Shape:
    """The face from forehead to chin; gender sets the jaw's breadth, and age lets it sag."""
    male, old = person.attributes.gender == "male", person.attributes.age == "old"
    jaw = (18.2 if male else 15.4) + 0.7 * person.jaw + (0.9 if old else 0.0)
    chin = (10.0 if male else 6.4) + 0.6 * person.jaw
    low = 27.6 if male else 27.0
    cheek = 20.4 if male else 20.0
    return mirrored(
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
        face.grown(2) - ellipse(light * 5.0, -3.0, 22.5, 29.5), tones.skin_shade, 0.75, soft=7.0, inside=covered
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
        _paint_freckles(canvas, tones, person)


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
        _paint_wrinkles(canvas, tones)


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
        lens = _lens(side * middle, angular)
        canvas.paint(lens, (206, 226, 240), 0.16)
        canvas.paint(
            stroke([(side * middle - 3.6, 3.4), (side * middle + 0.6, -3.6)], (0.7, 0.9, 0.7)),
            WHITE,
            0.22,
            soft=0.8,
            inside=canvas.coverage(lens),
        )
        canvas.paint(lens.grown(0.85) - lens.grown(-0.65), _FRAME_COLOUR)
    canvas.paint(
        stroke(curve((-middle + 6.0, -0.6), (0, -3.2), (middle - 6.0, -0.6)), (0.75, 0.75, 0.75)), _FRAME_COLOUR
    )


def _lens(x: float, angular: bool) -> Shape:
    if not angular:
        return ellipse(x, 0.6, 6.6, 6.1)
    corners = [(-6.6, -3.4), (-4.6, -4.8), (4.6, -4.8), (6.6, -3.4), (6.2, 3.4), (4.0, 5.6), (-4.0, 5.6), (-6.2, 3.4)]
    return blob([(x + dx, dy) for dx, dy in corners])


def _paint_wrinkles(canvas: Canvas, tones: Tones) -> None:
    """The folds of a wrinkled nose."""
    for y in (-2.4, 0.4, 3.2):
        fold = curve((-3.0, y + 0.9), (0, y - 1.5), (3.0, y + 0.9))
        canvas.paint(stroke(fold, (0.1, 0.5, 0.1)), tones.skin_deep, 0.6, soft=0.7)
    for side in (-1, 1):
        fold = curve((side * 3.4, 3.0), (side * 5.4, 5.0), (side * 5.8, 8.4))
        canvas.paint(stroke(fold, (0.1, 0.6, 0.2)), tones.skin_deep, 0.62, soft=0.9)


def _paint_freckles(canvas: Canvas, tones: Tones, person: Person) -> None:
    chance = random.Random(f"{person.grain}/freckles")
    for _ in range(18):
        x, y = (2.0 * chance.random() - 1.0) * 13.5, 5.4 + 6.0 * chance.random()
        canvas.paint(ellipse(x, y, 0.5, 0.5), tones.skin_deep, 0.42, soft=0.6)
