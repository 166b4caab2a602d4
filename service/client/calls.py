"""What each call sends and how its answer is read; nothing here touches the network."""

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx

from service.client import records
from service.client.errors import failure, foreign
from service.client.pictures import Form
from service.client.records import Format, Job, Model, Page, Region, Size, Stored, Translated

Answer = TypeVar("Answer")
Query = dict[str, str | list[str]]

_ACCEPTING_S = 300.0
"""A job of many thousand pictures takes its time to be accepted, after the last byte."""
_BETWEEN_EVENTS_S = 35.0
"""The service says something every 10 s."""


@dataclass(frozen=True)
class Call(Generic[Answer]):
    """A request, and how to read the answer."""

    method: str
    path: str
    read: Callable[[httpx.Response], Answer]
    """The answer's value; KeyError, TypeError or ValueError where it is no answer to this call."""
    query: Query = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Form | None = None
    again: bool = True
    """Whether it may be sent again when nobody knows whether the service has begun it."""
    silence: float | None = None
    """Seconds for which the service may say nothing before it is given up; None: as usual."""

    def answer(self, response: httpx.Response) -> Answer:
        """The value of a response whose body has been read; raises what it says went wrong."""
        if not response.is_success:
            raise failure(response)
        try:
            return self.read(response)
        except (KeyError, TypeError, ValueError):
            raise foreign(response) from None


def query(
    domains: str | Sequence[str],
    model: str | None,
    strength: float,
    region: Region,
    size: Size,
    format: Format | None,
    quality: int,
    webhook: str | None = None,
) -> Query:
    """The query of `translate` and `submit`."""
    asked: Query = {
        "domains": domains if isinstance(domains, str) else list(domains),
        "strength": str(strength),
        "region": region,
        "size": size,
        "quality": str(quality),
    }
    chosen = {"model": model, "format": format, "webhook": webhook}
    return asked | {name: value for name, value in chosen.items() if value is not None}


def translate(picture: bytes, query: Query) -> Call[Translated]:
    """One picture; not again once it was sent: it may be what broke the service."""
    headers = {"Content-Type": "application/octet-stream"}
    return Call("POST", "/translate", _translated, query, headers, picture, again=False)


def submit(what: Form | Stored, query: Query, key: str | None) -> Call[Job]:
    """A job; with an Idempotency-Key, so that sending it again gives the same job."""
    headers = {"Idempotency-Key": key or uuid.uuid4().hex}
    if isinstance(what, Form):
        headers |= {"Content-Type": what.content_type, "Content-Length": str(what.length)}
        return Call("POST", "/jobs", _job, query, headers, what, silence=_ACCEPTING_S)
    folders = {"source": what.source, "destination": what.destination}
    body = json.dumps({name: folder for name, folder in folders.items() if folder is not None}).encode()
    headers |= {"Content-Type": "application/json"}
    return Call("POST", "/jobs", _job, query, headers, body, silence=_ACCEPTING_S)


def job(job_id: str) -> Call[Job]:
    """One job, with its failures."""
    return Call("GET", _of(job_id), _job)


def jobs(limit: int, before: str | None) -> Call[list[Job]]:
    """Jobs, the newest first."""
    asked: Query = {"limit": str(limit)}
    return Call("GET", "/jobs", _jobs, asked if before is None else asked | {"before": before})


def cancel(job_id: str) -> Call[Job]:
    """Ends a job; what is finished stays."""
    return Call("DELETE", _of(job_id), _job)


def events(job_id: str, last_id: str | None) -> Call[None]:
    """The stream of a job's progress, after the event of that id."""
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
    if last_id is not None:
        headers["Last-Event-ID"] = last_id
    return Call("GET", f"{_of(job_id)}/events", _nothing, headers=headers, silence=_BETWEEN_EVENTS_S)


def pictures(job_id: str, after: int) -> Call[Page]:
    """What became of a job's pictures, from a place of the list on."""
    return Call("GET", f"{_of(job_id)}/pictures", lambda response: records.page(response.json()), {"after": str(after)})


def result(job_id: str, name: str) -> Call[None]:
    """One result, to be streamed."""
    return Call("GET", f"{_of(job_id)}/results/{quote(name)}", _nothing)


def models() -> Call[list[Model]]:
    """Every bundle that is served, in rank."""
    return Call("GET", "/models", lambda response: [records.model(each) for each in response.json()["models"]])


def domains() -> Call[dict[str, tuple[str, ...]]]:
    """Every domain, and the bundles that know it."""
    return Call("GET", "/domains", _domains)


def _of(job_id: str) -> str:
    return f"/jobs/{quote(job_id, safe='')}"


def _job(response: httpx.Response) -> Job:
    return records.job(response.json())


def _jobs(response: httpx.Response) -> list[Job]:
    return [records.job(each) for each in response.json()["jobs"]]


def _domains(response: httpx.Response) -> dict[str, tuple[str, ...]]:
    return {each["name"]: tuple(each["models"]) for each in response.json()["domains"]}


def _nothing(response: httpx.Response) -> None:
    """The body is read elsewhere, piece by piece."""


def _translated(response: httpx.Response) -> Translated:
    headers = response.headers
    labels = _pairs(headers["Recast-Domains"], "=")
    return Translated(
        response.content,
        headers["Content-Type"],
        headers["Recast-Model"],
        {name: float(value) for name, value in labels},
        {name: float(value) for name, value in _pairs(headers.get("Server-Timing", ""), ";dur=")},
    )


def _pairs(listed: str, sign: str) -> list[tuple[str, str]]:
    """`a=0, b=1` as pairs."""
    parts: list[Any] = [part.strip().rpartition(sign) for part in listed.split(",") if sign in part]
    return [(name, value) for name, _, value in parts]
