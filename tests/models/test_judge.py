"""Judges learn labels or sides, and a stored judge is found again."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.evaluations import PICTURE

from models.data import labelled, unpaired
from models.data.labelled import Labelled
from models.errors import CheckpointError
from models.evaluation.judge import LabelJudge, SideJudge, Training, label_judge, side_judge


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


class Steps:
    """Counts the steps of trainings."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def __call__(self, done: int, total: int) -> None:
        self.seen.append(done)


def read(folder: Path) -> Labelled:
    return labelled.read(folder, "", PICTURE, "train", True)


def judged(folder: Path, training: Training, steps: Steps) -> LabelJudge:
    data = read(folder)
    return label_judge(data, data.description.domains, training, steps)


def test_a_kept_judge_is_found_again(labelled_set: Path, tmp_path: Path) -> None:
    """The second call trains nothing and gives the same judge, from one file in the folder."""
    first, second = Steps(), Steps()
    training = Training(3, tmp_path / "judges", width=4)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    one, two = judged(labelled_set, training, first), judged(labelled_set, training, second)
    assert (first.seen, second.seen) == ([1, 2, 3], [])
    assert (one.logits(pixels) == two.logits(pixels)).all()
    assert len(list((tmp_path / "judges").iterdir())) == 1


def test_other_data_or_another_training_is_another_judge(labelled_set: Path, tmp_path: Path) -> None:
    """Labels, domains, pictures and the training's length: a change of any trains a new judge."""
    folder = tmp_path / "judges"
    data, training = read(labelled_set), Training(1, folder, width=4)
    other = read(labelled_set)
    other.labels = other.labels[:, ::-1].copy()
    larger = labelled.read(labelled_set, "", PICTURE.model_copy(update={"size": 48}), "train", True)
    fewer = labelled.read(labelled_set, "bright", PICTURE, "train", True)
    for one in (data, other, larger, fewer):
        label_judge(one, one.description.domains, training, Steps())
    label_judge(data, data.description.domains, Training(2, folder, width=4), Steps())
    assert len(list(folder.iterdir())) == 5


def test_a_broken_judge_is_named(labelled_set: Path, tmp_path: Path) -> None:
    """An unreadable file is not silently replaced; the error gives the remedy."""
    training = Training(1, tmp_path, width=4)
    judged(labelled_set, training, Steps())
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="remove it"):
        judged(labelled_set, training, Steps())


def test_a_judge_without_labels_learns_sides_and_turns(unpaired_set: Path) -> None:
    """After a few steps it separates dark and bright pictures, and recognises quarter turns."""
    data = unpaired.read(unpaired_set, "", PICTURE, "train", True, PICTURE.size)
    judge = side_judge(data, Training(40, width=8), Steps())
    a, b = (np.stack([data.pictures[index] for index in side]) for side in (data.a, data.b))
    assert not judge.sides(a).any()
    assert judge.sides(b).all()
    assert judge.features(a).shape == (len(a), 64)
    assert 0 <= judge.turn_accuracy(a) <= 1


def test_turns_are_told_by_what_was_turned(unpaired_set: Path) -> None:
    """A judge that always says "not turned" is right on a quarter of all turns."""
    data = unpaired.read(unpaired_set, "", PICTURE, "train", True, PICTURE.size)
    network = side_judge(data, Training(1, width=4), Steps()).network
    torch.nn.init.zeros_(network.head.weight)
    network.head.bias.copy_(torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0]))
    assert SideJudge(network, PICTURE).turn_accuracy(np.zeros((4, 32, 32, 3), np.uint8)) == 0.25


def test_a_group_has_one_label(labelled_set: Path) -> None:
    """The most probable domain of a group is chosen, even if none is probable."""
    judge = judged(labelled_set, Training(1, width=4), Steps())
    judge.network.head.bias.copy_(torch.tensor([-50.0, -60.0, -50.0]))
    assert judge.labels(np.zeros((2, 32, 32, 3), np.uint8)).tolist() == [[1, 0, 0], [1, 0, 0]]
