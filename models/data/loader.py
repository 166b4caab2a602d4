"""Batches as a pure function of seed and step, so that a resumed training gets the same as an uninterrupted one.

Threads prepare the next batches while the network works; Pillow and NumPy release the interpreter lock in their long
operations. The number of threads changes no batch.
"""

from collections import deque
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import count, islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.bundle.manifest import Picture
from models.bundle.pixels import to_tensor
from models.data.data import Data, Example

Batch = dict[str, Tensor]


def batches(
    data: Data,
    batch: int,
    seed: int,
    start: int,
    workers: int = 0,
    rows: range | None = None,
    pinned: bool = False,
) -> Generator[Batch, None, None]:
    """Endless batches from step `start` on; every epoch is a new permutation, and batches run across epochs.

    `workers` threads work ahead, each on a batch; they end when the generator is closed or raises the DataError of a
    broken file. `rows` are the rows of the batch for this process, all by default. `pinned` memory reaches a CUDA
    device without a copy. Pictures are float32 n x 3 x h x w in the picture's range, everything else is float32.
    """
    wanted = range(batch) if rows is None else rows

    def make(step: int) -> Batch:
        chosen = indices(len(data), batch, seed, step)
        examples = [data.example(chosen[row], np.random.default_rng([seed, step, row])) for row in wanted]
        tensors = collate(examples, data.description.picture)
        return {name: tensor.pin_memory() for name, tensor in tensors.items()} if pinned else tensors

    if not workers:
        yield from map(make, count(start))
    with ThreadPoolExecutor(workers, thread_name_prefix="loader") as pool:
        submitted = (pool.submit(make, step) for step in count(start))
        try:
            waiting = deque(islice(submitted, workers))
            while True:  # in order, with `workers` batches in flight beside the one that is yielded
                done = waiting.popleft()
                waiting.append(next(submitted))
                yield done.result()
        finally:
            pool.shutdown(cancel_futures=True)


# Every row of a batch asks for it, and a permutation of 200,000 takes milliseconds. A batch may span epochs.
@lru_cache(maxsize=4)
def _order(examples: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(examples)


def indices(examples: int, batch: int, seed: int, step: int) -> list[int]:
    """The examples of step `step`, from the permutation of its epoch."""
    places = range(step * batch, (step + 1) * batch)
    return [int(_order(examples, seed, place // examples)[place % examples]) for place in places]


def first(data: Data, most: int) -> Batch:
    """The first examples, at most `most`, as one batch: those of the sample grids."""
    random = np.random.default_rng(0)
    return collate([data.example(index, random) for index in range(min(most, len(data)))], data.description.picture)


def collate(examples: list[Example], picture: Picture) -> Batch:
    """Stacks examples; uint8 arrays are pictures n x h x w x 3, and become float32 n x 3 x h x w."""
    batch: Batch = {}
    for name, first_array in examples[0].items():
        stacked = np.stack([example[name] for example in examples])
        batch[name] = torch.from_numpy(to_tensor(stacked, picture) if first_array.dtype == np.uint8 else stacked)
    return batch
