"""The client whose calls block: the async one in a thread of its own, so that it also works where a loop runs."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from service.client.asynchronous import AsyncClient, Pictures
from service.client.connection import Trouble
from service.client.fetch import Progress as Fetching
from service.client.pictures import Progress
from service.client.records import Fetched, Format, Job, Model, Region, Size, Translated

Result = TypeVar("Result")


class Client:
    """A Recast service. Any number of threads may use it at once.

    What is passed as `on_...` is called in a thread of the client; there, its own calls are not to be made.
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

    def translate(
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
        """As AsyncClient.translate."""
        return self._loop.run(
            self._client.translate(
                picture,
                domains,
                model=model,
                strength=strength,
                region=region,
                size=size,
                format=format,
                quality=quality,
            )
        )

    def submit(
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
        """As AsyncClient.submit."""
        return self._loop.run(
            self._client.submit(
                pictures,
                domains,
                model=model,
                strength=strength,
                region=region,
                size=size,
                format=format,
                quality=quality,
                webhook=webhook,
                idempotency_key=idempotency_key,
                on_progress=on_progress,
            )
        )

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
        except BaseException:
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
