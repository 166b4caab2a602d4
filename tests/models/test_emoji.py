"""The emoji of the font: pictures as text shows them, people in every skin and gender, all other things once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageDraw, ImageFont

from models.drawn.emoji import HAIR, EmojiFont, PersonEmoji, Sequence, code, find_font, people, things
from models.errors import DataError

COOK = (0x1F9D1, 0x200D, 0x1F373)
RED_HAIR = (0x1F9D1, 0x200D, 0x1F9B0)


@pytest.fixture(scope="module")
def font() -> EmojiFont:
    """The installed font."""
    return EmojiFont(find_font(None))


def drawn_by_freetype(font: Path, sequence: Sequence) -> Image.Image:
    """What text of the emoji looks like before white, cropped."""
    picture = Image.new("RGB", (300, 200), "white")
    text = "".join(map(chr, sequence))
    ImageDraw.Draw(picture).text((40, 20), text, font=ImageFont.truetype(font, 109), embedded_color=True)
    return picture.crop(ImageChops.invert(picture).getbbox())


def read_from_font(font: EmojiFont, sequence: Sequence) -> Image.Image:
    """The font's own picture before white, cropped."""
    emoji = font.picture(sequence)
    picture = Image.new("RGB", emoji.size, "white")
    picture.paste(emoji, (0, 0), emoji)
    return picture.crop(ImageChops.invert(picture).getbbox())


@pytest.mark.parametrize(
    "sequence",
    [(0x1F600,), (0x1F44D, 0x1F3FD), (0x1F469, 0x1F3FE, 0x200D, 0x1F680), (0x1F3C4, 0x1F3FB, 0x200D, 0x2642)],
    ids=code,
)
def test_the_pictures_are_those_that_text_shows(font: EmojiFont, sequence: Sequence) -> None:
    """One character or several joined: FreeType and HarfBuzz draw the picture that is read, to three levels."""
    expected, found = drawn_by_freetype(find_font(None), sequence), read_from_font(font, sequence)
    assert expected.size == found.size
    extrema = ImageChops.difference(expected, found).getextrema()
    assert np.max(extrema) <= 3


def test_a_font_is_asked_for_by_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the font the error names the package and the option; a file that is named must be there."""
    monkeypatch.setattr("models.drawn.emoji._FOLDERS", (str(tmp_path),))
    with pytest.raises(DataError, match=r"apt install fonts-noto-color-emoji.*--font"):
        find_font(None)
    with pytest.raises(DataError, match=r"no font .*gone\.ttf"):
        find_font(tmp_path / "gone.ttf")


@pytest.mark.parametrize("content", [b"", b"no font at all, only text", b"\0\1\0\0" + bytes(60)])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    """A file that is not a font with pictures gives one clear error with its name."""
    (tmp_path / "other.ttf").write_bytes(content)
    with pytest.raises(DataError, match=r"other\.ttf is not a font with pictures"):
        EmojiFont(tmp_path / "other.ttf")


def test_a_sequence_is_what_text_has() -> None:
    """Skin follows the person, gender replaces the person or stands at the end."""
    assert code(PersonEmoji(COOK, "woman", "dark").sequence) == "1f469-1f3ff-200d-1f373"
    assert code(PersonEmoji((0x1F3C4,), "man", "light").sequence) == "1f3c4-1f3fb-200d-2642"
    assert code(PersonEmoji((0x1F9D3,), "woman", "medium").sequence) == "1f475-1f3fd"


def test_everybody_has_every_skin_and_gender(font: EmojiFont) -> None:
    """Kinds come whole: each in 3 genders and 5 skins, all drawn and no two alike, and 5 of them differ in hair."""
    everybody = people(font)
    kinds = {one.kind for one in everybody}
    assert len(kinds) >= 70
    assert len({(one.kind, one.gender, one.skin) for one in everybody}) == len(everybody) == 15 * len(kinds)
    assert len({font.png(one.sequence) for one in everybody}) == len(everybody)
    assert {one.hair for one in everybody if one.hair} == set(HAIR)


def test_domains_switch_one_thing() -> None:
    """A domain changes what it names alone, hair only where it is known, and unknown ones are refused."""
    cook, red = PersonEmoji(COOK, "woman", "dark"), PersonEmoji(RED_HAIR, "man", "light")
    assert cook.with_domain("light") == PersonEmoji(COOK, "woman", "light")
    assert cook.with_domain("man") == PersonEmoji(COOK, "man", "dark")
    assert red.with_domain("blond").hair == "blond"
    assert red.with_domain("blond").with_domain("red") == red
    for one, domain, present in ((cook, "red", True), (red, "zebra", True), (red, "red", False)):
        with pytest.raises(ValueError, match=domain):
            one.with_domain(domain, present)


def test_things_are_shown_once(font: EmojiFont) -> None:
    """All that can be told by its outline is there, no picture twice, no skin, flag or digit."""
    every = [sequence for group in things(font).values() for sequence in group]
    assert len(every) > 1500
    assert len({font.png(sequence) for sequence in every}) == len(every)
    assert {(0x1F600,), (0x1F98A,), (0x1F469, 0x200D, 0x1F680)} <= set(every)
    assert not {(0x1F1E9, 0x1F1EA), (0x31, 0x20E3), (0x1F44D, 0x1F3FD)} & set(every)
    assert things(font)[COOK] == [(0x1F468, *COOK[1:]), (0x1F469, *COOK[1:]), COOK]
