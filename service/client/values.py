"""What the service answers, as Python values or errors; members that a newer service adds are passed over.

ClientError ─┬─ Problem      the service answered that something is wrong
             ├─ Unreachable  no answer came, or the connection broke
             └─ InputError   something here can't be sent

Each error is one line for people.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import httpx
from pydantic import TypeAdapter

FOREIGN = "not-recast"
"""The code of a Problem where something other than a Recast service answers."""

_GATEWAY = (502, 503, 504)
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


class ClientError(Exception):
    """Any of the errors above."""


class InputError(ClientError):
    """A picture that is not there, or an address or a key that can't be one."""


class Unreachable(ClientError):
    """No answer came; `sent` tells whether the service may have begun what was asked."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class Problem(ClientError):
    """The service's answer that something is wrong (RFC 9457); programs rely on `code`."""

    def __init__(
        self,
        code: str,
        status: int,
        detail: str,
        *,
        retry_after: float | None = None,
        request_id: str | None = None,
        extras: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.status = status
        self.detail = detail
        """What is wrong this time, and what helps."""
        self.retry_after = retry_after
        """Seconds after which to ask again."""
        self.request_id = request_id
        """By which the log of the service knows the request."""
        self.extras = dict(extras or {})
        """Further members of the answer, as `known` and `nearest` of `unknown-domain`."""


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Turns the errors of httpx inside the block into Unreachable."""
    try:
        yield
    except httpx.TimeoutException as error:
        sent = not isinstance(error, _NEVER_SENT)
        raise Unreachable(f"{address} does not answer in time", sent=sent) from error
    except httpx.RequestError as error:
        sent = not isinstance(error, _NEVER_SENT)
        what = "broke the connection" if sent else "can't be reached"
        why = str(error).rstrip(".")
        raise Unreachable(f"{address} {what}{': ' if why else ''}{why}", sent=sent) from error


State = Literal["queued", "running", "done", "failed", "cancelled"]
"""`failed`: it is over, and not one picture could be translated."""


@dataclass(frozen=True)
class Translated:
    """One translated picture."""

    data: bytes
    """The file."""
    media_type: str
    """As `image/png`."""
    model: str
    """The bundle, or bundles, as `name@version`."""
    domains: dict[str, float]
    """What was applied: every label by its name."""
    timings: dict[str, float]
    """Milliseconds by step: `decode`, `queue`, `infer`, `compose`, `encode`."""


@dataclass(frozen=True)
class Failure:
    """A picture of a job that has no result."""

    name: str
    """As it was sent."""
    code: str
    """The code of the Problem that `translate` would have raised."""
    reason: str
    """What is wrong with it."""


@dataclass(frozen=True)
class Job:
    """A job, and how far it is."""

    id: str
    state: State
    created: datetime
    ended: datetime | None
    pictures: int
    """How many it has."""
    done: int
    """Of these, translated."""
    failed: int
    """Of these, failed."""
    position: int | None
    """Jobs that come before it, while it is queued."""
    rate: float | None
    """Pictures a second, lately."""
    seconds_left: float | None
    """Until it is over, at this rate."""
    domains: tuple[str, ...]
    model: str | None
    """The bundle as `name@version`; None where several take part."""
    failures: tuple[Failure, ...] = ()
    """The first 100; only `job` and `wait` give them."""

    @property
    def over(self) -> bool:
        """Whether nothing of it will change; what is under way when a job is cancelled still ends."""
        return self.ended is not None


@dataclass(frozen=True)
class Fetched:
    """What `results` has fetched."""

    job: Job
    """As it was in the end."""
    folder: Path
    pictures: int
    """Results that lie in the folder, whole."""
    failures: tuple[Failure, ...]
    """All pictures without a result, in the order in which they were sent."""


@dataclass(frozen=True)
class Model:
    """A bundle of the service."""

    name: str
    version: str
    title: str
    """The name for people."""
    family: str
    """The GAN system that it was trained with."""
    domains: tuple[str, ...]
    licence: str

    @property
    def ref(self) -> str:
        """As in `model=`."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True)
class Page:
    """What became of some pictures of a job, in the order in which they were sent."""

    outputs: tuple[str, ...]
    """Names of results."""
    failures: tuple[Failure, ...]
    next: int | None
    """Where to go on; None when the job is over and there is nothing more."""


def job(data: object) -> Job:
    """A job of its JSON; ValueError where that is something else."""
    return _JOB.validate_python(data)


def model(data: Mapping[str, Any]) -> Model:
    """A model of its JSON; KeyError, TypeError or ValueError where that is something else."""
    return _MODEL.validate_python({**data, "domains": [each["name"] for each in data["domains"]]})


def page(data: Mapping[str, Any]) -> Page:
    """A page of its JSON; errors as those of `model`."""
    pictures = data["pictures"]
    outputs = tuple(each["output"] for each in pictures if each["output"] is not None)
    failures = [each for each in pictures if each["output"] is None]
    return Page(outputs, _FAILURES.validate_python(failures), data["next"])


def refusal(response: httpx.Response) -> ClientError:
    """The error that an answer without success stands for; its body has been read."""
    members: Any = None
    if response.headers.get("Content-Type", "").startswith("application/problem+json"):
        with suppress(ValueError):
            members = response.json()
    if isinstance(members, dict) and isinstance(members.get("code"), str):
        known = ("type", "title", "status", "detail", "code", "request_id")
        # Retry-After has another form, a date, which the service never sends.
        wait = response.headers.get("Retry-After", "")
        return Problem(
            members["code"],
            response.status_code,
            str(members.get("detail", members["code"])),
            retry_after=float(wait) if wait.isdecimal() else None,
            request_id=members.get("request_id"),
            extras={name: value for name, value in members.items() if name not in known},
        )
    if response.status_code in _GATEWAY:
        # From a proxy in between: the service itself answers with problems.
        message = f"{response.url.host} can't reach the service behind it ({response.status_code})"
        return Unreachable(message, sent=True)
    return foreign(response)


def foreign(response: httpx.Response) -> Problem:
    """The error for an answer that no Recast service gives."""
    kind = response.headers.get("Content-Type", "no content type").partition(";")[0]
    said = f"it answers {response.status_code} with {kind}"
    if response.has_redirect_location:
        said = f"it leads to {response.headers['Location'][:200]}"
    detail = f"{response.url.copy_with(query=None)} is no Recast service: {said}; check the address"
    return Problem(FOREIGN, response.status_code, detail)


_JOB, _MODEL, _FAILURES = TypeAdapter(Job), TypeAdapter(Model), TypeAdapter(tuple[Failure, ...])
