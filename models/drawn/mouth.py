"""The mouth of each expression, in the frame of the face: lips, teeth and tongue, and the folds around them.

Lips are fuller and redder on women, and thinner with age.
"""

from __future__ import annotations

from models.drawn.canvas import WHITE, Canvas, Colour, Point, blob, curve, ellipse, mix, stroke
from models.drawn.person import Person, Tones

_Y = 17.0
_INSIDE: Colour = (112, 26, 38)
_DEEP: Colour = (74, 16, 28)
_GAPS: Colour = (150, 120, 120)
_TONGUE: Colour = (214, 92, 98)
_TEETH: Colour = (253, 251, 246)


def paint_mouth(canvas: Canvas, tones: Tones, person: Person) -> None:
    """The mouth of the person's expression."""
    paint = {
        "neutral": _paint_closed,
        "happy": _paint_smile,
        "sad": _paint_sad,
        "angry": _paint_angry,
        "surprised": _paint_surprised,
        "fearful": _paint_fearful,
        "disgusted": _paint_disgusted,
        "contemptuous": _paint_contemptuous,
    }
    paint[person.attributes.expression](canvas, tones, person)


def _lip_fullness(person: Person) -> float:
    full = 1.45 if person.attributes.gender == "female" else 0.85
    return full * (0.68 if person.attributes.age == "old" else 1.0)


def _paint_closed(canvas: Canvas, tones: Tones, person: Person) -> None:
    y, half, full = _Y, 6.6 + 0.5 * person.mouth_width, _lip_fullness(person)
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
    y, half, full = _Y - 0.4, 9.4 + 0.6 * person.mouth_width, _lip_fullness(person)
    # fmt: off
    lips = blob([
        (-half, y - 2.4), (-half * 0.5, y - 1.2 - 0.7 * full), (0, y - 0.5 - 0.7 * full),
        (half * 0.5, y - 1.2 - 0.7 * full), (half, y - 2.4),
        (half * 0.62, y + 3.1 + 0.6 * full), (0, y + 4.9 + 0.9 * full), (-half * 0.62, y + 3.1 + 0.6 * full),
    ])
    mouth = blob([
        (-half + 1.3, y - 1.5), (-half * 0.5, y - 0.7), (0, y - 0.3), (half * 0.5, y - 0.7), (half - 1.3, y - 1.5),
        (half * 0.56, y + 2.9), (0, y + 4.6), (-half * 0.56, y + 2.9),
    ])
    teeth = blob([
        (-half, y - 2.6), (0, y - 1.4), (half, y - 2.6), (half * 0.6, y + 2.2), (0, y + 3.3), (-half * 0.6, y + 2.2),
    ])
    # fmt: on
    inside, around = canvas.coverage(mouth), canvas.coverage(lips)
    for side in (-1, 1):
        crease = curve((side * 6.4, 9.4), (side * 11.6, 11.0), (side * 12.4, 16.4))
        canvas.paint(stroke(crease, (0.1, 0.55, 0.15)), tones.skin_deep, 0.36, soft=1.0)
        canvas.paint(ellipse(side * 13.0, 9.6, 4.4, 3.2), mix(tones.skin_light, (255, 150, 130), 0.45), 0.46, soft=3.6)
    canvas.paint(ellipse(0, y + 7.0 + full, 5.0, 1.2), tones.skin_deep, 0.22, soft=2.0)
    canvas.paint(lips, tones.lips)
    canvas.paint(mouth, _INSIDE)
    canvas.paint(ellipse(0, y + 4.8, 4.4, 1.8), _TONGUE, 0.9, soft=0.8, inside=inside)
    canvas.paint(teeth, _TEETH, inside=inside)
    canvas.paint(
        ellipse(person.light * 1.4, y + 4.9 + 0.7 * full, 2.6, 0.35 * full), WHITE, 0.35, soft=0.9, inside=around
    )


