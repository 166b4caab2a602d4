"""Line drawings of emoji and the emoji themselves, side by side or apart: all that the font has, each skin once.

What is held out is split by what emoji show: when the woman who cooks is held out, the man who cooks is as well.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image

from models.drawn import emoji_font, writing
from models.drawn.drawing import outlined
from models.drawn.emoji import code, things
from models.drawn.emoji_font import open_font
from models.drawn.placement import Placement, placed, scattered
from models.drawn.writing import Notify

Layer = Callable[[Image.Image], Image.Image]


def _itself(picture: Image.Image) -> Image.Image:
    return picture


@dataclass(frozen=True)
class _Job:
    """What is written of one emoji: for each folder what is made of it, side by side.

    Upright in the middle when `variants` is 0, else so many times somewhere.
    """

    emoji: emoji_font.Sequence
    folders: dict[str, tuple[Layer, ...]]
    variants: int = 0


def write_pairs(folder: Path, font: Path, seed: int, count: int, size: int, notify: Notify) -> None:
    """`count` pairs in train/, and in test/ each held-out emoji once, but no more than a tenth of `count`."""
    training, held_out = _split(font, seed)
    tests = [_Job(emoji, {"test": (outlined, _itself)}) for emoji in held_out[: max(1, count // 10)]]
    _write(folder, font, seed, size, [*_jobs(_emoji(training), "train", (outlined, _itself), count), *tests], notify)


def write_unpaired(folder: Path, font: Path, seed: int, count: int, size: int, notify: Notify) -> None:
    """`count` drawings in trainA/ and as many emoji in trainB/; what is held out is in both tests under one name."""
    training, held_out = _split(font, seed)
    middle = len(training) // 2
    drawings = _jobs(_emoji(training[:middle]), "trainA", (outlined,), count)
    emoji = _jobs(_emoji(training[middle:]), "trainB", (_itself,), count)
    tests = [_Job(each, {"testA": (outlined,), "testB": (_itself,)}) for each in held_out[: max(1, count // 10)]]
    _write(folder, font, seed, size, [*drawings, *emoji, *tests], notify)


def _split(font: Path, seed: int) -> tuple[list[list[emoji_font.Sequence]], list[emoji_font.Sequence]]:
    """What is trained on, grouped by what it shows, and the held-out tenth."""
    chance = random.Random(f"{seed}/parts")
    groups = sorted(things(open_font(font)).values(), key=lambda _: chance.random())
    tenth = len(groups) // 10
    return groups[tenth:], _emoji(groups[:tenth])


def _emoji(groups: list[list[emoji_font.Sequence]]) -> list[emoji_font.Sequence]:
    return list(chain.from_iterable(groups))


def _jobs(emoji: Sequence[emoji_font.Sequence], folder: str, layers: tuple[Layer, ...], count: int) -> list[_Job]:
    """`count` pictures spread over the emoji as evenly as can be."""
    each, more = divmod(count, len(emoji))
    return [
        _Job(one, {folder: layers}, each + (place < more))
        for place, one in enumerate(emoji)
        if each + (place < more) > 0
    ]


def _write(folder: Path, font: Path, seed: int, size: int, jobs: list[_Job], notify: Notify) -> None:
    for name in {name for job in jobs for name in job.folders}:
        (folder / name).mkdir()
    total = sum(len(job.folders) * max(1, job.variants) for job in jobs)
    writing.in_parallel(partial(_do, folder, font, seed, size, jobs), len(jobs), total, notify)


def _do(folder: Path, font: Path, seed: int, size: int, jobs: list[_Job], number: int) -> int:
    job = jobs[number]
    name = code(job.emoji)
    picture = open_font(font).picture(job.emoji)
    made = {layer: layer(picture) for layer in set(chain.from_iterable(job.folders.values()))}
    placements = {f"{name}.png": Placement()}
    if job.variants:
        chances = {
            f"{name}_{variant}.png": random.Random(f"{seed}/{name}/{variant}") for variant in range(job.variants)
        }
        placements = {file: scattered(chance, coloured=False) for file, chance in chances.items()}
    for file, placement in placements.items():
        for place, layers in job.folders.items():
            parts = [placed(made[layer], placement, size) for layer in layers]
            Image.fromarray(np.hstack(parts)).save(folder / place / file, compress_level=1)
    return len(placements) * len(job.folders)
