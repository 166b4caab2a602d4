"""Which pictures are for training and which are held out, where a set says so and where it does not."""

import random
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

Part = Literal["train", "test"]

NAMES = ("train", "test", "val")
"""What the folders of parts are called in published sets; `val` is held out where there is no `test`."""

_Item = TypeVar("_Item")
_MOST_HELD_OUT = 1999  # as in StarGAN's official code


def choose(part: Part, listing: Callable[[str], list[_Item]]) -> list[_Item]:
    """The items of a part; `listing` gives those of a folder of `NAMES`, or with "" those that lie in none."""
    place, published = find(part, lambda name: bool(listing(name)))
    return listing(place) if published else split(listing(place), part)


def find(part: Part, filled: Callable[[str], bool]) -> tuple[str, bool]:
    """The folder of `NAMES`, or "", where a part lies, and whether it lies there alone; if not, `split` parts it."""
    train, *held_out = [name if filled(name) else "" for name in NAMES]
    test = next(filter(None, held_out), "")
    if train and test:
        return (train if part == "train" else test), True
    return train or test, False


def split(items: Sequence[_Item], part: Part) -> list[_Item]:
    """The shuffle of StarGAN's official code: a tenth is held out, 1999 at most, and one of two to nineteen."""
    order = list(items)
    random.Random(1234).shuffle(order)
    held_out = min(_MOST_HELD_OUT, max(len(order) // 10, int(len(order) > 1)))
    return order[:held_out] if part == "test" else order[held_out:]