def _paint_sad(canvas: Canvas, tones: Tones, person: Person) -> None:
    """Closed, with the corners down and the lower lip pushed out over a creased chin."""
    y, half, full = _Y + 0.6, 7.0 + 0.5 * person.mouth_width, 1.2 * _lip_fullness(person)
    dark = mix(tones.lips, (70, 16, 30), 0.62)
    canvas.paint(ellipse(0, y + 2.4 + 2.0 * full, 5.2, 1.5), tones.skin_deep, 0.46, soft=2.0)
    lips = [
        (-half, y + 2.6),
        (-half * 0.45, y - 1.2 - 0.9 * full),
        (0, y - 1.3 - 0.6 * full),
        (half * 0.45, y - 1.2 - 0.9 * full),
        (half, y + 2.6),
        (half * 0.5, y + 1.0 + 1.2 * full),
        (0, y + 0.3 + 1.9 * full),
        (-half * 0.5, y + 1.0 + 1.2 * full),
    ]
    canvas.paint(blob(lips), tones.lips)
    canvas.paint(ellipse(person.light * 1.0, y + 0.2 + 1.1 * full, 2.2, 0.5 * full), WHITE, 0.30, soft=1.0)
    line = curve((-half - 0.5, y + 3.4), (0, y - 4.4), (half + 0.5, y + 3.4), 8)
    canvas.paint(stroke(line, (0.4, 0.62, 0.4)), dark)
    for side in (-1, 1):
        fold = curve((side * (half + 0.6), y + 2.8), (side * (half + 1.8), y + 4.6), (side * (half + 1.4), y + 6.6))
        canvas.paint(stroke(fold, (0.2, 0.5, 0.1)), tones.skin_deep, 0.5, soft=0.9)


def _paint_angry(canvas: Canvas, tones: Tones, person: Person) -> None:
    """Clenched teeth between square lips, the corners low."""
    y, half, full = _Y + 0.6, 8.0 + 0.5 * person.mouth_width, _lip_fullness(person)

    def contour(out: float) -> list[Point]:
        return [
            (-half - out, y + 1.4),
            (-half * 0.72, y - 1.8 - out),
            (0, y - 1.5 - out),
            (half * 0.72, y - 1.8 - out),
            (half + out, y + 1.4),
            (half * 0.86, y + 3.9 + out),
            (0, y + 3.0 + out),
            (-half * 0.86, y + 3.9 + out),
        ]

    inside = canvas.coverage(blob(contour(-0.2)))
    canvas.paint(ellipse(0, y + 5.4 + full, 5.0, 1.2), tones.skin_deep, 0.34, soft=2.0)
    canvas.paint(blob(contour(0.5 + 0.6 * full)), tones.lips)
    canvas.paint(blob(contour(0.0)), _INSIDE)
    canvas.paint(blob(contour(-0.35)), _TEETH, inside=inside)
    canvas.paint(
        stroke(curve((-half, y + 1.5), (0, y + 0.3), (half, y + 1.5)), (0.3, 0.42, 0.3)), _GAPS, 0.9, inside=inside
    )
    for place in range(-3, 4):
        x = place * half * 0.27
        canvas.paint(stroke([(x, y - 2.4), (x * 1.06, y + 4.4)], (0.16, 0.16, 0.16)), _GAPS, 0.7, inside=inside)
    _paint_folds(canvas, tones, 0.5)


def _paint_surprised(canvas: Canvas, tones: Tones, person: Person) -> None:
    """A round open mouth."""
    y, across, full = _Y + 1.5, 3.9 + 0.3 * person.mouth_width, _lip_fullness(person)
    canvas.paint(ellipse(0, y + 6.4 + 0.5 * full, 4.2, 1.1), tones.skin_deep, 0.30, soft=1.8)
    canvas.paint(ellipse(0, y, across + 0.6 + 0.7 * full, 5.1 + 0.6 * full), tones.lips)
    hole = ellipse(0, y, across, 4.6)
    inside = canvas.coverage(hole)
    canvas.paint(hole, _DEEP)
    canvas.paint(ellipse(0, y + 4.2, across * 0.8, 2.0), _TONGUE, 0.9, soft=0.8, inside=inside)
    canvas.paint(ellipse(0, y - 4.6, across * 0.8, 1.5), _TEETH, inside=inside)


def _paint_fearful(canvas: Canvas, tones: Tones, person: Person) -> None:
    """Open and stretched sideways, the corners down."""
    y, half, full = _Y + 0.8, 9.0 + 0.5 * person.mouth_width, _lip_fullness(person)

    def contour(out: float) -> list[Point]:
        return [
            (-half - out, y + 3.0),
            (-half * 0.5, y - 1.2 - out),
            (0, y - 1.9 - out),
            (half * 0.5, y - 1.2 - out),
            (half + out, y + 3.0),
            (half * 0.6, y + 4.4 + out),
            (0, y + 4.2 + out),
            (-half * 0.6, y + 4.4 + out),
        ]

    canvas.paint(ellipse(0, y + 6.2 + full, 5.0, 1.1), tones.skin_deep, 0.30, soft=1.8)
    canvas.paint(blob(contour(0.4 + 0.55 * full)), tones.lips)
    hole = blob(contour(0.0))
    inside = canvas.coverage(hole)
    canvas.paint(hole, _DEEP)
    canvas.paint(ellipse(0, y + 4.8, half * 0.5, 1.6), _TONGUE, 0.9, soft=0.8, inside=inside)
    canvas.paint(ellipse(0, y - 2.4, half * 0.66, 1.9), _TEETH, inside=inside)


