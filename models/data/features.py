"""What a face is made of: its outline, eyes, brows, nose, mouth, the marks of age, and glasses.

The face's frame has its origin between the eyes; half a face is about 21 units wide, and the chin lies near y = 27.
"""

from __future__ import annotations

import random

from models.data.canvas import (
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
    scaled,
    stroke,
)
from models.data.person import Person
from models.data.tones import Tones

_FRAME_COLOUR: Colour = (40, 36, 46)
_MOUTH_Y = 17.0
_BROW_Y = -9.0


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
    """Shade along the side away from the light, a bright tip, the nostrils."""
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


def paint_eyes(canvas: Canvas, tones: Tones, person: Person) -> None:
    """Both eyes; a smile raises the lower lids."""
    for side in (-1, 1):
        _paint_eye(canvas, tones, person, side)


def paint_brows(canvas: Canvas, tones: Tones, person: Person) -> None:
    """Brows in the colour of the hair: broad and low on men, thin and arched on women."""
    male = person.attributes.gender == "male"
    middle = _eye_x(person)
    arch = (1.3 if male else 3.2) + 0.7 * person.brow_arch
    low = _BROW_Y + (0.9 if male else -0.1)
    widths = (1.25, 1.75, 0.5) if male else (0.62, 0.85, 0.18)
    for side in (-1, 1):
        path = curve(
            (side * (middle - 5.2), low + 0.9),
            (side * (middle + 0.6), low - arch * 1.5),
            (side * (middle + 6.6), low + 1.5),
            8,
        )
        canvas.paint(stroke(path, widths), tones.brow, 0.96, soft=0.5)


def paint_mouth(canvas: Canvas, tones: Tones, person: Person) -> None:
    """A closed mouth, or a wide smile with teeth; lips are full and red on women, and thinner with age."""
    if person.attributes.smiling:
        _paint_smile(canvas, tones, person)
    else:
        _paint_closed(canvas, tones, person)


def paint_temples(canvas: Canvas, person: Person) -> None:
    """The sides of the glasses' frame, which hair may cover."""
    outer = _eye_x(person) + 6.5
    for side in (-1, 1):
        canvas.paint(stroke([(side * outer, -1.6), (side * 21.4, -0.6)], (0.75, 0.75, 0.75)), _FRAME_COLOUR)


def paint_glasses(canvas: Canvas, person: Person) -> None:
    """Dark frames with a faint tint: angular over a collar, else round, so that the picture tells which."""
    angular = person.clothes == "collar"
    middle = _eye_x(person) + 0.3
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


def _eye_x(person: Person) -> float:
    return 9.5 + 0.6 * person.eye_spacing


def _lens(x: float, angular: bool) -> Shape:
    if not angular:
        return ellipse(x, 0.6, 6.6, 6.1)
    corners = [(-6.6, -3.4), (-4.6, -4.8), (4.6, -4.8), (6.6, -3.4), (6.2, 3.4), (4.0, 5.6), (-4.0, 5.6), (-6.2, 3.4)]
    return blob([(x + dx, dy) for dx, dy in corners])


def _paint_freckles(canvas: Canvas, tones: Tones, person: Person) -> None:
    chance = random.Random(f"{person.grain}/freckles")
    for _ in range(18):
        x, y = (2.0 * chance.random() - 1.0) * 13.5, 5.4 + 6.0 * chance.random()
        canvas.paint(ellipse(x, y, 0.5, 0.5), tones.skin_deep, 0.42, soft=0.6)


def _paint_eye(canvas: Canvas, tones: Tones, person: Person, side: int) -> None:
    female, smiling = person.attributes.gender == "female", person.attributes.smiling
    x, big, slant = _eye_x(person), 1.0 + 0.09 * person.eye_size, 0.8 * person.eye_slant
    floor = 1.5 if smiling else 2.9

    def at(dx: float, dy: float) -> Point:
        return side * (x + dx * big), 0.4 + dy * big - slant * dx / 5.4

    upper = [at(-5.0, 1.0), at(-3.4, -1.8), at(0, -3.3), at(3.4, -2.2), at(5.4, 0.2)]
    white = blob([*upper, at(3.0, floor * 0.74), at(0, floor), at(-3.2, floor * 0.80)])
    inside = canvas.coverage(white)
    canvas.paint(white, Gradient((0, -3), (0, 3), (222, 222, 230), (255, 253, 250)))
    cx, cy = at(0, -0.3)
    canvas.paint(ellipse(cx, cy, 3.1 * big, 3.1 * big), scaled(person.eye_colour, 0.55), inside=inside)
    canvas.paint(ellipse(cx, cy + 0.2, 2.6 * big, 2.6 * big), person.eye_colour, inside=inside)
    canvas.paint(
        ellipse(cx, cy + 1.4, 1.8 * big, 1.1 * big), mix(person.eye_colour, WHITE, 0.42), 0.7, soft=1.2, inside=inside
    )
    canvas.paint(ellipse(cx, cy, 1.4 * big, 1.4 * big), (18, 14, 20), inside=inside)
    canvas.paint(ellipse(cx + person.light * 1.1, cy - 1.1, 0.9, 0.9), WHITE)
    canvas.paint(stroke(upper, (0.5, 0.9, 0.6)), tones.skin_deep, 0.4, soft=1.6, inside=inside)
    ink = (30, 20, 26) if female else mix(tones.skin_deep, (30, 20, 26), 0.62)
    canvas.paint(stroke(upper, (0.3, 0.95, 0.8) if female else (0.25, 0.62, 0.42)), ink)
    canvas.paint(
        stroke([at(-4.0, -2.8), at(0, -5.0), at(4.6, -2.8)], (0.15, 0.4, 0.15)), tones.skin_deep, 0.5, soft=0.8
    )
    canvas.paint(
        stroke([at(-3.8, floor * 0.86), at(0, floor + 0.3), at(4.0, floor * 0.72)], (0.1, 0.35, 0.2)),
        tones.skin_deep,
        0.5,
        soft=0.7,
    )
    if female:
        canvas.paint(stroke([at(3.4, -1.9), at(5.4, -0.9), at(7.6, -2.6)], (0.9, 0.75, 0.12)), ink)
        canvas.paint(stroke([at(3.0, -2.4), at(4.8, -2.9), at(6.2, -4.3)], (0.6, 0.42, 0.1)), ink)
    if smiling:
        canvas.paint(
            stroke([at(-3.6, 3.4), at(0.6, 4.6), at(4.8, 3.0)], (0.15, 0.5, 0.15)), tones.skin_deep, 0.42, soft=0.9
        )


