"""The client to be awaited, and the one whose calls block, which runs the first in a thread of its own.

The blocking one has an own event loop, so it also works where a loop runs already.
"""

import asyncio
import json
import math
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from service.client import calls, values
from service.client.calls import Asked, Form, Sending, Stored, gather
from service.client.connection import Connection, Patience, Trouble
from service.client.fetching import Fetch, Fetching, Shelf
from service.client.values import ClientError, Fetched, InputError, Job, Model, Translated, Unreachable, foreign

Result = TypeVar("Result")
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
            on_trouble: is called with each error that is waited out, and the seconds until the next attempt.
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

    async def translate(self, picture: bytes | Path, wish: Asked) -> Translated:
        """One picture, translated while you wait."""
        try:
            data = picture if isinstance(picture, bytes) else await asyncio.to_thread(picture.read_bytes)
        except OSError as error:
            raise InputError(f"{picture!s} can't be read: {error.strerror}") from None
        return await self._connection.send(calls.translate(data, wish))

    async def submit(
        self,
        pictures: Pictures,
        wish: Asked,
        *,
        webhook: str | None = None,
        idempotency_key: str | None = None,
        on_progress: Sending | None = None,
    ) -> Job:
        """Many pictures as a job, sent file by file; folders keep their shape.

        It is sent again when the connection breaks, which makes no second job: without an `idempotency_key`, each call
        has one of its own.

        Args:
            pictures: what to send, or where it lies.
            wish: what is asked of every picture.
            webhook: an https address that is called when the job is over.
            idempotency_key: 1 to 255 visible ASCII characters, by which `find` finds the job.
            on_progress: is called, in another thread, with how many pictures and bytes are sent.
        """
        what = pictures if isinstance(pictures, Stored) else await asyncio.to_thread(_form, pictures, on_progress)
        return await self._connection.send(calls.submit(what, wish, webhook, idempotency_key))

    async def find(self, idempotency_key: str) -> Job | None:
        """The job that was submitted with this key; None where none was accepted, or not yet."""
        return await self._connection.send(calls.find(idempotency_key))

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
        feed, patience = Feed(), Patience(math.inf)
        while not feed.over:
            call = calls.events(job_id, feed.last_id)
            try:
                async with self._connection.open(call) as response:
                    feed.reconnect()
                    async for piece in response.aiter_bytes():
                        try:
                            news = feed.read(piece)
                        except (KeyError, TypeError, ValueError):
                            raise foreign(response) from None
                        for job in news:
                            patience.renew()
                            yield job
                if not feed.over:
                    raise Unreachable("the events ended before the job", sent=True)
            except ClientError as error:
                await asyncio.sleep(patience.pause(call, error))
                # This waits for a service that is gone, and has the news where something in between holds events up.
                for job in feed.see(await self.job(job_id)):
                    yield job

    async def wait(self, job_id: str, on_progress: Callable[[Job], None] | None = None) -> Job:
        """The job when it is over, with the first 100 of its failures; `on_progress` is called with all news."""
        async with aclosing(self.events(job_id)) as events:
            async for job in events:
                if on_progress:
                    on_progress(job)
        return await self.job(job_id)

    async def results(self, job_id: str, folder: Path, on_progress: Fetching | None = None) -> Fetched:
        """Fetches the results into a folder as they come, until the job is over.

        A result has its name only when it is whole. Called again with the same folder, this goes on: what is there
        whole is not fetched again. OSError where the folder can't be written.

        `on_progress` is called with all news, and with how many results lie in the folder.
        """
        shelf = await asyncio.to_thread(Shelf, folder, job_id)
        async with aclosing(self.events(job_id)) as events:
            return await Fetch(self._connection, shelf, on_progress).follow(events)

    async def models(self) -> list[Model]:
        """The bundles of the service, in rank."""
        return await self._connection.send(calls.models())

    async def domains(self) -> dict[str, tuple[str, ...]]:
        """Every domain that can be asked for, and the bundles that know it as `name@version`."""
        return await self._connection.send(calls.domains())


