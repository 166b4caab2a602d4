"""The portrait of a person, painted from back to front: background, body, head.

An attribute changes only the pixels of its own feature, so that exact counterfactuals exist: the same person drawn with
other attributes.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.drawn import face, hair, mouth
from models.drawn.canvas import (
    WHITE,
    Canvas,
    Field,
    Frame,
    Gradient,
    blob,
    curve,
    ellipse,
    everywhere,
    mix,
    polygon,
    stroke,
    symmetric,
)
from models.drawn.person import Attributes, Person, Tones, tones

SIZES = range(16, 1025)
"""Sides of a portrait, pixels."""

_TURTLENECK = (
    *((-11.8, 27.0), (-4.0, 29.8), (4.0, 29.8), (11.8, 27.0), (13.0, 34.0)),
    *((13.2, 39.0), (0.0, 42.0), (-13.2, 39.0), (-13.0, 34.0)),
)
_WIDEST = Attributes("black", "neutral", glasses=False, beard=True, hat=True, age="old", gender="male")


@dataclass(frozen=True)
class Portrait:
    """A person in one picture of a data set, which can be drawn again with other attributes."""

    person: Person

    def draw(self, size: int) -> NDArray[np.uint8]:
        """RGB [size, size, 3]; ValueError unless 16 <= size <= 1024."""
        canvas, person = _canvas(size), self.person
        colours = tones(person)
        body, head = canvas.within(_body_frame(person)), canvas.within(_head_frame(person))
        _paint_background(canvas, person)
        hair.paint_back(head, colours, person)
        _paint_body(body, head, colours, person)
        skin = face.outline(person)
        covered = head.coverage(skin)
        face.paint_ears(head, colours, person)
        face.paint_skin(head, colours, person, skin, covered)
        if person.attributes.age == "old":
            face.paint_age(head, colours, covered)
        hair.paint_shadow(head, colours, person, covered)
        face.paint_nose(head, colours, person)
        if person.attributes.beard:
            hair.paint_beard(head, colours, person, skin)
        mouth.paint_mouth(head, colours, person)
        face.paint_eyes(head, colours, person)
        face.paint_brows(head, colours, person)
        if person.attributes.glasses:  # the temples lie under the hair, the lenses over it
            face.paint_temples(head, person)
        hair.paint_front(head, colours, person)
        if person.attributes.glasses:
            face.paint_glasses(head, person)
        if person.attributes.hat:
            hair.paint_hat(head, colours, person)
        return canvas.to_pixels()

    def with_domain(self, domain: str, present: bool) -> Portrait:
        """The exact counterfactual; ValueError for a domain that drawn people don't have."""
        return Portrait(self.person.with_attributes(self.person.attributes.with_domain(domain, present)))

    # Both masks are those of the widest attributes. They don't depend on the person's own, so a picture and its
    # counterfactuals are compared over the same pixels.

    def face_mask(self, size: int) -> NDArray[np.bool_]:
        """Where the face alone is, [size, size]: without hair, ears, neck and the place of a hat."""
        widest = self.person.with_attributes(_WIDEST)
        bare = face.outline(widest) - hair.front(widest) - hair.hat()
        return _canvas(size).within(_head_frame(widest)).coverage(bare) > 0.99

    def head_mask(self, size: int) -> NDArray[np.bool_]:
        """Where the head is, [size, size]: face, ears, hair, and the places of a beard and a hat."""
        widest = self.person.with_attributes(_WIDEST)
        skin = face.outline(widest).grow(3.0) | ellipse(-21.6, 3.5, 4.5, 7.0) | ellipse(21.6, 3.5, 4.5, 7.0)
        return _canvas(size).within(_head_frame(widest)).coverage(skin | hair.silhouette(widest)) > 0.0


def _canvas(size: int) -> Canvas:
    if size not in SIZES:
        raise ValueError(f"size is {size}; choose a side of {SIZES.start} to {SIZES.stop - 1} pixels")
    return Canvas(size)


def _body_frame(person: Person) -> Frame:
    scale = 1.06 + 0.04 * person.scale
    return Frame((50.0 + 2.0 * person.shift[0], 52.5 + 1.4 * person.shift[1]), scale, scale)


def _head_frame(person: Person) -> Frame:
    body = _body_frame(person)
    return Frame(
        body.origin,
        body.wide * (1.0 + 0.035 * person.width),
        body.tall * (1.0 + 0.03 * person.length),
        0.036 * person.tilt,
    )


def _paint_background(canvas: Canvas, person: Person) -> None:
    bright, dark = person.background
    light = person.light
    canvas.paint(everywhere(), Gradient((50 + light * 40, 4), (50 - light * 40, 100), bright, dark))
    chance = random.Random(f"{person.grain}/background")
    pale = mix(bright, WHITE, 0.5)
    x, y = 50.0 + light * (18.0 + 12.0 * chance.random()), 22.0 + 14.0 * chance.random()
    if person.backdrop == "glow":
        canvas.paint(ellipse(x, y, 34, 34), pale, 0.6, soft=50.0)
    elif person.backdrop == "rings":
        for radius in (54.0, 43.0, 32.0):
            canvas.paint(ellipse(50, 48, radius, radius), pale, 0.20)
    elif person.backdrop == "bokeh":
        for _ in range(9):
            radius = 4.0 + 7.0 * chance.random()
            canvas.paint(ellipse(100.0 * chance.random(), 90.0 * chance.random(), radius, radius), pale, 0.26, soft=1.2)
    elif person.backdrop == "hills":
        canvas.paint(ellipse(x, y, 11, 11), pale, 0.75, soft=1.0)
        canvas.paint(ellipse(20 + 10 * chance.random(), 104, 52, 38), mix(dark, bright, 0.35), 0.8)
        canvas.paint(ellipse(84 + 10 * chance.random(), 108, 48, 34), dark, 0.8)
    else:
        for shift in (-26.0, 8.0, 38.0):
            top = 50 + light * 34 + shift
            canvas.paint(
                polygon([(top, -5), (top + 13, -5), (top - light * 44 + 22, 105), (top - light * 44, 105)]),
                pale,
                0.28,
                soft=3.0,
            )


