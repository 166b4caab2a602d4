"""Emoji of people as labelled pictures: which one a number stands for, where it lies, and how it looks changed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial, reduce
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

from models.drawn import writing
from models.drawn.emoji import GENDERS, HAIR, SKINS, PersonEmoji, people
from models.drawn.emoji_font import open_font
from models.drawn.placement import Placement, covered, placed, scattered
from models.drawn.writing import Notify

_GROUPS = {"skin": SKINS, "gender": GENDERS}
_GROUPS_WITH_HAIR = {"hair": HAIR, **_GROUPS}


@dataclass(frozen=True)
class Crowd:
    """The emoji of a set with labels: `count` numbered pictures, with `hair` among the domains or without."""

    font: Path
    seed: int
    count: int
    hair: bool

    def portrait(self, index: int) -> EmojiPortrait:
        """The picture of that number, always the same one for the same seed and font."""
        pool = _pools(self.font, self.seed, self.hair)[writing.part(index, self.count)]
        chance = random.Random(f"{self.seed}/{index}")
        emoji = pool[int(chance.random() * len(pool))]
        return EmojiPortrait(self.font, emoji, scattered(chance, coloured=True))


@dataclass(frozen=True)
class EmojiPortrait:
    """One picture of a person: it can be made again with another skin, gender or hair."""

    font: Path
    emoji: PersonEmoji
    placement: Placement

    def draw(self, size: int) -> NDArray[np.uint8]:
        """RGB [size, size, 3]."""
        return placed(open_font(self.font).picture(self.emoji.sequence), self.placement, size)

    def changed(self, domain: str, present: bool) -> EmojiPortrait:
        """The exact counterfactual; ValueError for a domain that this emoji does not have."""
        return EmojiPortrait(self.font, self.emoji.with_domain(domain, present), self.placement)

    def face(self, size: int) -> NDArray[np.bool_]:
        """The same as `head`: nothing tells where on an emoji its face is."""
        return self.head(size)

    def head(self, size: int) -> NDArray[np.bool_]:
        """Where the emoji is, whatever its skin, gender and hair, [size, size]."""
        return covered(_silhouette(self.font, self.emoji.counterfactuals()), self.placement, size)


def write(folder: Path, crowd: Crowd, size: int, notify: Notify) -> None:
    """The pictures of a crowd with their labels, in CelebA's layout."""
    groups = _GROUPS_WITH_HAIR if crowd.hair else _GROUPS
    columns = tuple(column for members in groups.values() for column in members)
    domains = ",".join(f"{group}={'|'.join(members)}" for group, members in groups.items())
    images = folder / "images"
    images.mkdir()
    writing.in_parallel(partial(_write_picture, images, crowd, size), crowd.count, crowd.count, notify)
    labels = [crowd.portrait(index).emoji.labels(columns) for index in range(crowd.count)]
    writing.write_celeba(folder, "emoji", columns, domains, labels)


def _write_picture(folder: Path, crowd: Crowd, size: int, index: int) -> int:
    Image.fromarray(crowd.portrait(index).draw(size)).save(folder / writing.numbered(index), compress_level=1)
    return 1


@lru_cache(maxsize=256)
def _silhouette(font: Path, emoji: tuple[PersonEmoji, ...]) -> Image.Image:
    """What any of the emoji covers."""
    pictures = [open_font(font).picture(each.sequence).getchannel("A") for each in emoji]
    whole = Image.new("RGBA", pictures[0].size)
    whole.putalpha(reduce(ImageChops.lighter, pictures))
    return whole


@lru_cache(maxsize=4)
def _pools(font: Path, seed: int, hair: bool) -> tuple[Sequence[PersonEmoji], ...]:
    """Who may be in the parts for training, validation and test.

    With hair every combination is in one part alone. Without, every kind is: a model is tested on cooks if it has
    never seen any.
    """
    everybody = [one for one in people(open_font(font)) if one.hair or not hair]
    pieces = list(dict.fromkeys(one if hair else one.kind for one in everybody))
    chance = random.Random(f"{seed}/parts")
    order = sorted(pieces, key=lambda _: chance.random())
    parts = {piece: writing.part(place, len(order)) for place, piece in enumerate(order)}
    return tuple([one for one in everybody if parts[one if hair else one.kind] == part] for part in range(3))
