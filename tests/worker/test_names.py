"""Strangers' names become paths that fit any disk, and no two outputs of a job get the same path."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.imaging.formats import stem
from worker.jobs.intake import LONGEST_NAME, Names, clean


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("cat.jpg", "cat.jpg"),
        ("a/b/Cat.JPEG", "a/b/Cat.JPEG"),
        (r"C:\Users\me\cat.jpg", "C_/Users/me/cat.jpg"),
        ("../../etc/passwd", "etc/passwd"),
        ("/abs//./x.png", "abs/x.png"),
        (".hidden.png", "hidden.png"),
        ("a\x00b\nc\u202egpj.exe.png", "abcgpj.exe.png"),
        ('what?<is>"this"|*:.png', "what__is__this____.png"),
        ("cafe\u0301.jpg", "caf\u00e9.jpg"),
        ("Screenshot 1.00.00\u202fPM.png", "Screenshot 1.00.00\u202fPM.png"),
        ("猫/子猫.webp", "猫/子猫.webp"),
        ("half\udc80.png", "half.png"),
        ("frames.png/1.jpg", "frames_png/1.jpg"),
        ("holiday.2024/1.jpg", "holiday.2024/1.jpg"),
        ("trailing. /dots...", "trailing/dots"),
        ("", "picture"),
        ("..", "picture"),
    ],
)
def test_a_name_is_made_clean(given: str, wanted: str) -> None:
    """What leads out of the folder, displays falsely or fails on some disk is removed; the rest stays."""
    assert clean(given) == wanted


def test_a_long_name_keeps_its_suffix() -> None:
    """A name is cut, never within a character, so that it has at most LONGEST_NAME bytes with any number behind it."""
    for name in ("x" * 300 + ".jpg", "猫" * 300 + ".jpeg", "a/" * 150 + "b.png"):
        names = Names()
        for _ in range(3):
            taken = names.take(name)
            assert len(taken.encode()) <= LONGEST_NAME
            assert taken.endswith(name[-4:])
            assert "\ufffd" not in taken


def test_equal_names_get_numbers() -> None:
    """Names that differ only in extension, case or the encoding of an accent are numbered in order."""
    names = Names()
    given = ["cat.jpg", "cat.png", "CAT.webp", "cat-2.jpg", "cat", "x/cat.jpg", "é.jpg", "e\u0301.jpg"]
    wanted = ["cat.jpg", "cat-2.png", "CAT-3.webp", "cat-2-2.jpg", "cat-4", "x/cat.jpg", "é.jpg", "é-2.jpg"]
    assert [names.take(name) for name in given] == wanted


def test_a_hundred_thousand_equal_names_are_numbered_one_by_one() -> None:
    """Counting goes on from the last number: each free name is found at the first try."""
    names = Names()
    taken = [names.take("cat.jpg") for _ in range(20_000)]
    assert taken[-1] == "cat-20000.jpg"
    assert len(set(taken)) == 20_000


@given(st.lists(st.text(st.sampled_from("aAé/\\. .-2:\u202e\x00ßjpg猫") | st.characters(), max_size=250), max_size=8))
def test_any_names_become_different_outputs(given: list[str]) -> None:
    """Any names become relative, short, printable paths, and no output's path is another's or a folder of one."""
    names = Names()
    taken = [names.take(name) for name in given]
    outputs = [f"{stem(name)}.png".casefold() for name in taken]
    assert len(set(outputs)) == len(outputs)
    for name in taken:
        parts = name.split("/")
        assert len(name.encode()) <= LONGEST_NAME
        assert all(part and part not in (".", "..") for part in parts)
        assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in name)
        folders = {"/".join(parts[:depth]).casefold() for depth in range(1, len(parts))}
        assert not folders & set(outputs)
