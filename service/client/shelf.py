"""The folder that a job's results are fetched into; one that was begun is known again, so it can be gone on with.

While results are fetched, `FOLDER/.recast-ID/` holds what is not whole yet, and the list of what is. A result gets
its own name in one step and only then stands in the list: another file of that name, perhaps of another job, is none.
"""

import json
import os
import shutil
import threading
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from service.client.errors import InputError


class Shelf:
    """A folder, and which results of one job lie in it; for any number of threads."""

    def __init__(self, folder: Path, job_id: str) -> None:
        """Nothing is written before the first result comes."""
        self.folder = folder
        self._aside = folder / f".recast-{quote(job_id, safe='')}"
        self._list = self._aside / "fetched"
        self._listing = threading.Lock()
        self._names = set(self._listed())

    def has(self, name: str) -> bool:
        """Whether the result of that name lies here, whole. InputError where the name leads out of the folder."""
        return self._path(name).is_file() and name in self._names

    def part(self) -> Path:
        """Where a result may be written that is not whole yet."""
        return self._aside / f"{uuid.uuid4().hex}.part"

    def write(self, part: Path, piece: bytes) -> None:
        """Adds to a part."""
        self._aside.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as file:
            file.write(piece)

    def keep(self, name: str, part: Path, piece: bytes) -> None:
        """Adds the last piece, and gives the part its name."""
        path = self._path(name)
        self.write(part, piece)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(part, path)
        with self._listing, self._list.open("a", encoding="utf-8") as file:
            # The line is ended by the next one: one that a kill cut short spoils no other.
            file.write(f"\n{json.dumps(name)}")
            self._names.add(name)

    def finish(self) -> None:
        """All is here: the list has done its work."""
        shutil.rmtree(self._aside, ignore_errors=True)

    def _listed(self) -> list[str]:
        try:
            lines = self._list.read_text(encoding="utf-8").split("\n")
        except FileNotFoundError:
            return []
        return [name for line in lines for name in _name(line)]

    def _path(self, name: str) -> Path:
        path = self.folder / name
        inside = path.is_relative_to(self.folder) and path != self.folder and ".." not in Path(name).parts
        if not inside or "\0" in name:  # neither comes from a service as it should be
            raise InputError(f"the service names a result {name[:200]!r}, which is no path within a folder")
        return path


def _name(line: str) -> Iterator[str]:
    with suppress(ValueError):
        yield json.loads(line)
