"""Portraits: the same bytes everywhere, local in their attributes, and eight expressions in the face alone."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from models.drawn.person import CLOTHES, COLUMNS, EXPRESSIONS, HAIR, HAIRSTYLES, Attributes, Person, person
from models.drawn.portrait import Portrait

Array = NDArray[np.uint8]
PLAIN = Attributes("brown", expression="neutral", glasses=False, beard=False, hat=False, age="young", gender="female")


def plain(index: int) -> Person:
    """A person of seed 1 without smile, glasses, beard or hat."""
    return person(1, index).with_attributes(PLAIN)


def changed_pixels(one: Person, domain: str, size: int = 64) -> NDArray[np.bool_]:
    """Where the picture differs when the domain is switched on."""
    other = one.with_attributes(one.attributes.with_domain(domain))
    differs: NDArray[np.bool_] = (Portrait(one).draw(size) != Portrait(other).draw(size)).any(axis=2)
    return differs


def bare(index: int) -> Person:
    """A person of seed 1, bareheaded and shaven."""
    one = person(1, index)
    return one.with_attributes(one.attributes.with_domain("hat", False).with_domain("beard", False))


def drawn(one: Person) -> dict[str, Array]:
    """The person's picture of 64 pixels with every expression."""
    faces = {name: one.with_attributes(one.attributes.with_domain(name)) for name in EXPRESSIONS}
    return {name: Portrait(face).draw(64) for name, face in faces.items()}


def apart(one: Array, other: Array) -> NDArray[np.bool_]:
    """Where two pictures differ."""
    differs: NDArray[np.bool_] = (one != other).any(axis=2)
    return differs


@pytest.mark.parametrize(
    ("index", "digest"),
    [
        (0, "6bc8eb43962b134b"),
        (1, "cff6cbbc7cbb2cb1"),
        (7, "c3d2b6f48d3856d4"),
        (12, "0886765145dee103"),
    ],
)
def test_pixels_are_the_known_ones(index: int, digest: str) -> None:
    """A person's picture has the bytes that it had when the first model was trained."""
    assert hashlib.sha256(Portrait(person(1, index)).draw(64).tobytes()).hexdigest()[:16] == digest


def test_seeds_and_indices_give_other_people() -> None:
    """Another seed or another index gives another person."""
    assert person(1, 0) == person(1, 0)
    assert len({person(1, 0), person(1, 1), person(2, 0)}) == 3


def test_no_style_or_cloth_fails_at_any_size() -> None:
    """Every hairstyle with every clothing draws at the smallest size, and two sizes show the same person."""
    for hairstyle in HAIRSTYLES:
        for clothes in CLOTHES:
            assert Portrait(replace(person(1, 5), hairstyle=hairstyle, clothes=clothes)).draw(16).shape == (16, 16, 3)
    halved = Portrait(person(1, 5)).draw(128).reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
    assert np.abs(halved - Portrait(person(1, 5)).draw(64)).mean() < 4.0


@pytest.mark.parametrize("size", [0, 15, 1025])
def test_sizes_outside_the_limits_are_refused(size: int) -> None:
    """The error names the size and the limits."""
    with pytest.raises(ValueError, match=f"{size}.*16 to 1024"):
        Portrait(person(1, 0)).draw(size)


@pytest.mark.parametrize("domain", [name for name in COLUMNS if name not in ("brown", "young", "female")])
def test_every_attribute_shows_and_stays_in_the_head(domain: str) -> None:
    """A switched attribute changes many pixels, all of them in the face mask or the neck below it."""
    for index in range(5):
        one = plain(index)
        differs, mask = changed_pixels(one, domain), Portrait(one).head_mask(64)
        assert differs[mask].sum() >= 60
        if domain in ("male", "old", "beard"):  # an aged skin and the jaw's shade reach the neck
            mask[44:, 16:48] = True
        assert not (differs & ~mask).any()


