"""Batches are a pure function of seed and step for any number of threads, and the threads end with the iterator."""

import threading
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from support.data import labelled_folder

from models.bundle.manifest import Picture
from models.data import pictures
from models.data.data import Example
from models.data.labelled import Labelled, read
from models.data.loader import Batch, batches, indices
from models.errors import DataError


def data(folder: Path) -> Labelled:
    return read(labelled_folder(folder / "set"), "", Picture(size=16), "train", flip=True)


def same(one: list[Batch], other: list[Batch]) -> bool:
    return all(torch.equal(a[name], b[name]) for a, b in zip(one, other, strict=True) for name in a)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("loader")]


def test_every_epoch_shows_every_example_once() -> None:
    """Nine steps of four show 36 examples, each once, from any start."""
    shown = [index for step in range(9) for index in indices(36, 4, seed=1, step=step)]
    assert sorted(shown) == list(range(36))


def test_epochs_differ_and_batches_run_across_their_border() -> None:
    """A batch that crosses an epoch's end is full, and each epoch has another order."""
    assert len(indices(10, 4, seed=1, step=2)) == 4
    orders = [[i for step in range(5) for i in indices(20, 4, 1, 5 * epoch + step)] for epoch in range(2)]
    assert orders[0] != orders[1]


def test_a_later_start_continues_the_same_sequence(tmp_path: Path) -> None:
    """Batches from step 3 on equal those of a start at 0, flips included."""
    source = data(tmp_path)
    whole = list(islice(batches(source, 4, seed=5, start=0), 6))
    assert same(whole[3:], list(islice(batches(source, 4, seed=5, start=3), 3)))


@pytest.mark.parametrize("cached", [True, False])
def test_any_number_of_threads_gives_the_same_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cached: bool
) -> None:
    """Without threads, with one or many, with or without cache, the bits are the same."""
    monkeypatch.setattr(pictures, "CACHE_BYTES", 2**31 if cached else 0)
    source = data(tmp_path)
    alone = list(islice(batches(source, 4, seed=5, start=2), 12))
    for workers in (1, 3, 8):
        ahead = batches(source, 4, seed=5, start=2, workers=workers)
        assert same(list(islice(ahead, 12)), alone)
        ahead.close()


def test_rows_are_those_of_the_whole_batch(tmp_path: Path) -> None:
    """The halves of two processes together equal the batch of one, flips included."""
    source = data(tmp_path)
    whole = next(batches(source, 6, seed=5, start=1))
    halves = [next(batches(source, 6, seed=5, start=1, rows=rows)) for rows in (range(3), range(3, 6))]
    assert same([whole], [{name: torch.cat([half[name] for half in halves]) for name in whole}])


def test_pictures_come_as_tensors_in_the_pictures_range(tmp_path: Path) -> None:
    """uint8 pictures become float32 n x 3 x h x w in [-1, 1]; labels stay as they are."""
    batch = next(batches(data(tmp_path), 4, seed=0, start=0))
    assert (batch["pixels"].shape, batch["pixels"].dtype) == ((4, 3, 16, 16), torch.float32)
    assert batch["pixels"].min() >= -1
    assert batch["pixels"].max() <= 1
    assert set(batch["labels"].flatten().tolist()) == {0.0, 1.0}


class Watched(Labelled):
    """A set that notes who asks for its examples, and lets two that ask meet before either goes on."""

    def __init__(self, source: Labelled) -> None:
        super().__init__(source.pictures, source.labels, source.description, source.flip)
        self.asked: list[str] = []
        self.meeting = threading.Barrier(2)

    def example(self, index: int, random: np.random.Generator) -> Example:
        """The example, when another thread has asked for one as well."""
        self.asked.append(threading.current_thread().name)
        self.meeting.wait(timeout=60)
        return super().example(index, random)


def test_threads_prepare_batches_at_the_same_time(tmp_path: Path) -> None:
    """Two workers decode side by side, and no picture is decoded in the caller's thread."""
    source = Watched(data(tmp_path))
    ahead = batches(source, 1, seed=0, start=0, workers=2)
    for _ in range(4):
        next(ahead)
    source.meeting.abort()
    ahead.close()
    assert {name.partition("_")[0] for name in source.asked} == {"loader"}
    assert len(set(source.asked)) == 2


def test_threads_end_with_the_iterator(tmp_path: Path) -> None:
    """A closed iterator leaves no thread behind, and decodes nothing more."""
    ahead = batches(data(tmp_path), 4, seed=0, start=0, workers=3)
    next(ahead)
    assert threads()
    ahead.close()
    assert threads() == []


@pytest.mark.parametrize("workers", [0, 3])
def test_a_file_that_breaks_is_named_and_ends_the_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """The error reaches the caller at the step that needs the file, after all steps before it."""
    monkeypatch.setattr(pictures, "CACHE_BYTES", 0)
    source = data(tmp_path)
    broken = indices(len(source), 1, seed=0, step=5)[0]
    source.pictures.paths[broken].write_bytes(b"")
    ahead = batches(source, 1, seed=0, start=0, workers=workers)
    for _ in range(5):
        next(ahead)
    with pytest.raises(DataError, match=f"{source.pictures.paths[broken].name} is not a readable picture: it is empty"):
        next(ahead)
    assert threads() == []


def test_batches_are_pinned_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread copies every tensor of a batch to pinned memory before the batch is yielded."""
    pinned: dict[int, str] = {}

    def pin_memory(tensor: torch.Tensor) -> torch.Tensor:
        copy = tensor.clone()
        pinned[id(copy)] = threading.current_thread().name
        return copy

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin_memory)
    ahead = batches(data(tmp_path), 4, seed=0, start=0, workers=1, pinned=True)
    batch = next(ahead)
    ahead.close()
    assert all(pinned[id(tensor)].startswith("loader") for tensor in batch.values())
