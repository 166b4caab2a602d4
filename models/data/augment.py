"""What is drawn at random before a picture is shown: a crop and a flip, the same ones for both halves of a pair."""

from collections.abc import Sequence

import numpy as np

from models.bundle.manifest import Picture
from models.data.parts import Part
from models.data.pictures import Pixels
from models.errors import OptionsError


def loaded(picture: Picture, load_size: int, part: Part) -> Picture:
    """How files are decoded: in training at `load_size`, of which `augment` cuts `picture.size`; else at that size."""
    if load_size < picture.size:
        raise OptionsError(f"load_size is {load_size}; it must be at least the size, {picture.size}")
    size = load_size if part == "train" else picture.size
    return picture.model_copy(update={"size": size, "multiple": 1})


def augment(pictures: Sequence[Pixels], size: int, flip: bool, random: np.random.Generator) -> list[Pixels]:
    """Pictures of one size, cropped at random to size x size and, with `flip`, mirrored every other time; all alike."""
    height, width = pictures[0].shape[:2]
    top, left = (int(random.integers(side - size + 1)) if side > size else 0 for side in (height, width))
    turn = -1 if flip and random.random() < 0.5 else 1
    return [pixels[top : top + size, left : left + size][:, ::turn] for pixels in pictures]
