"""Jobs over HTTP for tests: sent, followed to their end without polling, and looked into where they are stored."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx


@dataclass(frozen=True)
class Event:
    """A server-sent event."""

    name: str
    id: str
    data: dict[str, Any]


def form(pictures: Iterable[tuple[str, bytes]]) -> list[tuple[str, tuple[str, bytes]]]:
    """Pictures with names as httpx sends them as a form: `files=form(...)`."""
    return [("images", picture) for picture in pictures]


def accepted(answer: httpx.Response) -> dict[str, Any]:
    """The job of a good answer to POST /jobs."""
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    return job


def ended(client: httpx.Client, answer: httpx.Response) -> dict[str, Any]:
    """The job that POST /jobs has answered, once it is over."""
    job = accepted(answer)
    with following(client, job["id"]) as events:
        assert [event.name for event in events][-1] == "end"
    found: dict[str, Any] = client.get(job["links"]["self"]).json()
    return found


@contextmanager
def following(client: httpx.Client, job_id: str, last: str | None = None) -> Iterator[Iterator[Event]]:
    """The job's events as they come; `last`: the id of the last one that came before."""
    headers = {} if last is None else {"Last-Event-ID": last}
    with client.stream("GET", f"/jobs/{job_id}/events", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield _events(answer)


def kept(folder: Path) -> list[str]:
    """Everything that lies in a storage's folder."""
    # Unlike rglob, walk goes on where a folder is removed meanwhile.
    found = (Path(root, name) for root, _, names in os.walk(folder) for name in names)
    return sorted(path.relative_to(folder).as_posix() for path in found)


def _events(answer: httpx.Response) -> Iterator[Event]:
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        name, _, value = line.partition(": ")
        if name:
            fields[name] = value
        elif not line and "event" in fields:
            yield Event(fields["event"], fields["id"], json.loads(fields["data"]))
            fields = {}
