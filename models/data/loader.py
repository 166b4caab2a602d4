"""Batches as a pure function of seed and step, so that a resumed training sees what an unstopped one would."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from models.bundle.manifest import Picture
from models.bundle.pixels import to_tensor
from models.data.data import Data, Example


def batches(data: Data, batch: int, seed: int, start: int) -> Iterator[dict[str, Tensor]]:
    """Endless batches from step `start` on; every epoch is a new permutation, and batches run across epochs.

    Pictures come as float32 n x 3 x h x w in the picture's range, everything else as float32.
    """
    step = start
    while True:
        examples = [
            data.example(index, np.random.default_rng([seed, step, place]))
            for place, index in enumerate(indices(len(data), batch, seed, step))
        ]
        yield collate(examples, data.description.picture)
        step += 1


def indices(count: int, batch: int, seed: int, step: int) -> list[int]:
    """Which examples step `step` shows."""
    places = range(step * batch, (step + 1) * batch)
    epochs = sorted({place // count for place in places})
    orders = {epoch: np.random.default_rng([seed, epoch]).permutation(count) for epoch in epochs}
    return [int(orders[place // count][place % count]) for place in places]


def first(data: Data, count: int) -> dict[str, Tensor]:
    """The first `count` examples as one batch, for samples to look at."""
    random = np.random.default_rng(0)
    return collate([data.example(index, random) for index in range(min(count, len(data)))], data.description.picture)


def collate(examples: list[Example], picture: Picture) -> dict[str, Tensor]:
    """Stacks examples; uint8 arrays are pictures, n x h x w x 3."""
    batch: dict[str, Tensor] = {}
    for name, first_array in examples[0].items():
        stacked = np.stack([example[name] for example in examples])
        batch[name] = torch.from_numpy(to_tensor(stacked, picture) if first_array.dtype == np.uint8 else stacked)
    return batch
