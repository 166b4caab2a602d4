"""Batches are a pure function of seed and step."""

from itertools import islice
from pathlib import Path

import torch
from support.data import labelled_folder

from models.bundle.manifest import Picture
from models.data.labelled import Labelled, read
from models.data.loader import batches, indices


def data(folder: Path) -> Labelled:
    return read(labelled_folder(folder / "set"), "", Picture(size=16), "train", flip=True)


def test_every_epoch_shows_every_example_once() -> None:
    """Nine steps of four show 36 examples, each once, whatever the step at which one looks."""
    shown = [index for step in range(9) for index in indices(36, 4, seed=1, step=step)]
    assert sorted(shown) == list(range(36))


def test_epochs_differ_and_batches_run_across_their_border() -> None:
    """A batch that crosses an epoch's end is full, and the next order is another one."""
    assert len(indices(10, 4, seed=1, step=2)) == 4
    orders = [[i for step in range(5) for i in indices(20, 4, 1, 5 * epoch + step)] for epoch in range(2)]
    assert orders[0] != orders[1]


def test_a_later_start_continues_the_same_sequence(tmp_path: Path) -> None:
    """Batches from step 3 on are those that a start at 0 would have shown there, flips included."""
    source = data(tmp_path)
    whole = list(islice(batches(source, 4, seed=5, start=0), 6))
    tail = list(islice(batches(source, 4, seed=5, start=3), 3))
    assert all(torch.equal(a["pixels"], b["pixels"]) for a, b in zip(whole[3:], tail, strict=True))


def test_pictures_come_as_tensors_in_the_pictures_range(tmp_path: Path) -> None:
    """uint8 pictures become float32 n x 3 x h x w in [-1, 1]; labels stay as they are."""
    batch = next(batches(data(tmp_path), 4, seed=0, start=0))
    assert (batch["pixels"].shape, batch["pixels"].dtype) == ((4, 3, 16, 16), torch.float32)
    assert batch["pixels"].min() >= -1
    assert batch["pixels"].max() <= 1
    assert set(batch["labels"].flatten().tolist()) == {0.0, 1.0}
