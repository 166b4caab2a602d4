"""Unpaired pictures of two domains are read in all layouts, and paired at random as in CycleGAN."""

from pathlib import Path

import numpy as np
import pytest
from support.data import class_folders, unpaired_folder

from models.bundle.manifest import Picture
from models.data.parts import Part
from models.data.unpaired import Unpaired, read
from models.errors import DataError

PICTURE = Picture(size=16, resize="bicubic", crop="none")


def unpaired(
    folder: Path, part: Part = "train", domains: str = "", flip: bool = False, load_size: int = 16
) -> Unpaired:
    return read(folder, domains, PICTURE, part, flip, load_size)


def names(data: Unpaired) -> list[str]:
    return [domain.name for domain in data.description.domains]


def test_published_folders_are_read(unpaired_set: Path) -> None:
    """trainA, trainB, testA and testB are the sides; there are as many examples as the larger side has pictures."""
    train, test = unpaired(unpaired_set), unpaired(unpaired_set, "test")
    assert (len(train), len(train.a), len(train.b)) == (8, 8, 4)
    assert (len(test), len(test.a), len(test.b)) == (2, 2, 1)
    assert train.description.counts == {"a": 8, "b": 4}
    assert names(train) == ["a", "b"]


def test_a_is_in_turn_and_b_at_random(unpaired_set: Path) -> None:
    """Every picture of A is shown in turn; B's picture is drawn from the given generator, and all of them come."""
    data = unpaired(unpaired_set)
    shown = [data.example(index, np.random.default_rng(index)) for index in range(40)]
    assert all(each["a"].mean() < 128 < each["b"].mean() for each in shown)
    assert all((shown[index]["a"] == data.pictures[index % 8]).all() for index in range(8))
    assert len({each["b"].tobytes() for each in shown}) == 4
    again = data.example(7, np.random.default_rng(7))
    assert all((again[side] == shown[7][side]).all() for side in "ab")


def test_the_smaller_side_starts_over(tmp_path: Path) -> None:
    """If B is the larger side, A's pictures start again."""
    folder = unpaired_folder(tmp_path / "set")
    (folder / "trainA").rename(folder / "swap")
    (folder / "trainB").rename(folder / "trainA")
    (folder / "swap").rename(folder / "trainB")
    data = unpaired(folder)
    random = np.random.default_rng(0)
    assert len(data) == 8
    assert (data.example(6, random)["a"] == data.pictures[2]).all()


def test_sides_are_cropped_and_mirrored_independently(unpaired_set: Path) -> None:
    """The crops of the two pictures of an example differ."""
    data = unpaired(unpaired_set, flip=True, load_size=24)
    assert data.pictures[0].shape == (24, 24, 3)
    shown = [data.example(0, np.random.default_rng(seed)) for seed in range(12)]
    assert all(each[side].shape == (16, 16, 3) for each in shown for side in "ab")
    assert len({each["a"].tobytes() for each in shown}) > 6


def test_folders_of_domains_are_sides(tmp_path: Path) -> None:
    """Two folders named after domains are A and B by name, or in the given order."""
    folder = class_folders(tmp_path / "set", classes=("horse", "zebra"))
    assert names(unpaired(folder)) == ["horse", "zebra"]
    turned = unpaired(folder, domains="Zebra,horse")
    assert names(turned) == ["zebra", "horse"]
    assert turned.pictures.paths[0].parent.name == "zebra"


def test_two_of_many_domains_can_be_chosen(tmp_path: Path) -> None:
    """Of three folders, the two that are named are read; without names it is not guessed."""
    folder = class_folders(tmp_path / "set", classes=("cat", "dog", "fox"))
    data = unpaired(folder, domains="fox,cat")
    assert {path.parent.name for path in data.pictures.paths} == {"fox", "cat"}
    with pytest.raises(DataError, match="folders for 3 sides \\(cat, dog, fox\\), and must have two"):
        unpaired(folder)


def test_names_that_are_no_folders_name_a_and_b(unpaired_set: Path) -> None:
    """trainA and trainB are what the domains say, A first; other than two names are refused."""
    assert names(unpaired(unpaired_set, domains="night,day")) == ["night", "day"]
    with pytest.raises(DataError, match="name two domains, A and B, not 'night'"):
        unpaired(unpaired_set, domains="night")


def test_a_side_without_pictures_is_named(tmp_path: Path) -> None:
    """A folder that holds nothing readable is said, with its part."""
    folder = unpaired_folder(tmp_path / "set")
    for path in [*(folder / "trainB").iterdir(), *(folder / "testB").iterdir()]:
        path.rename(path.with_suffix(".txt"))
    with pytest.raises(DataError, match="holds no pictures of B for the train part"):
        unpaired(folder)


def test_what_a_zip_leaves_is_passed_over(tmp_path: Path) -> None:
    """Hidden folders and those of other systems are no sides."""
    folder = class_folders(tmp_path / "set", classes=("horse", "zebra"))
    (folder / "__MACOSX").mkdir()
    (folder / ".cache").mkdir()
    assert names(unpaired(folder)) == ["horse", "zebra"]
