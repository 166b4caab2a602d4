"""Small sets in the layouts in which sets are published, plain to see: for trainings that take a second."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

COLUMNS = ("red", "green", "bright")
DOMAINS = "hue=red|green,bright"


def labelled_folder(
    folder: Path, count: int = 40, size: int = 32, count_line: bool = True, unknown: bool = False
) -> Path:
    """Writes `count` pictures: the left half red or green (one of them), the right half bright or dark, plus noise.

    The last tenth is the test part, as list_eval_partition.txt says. With `unknown` the hue of every fifth picture and
    the brightness of every seventh have no label.
    """
    random = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    rows: list[str] = []
    parts: list[str] = []
    for number in range(1, count + 1):
        red, bright = bool(number % 2), bool(number // 2 % 2)
        pixels = random.integers(0, 40, (size, size, 3))
        pixels[:, : size // 2, 0 if red else 1] += 180
        pixels[:, size // 2 :] += 180 if bright else 0
        name = f"{number:06d}.png"
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / name)
        values = ["1" if value else "-1" for value in (red, not red, bright)]
        if unknown and not number % 5:
            values[:2] = "00"
        if unknown and not number % 7:
            values[2] = "0"
        rows.append(" ".join([name, *values]))
        parts.append(f"{name} {2 if number > count * 9 // 10 else 0}")
    head = [str(count)] if count_line else []
    (folder / "list_attr_toy.txt").write_text("\n".join([*head, " ".join(COLUMNS), *rows]) + "\n")
    (folder / "list_eval_partition.txt").write_text("\n".join(parts) + "\n")
    (folder / "domains.txt").write_text(DOMAINS + "\n")
    return folder


def pair_folder(folder: Path, count: int = 10, size: int = 32) -> Path:
    """Writes train/ and test/ with `count` files in all, A and B side by side.

    B is A's negative.
    """
    for number, (a, b) in enumerate(_pairs(count, size), 1):
        part = folder / ("test" if number > count * 8 // 10 else "train")
        part.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.concatenate([a, b], axis=1)).save(part / f"{number}.png")
    return folder


def unpaired_folder(folder: Path, count: int = 10, size: int = 32) -> Path:
    """Writes trainA, trainB, testA and testB: `count` dark pictures of A, and half as many bright ones of B."""
    for number, (a, b) in enumerate(_pairs(count, size), 1):
        part = "test" if number > count * 8 // 10 else "train"
        for side, pixels in (("A", a), ("B", b)):
            if side == "A" or number % 2:
                (folder / f"{part}{side}").mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(folder / f"{part}{side}" / f"{number}.png")
    return folder


def class_folders(folder: Path, count: int = 12, size: int = 32, classes: tuple[str, ...] = ("dark", "light")) -> Path:
    """Writes train/CLASS and test/CLASS: pictures as bright as their class comes late, `count` in all."""
    random = np.random.default_rng(1)
    for number in range(count):
        place = number % len(classes)
        part = folder / ("test" if number >= count * 2 // 3 else "train") / classes[place]
        part.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 40, (size, size, 3)) + 200 * place // (len(classes) - 1)
        Image.fromarray(pixels.astype(np.uint8)).save(part / f"{number:03d}.png")
    return folder


def joint_folder(folder: Path, size: int = 32) -> Path:
    """Writes a labelled set `toy` and class folders `shade` beside each other."""
    labelled_folder(folder / "toy", 20, size)
    class_folders(folder / "shade", 12, size)
    return folder


def _pairs(count: int, size: int) -> Iterator[tuple[Pixels, Pixels]]:
    """A dark picture with a brighter spot, and its negative."""
    random = np.random.default_rng(2)
    for _ in range(count):
        a = random.integers(0, 60, 3) + np.zeros((size, size, 3), int)
        top, left = random.integers(0, size // 2, 2)
        a[top : top + size // 2, left : left + size // 2] += 40
        yield a.astype(np.uint8), (255 - a).astype(np.uint8)
