"""Several labelled sets become one: columns side by side, and a mask that names the set of each picture."""

from pathlib import Path

import numpy as np
import pytest
from support.data import class_folders, joint_folder, labelled_folder

from models.bundle.manifest import Picture
from models.data.labelled import Labelled, read
from models.data.parts import Part
from models.data.tables import UNKNOWN
from models.errors import DataError

PICTURE = Picture(size=16, multiple=4, crop="centre", resize="bilinear")


def read_part(folder: Path, domains: str = "", part: Part = "train") -> Labelled:
    return read(folder, domains, PICTURE, part, flip=False)


def test_columns_stand_side_by_side_with_their_masks(joint_set: Path) -> None:
    """Each domain has its own column and the mask of its set, and keeps its group."""
    description = read_part(joint_set).description
    assert description.masks == ("shade", "toy")
    assert [(d.name, d.group, d.column, d.mask) for d in description.domains] == [
        ("dark", "domain", 0, "shade"),
        ("light", "domain", 1, "shade"),
        ("red", "hue", 2, "toy"),
        ("green", "hue", 3, "toy"),
        ("bright", None, 4, "toy"),
    ]
    assert description.counts == {"shade/": 8, "toy/": 18, "dark": 4, "light": 4, "red": 9, "green": 9, "bright": 9}


def test_what_a_set_does_not_know_is_unknown(joint_set: Path) -> None:
    """A picture has labels of its own set only, and the example's mask names that set."""
    data = read_part(joint_set)
    for index, row in enumerate(data.order):
        example = data.example(index, np.random.default_rng(0))
        of_toy = data.pictures.paths[row].parent.name == "images"
        assert example["masks"].tolist() == [not of_toy, of_toy]
        known = [not of_toy, not of_toy, of_toy, of_toy, of_toy]
        assert (example["labels"] != UNKNOWN).tolist() == known


def test_only_gaps_of_the_own_set_count_as_unknown(tmp_path: Path) -> None:
    """Of `toy` 3 of 18 training pictures have no hue and 2 no brightness; pictures of `shade` don't count."""
    class_folders(tmp_path / "shade")
    labelled_folder(tmp_path / "toy", 20, unknown=True)
    assert read_part(tmp_path).description.unknown == {"red": 3, "green": 3, "bright": 2}


def test_labels_are_those_of_the_sets_alone(joint_set: Path) -> None:
    """Joining changes neither pictures, nor labels, nor parts."""
    parts: tuple[Part, ...] = ("train", "test")
    for part in parts:
        joint = read_part(joint_set, part=part)
        alone = [read_part(joint_set / name, part=part) for name in ("shade", "toy")]
        first = len(alone[0])
        assert joint.pictures.paths == (*alone[0].pictures.paths, *alone[1].pictures.paths)
        assert (joint.labels[:first, :2] == alone[0].labels).all()
        assert (joint.labels[first:, 2:] == alone[1].labels).all()


def test_sets_take_turns_whatever_their_size(joint_set: Path) -> None:
    """In training a small set starts again until the large one ends; each held-out picture comes once."""
    training, held_out = read_part(joint_set), read_part(joint_set, part="test")
    assert [int(row >= 8) for row in training.order] == [0, 1] * 18
    assert training.order[:4] == [0, 8, 1, 9]
    assert sorted(set(training.order)) == list(range(26))
    assert sorted(held_out.order) == list(range(len(held_out.pictures)))
    assert held_out.order[:4] == [0, 4, 1, 5]


def test_sets_are_balanced_each_by_itself(tmp_path: Path) -> None:
    """Light is 2 of 10 of its set and comes nearly as often as dark with balance=0.5; the sets still take turns."""
    for file in sorted((class_folders(tmp_path / "shade", 24) / "train" / "light").iterdir())[2:]:
        file.unlink()
    labelled_folder(tmp_path / "toy", 20)
    data = read(tmp_path, "", PICTURE, "train", False, 0.5)
    assert [int(row >= 10) for row in data.order] == [0, 1] * (len(data) // 2)
    assert 0.3 < data.labels[list(data.order)[::2], 1].mean() < 0.5


def test_chosen_domains_go_to_their_sets(joint_set: Path) -> None:
    """`domains` names columns of any set; each set needs one."""
    chosen = read_part(joint_set, "bright,light,dark").description
    assert [(d.name, d.mask) for d in chosen.domains] == [("light", "shade"), ("dark", "shade"), ("bright", "toy")]
    with pytest.raises(DataError, match=r"no domain of shade was chosen; .*shade has dark, light; toy has bright, gre"):
        read_part(joint_set, "bright")
    with pytest.raises(DataError, match="no set has the domain blue; shade has dark, light"):
        read_part(joint_set, "bright,blue")


def test_a_domain_of_two_sets_is_refused(tmp_path: Path) -> None:
    """One name can't stand for two columns."""
    class_folders(tmp_path / "first")
    class_folders(tmp_path / "second")
    with pytest.raises(DataError, match="two sets have the domain dark"):
        read_part(tmp_path)


def test_groups_of_one_name_stay_apart(tmp_path: Path) -> None:
    """Two sets of folders have a group each, since their domains do not exclude each other."""
    class_folders(tmp_path / "first")
    class_folders(tmp_path / "second", classes=("cat", "dog"))
    groups = [domain.group for domain in read_part(tmp_path).description.domains]
    assert groups == ["first-domain", "first-domain", "second-domain", "second-domain"]


def test_a_folder_of_parts_is_no_joint_set(tmp_path: Path) -> None:
    """train/ and test/ of one set of folders are not taken for two sets."""
    assert read_part(class_folders(tmp_path / "set")).masks is None


def test_problems_of_all_sets_come_at_once(tmp_path: Path) -> None:
    """A problem of one set does not hide those of another."""
    folder = joint_folder(tmp_path / "set")
    labelled_folder(folder / "more", count_line=False)
    attributes = folder / "more" / "list_attr_toy.txt"
    attributes.write_text(attributes.read_text().replace("red green", "blue cyan").replace("bright", "faint"))
    (folder / "more" / "domains.txt").unlink()
    (folder / "more" / "images" / "000001.png").unlink()
    (folder / "toy" / "images" / "000001.png").unlink()
    (folder / "shade" / "train" / "dark" / "000.png").write_bytes(b"")
    with pytest.raises(DataError) as raised:
        read_part(folder)
    assert len(raised.value.problems) == 3
