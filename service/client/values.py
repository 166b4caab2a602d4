"""The service's answers as Python values and errors; members that a newer service adds are ignored.

ClientError ─┬─ Problem      the service answered with an error
             ├─ Unreachable  no answer came, or the connection broke
             └─ InputError   something can't be sent

The text of each error is one line for people.
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
"""The code of the Problem when another program than a Recast service answers."""

_GATEWAY = (502, 503, 504)
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


class ClientError(Exception):
    """Any of the errors above."""


class InputError(ClientError):
    """A picture is missing, or an address or a key is malformed."""


class Unreachable(ClientError):
    """No answer came; `sent`: whether the service may have received the request."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class Problem(ClientError):
    """An error that the service answers (RFC 9457); programs rely on `code`."""

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
        """What is wrong with this request, and what helps."""
        self.retry_after = retry_after
        """Seconds after which to ask again."""
        self.request_id = request_id
        """The id of the request in the service's log."""
        self.extras = dict(extras or {})
        """More members of the answer, such as `known` and `nearest` of `unknown-domain`."""


@contextmanager
def unreachable_errors(address: str) -> Iterator[None]:
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
"""`failed`: the job is over, and no picture could be translated."""


@dataclass(frozen=True)
class Translated:
    """One translated picture."""

    data: bytes
    """The file."""
    media_type: str
    """Such as `image/png`."""
    model: str
    """The bundle, or bundles, as `name@version`."""
    domains: dict[str, float]
    """The applied value of every label."""
    timings: dict[str, float]
    """Milliseconds by step: `decode`, `queue`, `infer`, `compose`, `encode`."""


@dataclass(frozen=True)
class Failure:
    """A picture of a job that has no result."""

    name: str
    """The name under which it was sent."""
    code: str
    """The code of the Problem that `translate` would have raised."""
    reason: str
    """What is wrong with it."""


@dataclass(frozen=True)
class Job:
    """A job and its progress."""

    id: str
    state: State
    created: datetime
    ended: datetime | None
    pictures: int
    """The number of its pictures."""
    done: int
    """How many are translated."""
    failed: int
    """How many have failed."""
    position: int | None
    """The number of jobs before it, while it is queued."""
    rate: float | None
    """Pictures a second, lately."""
    seconds_left: float | None
    """Seconds until it is over, at this rate."""
    domains: tuple[str, ...]
    model: str | None
    """The bundle as `name@version`; None if several take part."""
    failures: tuple[Failure, ...] = ()
    """The first 100; only `job` and `wait` give them."""

    @property
    def over(self) -> bool:
        """Whether nothing of it will change; a cancelled job is over only when its running chunks have ended."""
        return self.ended is not None


@dataclass(frozen=True)
class Fetched:
    """The outcome of `results`."""

    job: Job
    """The job after it was over."""
    folder: Path
    pictures: int
    """The number of results in the folder."""
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
        """The bundle as `name@version`."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True)
class Page:
    """Some finished pictures of a job, in the order in which they were sent."""

    outputs: tuple[str, ...]
    """Names of results."""
    failures: tuple[Failure, ...]
    next: int | None
    """The start of the next page; None if the job is over and this is the last."""


def job(data: object) -> Job:
    """A job from its JSON; ValueError if that is something else."""
    return _JOB.validate_python(data)


def model(data: Mapping[str, Any]) -> Model:
    """A model from its JSON; KeyError, TypeError or ValueError if that is something else."""
    return _MODEL.validate_python({**data, "domains": [each["name"] for each in data["domains"]]})


def page(data: Mapping[str, Any]) -> Page:
    """A page from its JSON; errors as those of `model`."""
    pictures = data["pictures"]
    outputs = tuple(each["output"] for each in pictures if each["output"] is not None)
    failures = [each for each in pictures if each["output"] is None]
    return Page(outputs, _FAILURES.validate_python(failures), data["next"])


def refusal(response: httpx.Response) -> ClientError:
    """The error of an answer that is no success; its body has been read."""
    members: Any = None
    if response.headers.get("Content-Type", "").startswith("application/problem+json"):
        with suppress(ValueError):
            members = response.json()
    if isinstance(members, dict) and isinstance(members.get("code"), str):
        known = ("type", "title", "status", "detail", "code", "request_id")
        # Retry-After may also be a date, which the service never sends.
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
        # A proxy's answer: the service itself answers with problems.
        message = f"{response.url.host} can't reach the service behind it ({response.status_code})"
        return Unreachable(message, sent=True)
    return foreign(response)


def foreign(response: httpx.Response) -> Problem:
    """The error of an answer that no Recast service gives."""
    kind = response.headers.get("Content-Type", "no content type").partition(";")[0]
    answer = f"it answers {response.status_code} with {kind}"
    if response.has_redirect_location:
        answer = f"it leads to {response.headers['Location'][:200]}"
    detail = f"{response.url.copy_with(query=None)} is no Recast service: {answer}; check the address"
    return Problem(FOREIGN, response.status_code, detail)


_JOB, _MODEL, _FAILURES = TypeAdapter(Job), TypeAdapter(Model), TypeAdapter(tuple[Failure, ...])