def _paint_disgusted(canvas: Canvas, tones: Tones, person: Person) -> None:
    """The upper lip raised, the tongue out over the lower one."""
    y, half, full = _Y + 0.4, 6.8 + 0.5 * person.mouth_width, _lip_fullness(person)

    def contour(out: float) -> list[Point]:
        return [
            (-half - out, y + 2.8),
            (-half * 0.62, y - 1.0 - out),
            (0, y - 1.2 - out),
            (half * 0.62, y - 1.0 - out),
            (half + out, y + 2.8),
            (half * 0.6, y + 3.2 + out),
            (0, y + 3.0 + out),
            (-half * 0.6, y + 3.2 + out),
        ]

    canvas.paint(blob(contour(0.4 + 0.6 * full)), tones.lips)
    hole = blob(contour(0.0))
    inside = canvas.coverage(hole)
    canvas.paint(hole, _DEEP)
    canvas.paint(ellipse(0, y - 1.6, half * 0.62, 1.7), _TEETH, inside=inside)
    tongue = blob(
        [
            (-3.4, y + 1.2),
            (0, y + 0.7),
            (3.4, y + 1.2),
            (3.7, y + 4.6),
            (2.2, y + 7.0),
            (0, y + 7.6),
            (-2.2, y + 7.0),
            (-3.7, y + 4.6),
        ]
    )
    canvas.paint(tongue.move(0, 0.7), tones.skin_deep, 0.5, soft=1.4)
    canvas.paint(tongue, _TONGUE)
    canvas.paint(stroke([(0, y + 1.6), (0, y + 5.8)], (0.2, 0.4, 0.15)), (168, 56, 72), 0.8, soft=0.6)
    _paint_folds(canvas, tones, 0.7)


def _paint_contemptuous(canvas: Canvas, tones: Tones, person: Person) -> None:
    """Closed, one corner tight and raised into the cheek."""
    y, half, full = _Y, 6.8 + 0.5 * person.mouth_width, 1.2 * _lip_fullness(person)
    up = person.parting
    dark = mix(tones.lips, (70, 16, 30), 0.62)
    canvas.paint(ellipse(-up * 0.6, y + 1.6 + 2.2 * full, 5.0, 1.3), tones.skin_deep, 0.30, soft=2.0)
    lips = [
        (-up * half, y + 1.0),
        (-up * half * 0.4, y - 1.0 * full),
        (0, y - 0.9 - 0.8 * full),
        (up * half * 0.5, y - 2.0 - 0.9 * full),
        (up * (half + 1.2), y - 4.0),
        (up * half * 0.6, y - 0.6 + 1.2 * full),
        (0, y + 0.6 + 1.7 * full),
        (-up * half * 0.5, y + 0.9 + 1.4 * full),
    ]
    canvas.paint(blob(lips), tones.lips)
    canvas.paint(ellipse(person.light * 1.0, y + 0.4 + 1.0 * full, 2.2, 0.5 * full), WHITE, 0.30, soft=1.0)
    line = curve((-up * (half + 0.4), y + 1.2), (up * 2.2, y + 1.6), (up * (half + 1.6), y - 4.6), 8)
    canvas.paint(stroke(line, (0.35, 0.5, 0.5)), dark)
    dimple = curve((up * (half + 1.2), y - 7.2), (up * (half + 3.8), y - 4.6), (up * (half + 2.0), y - 1.4))
    canvas.paint(stroke(dimple, (0.2, 0.7, 0.2)), tones.skin_deep, 0.62, soft=0.9)
    canvas.paint(ellipse(up * 13.0, 9.8, 3.6, 2.6), mix(tones.skin_light, (255, 150, 130), 0.4), 0.36, soft=3.0)


def _paint_folds(canvas: Canvas, tones: Tones, opacity: float) -> None:
    """The folds from the nose around the mouth."""
    for side in (-1, 1):
        fold = curve((side * 4.6, 9.0), (side * 10.0, 10.4), (side * 11.6, 17.6))
        canvas.paint(stroke(fold, (0.2, 0.6, 0.15)), tones.skin_deep, opacity, soft=1.0)
