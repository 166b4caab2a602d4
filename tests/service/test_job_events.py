"""GET /jobs/{id}/events: progress as server-sent events; a client that reconnects gets each once."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
import uvicorn
from sse_starlette.sse import AppStatus
from support.jobs import accepted, ended, following, form
from support.services import Stuck, job_parts, png, settings, started
from support.sockets import WAIT_S, connected

from models.bundle.store import Store
from service.app import create_app
from worker.jobs.runner import Runner
from worker.pipeline import Pipeline
from worker.settings import JobSettings

Start = Callable[..., httpx.Client]

PNG = png({"black", "smiling"})
BLOND = {"domains": "blond"}


def test_progress_is_told_until_the_end(client: httpx.Client) -> None:
    """Counts only grow, each id is the count, and the last event is `end` with the finished job."""
    pictures = [(f"{number}.png", PNG) for number in range(40)]
    job = accepted(client.post("/jobs", params=BLOND, files=form(pictures)))
    with following(client, job["id"]) as events:
        told = list(events)
    assert [event.name for event in told] == ["progress"] * (len(told) - 1) + ["end"]
    counts = [event.data["done"] + event.data["failed"] for event in told]
    assert counts == sorted(counts)
    assert [event.id for event in told] == [str(count) for count in counts]
    assert (told[-1].data["state"], counts[-1]) == ("done", 40)


def test_events_are_the_job_without_its_failures(client: httpx.Client) -> None:
    """The data of an event are what GET /jobs/{id} answers, but for the list that may be long."""
    job = ended(client, client.post("/jobs", params=BLOND, files=form([("a.png", PNG), ("b.png", b"none")])))
    with following(client, job["id"]) as events:
        (end,) = events
    assert (end.name, end.id) == ("end", "2")
    assert {**end.data, "failures": job["failures"]} == job


@pytest.mark.parametrize(("last", "first"), [(None, "running"), ("7", "running"), ("0", "cancelled")])
def test_whoever_reconnects_is_told_what_it_has_missed(serve: Start, last: str | None, first: str) -> None:
    """With the id of the present count the first event waits for news; with none, or another, it comes at once."""
    stuck = Stuck()
    client = serve(settings(), stuck)
    job = accepted(client.post("/jobs", params=BLOND, files=form([("a.png", PNG)])))
    assert stuck.begun.wait(WAIT_S)
    with following(client, job["id"], last) as events:
        told = [] if last == "0" else [next(events)]
        client.delete(f"/jobs/{job['id']}")
        told += events
    assert told[0].data["state"] == first
    assert (told[-1].name, told[-1].data["state"]) == ("end", "cancelled")


def test_the_end_is_told_to_whoever_comes_late(client: httpx.Client) -> None:
    """A client that has the last count still gets `end`, since its connection may have broken before."""
    job = ended(client, client.post("/jobs", params=BLOND, files=form([("a.png", PNG)])))
    with following(client, job["id"], "1") as events:
        assert [event.name for event in events] == ["end"]


def test_a_look_ends_at_once(serve: Start) -> None:
    """HEAD is answered while the job still runs."""
    client = serve(settings(), Stuck())
    job = accepted(client.post("/jobs", params=BLOND, files=form([("a.png", PNG)])))
    answer = client.head(job["links"]["events"])
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")


def test_following_ends_when_the_client_goes(followed: "Followed") -> None:
    """When the client leaves, the service stops following the job."""
    with connected(followed.client) as connection:
        connection.sendall(f"GET /jobs/{followed.job_id}/events HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        assert followed.runner.began.wait(WAIT_S)
        assert not followed.runner.ended.is_set()
    assert followed.runner.ended.wait(WAIT_S)


def test_following_ends_when_the_service_stops(
    followed: "Followed", monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Open streams end by themselves when the server stops."""
    monkeypatch.setattr(AppStatus, "should_exit", False)
    with following(followed.client, followed.job_id) as events:
        next(events)
        followed.server.handle_exit(15, None)
        assert list(events) == []
    assert followed.runner.ended.wait(WAIT_S)
    assert [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []


class Telling(Runner):
    """A runner that begins nothing; `began` and `ended` are set when a client starts and stops following a job."""

    def __init__(self) -> None:
        self.began, self.ended = threading.Event(), threading.Event()

    async def wake(self, job_id: str) -> None:
        """Leaves the job alone."""

    async def news(self, job_id: str) -> AsyncGenerator[None, None]:
        """Gives one piece of news, and then waits for ever."""
        self.began.set()
        try:
            yield
            await asyncio.Event().wait()
        finally:
            self.ended.set()

    async def close(self) -> None:
        """Has nothing to stop."""


@dataclass(frozen=True)
class Followed:
    """A job that stays queued, and the service that has it."""

    client: httpx.Client
    server: uvicorn.Server
    runner: Telling
    job_id: str


@pytest.fixture
def followed(store: Store, tmp_path: Path) -> Iterator[Followed]:
    """A server that waits a minute for open requests when it stops."""
    translator, runner = Stuck(), Telling()
    pipeline = Pipeline(store, translator, settings().limits(), threads=1)
    parts = replace(job_parts(JobSettings(storage=str(tmp_path)), pipeline), runner=runner)
    app = create_app(settings(), pipeline, store, translator, parts)
    with (
        started(app, runner, patience_s=60) as (address, server),
        httpx.Client(base_url=address, trust_env=False) as client,
    ):
        job = accepted(client.post("/jobs", params=BLOND, files=form([("a.png", PNG)])))
        yield Followed(client, server, runner, job["id"])
    pipeline.close()
