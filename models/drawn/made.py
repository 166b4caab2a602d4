"""The sets that the project makes by itself: how each is made, made again, and what any of its pictures shows.

What a file shows can be drawn anew with something changed: that is the exact answer to a translation.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.drawn import avatars, emoji_sets, expressions
from models.drawn.writing import Notify
from models.errors import OptionsError


class Drawn(Protocol):
    """What one picture shows; arrays are [size, size] and, where pictures, uint8 RGB [size, size, 3]."""

    def draw(self, size: int) -> NDArray[np.uint8]:
        """The picture."""
        ...

    def changed(self, domain: str, present: bool) -> Drawn:
        """The same with a domain switched; ValueError for one that it does not have."""
        ...

    def face(self, size: int) -> NDArray[np.bool_]:
        """Where the face is, whatever may be changed."""
        ...

    def head(self, size: int) -> NDArray[np.bool_]:
        """Where the head is, whatever may be changed."""
        ...


class Made(Protocol):
    """What is known of a set that was made here."""

    @property
    def command(self) -> str:
        """What makes it again, but for `--out`."""
        ...

    def drawn(self, file: Path) -> Drawn | None:
        """What a file of the set shows; None where that can't be drawn again."""
        ...


_DESCRIBE: tuple[Callable[[Path], Made | None], ...] = (avatars.describe, expressions.describe, emoji_sets.describe)


def describe(folder: Path) -> Made | None:
    """The set in a folder; None where it was not made here, or by another version."""
    return next((made for describe_ in _DESCRIBE if (made := describe_(folder)) is not None), None)


def holding(file: Path) -> Made | None:
    """The set that a picture belongs to; None where it was not made here."""
    return next((made for folder in file.parents[:3] if (made := describe(folder)) is not None), None)


def command(folder: Path, out: str = "DATA") -> str:
    """What makes the set in a folder again, or the sets in it that are joined; empty where one came from elsewhere."""
    made = describe(folder)
    if made is not None:
        return f"{made.command} --out {out}"
    inside = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    sets = [(path.name, describe(path)) for path in inside]
    if any(one is None for _, one in sets):
        return ""
    return "; ".join(f"{one.command} --out {out}/{name}" for name, one in sets if one is not None)


def write(
    name: str, out: Path, count: int, size: int, seed: int, layout: str | None, font: Path | None, notify: Notify
) -> None:
    """Makes a set: avatars, expressions or emoji.

    `layout` and `font` are for emoji alone: attributes, and the installed font, where they are None. OptionsError,
    DataError and FileExistsError as each set's own `write` has them.
    """
    if name == "emoji":
        emoji_sets.write(out, layout or emoji_sets.LAYOUTS[0], count, size, seed, font, notify)
        return
    if layout is not None or font is not None:
        raise OptionsError(f"--layout and --font are for emoji; leave them out for {name}")
    make = {"avatars": avatars.write, "expressions": expressions.write}[name]
    make(out, count, size, seed, notify)
