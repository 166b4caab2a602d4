"""What goes in and out as parameters and JSON, beside `worker.wish`; OpenAPI is made from these classes."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.bundle.manifest import Picture
from worker.jobs.board import Status
from worker.jobs.layout import State
from worker.wish import Wish

JOB_ID = "^[0-9a-z]{26}$"
"""What a job's id looks like."""

KEY = "^[!-~]{1,255}$"
"""What an Idempotency-Key looks like."""


class JobQuery(Wish):
    """The query of POST /jobs: that of POST /translate, for every picture, and a webhook."""

    webhook: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    """An https address that is called, signed as in Standard Webhooks, when the job is over."""

    @property
    def wish(self) -> Wish:
        """What is asked of every picture."""
        return Wish(**self.model_dump(exclude={"webhook"}))


class JobsQuery(BaseModel):
    """The query of GET /jobs."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    """Jobs in one answer, at most."""
    before: Annotated[str, Field(pattern=JOB_ID)] | None = None
    """The `next` of the answer before: only the jobs that come after this one."""
    idempotency_key: Annotated[str, Field(pattern=KEY)] | None = None
    """Only the job that this Idempotency-Key has started, if any; for a client that lost the answer to POST /jobs."""


class JobPicturesQuery(BaseModel):
    """The query of GET /jobs/{id}/pictures."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    after: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """The `next` of the answer before."""


class JobFolders(BaseModel):
    """The JSON body of POST /jobs: pictures that lie in storage already."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    source: Annotated[str, Field(min_length=1, max_length=1000, examples=["photos/2026"])]
    """`ROOT` or `ROOT/FOLDER` whose pictures are translated; the roots are those of RECAST_ROOTS."""
    destination: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    """`ROOT` or `ROOT/FOLDER` that the results are written to; by default they are kept with the job."""


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
    """Other names that are understood."""
    negatable: bool
    """Whether `-name` can be asked for."""


class ModelInfo(Out):
    """A bundle."""

    name: str
    """As in `model=`."""
    version: str
    """As in `model=name@version`."""
    title: str
    """The name for people."""
    family: str
    """The GAN system that it was trained with."""
    task: str
    """What its graphs do."""
    domains: tuple[DomainInfo, ...]
    """What pictures can be translated into."""
    groups: dict[str, tuple[str, ...]]
    """The names that exclude each other, by group."""
    picture: Picture
    """The network's own picture."""
    licence: str
    """The bundle's licence."""
    metrics: dict[str, float]
    """Figures of its evaluation."""
    samples: tuple[str, ...]
    """Paths of pictures to try it with."""
    size_bytes: int
    """Its files, together."""
    precision: str
    """Arithmetic inside the graphs."""


class RefusedInfo(Out):
    """A folder of the store that is not served."""

    name: str
    """The folder's name."""
    reason: str
    """What is wrong with it."""


class ModelList(Out):
    """Every bundle, in the store's rank."""

    models: tuple[ModelInfo, ...]
    """The bundles that are served."""
    refused: tuple[RefusedInfo, ...]
    """The ones that are not, and why."""


class KnownDomain(Out):
    """A domain, and who knows it."""

    name: str
    """The canonical name."""
    models: tuple[str, ...]
    """The bundles that know it as `name@version`, in rank."""


class DomainList(Out):
    """Every domain that can be asked for."""

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
    """How many bundles are served."""


class JobFailure(Out):
    """A picture of a job that could not be translated."""

    name: str
    """As it was sent."""
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
    """A ZIP of what is translated; one picture lies below it under its own name."""


class JobSummary(Out):
    """A job, and how far it is."""

    id: str
    """As in the paths below /jobs."""
    state: State
    """`failed`: it is over, and not one picture could be translated."""
    created: datetime
    """When it was accepted."""
    ended: datetime | None
    """When it was over."""
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
    """What was asked for."""
    model: str | None
    """The bundle as `name@version`; none where several take part."""
    links: JobLinks
    """Where to go from here."""

    @classmethod
    def of(cls, status: Status, root: str = "") -> "JobSummary":
        """A job at one moment; `root` is the path that the service is mounted at, as in ASGI's root_path.

        The same for a person who asks over HTTP, follows the events, or has a webhook called.
        """
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
    """A job whole."""

    failures: tuple[JobFailure, ...]
    """The first 100 pictures that could not be translated, with the reasons."""


class JobPicture(Out):
    """What became of a picture of a job: a result, or a failure."""

    name: str
    """As it was sent."""
    output: str | None
    """The name of its result, below the path of the results."""
    code: str | None
    """The code of the problem that POST /translate would have answered."""
    reason: str | None
    """What is wrong with it."""


class JobPictures(Out):
    """Pictures of a job that are finished, in the order in which they were sent."""

    pictures: tuple[JobPicture, ...]
    """Some of them; where pictures before others are not finished, the others wait."""
    next: int | None
    """The `after` of the next answer; none: the job is over, and these were the last."""


class JobList(Out):
    """The jobs that are not over, then those that are, each the newest first."""

    jobs: tuple[JobSummary, ...]
    """At most `limit`."""
    next: str | None
    """The `before` of the next answer; none: these were the last."""
