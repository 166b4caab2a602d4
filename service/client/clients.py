"""AsyncClient, and Client, whose blocking calls run an AsyncClient in a thread.

That thread has its own event loop, so Client also works where a loop runs already, as in a notebook.
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
from service.client.calls import Form, Sending, Stored, WishLike, gather
from service.client.connection import Connection, Patience, Trouble
from service.client.fetching import Fetch, Fetching, Shelf
from service.client.values import ClientError, Fetched, InputError, Job, Model, Translated, Unreachable, foreign

Result = TypeVar("Result")
Pictures = Path | Iterable[Path] | Mapping[str, Path | bytes] | Stored
"""Files and folders; or pictures by the names under which they are sent; or a folder in the service's storage."""


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
        """InputError if the address or the key is malformed.

        Args:
            url: such as http://127.0.0.1:8000, or with the path below which the service answers.
            key: one of the service's keys, if it needs one.
            timeout: seconds without a byte after which a connection fails.
            patience: seconds for which the client repeats a call that may succeed later: the service is busy, has not
                started yet, or the connection broke. `translate` is not repeated after it was sent. 0: no call is.
            on_trouble: called with each error before a repetition, and the seconds until then.
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

    async def translate(self, picture: bytes | Path, wish: WishLike) -> Translated:
        """Translates one picture."""
        try:
            data = picture if isinstance(picture, bytes) else await asyncio.to_thread(picture.read_bytes)
        except OSError as error:
            raise InputError(f"{picture!s} can't be read: {error.strerror}") from None
        return await self._connection.send(calls.translate(data, wish))

    async def submit(
        self,
        pictures: Pictures,
        wish: WishLike,
        *,
        webhook: str | None = None,
        idempotency_key: str | None = None,
        on_progress: Sending | None = None,
    ) -> Job:
        """Sends many pictures as a job, file by file; sub-folders are kept.

        When the connection breaks, the client sends them again. That makes no second job, since each call has an
        Idempotency-Key.

        Args:
            pictures: what to send, or where it is.
            wish: what to do with every picture.
            webhook: an https address that the service calls when the job is over.
            idempotency_key: 1 to 255 visible ASCII characters, by which `find` finds the job; None: a random one.
            on_progress: called, in another thread, with the number of sent pictures and of sent bytes.
        """

        def form(given: Path | Iterable[Path] | Mapping[str, Path | bytes]) -> Form:
            return Form(given if isinstance(given, Mapping) else gather(given), on_progress)

        what = pictures if isinstance(pictures, Stored) else await asyncio.to_thread(form, pictures)
        return await self._connection.send(calls.submit(what, wish, webhook, idempotency_key))

    async def find(self, idempotency_key: str) -> Job | None:
        """The job that was submitted with this key; None if the service has accepted none, or not yet."""
        return await self._connection.send(calls.find(idempotency_key))

    async def job(self, job_id: str) -> Job:
        """One job, with the first 100 of its failures."""
        return await self._connection.send(calls.job(job_id))

    async def jobs(self, limit: int = 50, before: str | None = None) -> list[Job]:
        """Jobs that are not over, then those that are, newest first; `before`: the id of the last one so far."""
        return await self._connection.send(calls.jobs(limit, before))

    async def cancel(self, job_id: str) -> Job:
        """Cancels a job. Finished pictures stay, and a job that is over does not change."""
        return await self._connection.send(calls.cancel(job_id))

    async def events(self, job_id: str) -> AsyncGenerator[Job, None]:
        """The job at each change, until it is over; reconnects when the connection breaks."""
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
                # `job` waits until the service is back. If a proxy holds events back, it still gets the news.
                for job in feed.see(await self.job(job_id)):
                    yield job

    async def wait(self, job_id: str, on_progress: Callable[[Job], None] | None = None) -> Job:
        """The job when it is over, with the first 100 of its failures; calls `on_progress` at each change."""
        async with aclosing(self.events(job_id)) as events:
            async for job in events:
                if on_progress:
                    on_progress(job)
        return await self.job(job_id)

    async def results(self, job_id: str, folder: Path, on_progress: Fetching | None = None) -> Fetched:
        """Fetches each result into a folder as soon as it is ready, until the job is over.

        A result gets its name only when it is complete. A later call with the same folder fetches only what is missing.
        OSError if the folder can't be written.

        `on_progress` is called at each change of the job, with the number of results in the folder.
        """
        shelf = await asyncio.to_thread(Shelf, folder, job_id)
        async with aclosing(self.events(job_id)) as events:
            return await Fetch(self._connection, shelf, on_progress).follow(events)

    async def models(self) -> list[Model]:
        """The bundles of the service, in the order of rank."""
        return await self._connection.send(calls.models())

    async def domains(self) -> dict[str, tuple[str, ...]]:
        """Every domain, and the bundles that know it, as `name@version`."""
        return await self._connection.send(calls.domains())


class Client:
    """A Recast service. Any number of threads may use it at once.

    Functions passed as `on_...` run in a thread of the client, and must not call the client.
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

    def translate(self, picture: bytes | Path, wish: WishLike) -> Translated:
        """As AsyncClient.translate."""
        return self._loop.run(self._client.translate(picture, wish))

    def submit(
        self,
        pictures: Pictures,
        wish: WishLike,
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
        """As AsyncClient.events; closing the iterator closes the connection."""
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
    """Reads a job's server-sent events; the bytes may end anywhere, and a new connection goes on after `last_id`."""

    def __init__(self) -> None:
        self.last_id: str | None = None
        self.over = False
        self._last: Job | None = None
        self._rest = b""

    def reconnect(self) -> None:
        """Drops the incomplete event of the last connection; the next bytes are those of a new one."""
        self._rest = b""

    def read(self, piece: bytes) -> list[Job]:
        """The job after each event that these bytes complete; KeyError, TypeError or ValueError if one is no job."""
        # Data are JSON, which escapes carriage returns, so all of them are line ends.
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
        """The job, if anything of it is new."""
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
        """The result of the work; after Ctrl-C it raises only when the work has ended."""
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
        except BaseException:  # Python raises KeyboardInterrupt here, in the main thread, and not in the loop's
            self._loop.call_soon_threadsafe(lambda: tasks[0].cancel())
            ended.wait()
            raise
        return tasks[0].result()

    def close(self) -> None:
        """Ends the thread; no call may be running."""
        self.run(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
