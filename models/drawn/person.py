"""The person in an avatar: attributes that a model learns to change, traits that stay, and the colours of both.

Attributes are sampled independently of each other and of every trait: there are bearded women and blond grandfathers.
With the correlations of real people a model would learn that one attribute stands for another, and change both.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from models.drawn.canvas import WHITE, Colour, mix, scale

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
_HAIR_COLOURS: dict[str, Colour] = {
    "black": (38, 34, 42),
    "blond": (232, 188, 98),
    "brown": (120, 66, 32),
    "grey": (170, 173, 180),
}
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
        """Whether the expression is happy: CelebA's attribute `smiling` and the expression are the same thing here."""
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
        """These attributes with one of COLUMNS or EXPRESSIONS switched on or off.

        ValueError for an unknown domain, and for switching off a hair colour or an expression, since that does not say
        what to show instead.
        """
        if not present and domain in (*HAIR, *EXPRESSIONS):
            names = HAIR if domain in HAIR else EXPRESSIONS
            raise ValueError(f"'not {domain}' does not say what to show instead; ask for one of {', '.join(names)}")
        if domain in HAIR:
            return replace(self, hair=domain)
        if domain in EXPRESSIONS:
            return replace(self, expression=domain)
        if domain == "smiling":
            calm = "neutral" if self.smiling else self.expression
            return replace(self, expression="happy" if present else calm)
        if domain in ("young", "old"):
            return replace(self, age="old" if (domain == "old") == present else "young")
        if domain in ("male", "female"):
            return replace(self, gender="male" if (domain == "male") == present else "female")
        if domain == "glasses":
            return replace(self, glasses=present)
        if domain == "beard":
            return replace(self, beard=present)
        if domain == "hat":
            return replace(self, hat=present)
        raise ValueError(f"unknown domain {domain!r}; the known ones are {', '.join((*COLUMNS, *EXPRESSIONS))}")


@dataclass(frozen=True)
class Person:
    """One imagined person. Colours are RGB in 0..255; plain numbers run from -1 to 1, and 0 is the average."""

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
    parting: int  # -1 or 1: the side of the hair's parting, and the side on which contempt raises brow and mouth
    hair_tone: float
    clothes: str
    clothes_colour: Colour
    backdrop: str
    background: tuple[Colour, Colour]
    light: int  # -1 or 1: the side that the light comes from
    tilt: float
    shift: tuple[float, float]
    scale: float
    grain: str  # the seed of the strands of hair and of the shapes behind the head

    def with_attributes(self, attributes: Attributes) -> Person:
        """The same person with other attributes and the same traits."""
        return replace(self, attributes=attributes)


def person(seed: int | str, index: int) -> Person:
    """The person with this number: a pure function of seed and index."""
    # Two generators, so that attributes added later move no trait. The order of the draws below must not change.
    traits, chance = random.Random(f"{seed}/{index}/traits"), random.Random(f"{seed}/{index}/attributes")
    return Person(
        attributes=Attributes(
            hair=_pick(chance, HAIR),
            expression="happy" if chance.random() < 0.5 else "neutral",
            glasses=chance.random() < 0.4,
            beard=chance.random() < 0.4,
            hat=chance.random() < 0.35,
            age=_pick(chance, ("young", "old")),
            gender=_pick(chance, ("male", "female")),
        ),
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


@dataclass(frozen=True)
class Tones:
    """The colours that one person is painted with: skin, hair and cloth, each with its shades."""

    skin: Colour
    skin_shade: Colour
    skin_deep: Colour
    skin_light: Colour
    hair: Colour
    hair_dark: Colour
    hair_light: Colour
    brow: Colour
    lips: Colour
    cloth: Colour
    cloth_dark: Colour
    cloth_light: Colour
    hat: Colour


def tones(person: Person) -> Tones:
    """The colours of a person with these attributes."""
    skin = person.skin
    if person.attributes.age == "old":  # age pales the skin, but not the hair: grey is an attribute of its own
        brightness = (skin[0] + skin[1] + skin[2]) / 3.0
        skin = mix(skin, (brightness, brightness * 0.98, brightness * 0.95), 0.26)
    hair = scale(_HAIR_COLOURS[person.attributes.hair], 1.0 + 0.06 * person.hair_tone)
    dark = mix(hair, (24, 14, 22), 0.42)
    red = (204, 58, 82) if person.attributes.gender == "female" else (176, 92, 84)
    cloth = person.clothes_colour
    return Tones(
        skin=skin,
        skin_shade=mix(scale(skin, 0.82), (150, 60, 60), 0.16),
        skin_deep=mix(scale(skin, 0.56), (96, 32, 40), 0.30),
        skin_light=mix(skin, (255, 244, 226), 0.45),
        hair=hair,
        hair_dark=dark,
        hair_light=mix(hair, (255, 246, 226), 0.34),
        brow=mix(hair, dark, 0.55),
        lips=mix(red, skin, 0.24 if person.attributes.gender == "female" else 0.50),
        cloth=cloth,
        cloth_dark=mix(scale(cloth, 0.66), (44, 30, 74), 0.22),
        cloth_light=mix(cloth, WHITE, 0.28),
        hat=mix(scale(cloth, 0.74), (60, 44, 92), 0.12),
    )


def _pick(chance: random.Random, options: Sequence[_Option]) -> _Option:
    # Only random() has the same results in every version of Python; choice() has no such promise.
    return options[int(chance.random() * len(options))]


def _spread(chance: random.Random) -> float:
    return 2.0 * chance.random() - 1.0