def test_a_smile_leaves_the_top_third_alone() -> None:
    """A smile changes the lower face, and no pixel above the eyes."""
    for index in range(5):
        differs = changed_pixels(plain(index), "smiling")
        assert not differs[: 64 // 3].any()
        assert differs[32:].any()


def test_a_beard_leaves_brows_and_hair_alone() -> None:
    """A beard changes nothing in the upper two fifths."""
    for index in range(5):
        assert not changed_pixels(plain(index), "beard")[:25].any()


def test_a_hat_leaves_the_lower_half_alone() -> None:
    """The picture below the hat's rim stays, also with much hair."""
    for hairstyle in HAIRSTYLES:
        assert not changed_pixels(replace(plain(2), hairstyle=hairstyle), "hat")[32:].any()


def test_no_attribute_touches_the_background() -> None:
    """The corners are the same for all attributes."""
    for index in range(5):
        one = plain(index)
        other = one.with_attributes(Attributes("black", "happy", True, True, True, "old", "male"))
        first, last = Portrait(one).draw(64), Portrait(other).draw(64)
        assert (first[:8, :8] == last[:8, :8]).all()
        assert (first[:8, -8:] == last[:8, -8:]).all()
        assert (first[-4:, :8] == last[-4:, :8]).all()
        assert (first[-4:, -8:] == last[-4:, -8:]).all()


def test_the_mask_is_one_for_all_attributes() -> None:
    """The head's mask covers the face, leaves the background out, and does not depend on attributes."""
    one = plain(3)
    mask = Portrait(one).head_mask(64)
    other = one.with_attributes(Attributes("grey", "happy", True, True, True, "old", "male"))
    assert (mask == Portrait(other).head_mask(64)).all()
    assert mask[32, 32]
    assert not mask[:4].any()
    assert not mask[:, :4].any()
    assert 0.15 < mask.mean() < 0.6


def test_the_face_is_the_head_without_hair_and_hat() -> None:
    """The face's mask lies in the head's, is one for all attributes, and a change of hair or hat leaves it alone."""
    for index in range(5):
        one = plain(index)
        face = Portrait(one).face_mask(64)
        other = one.with_attributes(Attributes("grey", "happy", True, True, True, "old", "male"))
        assert (face == Portrait(other).face_mask(64)).all()
        assert not (face & ~Portrait(one).head_mask(64)).any()
        assert 0.05 < face.mean() < 0.3
        for domain in ("smiling", "glasses", "beard"):
            assert changed_pixels(one, domain)[face].sum() >= 40
        for domain in ("hat", "blond"):
            assert changed_pixels(one, domain)[face].mean() < 0.3


@pytest.mark.parametrize("domain", COLUMNS)
def test_domains_switch_on_and_off(domain: str) -> None:
    """A domain switched on has its column at 1 and its group's others at 0; switched off it is 0, except for hair."""
    column = COLUMNS.index(domain)
    labels = PLAIN.with_domain(domain).labels()
    assert labels[column] == 1
    assert sum(labels[:4]) == sum(labels[8:10]) == sum(labels[10:]) == 1
    if domain in HAIR:
        with pytest.raises(ValueError, match=domain):
            PLAIN.with_domain(domain, False)
    else:
        off = PLAIN.with_domain(domain, False)
        assert off.labels()[column] == 0
        assert off.with_domain(domain).labels() == labels


def test_unknown_domains_are_refused() -> None:
    """The error names the unknown domain and the known ones."""
    with pytest.raises(ValueError, match=r"'zebra'.*blond"):
        PLAIN.with_domain("zebra")


def test_attributes_take_both_values_and_are_independent() -> None:
    """Each column has about its intended frequency, and no two attributes are correlated."""
    labels = np.array([person(1, index).attributes.labels() for index in range(3000)])
    meant = [0.25] * 4 + [0.5, 0.4, 0.4, 0.35] + [0.5] * 4
    assert np.abs(labels.mean(axis=0) - meant).max() < 0.04
    among = np.corrcoef(labels[:, [0, 4, 5, 6, 7, 8, 10]].T) - np.eye(7)
    assert np.abs(among).max() < 0.08


def test_every_two_expressions_look_different() -> None:
    """Between any two expressions of a person at least 60 pixels of 64 x 64 differ, most of them in the face."""
    for index in range(3):
        face, faces = Portrait(person(1, index)).face_mask(64), drawn(bare(index))
        for name, other in combinations(EXPRESSIONS, 2):
            differs = apart(faces[name], faces[other])
            assert differs.sum() >= 60, (name, other)
            assert differs[face].sum() > 0.8 * differs.sum(), (name, other)


def test_an_expression_leaves_the_rest_alone() -> None:
    """Hair above the brows, ears, neck, clothes and background are the same in all eight."""
    for index in range(3):
        rest = ~Portrait(person(1, index)).face_mask(64)
        rest[16:44, 14:50] = False  # raised brows reach the hair, a scornful cheek the rim of the face
        faces = drawn(bare(index))
        for name in EXPRESSIONS:
            assert not apart(faces["neutral"], faces[name])[rest].any(), name


def test_contempt_is_on_one_side() -> None:
    """Contempt moves one side of the mouth more than the other; sadness moves both sides equally."""
    faces = drawn(replace(bare(0), tilt=0.0, shift=(0.0, 0.0)))

    def moved(expression: str) -> list[int]:
        mouth = apart(faces["neutral"], faces[expression])[36:46]
        return sorted((int(mouth[:, :32].sum()), int(mouth[:, 32:].sum())))

    assert moved("contemptuous")[1] > 1.25 * moved("contemptuous")[0]
    assert moved("sad")[1] < 1.1 * moved("sad")[0]


def test_smiling_is_being_happy() -> None:
    """The attribute and the expression are one: switching either switches the other."""
    sad = person(1, 0).attributes.with_domain("sad")
    assert not sad.smiling
    assert sad.with_domain("smiling") == sad.with_domain("happy")
    assert sad.with_domain("smiling", False) == sad
    assert sad.with_domain("happy").with_domain("smiling", False).expression == "neutral"
    with pytest.raises(ValueError, match="'not sad' does not say"):
        sad.with_domain("sad", False)
