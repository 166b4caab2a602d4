"""Parameters and JSON of the API, beside `worker.wish`; FastAPI makes OpenAPI from these classes."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.bundle.manifest import Picture
from worker.jobs.board import Status
from worker.jobs.layout import State
from worker.wish import Wish

JOB_ID = "^[0-9a-z]{26}$"
"""The pattern of a job's id."""

KEY = "^[!-~]{1,255}$"
"""The pattern of an Idempotency-Key."""


class JobQuery(Wish):
    """The query of POST /jobs: that of POST /translate, for every picture, and a webhook."""

    webhook: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    """An https address that the service calls when the job is over, signed as in Standard Webhooks."""

    @property
    def wish(self) -> Wish:
        """The part of the query that holds for every picture."""
        return Wish(**self.model_dump(exclude={"webhook"}))


class JobsQuery(BaseModel):
    """The query of GET /jobs."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    """Jobs in one answer, at most."""
    before: Annotated[str, Field(pattern=JOB_ID)] | None = None
    """The `next` of the previous answer: only the jobs that come after this one."""
    idempotency_key: Annotated[str, Field(pattern=KEY)] | None = None
    """Only the job of this Idempotency-Key, if there is one; for a client that lost the answer to POST /jobs."""


class JobPicturesQuery(BaseModel):
    """The query of GET /jobs/{id}/pictures."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    after: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """The `next` of the previous answer."""


class JobFolders(BaseModel):
    """The JSON body of POST /jobs: pictures that are in storage already."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    source: Annotated[str, Field(min_length=1, max_length=1000, examples=["photos/2026"])]
    """`ROOT` or `ROOT/FOLDER` whose pictures are translated, with a root of RECAST_ROOTS."""
    destination: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    """`ROOT` or `ROOT/FOLDER` for the results; by default they are kept with the job."""


class Out(BaseModel):
    """The base of every answer."""

    model_config = ConfigDict(use_attribute_docstrings=True, frozen=True)


class DomainInfo(Out):
    """A domain of one bundle."""

    name: str
    """The canonical name."""
    group: str | None
    """Domains of one group exclude each other."""
    aliases: tuple[str, ...]
    """Other names for it."""
    negatable: bool
    """Whether `-name` is allowed."""


class ModelInfo(Out):
    """A bundle."""

    name: str
    """The name, as in `model=name`."""
    version: str
    """The version, as in `model=name@version`."""
    title: str
    """The name for people."""
    family: str
    """The GAN system that it was trained with."""
    task: str
    """What its graphs do: translate, generate, score or classify."""
    domains: tuple[DomainInfo, ...]
    """The domains that it knows."""
    groups: dict[str, tuple[str, ...]]
    """Domains that exclude each other, by the name of their group."""
    picture: Picture
    """Size, channels and values of the pictures that its network takes."""
    licence: str
    """The bundle's licence."""
    metrics: dict[str, float]
    """Figures of its evaluation."""
    samples: tuple[str, ...]
    """Paths of pictures to try it with."""
    size_bytes: int
    """Bytes of all its files."""
    precision: str
    """Arithmetic inside the graphs."""


class RefusedInfo(Out):
    """A folder of the store that is not served."""

    name: str
    """The folder's name."""
    reason: str
    """What is wrong with it."""


class ModelList(Out):
    """Every bundle, in the order of rank."""

    models: tuple[ModelInfo, ...]
    """The bundles that are served."""
    refused: tuple[RefusedInfo, ...]
    """The folders that are refused, and why."""


class KnownDomain(Out):
    """A domain, and the bundles that know it."""

    name: str
    """The canonical name."""
    models: tuple[str, ...]
    """The bundles that know it, as `name@version`, in the order of rank."""


class DomainList(Out):
    """Every domain of all bundles."""

    domains: tuple[KnownDomain, ...]
    """In order of their names."""


class Health(Out):
    """The process answers."""

    status: Literal["alive"] = "alive"
    """Always this."""


class Ready(Out):
    """Pictures can be translated."""

    status: Literal["ready"] = "ready"
    """Always this; otherwise the answer is a problem."""
    models: int
    """The number of bundles."""


class JobFailure(Out):
    """A picture of a job that could not be translated."""

    name: str
    """The name of the picture as the client sent it."""
    code: str
    """The code of the problem that POST /translate would have answered."""
    reason: str
    """What is wrong with it."""


class JobLinks(Out):
    """Paths of a job."""

    self: str
    """State and failures."""
    events: str
    """Progress, as server-sent events."""
    results: str
    """A ZIP of the finished results; `results/NAME` is one of them."""


class JobSummary(Out):
    """A job and its progress."""

    id: str
    """The id, as in /jobs/{id}."""
    state: State
    """`failed`: it is over, and no picture could be translated."""
    created: datetime
    """When the service accepted it."""
    ended: datetime | None
    """When it was over."""
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
    """The domains of the request."""
    model: str | None
    """The bundle as `name@version`; none if several take part."""
    links: JobLinks
    """Paths of the job's other calls."""

    @classmethod
    def of(cls, status: Status, root: str = "") -> "JobSummary":
        """A job at one moment, the same in answers, events and webhooks; `root` is ASGI's root_path."""
        job, path = status.job, f"{root}/jobs/{status.job.id}"
        return JobSummary(
            id=job.id,
            state=status.state,
            created=datetime.fromtimestamp(job.created, UTC),
            ended=None if status.ended_at is None else datetime.fromtimestamp(status.ended_at, UTC),
            pictures=job.pictures,
            done=status.done,
            failed=status.failed,
            position=status.position,
            rate=status.rate,
            seconds_left=status.seconds_left,
            domains=job.wish.domains,
            model=job.wish.model,
            links=JobLinks(self=path, events=f"{path}/events", results=f"{path}/results"),
        )


class JobInfo(JobSummary):
    """A job with its failures."""

    failures: tuple[JobFailure, ...]
    """The first 100 pictures that could not be translated, with the reasons."""


class JobPicture(Out):
    """A finished picture of a job, with its result or its error."""

    name: str
    """The name of the picture as the client sent it."""
    output: str | None
    """The name of its result, below the path of the results; none if it failed."""
    code: str | None
    """The code of the problem that POST /translate would have answered."""
    reason: str | None
    """What is wrong with it."""


class JobPictures(Out):
    """Finished pictures of a job, in the order in which they were sent."""

    pictures: tuple[JobPicture, ...]
    """One page; a finished picture is listed only when all before it are finished."""
    next: int | None
    """The `after` of the next page; none: the job is over, and these were the last."""


class JobList(Out):
    """The jobs that are not over, then those that are, both with the newest first."""

    jobs: tuple[JobSummary, ...]
    """At most `limit`."""
    next: str | None
    """The `before` of the next page; none: these were the last."""