def _lip_fullness(person: Person) -> float:
    full = 1.45 if person.attributes.gender == "female" else 0.85
    return full * (0.68 if person.attributes.age == "old" else 1.0)


def _paint_closed(canvas: Canvas, tones: Tones, person: Person) -> None:
    y, half, full = _MOUTH_Y, 6.6 + 0.5 * person.mouth_width, _lip_fullness(person)
    dark = mix(tones.lips, (70, 16, 30), 0.55)
    canvas.paint(ellipse(0, y + 1.4 + 2.2 * full, 5.0, 1.3), tones.skin_deep, 0.26, soft=2.0)
    corners = [
        (-half, y - 0.3),
        (-half * 0.4, y - 1.5 * full),
        (0, y - 0.9 * full),
        (half * 0.4, y - 1.5 * full),
        (half, y - 0.3),
    ]
    canvas.paint(
        blob([*corners, (half * 0.5, y + 1.6 * full), (0, y + 2.1 * full), (-half * 0.5, y + 1.6 * full)]), tones.lips
    )
    canvas.paint(ellipse(person.light * 1.0, y + 1.1 * full, 2.4, 0.6 * full), WHITE, 0.30, soft=1.0)
    line = [(-half - 0.4, y - 0.9), (-half * 0.5, y + 0.2), (0, y + 0.1), (half * 0.5, y + 0.2), (half + 0.4, y - 0.9)]
    canvas.paint(stroke(line, (0.3, 0.45, 0.3)), dark, 0.9)


def _paint_smile(canvas: Canvas, tones: Tones, person: Person) -> None:
    y, half, full = _MOUTH_Y - 0.4, 9.4 + 0.6 * person.mouth_width, _lip_fullness(person)
    lips = blob(
        [
            (-half, y - 2.4),
            (-half * 0.5, y - 1.2 - 0.7 * full),
            (0, y - 0.5 - 0.7 * full),
            (half * 0.5, y - 1.2 - 0.7 * full),
            (half, y - 2.4),
            (half * 0.62, y + 3.1 + 0.6 * full),
            (0, y + 4.9 + 0.9 * full),
            (-half * 0.62, y + 3.1 + 0.6 * full),
        ]
    )
    mouth = blob(
        [
            (-half + 1.3, y - 1.5),
            (-half * 0.5, y - 0.7),
            (0, y - 0.3),
            (half * 0.5, y - 0.7),
            (half - 1.3, y - 1.5),
            (half * 0.56, y + 2.9),
            (0, y + 4.6),
            (-half * 0.56, y + 2.9),
        ]
    )
    inside, around = canvas.coverage(mouth), canvas.coverage(lips)
    _paint_raised_cheeks(canvas, tones)
    canvas.paint(ellipse(0, y + 7.0 + full, 5.0, 1.2), tones.skin_deep, 0.22, soft=2.0)
    canvas.paint(lips, tones.lips)
    canvas.paint(mouth, (112, 26, 38))
    canvas.paint(ellipse(0, y + 4.8, 4.4, 1.8), (214, 92, 98), 0.9, soft=0.8, inside=inside)
    canvas.paint(
        blob(
            [
                (-half, y - 2.6),
                (0, y - 1.4),
                (half, y - 2.6),
                (half * 0.6, y + 2.2),
                (0, y + 3.3),
                (-half * 0.6, y + 2.2),
            ]
        ),
        (253, 251, 246),
        inside=inside,
    )
    canvas.paint(
        ellipse(person.light * 1.4, y + 4.9 + 0.7 * full, 2.6, 0.35 * full), WHITE, 0.35, soft=0.9, inside=around
    )


def _paint_raised_cheeks(canvas: Canvas, tones: Tones) -> None:
    for side in (-1, 1):
        crease = curve((side * 6.4, 9.4), (side * 11.6, 11.0), (side * 12.4, 16.4))
        canvas.paint(stroke(crease, (0.1, 0.55, 0.15)), tones.skin_deep, 0.36, soft=1.0)
        canvas.paint(ellipse(side * 13.0, 9.6, 4.4, 3.2), mix(tones.skin_light, (255, 150, 130), 0.45), 0.46, soft=3.6)
