"""Named storage roots: the folders and buckets that a job may read from and write to, besides the jobs' own storage.

A job names `ROOT/FOLDER`. Only the settings know where the root lies, so no request reaches any other place.
"""

import asyncio
import os
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from worker.errors import InvalidParameter
from worker.imaging.formats import extension
from worker.storage import Storage, open_storage

MOUNTS = Path("/proc/self/mountinfo")
"""Linux's list of this process's mounts."""

_LONGEST = 700  # bytes of a folder's path: S3 takes 1024 of a whole key, and a picture's name has at most 200
_LONGEST_PART = 200  # bytes; a disk takes 255


class Roots:
    """Storage roots by name; made from JobSettings.roots."""

    def __init__(self, places: Mapping[str, str]) -> None:
        """Opens all roots; one that can't be opened raises StorageError now, not when a job comes."""
        self._places = {name: _place(where) for name, where in places.items()}
        self._storages = {name: open_storage(where) for name, where in self._places.items()}

    def find(self, where: str) -> tuple[Storage, str]:
        """The root's storage and the folder in it, `""` for all of it, of `ROOT/FOLDER`.

        InvalidParameter for a root that does not exist (the message names the known ones), and for a path that leaves
        its root.
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
        """Raises InvalidParameter if one folder is in the other: outputs would replace pictures that are still needed.

        Symbolic links and mounts are followed, so two roots that lead to one folder are one folder. Blocks: it asks
        the disk.
        """
        first, second = self._location(source), self._location(destination)
        if first.startswith(second) or second.startswith(first):
            raise InvalidParameter(
                f"source {source!r} and destination {destination!r} overlap: outputs would replace pictures; "
                "choose folders apart"
            )

    async def pictures(self, where: str) -> list[str]:
        """The paths in the root of every picture below a folder, sorted, without hidden ones and other files.

        InvalidParameter where a picture has a name that can't be read.
        """
        storage, folder = self.find(where)
        place = self._places[where.partition("/")[0]]
        if "://" in place:
            found = [stored.path async for stored in storage.list(folder)]
        else:
            found = await asyncio.to_thread(_walk, Path(place), folder)
        below = len(folder) + 1 if folder else 0
        pictures = sorted(path for path in found if extension(path) and "/." not in f"/{path[below:]}")
        if odd := next((path for path in pictures if not _storable(path)), None):
            raise InvalidParameter(f"the picture {odd[:80]!r} has a name that can't be read; rename it")
        return pictures

    def _location(self, where: str) -> str:
        """The one name of a folder, however it is reached; it ends with a slash."""
        _, folder = self.find(where)
        place = self._places[where.partition("/")[0]]
        if "://" in place:
            return f"{place.rstrip('/')}/{folder}".rstrip("/") + "/"
        return _behind_mounts(os.path.realpath(Path(place, folder))).rstrip("/") + "/"


def _place(where: str) -> str:
    """A URL, or an absolute path; a file:// URL is one more spelling of a path."""
    if where.lower().startswith("file://"):
        where = url2pathname(urlsplit(where).path)
    return where if "://" in where else str(Path(where).absolute())


def _behind_mounts(path: str) -> str:
    """A path without links, as its device and the path on that: a bind mount gives one folder two paths.

    A container's volumes are bind mounts, and one volume may lie in another. Elsewhere than on Linux: the path itself.
    """
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").rstrip("\n").split("\n")
    except OSError:
        return path
    longest, found = -1, path
    for line in lines:
        # A space in a path is written as \040.
        parts = (re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), part) for part in line.split(" ")[:5])
        _, _, device, top, point = parts
        inside = f"{path}/".startswith(f"{point.rstrip('/')}/")
        if inside and len(point) >= longest:  # of several mounts at one place the last one is seen
            longest, found = len(point), f"{device}:{top.rstrip('/')}/{path[len(point.rstrip('/')) + 1 :]}"
    return found


def _walk(top: Path, folder: str) -> list[str]:
    """Every file below a folder of this disk; unlike the storage's own list, it passes over what can't be read."""
    found = []
    for at, _, files in os.walk(top / folder):
        # A named pipe would be waited for, and a link may lead nowhere.
        whole = (os.path.join(at, file) for file in files if extension(file))
        found += [os.path.relpath(path, top) for path in whole if os.path.isfile(path)]
    return found


def _storable(path: str) -> bool:
    """Whether an object can have this name: no control characters, and nothing that UTF-8 can't hold."""
    return not any(unicodedata.category(character) in ("Cc", "Cs") for character in path)
