"""Named storage roots: the folders and buckets beside the jobs' own that a job may read from and write to.

A job names `ROOT/FOLDER`; where the root lies is known to the settings alone, so no request reaches any other place.
"""

import asyncio
import os
import unicodedata
from collections.abc import Mapping
from pathlib import Path

from worker.errors import InvalidParameter
from worker.jobs.names import is_picture
from worker.storage import Storage, open_storage

_LONGEST = 700  # bytes of a folder's path: S3 takes 1024 of a whole key, and a picture's name has at most 200
_LONGEST_PART = 200  # bytes; a disk takes 255


class Roots:
    """Storage roots by name; made from JobSettings.roots."""

    def __init__(self, places: Mapping[str, str]) -> None:
        """Opens them all: a root that can't be opened raises StorageError now, not when a job comes."""
        self._places = {
            name: where if "://" in where else str(Path(where).absolute()) for name, where in places.items()
        }
        self._storages = {name: open_storage(where) for name, where in self._places.items()}

    def find(self, where: str) -> tuple[Storage, str]:
        """The root's storage and the folder in it, `""` for all of it, of `ROOT/FOLDER`.

        InvalidParameter for a root that does not exist (the known ones are named), and for a path that leaves it.
        """
        name, _, path = where.partition("/")
        if name not in self._storages:
            known = ", ".join(sorted(self._storages)) or "none is configured"
            raise InvalidParameter(f"{where[:80]!r} begins with no storage root; known: {known}")
        parts = [part for part in path.split("/") if part not in ("", ".")]
        folder = "/".join(parts)
        if path.startswith("/") or ".." in parts or "\\" in folder or not _storable(folder):
            raise InvalidParameter(f"{where[:80]!r} is no folder below its root: it must be a plain relative path")
        if len(folder.encode()) > _LONGEST or any(len(part.encode()) > _LONGEST_PART for part in parts):
            raise InvalidParameter(f"{where[:80]!r}... is too long: {_LONGEST} bytes, {_LONGEST_PART} between slashes")
        return self._storages[name], folder

    def require_apart(self, source: str, destination: str) -> None:
        """InvalidParameter where one lies in the other: outputs would be written over pictures still to be read."""
        first, second = self._location(source), self._location(destination)
        if first.startswith(second) or second.startswith(first):
            raise InvalidParameter(f"source {source!r} and destination {destination!r} overlap; choose folders apart")

    async def pictures(self, where: str) -> list[str]:
        """The paths in the root of every picture below a folder, sorted; hidden ones and other files are left out.

        InvalidParameter where a picture has a name that can't be read.
        """
        storage, folder = self.find(where)
        place = self._places[where.partition("/")[0]]
        if "://" in place:
            found = [stored.path async for stored in storage.list(folder)]
        else:
            found = await asyncio.to_thread(_walk, Path(place), folder)
        below = len(folder) + 1 if folder else 0
        pictures = sorted(path for path in found if is_picture(path) and not _hidden(path[below:]))
        if odd := next((path for path in pictures if not _storable(path)), None):
            raise InvalidParameter(f"the picture {odd[:80]!r} has a name that can't be read; rename it")
        return pictures

    def _location(self, where: str) -> str:
        _, folder = self.find(where)
        return f"{self._places[where.partition('/')[0]].rstrip('/')}/{folder}".rstrip("/") + "/"


def _absolute(where: str) -> str:
    return where if "://" in where else str(Path(where).resolve())


def _walk(top: Path, folder: str) -> list[str]:
    """Every file below a folder of this disk; unlike the storage's own list, it goes on after what it may not read."""
    found = []
    for at, _, files in os.walk(top / folder):
        # A named pipe would be waited for, a link to nowhere is nothing.
        whole = (os.path.join(at, file) for file in files if is_picture(file))
        found += [os.path.relpath(path, top) for path in whole if os.path.isfile(path)]
    return found


def _storable(path: str) -> bool:
    """Whether an object can be called so: no control characters, and no bytes that are no UTF-8."""
    return not any(unicodedata.category(character) in ("Cc", "Cs") for character in path)


def _hidden(path: str) -> bool:
    return path.startswith(".") or "/." in path
