"""Hair, beards and hats, in the frame of the face.

A style is two regions: a back, painted behind head and neck, and a front, which is an outer contour less the window
that the face looks through. Under a hat, all hair above its rim is left out, and what is below stays as it was.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

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
    mirrored,
    mix,
    stroke,
)
from models.drawn.hairstyles import STYLES
from models.drawn.person import Person
from models.drawn.tones import Tones


def below_hat(person: Person) -> Shape:
    """Where hair may show: everywhere, or under a hat only what is below its rim."""
    if not person.attributes.hat:
        return everywhere()
    return below(_rim)


def paint_back(canvas: Canvas, tones: Tones, person: Person) -> None:
    """The hair behind head and neck."""
    shape = _back(person)
    if shape is not None:
        dark = mix(tones.hair, tones.hair_dark, 0.72)
        canvas.paint(shape & below_hat(person), Gradient((0, -20), (0, 40), mix(dark, tones.hair, 0.3), dark))


def paint_front(canvas: Canvas, tones: Tones, person: Person) -> None:
    """The hair around the face, with its strands and shine; its shadow falls on the forehead."""
    shape = front(person)
    covered = canvas.coverage(shape & below_hat(person), soft=0.9 if person.hairstyle == "buzz" else 0.0)
    light = float(person.light)
    everything = everywhere()
    shading = Gradient(
        (light * 20, -30),
        (-light * 22, 16),
        mix(tones.hair, tones.hair_light, 0.16),
        mix(tones.hair, tones.hair_dark, 0.62),
    )
    canvas.paint(everything, shading, 0.92 if person.hairstyle == "buzz" else 1.0, inside=covered)
    if person.hairstyle == "curly":
        _paint_curls(canvas, tones, person, covered)
    elif person.hairstyle != "buzz":
        _paint_strands(canvas, tones, person, covered)
    if person.hairstyle == "bun":
        _paint_bun(canvas, tones, person, covered)
    shine = curve((light * 17.5, -20), (light * 14, -29.5), (light * 1.0, -30))
    strength = 0.28 if person.hairstyle in ("buzz", "curly") else 0.6
    canvas.paint(stroke(shine, (0.3, 1.7, 0.3)), tones.hair_light, strength, soft=3.0, inside=covered)


def front(person: Person) -> Shape:
    """The hair in front of the head."""
    if person.hairstyle == "curly":
        return _cloud(person)
    style = STYLES[person.hairstyle]
    shape = blob(_parted(style.outer, person)) - blob(_parted(style.window, person))
    if person.hairstyle == "bun":
        return shape | ellipse(0, -36.8, 8.6, 7.0) | _tendril(-1) | _tendril(1)
    return shape


def silhouette(person: Person) -> Shape:
    """All the hair, the beard's and the hat's reach, whatever the attributes are."""
    back = _back(person)
    pompom = ellipse(0, -42, 6.4, 6.4)
    shape = front(person) | hat().grown(1.0)
    shape = shape | pompom if person.clothes == "hoodie" else shape
    return shape if back is None else shape | back


def hat() -> Shape:
    """A hat without its pompom."""
    return _dome() | _cuff()


def paint_shadow(canvas: Canvas, tones: Tones, person: Person, covered: Field) -> None:
    """The shade that hair casts on the skin below it."""
    if person.hairstyle == "buzz":
        return
    shade = front(person).moved(-person.light * 0.8, 1.7) & below_hat(person)
    canvas.paint(shade, tones.skin_deep, 0.34, soft=2.2, inside=covered)


def paint_beard(canvas: Canvas, tones: Tones, person: Person, face: Shape) -> None:
    """A full beard along the jaw, with a moustache, in the colour of the hair."""
    cheeks = mirrored(
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
    shape = face.grown(1.9) & cheeks
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
        _paint_pompom(canvas, tones, person)
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
    canvas.paint(cuff.moved(0, -1.3), dark, 0.55, soft=2.0, inside=covered)
    canvas.paint(
        cuff, Gradient((light * 22, -22), (-light * 24, -12), mix(tones.hat, WHITE, 0.30), mix(tones.hat, dark, 0.5))
    )
    for index in range(-7, 8):
        x = index * 3.5
        canvas.paint(stroke([(x * 0.99, -24.5), (x, -11)], (0.35, 0.35, 0.35)), dark, 0.42, soft=0.7, inside=folded)


def _rim(x: Field) -> Field:
    return -15.5 + 0.9 * np.maximum(np.abs(x) - 20.5, 0.0)


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
    return mirrored([(0, -40.5), (10, -39), (19, -33.5), (24, -24), (25, -16), (14, -13), (0, -14)])


def _back(person: Person) -> Shape | None:
    if person.hairstyle == "curly":
        return ellipse(0, -5, 27, 27)
    points = STYLES[person.hairstyle].back
    return mirrored(points) if points else None


def _parted(points: Sequence[Point], person: Person) -> list[Point]:
    return [(x * person.parting, y) for x, y in points]


def _tendril(side: int) -> Shape:
    return stroke(curve((side * 20.4, -8), (side * 23.4, 4), (side * 20.4, 15), 8), (1.4, 1.0, 0.15))


def _cloud(person: Person) -> Shape:
    """Curls: a ring of discs around the head, over a cap."""
    cap = mirrored([(0, -33), (13, -31), (22, -22), (24.5, -8), (23.5, 4), (16, 6), (0, 8)])
    window = mirrored(
        [(0, -17.6), (5, -16), (9, -17.4), (13, -13.6), (17, -12), (17.2, -6), (19, -2), (19.8, 6), (22, 13), (0, 30)]
    )
    shape = cap - window
    chance = random.Random(f"{person.grain}/curls")
    for x, y in ((4.5, -35), (13, -32), (20, -26), (25, -17.5), (26.6, -8), (26.4, 1.5), (24.6, 10)):
        for side in (-1, 1):
            radius = 6.2 + 1.2 * chance.random()
            shape = shape | ellipse(side * x, y, radius, radius)
    return shape - ellipse(0, 6, 19.2, 22)


def _paint_strands(canvas: Canvas, tones: Tones, person: Person, covered: Field) -> None:
    """Strands from the parting outward and down; parted styles have more that sweep over to the other side."""
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


def _paint_curls(canvas: Canvas, tones: Tones, person: Person, covered: Field) -> None:
    chance = random.Random(f"{person.grain}/locks")
    for row in range(9):
        for column in range(11):
            x = (column - 5 + 0.5 * (row % 2)) * 6.0 + 3.0 * (chance.random() - 0.5)
            y = -39.0 + 6.0 * row + 3.0 * (chance.random() - 0.5)
            canvas.paint(ellipse(x, y + 1.6, 3.1, 2.7), tones.hair_dark, 0.42, soft=2.2, inside=covered)
            canvas.paint(
                ellipse(x + person.light * 0.5, y - 0.4, 2.0, 1.7), tones.hair_light, 0.26, soft=2.0, inside=covered
            )


def _paint_bun(canvas: Canvas, tones: Tones, person: Person, covered: Field) -> None:
    canvas.paint(ellipse(0, -31.4, 8.4, 1.6), tones.hair_dark, 0.75, soft=2.0, inside=covered)
    for index in range(5):
        x = -6.0 + 3.0 * index
        strand = curve((x, -33.0), (x * 1.5, -38.5), (-person.light * 2.0, -43.5))
        canvas.paint(
            stroke(strand, (0.2, 0.5, 0.15)),
            tones.hair_dark if index % 2 else tones.hair_light,
            0.45,
            soft=0.7,
            inside=covered,
        )
    canvas.paint(ellipse(person.light * 3.2, -39.4, 3.0, 2.2), tones.hair_light, 0.5, soft=2.6, inside=covered)


def _paint_pompom(canvas: Canvas, tones: Tones, person: Person) -> None:
    light = mix(tones.hat, WHITE, 0.55)
    chance = random.Random(f"{person.grain}/pompom")
    canvas.paint(ellipse(0, -42, 5.4, 4.8), mix(tones.hat, WHITE, 0.30))
    for _ in range(16):
        x, y = 8.0 * chance.random() - 4.0, -42.0 + 6.6 * (chance.random() - 0.5)
        canvas.paint(
            ellipse(x, y, 1.5, 1.4), light if x * person.light > -1.0 else mix(tones.hat, WHITE, 0.2), 0.6, soft=1.0
        )