class Client:
    """A Recast service. Any number of threads may use it at once.

    What is passed as `on_...` is called in a thread of the client, and must not make calls of the client itself.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout: float = 60.0,
        patience: float = 60.0,
        on_trouble: Trouble | None = None,
    ) -> None:
        """As AsyncClient."""
        self._client = AsyncClient(url, key, timeout=timeout, patience=patience, on_trouble=on_trouble)
        self._loop = _Loop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections, and ends the thread."""
        self._loop.run(self._client.close())
        self._loop.close()

    def translate(self, picture: bytes | Path, wish: Asked) -> Translated:
        """As AsyncClient.translate."""
        return self._loop.run(self._client.translate(picture, wish))

    def submit(
        self,
        pictures: Pictures,
        wish: Asked,
        *,
        webhook: str | None = None,
        idempotency_key: str | None = None,
        on_progress: Sending | None = None,
    ) -> Job:
        """As AsyncClient.submit."""
        return self._loop.run(
            self._client.submit(
                pictures, wish, webhook=webhook, idempotency_key=idempotency_key, on_progress=on_progress
            )
        )

    def find(self, idempotency_key: str) -> Job | None:
        """As AsyncClient.find."""
        return self._loop.run(self._client.find(idempotency_key))

    def job(self, job_id: str) -> Job:
        """As AsyncClient.job."""
        return self._loop.run(self._client.job(job_id))

    def jobs(self, limit: int = 50, before: str | None = None) -> list[Job]:
        """As AsyncClient.jobs."""
        return self._loop.run(self._client.jobs(limit, before))

    def cancel(self, job_id: str) -> Job:
        """As AsyncClient.cancel."""
        return self._loop.run(self._client.cancel(job_id))

    def events(self, job_id: str) -> Iterator[Job]:
        """As AsyncClient.events; the connection is closed when the iterator is."""
        events = self._client.events(job_id)

        async def following() -> Job | None:
            return await anext(events, None)

        try:
            while (job := self._loop.run(following())) is not None:
                yield job
        finally:
            self._loop.run(events.aclose())

    def wait(self, job_id: str, on_progress: Callable[[Job], None] | None = None) -> Job:
        """As AsyncClient.wait."""
        return self._loop.run(self._client.wait(job_id, on_progress))

    def results(self, job_id: str, folder: Path, on_progress: Fetching | None = None) -> Fetched:
        """As AsyncClient.results."""
        return self._loop.run(self._client.results(job_id, folder, on_progress))

    def models(self) -> list[Model]:
        """As AsyncClient.models."""
        return self._loop.run(self._client.models())

    def domains(self) -> dict[str, tuple[str, ...]]:
        """As AsyncClient.domains."""
        return self._loop.run(self._client.domains())


class Feed:
    """A job's server-sent events; the bytes may break off anywhere, and a new connection goes on after `last_id`."""

    def __init__(self) -> None:
        self.last_id: str | None = None
        self.over = False
        self._last: Job | None = None
        self._rest = b""

    def reconnect(self) -> None:
        """The next bytes are those of a new connection; what the last one had begun to say is lost."""
        self._rest = b""

    def read(self, piece: bytes) -> list[Job]:
        """The job after each event that these bytes end; KeyError, TypeError or ValueError if they tell of no job."""
        # Data are JSON, in which carriage returns are escaped, so here they can only end lines.
        *events, self._rest = (self._rest + piece.replace(b"\r", b"")).split(b"\n\n")
        news: list[Job] = []
        for event in events:
            lines = (line.partition(":") for line in event.decode().split("\n"))
            fields = {name: value.strip() for name, _, value in lines}
            if "data" in fields:
                self.last_id = fields.get("id", self.last_id)
                news += self.see(values.job(json.loads(fields["data"])))
        return news

    def see(self, job: Job) -> Iterator[Job]:
        """The job, unless nothing is new."""
        news = replace(job, failures=())
        self.over = news.over
        if news != self._last:
            self._last = news
            yield news


class _Loop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="recast-client", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """What the work gives; where this is interrupted (Ctrl-C), the work has ended before it says so."""
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("a client's call can't be made from its own on_progress or on_trouble; use events()")
        ended = threading.Event()
        tasks: list[asyncio.Task[Result]] = []

        def begin() -> None:
            tasks.append(self._loop.create_task(work))
            tasks[0].add_done_callback(lambda _: ended.set())

        self._loop.call_soon_threadsafe(begin)
        try:
            ended.wait()
        except BaseException:  # Ctrl-C is raised here, in the caller's thread; the loop's knows nothing of it
            self._loop.call_soon_threadsafe(lambda: tasks[0].cancel())
            ended.wait()
            raise
        return tasks[0].result()

    def close(self) -> None:
        """Ends the thread; nothing may be running."""
        self.run(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _form(pictures: Path | Iterable[Path] | Mapping[str, Path | bytes], on_progress: Sending | None) -> Form:
    return Form(pictures if isinstance(pictures, Mapping) else gather(pictures), on_progress)
