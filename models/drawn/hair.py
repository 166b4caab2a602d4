"""Hair, beards and hats, in the frame of the face: x from its middle, y down from the eyes.

A hairstyle has two regions: a back, painted behind head and neck, and a front, which is an outer contour minus a window
for the face. Under a hat only the hair below the rim shows. Styles differ there too (sideburns, fringes, length), so
that a picture with a hat still tells which hair belongs under it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.drawn.canvas import (
    WHITE,
    Canvas,
    Field,
    Gradient,
    Point,
    Shape,
    below,
    blob,
    curve,
    ellipse,
    everywhere,
    mix,
    stroke,
    symmetric,
)
from models.drawn.person import Person, Tones


@dataclass(frozen=True)
class Style:
    """A hairstyle, parted to the right."""

    outer: tuple[Point, ...]  # closed contour of the front
    window: tuple[Point, ...]  # closed contour of what the face looks through
    back: tuple[Point, ...]  # the right half of a symmetric contour; empty for none
    ends: float  # y of the strands' ends
    bulge: float  # how far strands swing out, 1 straight down


def _both(points: Sequence[Point]) -> tuple[Point, ...]:
    return (*points, *((-x, y) for x, y in reversed(points[1:-1])))


_CAP = ((0, -35), (10.5, -33), (19.4, -27), (22.8, -15), (22.4, -5), (21.4, 1.5), (16, 6), (0, 8))
_FULL = ((0, -36), (12.5, -33.4), (22.8, -25), (27.2, -9), (27.4, 6), (25.6, 17), (20, 23.5), (14, 24), (0, 24))
_LONG = ((0, -36), (12.5, -33.4), (22.8, -25), (27.4, -8), (28.4, 10), (30, 28), (31, 44), (26, 54), (14, 58), (0, 60))
_CURLY_CAP = ((0, -33), (13, -31), (22, -22), (24.5, -8), (23.5, 4), (16, 6), (0, 8))
_CURLY_WINDOW = (
    *((0, -17.6), (5, -16), (9, -17.4), (13, -13.6), (17, -12)),
    *((17.2, -6), (19, -2), (19.8, 6), (22, 13), (0, 30)),
)
_CURLS = ((4.5, -35), (13, -32), (20, -26), (25, -17.5), (26.6, -8), (26.4, 1.5), (24.6, 10))
# fmt: off
STYLES = {
    "short": Style(
        _both(_CAP),
        ((-17, -12), (-14, -17), (-8, -16), (-3, -18.6), (3, -16.4), (8, -19.4), (14, -16.4), (17.8, -9.5),
         (18.8, -2), (20, 6), (22, 13), (0, 30), (-22, 13), (-20, 6), (-18.8, -2)),
        (), -4, 1.05,
    ),
    "side": Style(
        ((0, -36.5), (12, -35), (20.5, -28), (23.4, -16), (22.8, -5), (22, 4), (20.2, 9), (15, 12), (0, 13),
         (-15, 12), (-20.2, 9), (-22, 4), (-22.8, -5), (-24, -17), (-20.5, -29), (-11, -36)),
        ((8.5, -22.5), (13.5, -18), (17.4, -10), (18.6, -2), (19, 5), (22, 13), (0, 30), (-22, 13), (-19, 5),
         (-18.4, -2), (-17, -6.5), (-13, -11.4), (-6, -15.6), (3, -18.5)),
        (), -6, 1.1,
    ),
    "quiff": Style(
        ((-2, -41), (8, -41), (16, -36), (21, -27), (22.6, -15), (22.2, -9), (20.6, -5), (16, 0), (0, 4),
         (-16, 0), (-20.6, -5), (-22.2, -9), (-22.8, -15), (-21.6, -27), (-14, -37)),
        _both(((0, -23.4), (8, -23), (14.6, -19.5), (18, -11), (19.4, -3), (20.4, 5), (22, 12), (0, 30))),
        (), -16, 0.9,
    ),
    "bob": Style(
        _both(_FULL),
        _both(((0, -12.6), (9, -12.4), (14.6, -11.6), (17, -5), (17.4, 4), (16.6, 14), (15.4, 22), (14, 30),
         (0, 34))),
        ((0, -30), (18, -26), (25, -8), (26, 8), (25, 19), (20, 24.5), (0, 25.5)), 20, 1.2,
    ),
    "long": Style(
        _both(_LONG),
        ((0, -25.5), (5, -21.5), (12, -15.5), (16.6, -7), (18, 4), (18, 16), (17, 26), (17.5, 38), (19, 58),
         (0, 70), (-19, 58), (-17.5, 38), (-17, 26), (-18, 16), (-18, 4), (-16.6, -7), (-12, -15.5), (-5, -21.5)),
        ((0, -30), (18, -26), (25, -8), (26, 12), (28, 34), (26, 50), (0, 52)), 50, 1.22,
    ),
    "wavy": Style(
        ((0, -36.5), (13, -35), (23, -27), (26, -16), (28.8, -6), (27, 3), (30, 12), (27.6, 21), (29.6, 30),
         (23, 36), (16, 37), (0, 40), (-16, 37), (-23, 36), (-29.6, 30), (-27.6, 21), (-30, 12), (-27, 3),
         (-28.8, -6), (-26.4, -17), (-23, -28), (-12, -36)),
        ((8.5, -25), (13, -18.5), (16.6, -10), (18.6, -2), (17.2, 8), (18.8, 16), (16.6, 26), (15, 42), (0, 52),
         (-15, 42), (-16.6, 26), (-18.8, 16), (-17.2, 8), (-18.4, -2), (-16, -10), (-9, -15.4), (1, -19.4)),
        ((0, -30), (18, -26), (25, -8), (26, 12), (26, 30), (20, 36), (0, 37)), 34, 1.25,
    ),
    "bun": Style(
        _both(((0, -32.8), (12, -31.2), (19.4, -25), (22.6, -14), (22.3, -5), (21.2, 1), (16, 6), (0, 8))),
        _both(((0, -22), (8, -21.2), (14.6, -16.6), (18.2, -9), (19.4, -3), (20.6, 4), (22, 12), (0, 30))),
        (), -10, 1.0,
    ),
    "buzz": Style(
        _both(((0, -30.4), (10.5, -29), (18.8, -21.6), (22, -10), (21.8, -2), (21, 3), (16, 7), (0, 8))),
        _both(((0, -21.6), (9, -21), (14, -18.6), (17, -11.5), (18.8, -5), (19.6, 3), (21, 10), (0, 30))),
        (), -8, 1.0,
    ),
}
# fmt: on


def below_hat(person: Person) -> Shape:
    """Where hair may show: everywhere, or only below the rim of a hat."""
    if not person.attributes.hat:
        return everywhere()
    return below(lambda x: -15.5 + 0.9 * np.maximum(np.abs(x) - 20.5, 0.0))


def paint_back(canvas: Canvas, tones: Tones, person: Person) -> None:
    """The hair behind head and neck."""
    shape = _back(person)
    if shape is not None:
        dark = mix(tones.hair, tones.hair_dark, 0.72)
        canvas.paint(shape & below_hat(person), Gradient((0, -20), (0, 40), mix(dark, tones.hair, 0.3), dark))


def paint_front(canvas: Canvas, tones: Tones, person: Person) -> None:
    """The hair around the face, with its strands and shine."""
    shape = front(person)
    covered = canvas.coverage(shape & below_hat(person), soft=0.9 if person.hairstyle == "buzz" else 0.0)
    light = float(person.light)
    shading = Gradient(
        (light * 20, -30),
        (-light * 22, 16),
        mix(tones.hair, tones.hair_light, 0.16),
        mix(tones.hair, tones.hair_dark, 0.62),
    )
    canvas.paint(everywhere(), shading, 0.92 if person.hairstyle == "buzz" else 1.0, inside=covered)
    if person.hairstyle == "curly":
        chance = random.Random(f"{person.grain}/locks")
        for row in range(9):
            for column in range(11):
                x = (column - 5 + 0.5 * (row % 2)) * 6.0 + 3.0 * (chance.random() - 0.5)
                y = -39.0 + 6.0 * row + 3.0 * (chance.random() - 0.5)
                canvas.paint(ellipse(x, y + 1.6, 3.1, 2.7), tones.hair_dark, 0.42, soft=2.2, inside=covered)
                glint = ellipse(x + person.light * 0.5, y - 0.4, 2.0, 1.7)
                canvas.paint(glint, tones.hair_light, 0.26, soft=2.0, inside=covered)
    elif person.hairstyle != "buzz":
        _paint_strands(canvas, tones, person, covered)
    if person.hairstyle == "bun":
        canvas.paint(ellipse(0, -31.4, 8.4, 1.6), tones.hair_dark, 0.75, soft=2.0, inside=covered)
        for index in range(5):
            x = -6.0 + 3.0 * index
            strand = stroke(curve((x, -33.0), (x * 1.5, -38.5), (-person.light * 2.0, -43.5)), (0.2, 0.5, 0.15))
            tone = tones.hair_dark if index % 2 else tones.hair_light
            canvas.paint(strand, tone, 0.45, soft=0.7, inside=covered)
        canvas.paint(ellipse(person.light * 3.2, -39.4, 3.0, 2.2), tones.hair_light, 0.5, soft=2.6, inside=covered)
    shine = curve((light * 17.5, -20), (light * 14, -29.5), (light * 1.0, -30))
    strength = 0.28 if person.hairstyle in ("buzz", "curly") else 0.6
    canvas.paint(stroke(shine, (0.3, 1.7, 0.3)), tones.hair_light, strength, soft=3.0, inside=covered)


def front(person: Person) -> Shape:
    """The hair in front of the head."""
    if person.hairstyle == "curly":  # a cap, and a ring of discs around the head
        shape = symmetric(_CURLY_CAP) - symmetric(_CURLY_WINDOW)
        chance = random.Random(f"{person.grain}/curls")
        for x, y in _CURLS:
            for side in (-1, 1):
                radius = 6.2 + 1.2 * chance.random()
                shape = shape | ellipse(side * x, y, radius, radius)
        return shape - ellipse(0, 6, 19.2, 22)
    style = STYLES[person.hairstyle]
    shape = blob(_parted(style.outer, person)) - blob(_parted(style.window, person))
    if person.hairstyle == "bun":
        tendrils = (curve((side * 20.4, -8), (side * 23.4, 4), (side * 20.4, 15), 8) for side in (-1, 1))
        shape = shape | ellipse(0, -36.8, 8.6, 7.0)
        for tendril in tendrils:
            shape = shape | stroke(tendril, (1.4, 1.0, 0.15))
    return shape


def silhouette(person: Person) -> Shape:
    """The hair and the place of a hat, whatever the attributes."""
    back = _back(person)
    shape = front(person) | hat().grow(1.0)
    if person.clothes == "hoodie":
        shape = shape | ellipse(0, -42, 6.4, 6.4)  # the pompom
    return shape if back is None else shape | back


def hat() -> Shape:
    """A hat without its pompom."""
    return _dome() | _cuff()


def paint_shadow(canvas: Canvas, tones: Tones, person: Person, covered: Field) -> None:
    """The shadow of the hair on the skin below it."""
    if person.hairstyle == "buzz":
        return
    shade = front(person).move(-person.light * 0.8, 1.7) & below_hat(person)
    canvas.paint(shade, tones.skin_deep, 0.34, soft=2.2, inside=covered)


def paint_beard(canvas: Canvas, tones: Tones, person: Person, face: Shape) -> None:
    """A full beard along the jaw, with a moustache, in the colour of the hair."""
    cheeks = symmetric(
        [
            (0, 12.6),
            (4.5, 11.6),
            (8.6, 13.0),
            (12.5, 13.4),
            (16.5, 9.0),
            (18.8, 2.0),
            (20.6, -3.0),
            (30, 0),
            (30, 34),
            (0, 40),
        ]
    )
    shape = face.grow(1.9) & cheeks
    covered = canvas.coverage(shape, soft=1.3)
    light = float(person.light)
    dark = mix(tones.hair, tones.hair_dark, 0.62)
    canvas.paint(
        everywhere(),
        Gradient((light * 10, 8), (-light * 12, 32), mix(tones.hair, tones.hair_dark, 0.10), dark),
        0.95,
        inside=covered,
    )
    chance = random.Random(f"{person.grain}/beard")
    for index in range(30):
        side = 2.0 * (index + chance.random()) / 30.0 - 1.0
        x, y = side * 20.0, 24.0 - 15.0 * side * side + 7.0 * (chance.random() - 0.5)
        tone = tones.hair_light if index % 3 else tones.hair_dark
        canvas.paint(
            stroke(curve((x, y - 2.6), (x * 1.03, y), (x * 0.94, y + 3.4), 3), (0.1, 0.42, 0.1)),
            tone,
            0.42,
            inside=covered,
        )
    for side in (-1, 1):
        hairs = curve((side * 0.6, 12.8), (side * 5.0, 12.0), (side * 10.2, 18.6))
        canvas.paint(
            stroke(hairs, (0.7, 1.2, 0.5)), mix(tones.hair, tones.hair_light, 0.25), 0.8, soft=1.2, inside=covered
        )
    canvas.paint(ellipse(0, 21.8, 3.6, 0.9), tones.hair_dark, 0.4, soft=1.4, inside=covered)


def paint_hat(canvas: Canvas, tones: Tones, person: Person) -> None:
    """A knitted hat in a dark shade of the clothes; over a hoodie it has a pompom."""
    light = float(person.light)
    if person.clothes == "hoodie":
        pale = mix(tones.hat, WHITE, 0.55)
        chance = random.Random(f"{person.grain}/pompom")
        canvas.paint(ellipse(0, -42, 5.4, 4.8), mix(tones.hat, WHITE, 0.30))
        for _ in range(16):
            x, y = 8.0 * chance.random() - 4.0, -42.0 + 6.6 * (chance.random() - 0.5)
            wool = pale if x * person.light > -1.0 else mix(tones.hat, WHITE, 0.2)
            canvas.paint(ellipse(x, y, 1.5, 1.4), wool, 0.6, soft=1.0)
    dome = _dome()
    covered = canvas.coverage(dome)
    bright, dark = mix(tones.hat, WHITE, 0.16), mix(tones.hat, (26, 16, 44), 0.42)
    canvas.paint(dome, Gradient((light * 18, -38), (-light * 24, -12), bright, dark))
    for index in range(-4, 5):
        rib = curve((index * 3.2, -39), (index * 5.4, -32), (index * 6.0, -20))
        canvas.paint(stroke(rib, (0.15, 0.35, 0.35)), dark, 0.55, soft=0.8, inside=covered)
    canvas.paint(ellipse(light * 10, -31, 6.5, 4.5), mix(tones.hat, WHITE, 0.5), 0.30, soft=7.0, inside=covered)
    cuff = _cuff()
    folded = canvas.coverage(cuff)
    canvas.paint(cuff.move(0, -1.3), dark, 0.55, soft=2.0, inside=covered)
    canvas.paint(
        cuff, Gradient((light * 22, -22), (-light * 24, -12), mix(tones.hat, WHITE, 0.30), mix(tones.hat, dark, 0.5))
    )
    for index in range(-7, 8):
        x = index * 3.5
        canvas.paint(stroke([(x * 0.99, -24.5), (x, -11)], (0.35, 0.35, 0.35)), dark, 0.42, soft=0.7, inside=folded)


def _cuff() -> Shape:
    return blob(
        [
            (-25.4, -20.5),
            (-13, -23.4),
            (0, -24.2),
            (13, -23.4),
            (25.4, -20.5),
            (26, -15),
            (24.8, -10.6),
            (12.5, -13.2),
            (0, -14),
            (-12.5, -13.2),
            (-24.8, -10.6),
            (-26, -15),
        ]
    )


def _dome() -> Shape:
    return symmetric([(0, -40.5), (10, -39), (19, -33.5), (24, -24), (25, -16), (14, -13), (0, -14)])


def _back(person: Person) -> Shape | None:
    if person.hairstyle == "curly":
        return ellipse(0, -5, 27, 27)
    points = STYLES[person.hairstyle].back
    return symmetric(points) if points else None


def _parted(points: Sequence[Point], person: Person) -> list[Point]:
    return [(x * person.parting, y) for x, y in points]


def _paint_strands(canvas: Canvas, tones: Tones, person: Person, covered: Field) -> None:
    """Strands from the parting outward and down; parted styles have more strands, swept over to the other side."""
    style = STYLES[person.hairstyle]
    parted = person.hairstyle in ("side", "wavy")
    chance = random.Random(f"{person.grain}/strands")
    part = 7.0 * person.parting if parted else 0.0
    for index in range(34):
        side = 2.0 * (index + chance.random()) / 34.0 - 1.0
        wobble = chance.random() - 0.5
        reach = 24.5 * side * style.bulge + wobble * 2.0
        down = style.ends + 8.0 * wobble - (16.0 if style.ends < 0 else 10.0) * (1.0 - abs(side))
        end = (reach * (0.80 if style.ends < 0 else 0.98), down)
        strand = curve((part + 3.0 * side, -33.0 + wobble), (reach * 1.12, -27.0 + 5.0 * abs(side)), end)
        _paint_strand(canvas, tones, strand, index, covered)
    for index in range(14 if parted else 0):
        share = (index + chance.random()) / 14.0
        end = (-person.parting * (6.0 + 16.5 * share), -13.5 - 9.0 * share * share)
        strand = curve(
            (part + person.parting, -27.0 - 7.0 * share), (-person.parting * 6.0 * share, -27.0 - 11.0 * share), end
        )
        _paint_strand(canvas, tones, strand, index, covered)


def _paint_strand(canvas: Canvas, tones: Tones, strand: Sequence[Point], index: int, covered: Field) -> None:
    tone, opacity = (tones.hair_light, 0.30) if index % 2 else (tones.hair_dark, 0.46)
    canvas.paint(stroke(strand, (0.15, 0.5, 0.12)), tone, opacity, soft=0.7, inside=covered)
