"""Expressions of drawn people: eight that differ in eyes, brows, nose and mouth alone, and their set."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.bundle.manifest import Picture
from models.data import labelled
from models.drawn import avatars, expressions, made
from models.drawn.made import Drawn
from models.drawn.person import EXPRESSIONS, Person, person
from models.drawn.portrait import draw, face_mask
from models.errors import OptionsError

Array = NDArray[np.uint8]
COUNT = 80
SIDE = 16


def bare(index: int) -> Person:
    """A person of seed 1, bareheaded and shaven."""
    one = person(1, index)
    return one.changed(one.attributes.with_domain("hat", False).with_domain("beard", False))


def shown(file: Path) -> Drawn:
    """What a file of a set that was made here shows."""
    found = made.holding(file)
    assert found is not None
    drawn = found.drawn(file)
    assert drawn is not None
    return drawn


def drawn(one: Person) -> dict[str, Array]:
    """The person's picture of 64 pixels with every expression."""
    faces = {name: one.changed(one.attributes.with_domain(name)) for name in EXPRESSIONS}
    return {name: draw(face, 64) for name, face in faces.items()}


def apart(one: Array, other: Array) -> NDArray[np.bool_]:
    """Where two pictures differ."""
    differs: NDArray[np.bool_] = (one != other).any(axis=2)
    return differs


@pytest.fixture(scope="module")
def joint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two sets that are learned together: avatars and expressions, seed 3."""
    folder = tmp_path_factory.mktemp("joint")
    avatars.write(folder / "attributes", 12, SIDE, 3, lambda done, total: None)
    expressions.write(folder / "expressions", COUNT, SIDE, 3, lambda done, total: None)
    return folder


def test_every_two_expressions_look_different() -> None:
    """Between any two expressions of a person at least 60 pixels of 64 x 64 differ, most of them in the face."""
    for index in range(3):
        face, faces = face_mask(person(1, index), 64), drawn(bare(index))
        for name, other in combinations(EXPRESSIONS, 2):
            differs = apart(faces[name], faces[other])
            assert differs.sum() >= 60, (name, other)
            assert differs[face].sum() > 0.8 * differs.sum(), (name, other)


def test_an_expression_leaves_the_rest_alone() -> None:
    """Hair above the brows, ears, neck, clothes and background are the same in all eight."""
    for index in range(3):
        rest = ~face_mask(person(1, index), 64)
        rest[16:44, 14:50] = False  # raised brows reach the hair, a scornful cheek the rim of the face
        faces = drawn(bare(index))
        for name in EXPRESSIONS:
            assert not apart(faces["neutral"], faces[name])[rest].any(), name


def test_contempt_is_on_one_side() -> None:
    """Contempt moves the mouth on one side more than on the other; what grief moves is the same on both."""
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
    with pytest.raises(ValueError, match="just not sad"):
        sad.with_domain("sad", False)


def test_the_set_has_a_folder_for_each_expression(joint: Path) -> None:
    """Eight domains of one group in equal numbers, a tenth of them held out, readable as any folder per domain."""
    folder = joint / "expressions"
    for part, each in (("train", 9), ("test", 1)):
        assert {place.name: len(list(place.iterdir())) for place in (folder / part).iterdir()} == dict.fromkeys(
            EXPRESSIONS, each
        )
    data = labelled.read(folder, "", Picture(size=SIDE), "train", False)
    assert {domain.name for domain in data.description.domains} == set(EXPRESSIONS)
    assert len(data.paths) == 72


def test_few_pictures_are_all_for_training(tmp_path: Path) -> None:
    """A tenth that would lack an expression is not held out: readers then split the set as they do others."""
    expressions.write(tmp_path / "few", 9, SIDE, 1, lambda done, total: None)
    assert not (tmp_path / "few" / "test").exists()
    assert len(list((tmp_path / "few" / "train").rglob("*.png"))) == 9


def test_every_file_of_both_sets_can_be_drawn_again(joint: Path) -> None:
    """What a file shows is found by its place, and drawn anew; the people of the two sets are not the same."""
    data = labelled.read(joint, "", Picture(size=SIDE), "train", False)
    for index in range(0, len(data.paths), 7):
        again = shown(data.paths[index])
        assert (again.draw(SIDE) == data.picture(index)).all()
    assert {expressions.expressive(3, index).skin for index in range(8)} != {
        person(3, index).skin for index in range(8)
    }


def test_each_set_knows_the_domains_of_the_other(joint: Path) -> None:
    """An avatar can be made sad, and an angry face can be given a hat: exact answers across joined sets."""
    avatar = shown(joint / "attributes" / "images" / "000001.png")
    angry = shown(joint / "expressions" / "train" / "angry" / "000004.png")
    one = person(3, 0)
    sad = one.changed(one.attributes.with_domain("sad"))
    assert (avatar.changed("sad", True).draw(SIDE) == draw(sad, SIDE)).all()
    hatted = angry.changed("hat", True).draw(SIDE) != angry.changed("hat", False).draw(SIDE)
    assert hatted[: SIDE // 2].any()
    assert not hatted[SIDE // 2 :].any()
    with pytest.raises(ValueError, match="zebra"):
        angry.changed("zebra", True)


def test_the_command_makes_both_again(joint: Path, tmp_path: Path) -> None:
    """A model card can say how joined sets are made; nothing where one of them came from elsewhere."""
    assert (
        made.command(joint / "expressions") == f"recast data expressions --count {COUNT} --size 16 --seed 3 --out DATA"
    )
    assert made.command(joint) == (
        "recast data avatars --count 12 --size 16 --seed 3 --out DATA/attributes; "
        f"recast data expressions --count {COUNT} --size 16 --seed 3 --out DATA/expressions"
    )
    (tmp_path / "theirs").mkdir()
    assert made.command(tmp_path) == made.command(tmp_path / "gone") == ""
    assert made.holding(tmp_path / "theirs" / "000001.png") is None


def test_options_of_emoji_are_refused_for_people(tmp_path: Path) -> None:
    """`--layout` and `--font` mean nothing for drawn people, and nothing is written."""
    with pytest.raises(OptionsError, match="--layout and --font are for emoji"):
        made.write("expressions", tmp_path / "out", 8, SIDE, 1, "pairs", None, lambda done, total: None)
    assert not list(tmp_path.iterdir())
