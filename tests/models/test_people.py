"""The sets of drawn people: avatars in CelebA's layout, expressions in folders, and both of them together."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.bundle.manifest import Picture
from models.data import labelled
from models.drawn import sets
from models.drawn.people import People, read, write
from models.drawn.person import COLUMNS, DOMAINS, EXPRESSIONS, person
from models.drawn.portrait import Portrait
from models.drawn.sets import Scene
from models.errors import OptionsError

COUNT = 20
EXPRESSIVE = 80
SIDE = 16


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of COUNT pictures of 16 pixels, seed 3."""
    out = tmp_path_factory.mktemp("data") / "avatars"
    write("avatars", out, COUNT, 16, 3, lambda finished, total: None)
    return out


def shown(file: Path) -> Scene:
    """The portrait in a file of a drawn set."""
    found = sets.set_of(file)
    assert found is not None
    drawn = found.scene(file)
    assert drawn is not None
    return drawn


@pytest.fixture(scope="module")
def joint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a joint set: avatars and expressions, seed 3."""
    folder = tmp_path_factory.mktemp("joint")
    write("avatars", folder / "attributes", 12, SIDE, 3, lambda done, total: None)
    write("expressions", folder / "expressions", EXPRESSIVE, SIDE, 3, lambda done, total: None)
    return folder


def test_the_set_is_laid_out_as_celeba(written: Path) -> None:
    """Pictures from 000001.png, a table of 1 and -1 with its count and names, and the partition."""
    assert sorted(file.name for file in (written / "images").iterdir()) == [f"{i:06d}.png" for i in range(1, COUNT + 1)]
    count, names, *rows = (written / "list_attr_avatars.txt").read_text().splitlines()
    assert int(count) == COUNT == len(rows)
    assert tuple(names.split()) == COLUMNS
    for index, row in enumerate(rows):
        name, *signs = row.split()
        assert name == f"{index + 1:06d}.png"
        assert [int(sign) for sign in signs] == [2 * label - 1 for label in person(3, index).attributes.labels()]
    parts = [line.split() for line in (written / "list_eval_partition.txt").read_text().splitlines()]
    assert [int(part) for _, part in parts] == [0] * 16 + [1] * 2 + [2] * 2
    assert (written / "domains.txt").read_text() == DOMAINS + "\n"
    assert "Apache-2.0" in (written / "README.md").read_text()


def test_the_written_pictures_can_be_drawn_again(written: Path) -> None:
    """The facts in avatars.json give the pixels of the files."""
    made = read(written)
    assert made == People("avatars", seed=3, size=16, count=COUNT)
    for index in range(COUNT):
        with Image.open(written / "images" / f"{index + 1:06d}.png") as stored:
            assert (np.asarray(stored) == Portrait(person(made.seed, index)).draw(made.size)).all()


def test_other_folders_are_not_described(tmp_path: Path) -> None:
    """A folder without avatars.json, or of another generator, is None."""
    assert read(tmp_path) is None
    (tmp_path / "avatars.json").write_text(json.dumps({"generator": "emoji", "version": 1}))
    assert read(tmp_path) is None


def test_a_full_folder_is_kept(tmp_path: Path) -> None:
    """A folder that is not empty is refused, and nothing in it changes."""
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="not an empty folder"):
        write("avatars", tmp_path, 1, 16, 1, lambda finished, total: None)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_progress_is_reported_and_an_empty_folder_is_filled(tmp_path: Path) -> None:
    """The callback counts up to the number of pictures, and the folder may exist if it is empty."""
    told: list[tuple[int, int]] = []
    write("avatars", tmp_path / "out", 3, 16, 1, lambda finished, total: told.append((finished, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert [file.name for file in tmp_path.iterdir()] == ["out"]


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    """When the callback raises, neither the folder nor its staging remains."""

    def fail(finished: int, total: int) -> None:
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write("avatars", tmp_path / "out", 2, 16, 1, fail)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("count", "size", "named"), [(0, 16, "count is 0"), (1, 8, "size is 8")])
def test_impossible_sets_are_refused(tmp_path: Path, count: int, size: int, named: str) -> None:
    """The error names the value, and nothing is written."""
    with pytest.raises(ValueError, match=named):
        write("avatars", tmp_path / "out", count, size, 1, lambda finished, total: None)
    assert not list(tmp_path.iterdir())


def test_the_set_has_a_folder_for_each_expression(joint: Path) -> None:
    """There are eight domains of one group in equal numbers, a tenth held out, with a folder for each domain."""
    folder = joint / "expressions"
    for part, each in (("train", 9), ("test", 1)):
        assert {place.name: len(list(place.iterdir())) for place in (folder / part).iterdir()} == dict.fromkeys(
            EXPRESSIONS, each
        )
    data = labelled.read(folder, "", Picture(size=SIDE), "train", False)
    assert {domain.name for domain in data.description.domains} == set(EXPRESSIONS)
    assert len(data.pictures.paths) == 72


def test_few_pictures_are_all_for_training(tmp_path: Path) -> None:
    """A tenth that would lack an expression is not held out, so that readers split the set themselves."""
    write("expressions", tmp_path / "few", 9, SIDE, 1, lambda done, total: None)
    assert not (tmp_path / "few" / "test").exists()
    assert len(list((tmp_path / "few" / "train").rglob("*.png"))) == 9


def test_every_file_of_both_sets_can_be_drawn_again(joint: Path) -> None:
    """The portrait in a file is found from its path and drawn again; the two sets have different people."""
    data = labelled.read(joint, "", Picture(size=SIDE), "train", False)
    for index in range(0, len(data.pictures.paths), 7):
        again = shown(data.pictures.paths[index])
        assert (again.draw(SIDE) == data.pictures[index]).all()
    assert {People("expressions", 3, SIDE, 8).person(index).skin for index in range(8)} != {
        person(3, index).skin for index in range(8)
    }


def test_each_set_knows_the_domains_of_the_other(joint: Path) -> None:
    """An avatar can be made sad, and an angry face can be given a hat: exact answers across joined sets."""
    avatar = shown(joint / "attributes" / "images" / "000001.png")
    angry = shown(joint / "expressions" / "train" / "angry" / "000004.png")
    one = person(3, 0)
    sad = one.with_attributes(one.attributes.with_domain("sad"))
    assert (avatar.with_domain("sad", True).draw(SIDE) == Portrait(sad).draw(SIDE)).all()
    hatted = angry.with_domain("hat", True).draw(SIDE) != angry.with_domain("hat", False).draw(SIDE)
    assert hatted[: SIDE // 2].any()
    assert not hatted[SIDE // 2 :].any()
    with pytest.raises(ValueError, match="zebra"):
        angry.with_domain("zebra", True)


def test_the_command_makes_both_again(joint: Path, tmp_path: Path) -> None:
    """There is a command for a joint set, and none if one of its sets has another origin."""
    assert (
        sets.command(joint / "expressions")
        == f"recast data expressions --count {EXPRESSIVE} --size 16 --seed 3 --out DATA"
    )
    assert sets.command(joint) == (
        "recast data avatars --count 12 --size 16 --seed 3 --out DATA/attributes; "
        f"recast data expressions --count {EXPRESSIVE} --size 16 --seed 3 --out DATA/expressions"
    )
    (tmp_path / "theirs").mkdir()
    assert sets.command(tmp_path) == sets.command(tmp_path / "gone") == ""
    assert sets.set_of(tmp_path / "theirs" / "000001.png") is None


def test_options_of_emoji_are_refused_for_people(tmp_path: Path) -> None:
    """`--layout` and `--font` mean nothing for drawn people, and nothing is written."""
    with pytest.raises(OptionsError, match="--layout and --font are for emoji"):
        sets.write("expressions", tmp_path / "out", 8, SIDE, 1, "pairs", None, lambda done, total: None)
    assert not list(tmp_path.iterdir())
