"""The client to be awaited; the blocking one is made of it. What waits for the disk does so in threads."""

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from service.client import calls, fetch
from service.client.connection import Connection, Trouble
from service.client.errors import ClientError, InputError, Unreachable, foreign
from service.client.patience import Patience
from service.client.pictures import Form, Progress, gather
from service.client.records import Fetched, Format, Job, Model, Region, Size, Stored, Translated
from service.client.shelf import Shelf
from service.client.watch import Watch

Pictures = Path | Iterable[Path] | Mapping[str, Path | bytes] | Stored
"""Files and folders; or pictures by the names under which they are sent; or a folder of the service's own."""


class AsyncClient:
    """A Recast service. Any number of tasks may use it at once, in one event loop."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout: float = 60.0,
        patience: float = 60.0,
        on_trouble: Trouble | None = None,
    ) -> None:
        """InputError where the address or the key can't be one.

        Args:
            url: as http://127.0.0.1:8000, or with a path below which the service answers.
            key: one of the service's keys, where it has any.
            timeout: seconds without a byte after which a connection is given up.
            patience: seconds for which a call is repeated that may succeed later: the service has too much to do, has
                not started yet, or the connection broke. `translate` is not repeated once it was sent. 0: nothing is.
            on_trouble: is told each error that is waited out, and the seconds until the next attempt.
        """
        self._connection = Connection(url, key, timeout, patience, on_trouble)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections."""
        await self._connection.close()

    async def translate(
        self,
        picture: bytes | Path,
        domains: str | Sequence[str],
        *,
        model: str | None = None,
        strength: float = 1.0,
        region: Region = "auto",
        size: Size = "original",
        format: Format | None = None,
        quality: int = 90,
    ) -> Translated:
        """One picture, translated while you wait; the parameters are those of POST /translate."""
        data = picture if isinstance(picture, bytes) else await asyncio.to_thread(_read, picture)
        query = calls.query(domains, model, strength, region, size, format, quality)
        return await self._connection.send(calls.translate(data, query))

    async def submit(
        self,
        pictures: Pictures,
        domains: str | Sequence[str],
        *,
        model: str | None = None,
        strength: float = 1.0,
        region: Region = "auto",
        size: Size = "original",
        format: Format | None = None,
        quality: int = 90,
        webhook: str | None = None,
        idempotency_key: str | None = None,
        on_progress: Progress | None = None,
    ) -> Job:
        """Many pictures as a job, sent file by file; folders keep their shape.

        It is sent again when the connection breaks, which makes no second job: without an `idempotency_key`, each call
        has one of its own.

        Args:
            webhook: an https address that is told when the job is over.
            on_progress: is told, in another thread, how many pictures and bytes are sent.
        """
        query = calls.query(domains, model, strength, region, size, format, quality, webhook)
        what = pictures if isinstance(pictures, Stored) else await asyncio.to_thread(_form, pictures, on_progress)
        return await self._connection.send(calls.submit(what, query, idempotency_key))

    async def job(self, job_id: str) -> Job:
        """One job, with the first 100 of its failures."""
        return await self._connection.send(calls.job(job_id))

    async def jobs(self, limit: int = 50, before: str | None = None) -> list[Job]:
        """Jobs, the newest first; `before` is the id of the last one that you have seen."""
        return await self._connection.send(calls.jobs(limit, before))

    async def cancel(self, job_id: str) -> Job:
        """Ends a job; what is finished stays, and a job that is over stays as it is."""
        return await self._connection.send(calls.cancel(job_id))

    async def events(self, job_id: str) -> AsyncGenerator[Job, None]:
        """The job whenever there is news of it, until it is over; a connection that breaks is made anew."""
        watch, patience = Watch(), Patience(math.inf)
        while not watch.over:
            call = calls.events(job_id, watch.last_id)
            try:
                async with self._connection.open(call) as response:
                    watch.reconnect()
                    async for piece in response.aiter_bytes():
                        for job in _jobs(watch, piece, response):
                            patience.renew()
                            yield job
                if not watch.over:
                    raise Unreachable("the events ended before the job", sent=True)
            except ClientError as error:
                await asyncio.sleep(patience.pause(call, error))
                # This waits for a service that is gone, and has the news where something in between holds events up.
                for job in watch.see(await self.job(job_id)):
                    yield job

    async def wait(self, job_id: str, on_progress: Callable[[Job], None] | None = None) -> Job:
        """The job when it is over, with the first 100 of its failures; `on_progress` is told all news."""
        async with aclosing(self.events(job_id)) as events:
            async for job in events:
                if on_progress:
                    on_progress(job)
        return await self.job(job_id)

    async def results(self, job_id: str, folder: Path, on_progress: fetch.Progress | None = None) -> Fetched:
        """Fetches the results into a folder as they come, until the job is over.

        A result has its name only when it is whole. Called again with the same folder, this goes on: what is there
        whole is not fetched again. OSError where the folder can't be written.

        `on_progress` is told all news, and how many results lie in the folder.
        """
        shelf = await asyncio.to_thread(Shelf, folder, job_id)
        async with aclosing(self.events(job_id)) as events:
            return await fetch.Fetch(self._connection, shelf, on_progress).follow(events)

    async def models(self) -> list[Model]:
        """The bundles of the service, in rank."""
        return await self._connection.send(calls.models())

    async def domains(self) -> dict[str, tuple[str, ...]]:
        """Every domain that can be asked for, and the bundles that know it as `name@version`."""
        return await self._connection.send(calls.domains())


def _jobs(watch: Watch, piece: bytes, response: httpx.Response) -> list[Job]:
    try:
        return watch.feed(piece)
    except (KeyError, TypeError, ValueError):
        raise foreign(response) from None


def _read(picture: Path) -> bytes:
    try:
        return picture.read_bytes()
    except OSError as error:
        raise InputError(f"{picture} can't be read: {error.strerror}") from None


def _form(pictures: Path | Iterable[Path] | Mapping[str, Path | bytes], on_progress: Progress | None) -> Form:
    return Form(pictures if isinstance(pictures, Mapping) else gather(pictures), on_progress)
