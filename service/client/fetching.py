"""Fetches a job's results into a folder as soon as they are ready, several at a time.

While results are fetched, `FOLDER/.recast-ID/` has incomplete ones and the list of complete ones. A result gets its own
name in one step, and then its line in the list: another file of that name, perhaps of another job, does not count. With
the list, a later call goes on where this one stopped.
"""

import asyncio
import json
import os
import shutil
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from urllib.parse import quote

from service.client import calls
from service.client.calls import Call
from service.client.connection import Connection
from service.client.values import Failure, Fetched, InputError, Job

Fetching = Callable[[Job, int], None]
"""Called with the job, and the number of its results in the folder."""

_AT_ONCE = 8
_PIECE = 1 << 20


class Shelf:
    """A folder, and which results of one job are in it; threads may share it."""

    def __init__(self, folder: Path, job_id: str) -> None:
        """Writes nothing; `write` makes the folder when the first result comes."""
        self.folder = folder
        self._aside = folder / f".recast-{quote(job_id, safe='')}"
        self._list = self._aside / "fetched"
        self._listing = threading.Lock()
        lines: list[str] = []
        with suppress(FileNotFoundError):
            lines = self._list.read_text(encoding="utf-8").split("\n")
        self._names: set[str] = set()
        for line in lines:
            with suppress(ValueError):  # a line that was cut off when the process was killed
                self._names.add(json.loads(line))

    def has(self, name: str) -> bool:
        """Whether the folder has the complete result. InputError if the name leads out of the folder."""
        return self._path(name).is_file() and name in self._names

    def part(self) -> Path:
        """A new path for an incomplete result."""
        return self._aside / f"{uuid.uuid4().hex}.part"

    def write(self, part: Path, piece: bytes) -> None:
        """Appends to an incomplete result."""
        self._aside.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as file:
            file.write(piece)

    def keep(self, name: str, part: Path, piece: bytes) -> None:
        """Appends the last piece, and gives the result its name."""
        path = self._path(name)
        self.write(part, piece)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(part, path)
        with self._listing, self._list.open("a", encoding="utf-8") as file:
            # The line break comes first, so that a line that was cut off spoils no other.
            file.write(f"\n{json.dumps(name)}")
            self._names.add(name)

    def finish(self) -> None:
        """Removes the list, after all results have come."""
        shutil.rmtree(self._aside, ignore_errors=True)

    def _path(self, name: str) -> Path:
        path = self.folder / name
        inside = path.is_relative_to(self.folder) and path != self.folder and ".." not in Path(name).parts
        if not inside or "\0" in name:  # the service is broken or hostile
            raise InputError(f"the service names a result {name[:200]!r}, which is no path within a folder")
        return path


class Fetch:
    """Fetches the results of one job while it runs."""

    def __init__(self, connection: Connection, shelf: Shelf, on_progress: Fetching | None) -> None:
        self._connection = connection
        self._shelf = shelf
        self._on_progress = on_progress
        self._job: Job | None = None
        self._news = asyncio.Event()
        self._place: int | None = 0
        self._count = 0
        self._failures: list[Failure] = []

    async def follow(self, events: AsyncIterator[Job]) -> Fetched:
        """Fetches the finished results at each event of the job, until the events end."""

        async def watch() -> Job:
            try:
                async for self._job in events:
                    self._report()
                    self._news.set()
            finally:
                self._news.set()
            assert self._job is not None, "the first event comes at once"
            return self._job

        watching = asyncio.create_task(watch())
        try:
            over = False
            while not over:
                await self._news.wait()
                self._news.clear()
                over = watching.done() and watching.result().over
                if self._job:
                    await self._fetch_finished(self._job.id)
            await asyncio.to_thread(self._shelf.finish)
            return Fetched(watching.result(), self._shelf.folder, self._count, tuple(self._failures))
        finally:
            watching.cancel()
            await asyncio.wait({watching})

    async def _fetch_finished(self, job_id: str) -> None:
        """Fetches the finished results that are not in the folder yet, several at a time."""

        async def fetch(names: Iterator[str]) -> None:
            for name in names:
                if not self._shelf.has(name):
                    call = calls.result(job_id, name)
                    await self._connection.repeat(call, partial(self._fetch_one, call, name))
                self._count += 1
                self._report()

        before = -1
        # A page that leads to itself has no finished picture yet; the next event of the job calls this again.
        while self._place is not None and self._place != before:
            page = await self._connection.send(calls.pictures(job_id, self._place))
            names = iter(page.outputs)  # one iterator, from which all tasks take the next name
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(_AT_ONCE):
                        group.create_task(fetch(names))
            except* Exception as errors:
                raise errors.exceptions[0] from None
            self._failures += page.failures
            before, self._place = self._place, page.next

    async def _fetch_one(self, call: Call[None], name: str) -> None:
        part, held = self._shelf.part(), b""
        async with self._connection.open(call) as response:
            async for piece in response.aiter_bytes(_PIECE):
                # One piece is held back for `keep`, so that a short result goes to the disk in one step.
                if held:
                    await asyncio.to_thread(self._shelf.write, part, held)
                held = piece
        await asyncio.to_thread(self._shelf.keep, name, part, held)

    def _report(self) -> None:
        if self._on_progress and self._job:
            self._on_progress(self._job, self._count)
