"""Who an avatar shows: attributes that a model learns to change, and traits that stay when they change.

Attributes are drawn independently of each other and of every trait: there are bearded women and blond grandfathers.
Were they drawn as the world has them, a model would learn that one stands for another, and change both at once.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from models.drawn.canvas import Colour

DOMAINS = "hair=black|blond|brown|grey,smiling,glasses,beard,hat,age=young|old,gender=male|female"
HAIR = ("black", "blond", "brown", "grey")
COLUMNS = (*HAIR, "smiling", "glasses", "beard", "hat", "young", "old", "male", "female")
EXPRESSIONS = ("neutral", "happy", "sad", "angry", "surprised", "fearful", "disgusted", "contemptuous")

HAIRSTYLES = ("short", "side", "quiff", "bob", "long", "wavy", "curly", "bun", "buzz")
CLOTHES = ("crew", "collar", "hoodie", "turtleneck")
BACKDROPS = ("glow", "rings", "bokeh", "hills", "beam")

_SKINS: tuple[Colour, ...] = (
    (255, 224, 203),
    (248, 208, 180),
    (240, 194, 160),
    (230, 178, 140),
    (216, 160, 120),
    (198, 140, 100),
    (176, 118, 82),
    (150, 98, 68),
    (124, 80, 58),
    (100, 66, 50),
)
_EYES: tuple[Colour, ...] = (
    (92, 56, 32),
    (64, 40, 28),
    (132, 92, 44),
    (84, 124, 72),
    (68, 120, 172),
    (104, 128, 146),
)
_CLOTHES: tuple[Colour, ...] = (
    (214, 84, 76),
    (238, 158, 68),
    (244, 202, 92),
    (92, 160, 108),
    (56, 142, 148),
    (74, 116, 186),
    (60, 74, 122),
    (136, 96, 170),
    (214, 116, 150),
    (236, 228, 214),
    (92, 98, 110),
    (126, 78, 66),
)
_BACKGROUNDS: tuple[tuple[Colour, Colour], ...] = (
    ((252, 214, 178), (238, 150, 132)),
    ((196, 228, 238), (110, 168, 206)),
    ((214, 232, 196), (124, 182, 150)),
    ((234, 214, 242), (164, 138, 206)),
    ((252, 232, 172), (240, 180, 104)),
    ((206, 214, 232), (112, 126, 168)),
    ((250, 208, 220), (218, 134, 168)),
    ((184, 226, 220), (76, 152, 156)),
    ((236, 228, 216), (178, 164, 150)),
    ((104, 118, 156), (48, 56, 92)),
    ((86, 136, 136), (34, 74, 88)),
    ((160, 112, 132), (84, 52, 84)),
)
_Option = TypeVar("_Option")


@dataclass(frozen=True)
class Attributes:
    """What a model can be asked to change."""

    hair: str
    expression: str
    glasses: bool
    beard: bool
    hat: bool
    age: str
    gender: str

    @property
    def smiling(self) -> bool:
        """Whether the expression is the happy one: the attribute is one of the expressions under another name."""
        return self.expression == "happy"

    def labels(self) -> tuple[int, ...]:
        """0 or 1 for each of COLUMNS."""
        return (
            *(int(self.hair == name) for name in HAIR),
            *(int(present) for present in (self.smiling, self.glasses, self.beard, self.hat)),
            *(int(self.age == name) for name in ("young", "old")),
            *(int(self.gender == name) for name in ("male", "female")),
        )

    def with_domain(self, domain: str, present: bool = True) -> Attributes:
        """These attributes with one of COLUMNS or EXPRESSIONS switched.

        ValueError for an unknown one, and for hair of no colour or a face without expression.
        """
        for what, names in (("hair", HAIR), ("expression", EXPRESSIONS)):
            if domain in names and not present:
                raise ValueError(f"{what} cannot be just not {domain}; ask for one of {', '.join(names)}")
        if domain in HAIR:
            return replace(self, hair=domain)
        if domain in EXPRESSIONS:
            return replace(self, expression=domain)
        if domain == "smiling":
            calm = "neutral" if self.smiling else self.expression
            return replace(self, expression="happy" if present else calm)
        if domain in ("young", "old"):
            return replace(self, age=domain if present else _other(domain, ("young", "old")))
        if domain in ("male", "female"):
            return replace(self, gender=domain if present else _other(domain, ("male", "female")))
        if domain not in COLUMNS:
            known = ", ".join((*COLUMNS, *EXPRESSIONS))
            raise ValueError(f"unknown domain {domain!r}; the known ones are {known}")
        return self._switched(domain, present)

    def _switched(self, name: str, present: bool) -> Attributes:
        return Attributes(
            self.hair,
            self.expression,
            present if name == "glasses" else self.glasses,
            present if name == "beard" else self.beard,
            present if name == "hat" else self.hat,
            self.age,
            self.gender,
        )


@dataclass(frozen=True)
class Person:
    """One imagined person. Colours are RGB in 0..255; numbers without a unit run from -1 to 1 around the usual."""

    attributes: Attributes
    skin: Colour
    width: float
    length: float
    jaw: float
    eye_colour: Colour
    eye_size: float
    eye_spacing: float
    eye_slant: float
    brow_arch: float
    nose_width: float
    nose_length: float
    mouth_width: float
    blush: float
    freckles: bool
    hairstyle: str
    parting: int  # the side, -1 or 1, to which the hair is parted
    hair_tone: float
    clothes: str
    clothes_colour: Colour
    backdrop: str
    background: tuple[Colour, Colour]
    light: int  # the side, -1 or 1, that the light comes from
    tilt: float
    shift: tuple[float, float]
    scale: float
    grain: str  # seeds the strands of hair and the shapes behind the head

    def changed(self, attributes: Attributes) -> Person:
        """The same person with other attributes; every trait stays."""
        return replace(self, attributes=attributes)


def person(seed: int | str, index: int) -> Person:
    """The person of that number: always the same one for the same seed."""
    traits = random.Random(f"{seed}/{index}/traits")
    return Person(
        attributes=_attributes(random.Random(f"{seed}/{index}/attributes")),
        skin=_pick(traits, _SKINS),
        width=_spread(traits),
        length=_spread(traits),
        jaw=_spread(traits),
        eye_colour=_pick(traits, _EYES),
        eye_size=_spread(traits),
        eye_spacing=_spread(traits),
        eye_slant=_spread(traits),
        brow_arch=_spread(traits),
        nose_width=_spread(traits),
        nose_length=_spread(traits),
        mouth_width=_spread(traits),
        blush=traits.random(),
        freckles=traits.random() < 0.15,
        hairstyle=_pick(traits, HAIRSTYLES),
        parting=_pick(traits, (-1, 1)),
        hair_tone=_spread(traits),
        clothes=_pick(traits, CLOTHES),
        clothes_colour=_pick(traits, _CLOTHES),
        backdrop=_pick(traits, BACKDROPS),
        background=_pick(traits, _BACKGROUNDS),
        light=_pick(traits, (-1, 1)),
        tilt=_spread(traits),
        shift=(_spread(traits), _spread(traits)),
        scale=_spread(traits),
        grain=f"{seed}/{index}",
    )


def _attributes(chance: random.Random) -> Attributes:
    return Attributes(
        hair=_pick(chance, HAIR),
        expression="happy" if chance.random() < 0.5 else "neutral",
        glasses=chance.random() < 0.4,
        beard=chance.random() < 0.4,
        hat=chance.random() < 0.35,
        age=_pick(chance, ("young", "old")),
        gender=_pick(chance, ("male", "female")),
    )


def _other(name: str, pair: tuple[str, str]) -> str:
    return pair[1] if name == pair[0] else pair[0]


def _pick(chance: random.Random, options: Sequence[_Option]) -> _Option:
    return options[int(chance.random() * len(options))]


def _spread(chance: random.Random) -> float:
    return 2.0 * chance.random() - 1.0
