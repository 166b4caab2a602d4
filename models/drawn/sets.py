"""The data sets that `recast data` draws: how to draw one, draw it again, and get the scene of each picture.

A scene can be drawn with a domain switched on or off, which is the exact answer to a translation.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.drawn import emoji_sets, people
from models.drawn.writing import Notify
from models.errors import OptionsError


class Scene(Protocol):
    """The content of one picture."""

    def draw(self, size: int) -> NDArray[np.uint8]:
        """The picture, RGB [size, size, 3]."""
        ...

    def with_domain(self, domain: str, present: bool) -> Scene:
        """The same with a domain switched on or off; ValueError for a domain that it does not have."""
        ...

    def face_mask(self, size: int) -> NDArray[np.bool_]:
        """Where the face is under every attribute, [size, size]."""
        ...

    def head_mask(self, size: int) -> NDArray[np.bool_]:
        """Where the head is under any attribute, [size, size]."""
        ...


class DrawnSet(Protocol):
    """A data set that `recast data` has drawn."""

    @property
    def command(self) -> str:
        """The command that makes it, without `--out`."""
        ...

    def scene(self, file: Path) -> Scene | None:
        """The scene of a file of the set; None if it can't be drawn again."""
        ...


_READERS: tuple[Callable[[Path], DrawnSet | None], ...] = (people.read, emoji_sets.read)


def read(folder: Path) -> DrawnSet | None:
    """The set in a folder; None if `recast data` did not draw it, or another version did."""
    return next((found for reader in _READERS if (found := reader(folder)) is not None), None)


def set_of(file: Path) -> DrawnSet | None:
    """The set that a picture belongs to; None if `recast data` did not draw it."""
    return next((found for folder in file.parents[:3] if (found := read(folder)) is not None), None)


def command(folder: Path, out: str = "DATA") -> str:
    """The command that draws the set in a folder, or the sets of a joint set; empty if any has another origin."""
    found = read(folder)
    if found is not None:
        return f"{found.command} --out {out}"
    inside = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    sets = [(path.name, read(path)) for path in inside]
    if any(one is None for _, one in sets):
        return ""
    return "; ".join(f"{one.command} --out {out}/{name}" for name, one in sets if one is not None)


def write(
    name: str, out: Path, count: int, size: int, seed: int, layout: str | None, font: Path | None, notify: Notify
) -> None:
    """Draws a set: avatars, expressions or emoji.

    `layout` and `font` are for emoji alone; None stands for attributes, and for the installed font. OptionsError,
    DataError and FileExistsError as in `people.write` and `emoji_sets.write`.
    """
    if name == "emoji":
        emoji_sets.write(out, layout or emoji_sets.LAYOUTS[0], count, size, seed, font, notify)
        return
    if layout is not None or font is not None:
        raise OptionsError(f"--layout and --font are for emoji; leave them out for {name}")
    people.write("avatars" if name == "avatars" else "expressions", out, count, size, seed, notify)
