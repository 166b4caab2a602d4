"""What the service tells, as Python values; members that a newer service adds are passed over."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

State = Literal["queued", "running", "done", "failed", "cancelled"]
"""`failed`: it is over, and not one picture could be translated."""

Region = Literal["auto", "whole", "face"]
Size = Literal["original", "model"]
Format = Literal["jpeg", "png", "webp", "avif"]


@dataclass(frozen=True)
class Stored:
    """Pictures that lie in the service's own storage, in place of pictures to send."""

    source: str
    """`ROOT` or `ROOT/FOLDER`; the roots are the service's settings."""
    destination: str | None = None
    """`ROOT` or `ROOT/FOLDER` that the results are written to; None: they are kept with the job."""


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
    """What was really applied, every label by its name."""
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
    """Of these, not to be translated."""
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
    """What `results` has brought."""

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


def job(data: Mapping[str, Any]) -> Job:
    """A job of its JSON; KeyError, TypeError or ValueError where that is something else."""
    return Job(
        id=data["id"],
        state=data["state"],
        created=datetime.fromisoformat(data["created"]),
        ended=None if data["ended"] is None else datetime.fromisoformat(data["ended"]),
        pictures=data["pictures"],
        done=data["done"],
        failed=data["failed"],
        position=data["position"],
        rate=data["rate"],
        seconds_left=data["seconds_left"],
        domains=tuple(data["domains"]),
        model=data["model"],
        failures=tuple(failure(each) for each in data.get("failures", ())),
    )


def failure(data: Mapping[str, Any]) -> Failure:
    """A failure of its JSON; errors as those of `job`."""
    return Failure(data["name"], data["code"], data["reason"])


def model(data: Mapping[str, Any]) -> Model:
    """A model of its JSON; errors as those of `job`."""
    domains = tuple(each["name"] for each in data["domains"])
    return Model(data["name"], data["version"], data["title"], data["family"], domains, data["licence"])


def page(data: Mapping[str, Any]) -> Page:
    """A page of its JSON; errors as those of `job`."""
    pictures = data["pictures"]
    outputs = tuple(each["output"] for each in pictures if each["output"] is not None)
    return Page(outputs, tuple(failure(each) for each in pictures if each["output"] is None), data["next"])
