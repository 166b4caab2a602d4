"""A folder for each domain is a labelled set, with and without folders of parts."""

from pathlib import Path

import pytest
from support.data import class_folders

from models.bundle.manifest import Picture
from models.data.labelled import Labelled, read
from models.data.parts import Part
from models.errors import DataError

PICTURE = Picture(size=16, multiple=4, crop="centre", resize="bilinear")
CLASSES = ("angry", "happy", "sad")


def read_part(folder: Path, domains: str = "", part: Part = "train") -> Labelled:
    return read(folder, domains, PICTURE, part, flip=False)


def test_folders_are_domains_of_one_group_in_the_order_of_names(tmp_path: Path) -> None:
    """Each picture has the one domain of its folder."""
    data = read_part(class_folders(tmp_path / "set", classes=CLASSES))
    assert [(d.name, d.group, d.column) for d in data.description.domains] == [
        ("angry", "domain", 0),
        ("happy", "domain", 1),
        ("sad", "domain", 2),
    ]
    assert all(
        CLASSES[int(row.argmax())] == path.parent.name
        for path, row in zip(data.pictures.paths, data.labels, strict=True)
    )
    assert (data.labels.sum(axis=1) == 1).all()


@pytest.mark.parametrize("held_out", ["test", "val"])
def test_folders_of_parts_are_parts(tmp_path: Path, held_out: str) -> None:
    """train is the training part; test is held out, or val without a test."""
    folder = class_folders(tmp_path / "set", classes=CLASSES)
    (folder / "test").rename(folder / held_out)
    train, test = read_part(folder), read_part(folder, part="test")
    assert (len(train), len(test)) == (8, 4)
    assert {path.parts[-3] for path in test.pictures.paths} == {held_out}


def test_without_parts_a_tenth_of_each_domain_is_held_out(tmp_path: Path) -> None:
    """Every domain is in both parts, but no picture is."""
    folder = class_folders(tmp_path / "set", count=60, classes=CLASSES)
    for path in sorted(folder.glob("*/*/*.png")):
        (folder / path.parent.name).mkdir(exist_ok=True)
        path.rename(folder / path.parent.name / path.name)
    train, test = read_part(folder), read_part(folder, part="test")
    assert (train.labels.sum(axis=0).tolist(), test.labels.sum(axis=0).tolist()) == ([18] * 3, [2] * 3)
    assert len({*train.pictures.paths, *test.pictures.paths}) == 60


@pytest.mark.parametrize(("domains", "group"), [("sad,angry", "domain"), ("mood=sad|angry", "mood")])
def test_chosen_domains_leave_the_others_out(tmp_path: Path, domains: str, group: str) -> None:
    """`domains` chooses, orders and names the group; pictures of the other folders are not read."""
    data = read_part(class_folders(tmp_path / "set", classes=CLASSES), domains)
    assert [(d.name, d.group) for d in data.description.domains] == [("sad", group), ("angry", group)]
    assert {path.parent.name for path in data.pictures.paths} == {"sad", "angry"}
    assert data.description.counts == {"sad": 2, "angry": 3}


def test_an_unknown_domain_is_named_with_the_folders(tmp_path: Path) -> None:
    """The error lists the folders."""
    with pytest.raises(DataError, match="no attribute column calm; the data have angry, happy, sad"):
        read_part(class_folders(tmp_path / "set", classes=CLASSES), "calm,sad")


def test_a_domain_without_training_pictures_is_named(tmp_path: Path) -> None:
    """A domain that only the test part has is refused by name."""
    folder = class_folders(tmp_path / "set", classes=CLASSES)
    for path in (folder / "train" / "sad").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="no pictures of sad for the train part"):
        read_part(folder)


def test_a_folder_whose_name_is_no_domain_is_refused(tmp_path: Path) -> None:
    """Names become words of requests, so only letters, digits, '-', '_' and spaces are valid."""
    with pytest.raises(DataError, match=r"'sad \(1\)' of group None is not a domain: names have"):
        read_part(class_folders(tmp_path / "set", classes=("happy", "sad (1)")))


def test_chosen_domains_without_any_picture_are_refused(tmp_path: Path) -> None:
    """The held-out part may lack the chosen domains, which is an error."""
    folder = class_folders(tmp_path / "set", classes=CLASSES)
    for path in (folder / "test" / "sad").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="no pictures of sad"):
        read_part(folder, "sad", part="test")
