"""The colours that one person is drawn with; age pales the skin, but never the hair, an attribute of its own."""

from __future__ import annotations

from dataclasses import dataclass

from models.drawn.canvas import WHITE, Colour, mix, scaled
from models.drawn.person import Person

_HAIR: dict[str, Colour] = {
    "black": (38, 34, 42),
    "blond": (232, 188, 98),
    "brown": (120, 66, 32),
    "grey": (170, 173, 180),
}


@dataclass(frozen=True)
class Tones:
    """Skin, hair and cloth, each with its shades."""

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
    """The colours of a person with the present attributes."""
    skin = _aged(person.skin) if person.attributes.age == "old" else person.skin
    hair = scaled(_HAIR[person.attributes.hair], 1.0 + 0.06 * person.hair_tone)
    dark = mix(hair, (24, 14, 22), 0.42)
    red = (204, 58, 82) if person.attributes.gender == "female" else (176, 92, 84)
    cloth = person.clothes_colour
    return Tones(
        skin=skin,
        skin_shade=mix(scaled(skin, 0.82), (150, 60, 60), 0.16),
        skin_deep=mix(scaled(skin, 0.56), (96, 32, 40), 0.30),
        skin_light=mix(skin, (255, 244, 226), 0.45),
        hair=hair,
        hair_dark=dark,
        hair_light=mix(hair, (255, 246, 226), 0.34),
        brow=mix(hair, dark, 0.55),
        lips=mix(red, skin, 0.24 if person.attributes.gender == "female" else 0.50),
        cloth=cloth,
        cloth_dark=mix(scaled(cloth, 0.66), (44, 30, 74), 0.22),
        cloth_light=mix(cloth, WHITE, 0.28),
        hat=mix(scaled(cloth, 0.74), (60, 44, 92), 0.12),
    )


def _aged(skin: Colour) -> Colour:
    brightness = (skin[0] + skin[1] + skin[2]) / 3.0
    return mix(skin, (brightness, brightness * 0.98, brightness * 0.95), 0.26)