def _paint_body(body: Canvas, head: Canvas, colours: Tones, person: Person) -> None:
    light = float(person.light)
    if person.clothes == "hoodie":
        body.paint(
            symmetric([(0, 20), (15, 24), (22, 34), (20, 44), (0, 48)]),
            Gradient((light * 18, 24), (-light * 18, 44), colours.cloth, colours.cloth_dark),
        )
    neck = symmetric([(0, 10), (9.6, 14), (9.6, 28), (10.2, 36), (0, 48)])
    covered = body.coverage(neck)
    body.paint(
        neck, Gradient((light * 10, 26), (-light * 10, 32), colours.skin, mix(colours.skin, colours.skin_shade, 0.8))
    )
    head.paint(face.outline(person).move(-light * 1.5, 5.0), colours.skin_deep, 0.62, soft=5.0, inside=covered)
    torso = symmetric([(0, 33.5), (9, 34), (18, 36.2), (31, 40.5), (41, 48), (46, 64), (46, 90), (0, 92)])
    if person.clothes != "turtleneck":
        torso = torso - ellipse(0, 31.5, 10.8, 8.2 if person.clothes == "collar" else 6.6)
    worn = body.coverage(torso)
    body.paint(
        torso,
        Gradient(
            (light * 30, 34),
            (-light * 34, 56),
            mix(colours.cloth, colours.cloth_light, 0.35),
            mix(colours.cloth, colours.cloth_dark, 0.75),
        ),
    )
    for side in (-1, 1):
        fold = curve((side * 30, 60), (side * 28, 50), (side * 33, 44))
        body.paint(stroke(fold, (0.6, 0.7, 0.2)), colours.cloth_dark, 0.5, soft=1.6, inside=worn)
    _paint_neckline(body, colours, person, worn)


def _paint_neckline(body: Canvas, colours: Tones, person: Person, worn: Field) -> None:
    """The part of the clothes around the neck, which tells their kinds apart."""
    light = float(person.light)
    if person.clothes == "crew":
        neckline = curve((-11.0, 32.6), (0, 44.4), (11.0, 32.6), 12)
        body.paint(stroke(neckline, (1.5, 1.7, 1.5)), colours.cloth_dark, 0.9)
        body.paint(stroke(neckline, (0.9, 1.1, 0.9)), colours.cloth_light, 0.9)
    elif person.clothes == "collar":
        body.paint(stroke([(0, 40), (0, 62)], (1.9, 1.9, 1.9)), colours.cloth_light, 0.7, inside=worn)
        for y in (44.0, 49.5):
            body.paint(ellipse(0, y, 0.8, 0.8), colours.cloth_dark, inside=worn)
        for side in (-1, 1):
            wing = polygon([(side * 9.2, 29.0), (side * 13.5, 34.5), (side * 10.5, 44.5), (side * 0.6, 40.2)])
            body.paint(wing.move(0, 1.0), colours.cloth_dark, 0.55, soft=1.8)
            tone = colours.cloth_light if side == person.light else mix(colours.cloth_light, colours.cloth, 0.6)
            body.paint(wing, tone)
    elif person.clothes == "hoodie":
        for side in (-1, 1):
            rim = curve((side * 13.5, 26.0), (side * 15.5, 38.0), (side * 1.0, 43.0), 8)
            body.paint(stroke(rim, (2.8, 3.2, 1.6)), colours.cloth_dark, 0.8, soft=1.4)
            tone = mix(colours.cloth, colours.cloth_light, 0.6 if side == person.light else 0.15)
            body.paint(stroke(rim, (2.3, 2.6, 1.2)), tone)
            cord = stroke(curve((side * 4.2, 41.5), (side * 5.4, 46), (side * 4.6, 52)), (0.55, 0.55, 0.8))
            body.paint(cord, mix(colours.cloth_light, WHITE, 0.6))
    else:
        tube = blob(_TURTLENECK)
        covered = body.coverage(tube)
        body.paint(tube.move(0, 1.2), colours.cloth_dark, 0.6, soft=2.2)
        shade = mix(colours.cloth, colours.cloth_dark, 0.6)
        body.paint(tube, Gradient((light * 10, 30), (-light * 12, 38), colours.cloth_light, shade))
        for index in range(-4, 5):
            rib = stroke([(index * 2.9, 26), (index * 3.1, 43)], (0.3, 0.3, 0.3))
            body.paint(rib, colours.cloth_dark, 0.35, soft=0.7, inside=covered)
