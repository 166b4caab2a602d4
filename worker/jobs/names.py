"""Names of a job's pictures: whatever they are called by a stranger, made fit for storage, any disk and a ZIP."""

import unicodedata

from worker.imaging.formats import AVIF, BMP, GIF, JPEG, PNG, TIFF, WEBP

LONGEST = 200
"""Bytes of a name in UTF-8, at most."""

# Not FORMATS: what this installation reads must not decide which names are the same on another one.
_EXTENSIONS = {extension for kind in (JPEG, PNG, WEBP, AVIF, GIF, BMP, TIFF) for extension in kind.extensions}
_ROOM_FOR_NUMBER = 10
_RESERVED = str.maketrans(dict.fromkeys('<>:"|?*', "_"))  # what Windows allows in no name
_DROPPED = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # control, invisible and direction-changing characters, halves of a pair


def bare(name: str) -> str:
    """The name without a picture format's suffix; any other suffix belongs to the name, as in `IMG.2024`."""
    return name[: len(name) - len(_suffix(name))]


def is_picture(path: str) -> bool:
    """Whether the path has a picture format's suffix."""
    return _suffix(path) != ""


def clean(name: str) -> str:
    """The name as a relative path without `..`, of at most LONGEST bytes; never empty, and `/` is the only separator.

    No folder in it has a picture format's suffix, so none can stand where another picture's output goes.
    """
    name = unicodedata.normalize("NFC", name).replace("\\", "/").translate(_RESERVED)
    name = "".join(character for character in name if unicodedata.category(character) not in _DROPPED)
    parts = [stripped for part in name.split("/") if (stripped := part.strip(" ."))]
    folders = [f"{bare(part)}_{_suffix(part)[1:]}" if is_picture(part) else part for part in parts[:-1]]
    return _shortened("/".join([*folders, *parts[-1:]]) or "picture")


class Names:
    """The names that a job has so far; no two are the same without their suffixes, on disks blind to case neither."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def take(self, name: str) -> str:
        """The cleaned name, with a number behind it where it is taken: `cat.jpg`, `cat-2.png`."""
        name = clean(name)
        stem = unique = bare(name)
        # Counting goes on where it stood, so that a hundred thousand equal names are no trouble.
        number = self._last.get(stem.casefold(), 1)
        while unique.casefold() in self._last:
            number += 1
            unique = f"{stem}-{number}"
        self._last[stem.casefold()] = number
        self._last.setdefault(unique.casefold(), 1)
        return unique + _suffix(name)


def _suffix(name: str) -> str:
    stem, dot, extension = name.rpartition("/")[2].rpartition(".")
    return dot + extension if stem and f".{extension.lower()}" in _EXTENSIONS else ""


def _shortened(name: str) -> str:
    if len(name.encode()) <= LONGEST - _ROOM_FOR_NUMBER:
        return name
    suffix = _suffix(name)
    stem = bare(name).encode()[: LONGEST - _ROOM_FOR_NUMBER - len(suffix)].decode(errors="ignore")
    return stem.rstrip(" ./") + suffix
