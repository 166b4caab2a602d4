"""What lies in storage of a job; it is the truth about the job, and a queue or a cache only speeds things up.

    jobs/ID/inputs/UPLOAD/00000           a picture as it was sent, by number
    jobs/ID/inputs/UPLOAD/chunks/00000    which pictures a chunk has: a Chunk
    jobs/ID/job.json                      what is asked: a Job; put last, so that a folder without it is no job
    jobs/ID/begun/00000                   a chunk was begun, perhaps in vain: a Begun
    jobs/ID/outputs/NAME.png              a translated picture
    jobs/ID/chunks/00000-30-2             a chunk is finished, 30 pictures translated and 2 failed: a Finished
    jobs/ID/cancelled                     somebody cancelled it
    jobs/ID/done.json                     it is over: an End
    jobs/ID/webhook.json                  what became of telling that it is over: a Delivery
    uploads/ID-UPLOAD                     an upload is under way, or was left behind; put before its first picture
    open/ID                               the job is not over; put before job.json, so that no job is ever forgotten
    ended/DAY/ID                          the day on which the job was over, for whoever clears up
    hooks/ID                              a webhook is owed; put before done.json, so that none is ever forgotten
    dead/ID                               the webhook was given up; jobs/ID/webhook.json says why

Every object is put under a name that whoever repeats the work would choose again, so doing a thing twice changes
nothing. The counts stand in the names of finished chunks: one listing tells the progress of a job.
"""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from worker.wish import Wish

State = Literal["queued", "running", "done", "failed", "cancelled"]
"""`failed`: it is over, and not one picture could be translated."""

CHUNK = 32
"""Pictures of one chunk: what one worker does, and commits, at a time."""

UPLOADS = "uploads"
"""The folder of the marks of uploads that are no job yet."""

OPEN = "open"
"""The folder of the marks of jobs that are not over."""

ENDED = "ended"
"""The folder of the days on which jobs were over."""

HOOKS = "hooks"
"""The folder of the marks of webhooks that are owed."""

_FINISHED = re.compile(r"(\d+)-(\d+)-(\d+)")


class Record(BaseModel):
    """The base of what is stored as JSON; a newer version's fields are refused, not dropped."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def bytes(self) -> bytes:
        """As it is stored."""
        return self.model_dump_json().encode()


class Job(Record):
    """What is asked, and of how many pictures."""

    id: str
    created: float
    """Seconds since 1970, UTC."""
    wish: Wish
    """What is asked of every picture; `model` is the `name@version` that will do it, None where several take part."""
    pictures: Annotated[int, Field(ge=1)]
    upload: str
    """Which upload's chunks are the job's: of two that race with one Idempotency-Key, only one becomes the job."""
    source: str | None = None
    """`ROOT/FOLDER` that the pictures are read from; None: from the upload."""
    destination: str | None = None
    """`ROOT/FOLDER` that the outputs are written to; None: jobs/ID/outputs."""
    webhook: str | None = None
    """Where to tell that the job is over."""
    fingerprint: str = ""
    """SHA-256 of the whole request: the same Idempotency-Key with another one is a conflict."""
    keyed: bool = False
    """Whether the id was made from an Idempotency-Key."""

    @property
    def chunks(self) -> int:
        """How many chunks it has."""
        return -(-self.pictures // CHUNK)


class Entry(Record):
    """One picture of a chunk."""

    name: str
    """A clean relative path, unique in the job without its suffix; the output has it with its own suffix."""
    path: str
    """Where its bytes lie: in the storage of jobs, or in the root that the job's source names."""


class Chunk(Record):
    """The pictures of a chunk, in order."""

    entries: tuple[Entry, ...]


class Begun(Record):
    """A chunk was begun: by whom it is being done now, or who was killed, or who failed."""

    at: float
    """When its first try was begun, seconds since 1970, UTC."""
    left: bool = False
    """Every try has ended by itself, with an error; otherwise one is under way, or was killed, perhaps by a picture."""


class Outcome(Record):
    """What became of one picture: either an output, or an error."""

    name: str
    """As in its Entry."""
    output: str | None = None
    """The output's own name, as in `jobs/ID/outputs/NAME.png`."""
    code: str | None = None
    """The error's stable code."""
    reason: str | None = None
    """The error in a sentence."""


class Finished(Record):
    """What became of a chunk's pictures, in order."""

    outcomes: tuple[Outcome, ...]

    @property
    def failed(self) -> int:
        """How many have no output."""
        return sum(outcome.output is None for outcome in self.outcomes)


class End(Record):
    """How a job ended."""

    state: Literal["done", "failed", "cancelled"]
    at: float
    """Seconds since 1970, UTC."""
    done: int
    """Pictures translated."""
    failed: int
    """Pictures that could not be."""


class Delivery(Record):
    """How far a job's webhook has come; neither delivered nor dead: there will be another attempt."""

    attempts: int = 0
    """Attempts begun."""
    first_at: float = 0.0
    """When the first one was begun, seconds since 1970, UTC."""
    next_at: float = 0.0
    """Before this no other attempt is begun, seconds since 1970, UTC."""
    status: int | None = None
    """What the receiver answered to the last attempt; None: nothing."""
    reason: str | None = None
    """Why the last attempt failed, in a sentence."""
    delivered_at: float | None = None
    """When the receiver took it."""
    dead_at: float | None = None
    """When it was given up."""

    @property
    def over(self) -> bool:
        """Whether there will be no other attempt."""
        return self.delivered_at is not None or self.dead_at is not None


def job(job_id: str) -> str:
    """Where the Job lies."""
    return f"jobs/{job_id}/job.json"


def folder(job_id: str) -> str:
    """Everything of a job."""
    return f"jobs/{job_id}"


def inputs(job_id: str, upload: str) -> str:
    """Everything of one upload."""
    return f"jobs/{job_id}/inputs/{upload}"


def picture(job_id: str, upload: str, number: int) -> str:
    """Where a picture lies as it was sent."""
    return f"{inputs(job_id, upload)}/{number:05}"


def chunk(job_id: str, upload: str, number: int) -> str:
    """Where a Chunk lies."""
    return f"{inputs(job_id, upload)}/chunks/{number:05}"


def begun_folder(job_id: str) -> str:
    """Where the chunks that were begun are listed."""
    return f"jobs/{job_id}/begun"


def begun(job_id: str, number: int) -> str:
    """Where a Begun lies."""
    return f"{begun_folder(job_id)}/{number:05}"


def outputs(job_id: str) -> str:
    """Where a job's outputs lie, unless it names a destination."""
    return f"jobs/{job_id}/outputs"


def finished_folder(job_id: str) -> str:
    """Where the finished chunks are listed."""
    return f"jobs/{job_id}/chunks"


def finished(job_id: str, number: int, record: Finished) -> str:
    """Where a Finished lies."""
    return f"{finished_folder(job_id)}/{number:05}-{len(record.outcomes) - record.failed}-{record.failed}"


def counts(path: str) -> tuple[int, int, int] | None:
    """Number of the chunk, pictures translated and pictures failed, of the path of a Finished; None for other paths."""
    match = _FINISHED.fullmatch(path.rpartition("/")[2])
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def cancelled(job_id: str) -> str:
    """The mark that a job is cancelled."""
    return f"jobs/{job_id}/cancelled"


def done(job_id: str) -> str:
    """Where the End lies."""
    return f"jobs/{job_id}/done.json"


def open_mark(job_id: str) -> str:
    """The mark that a job is not over."""
    return f"{OPEN}/{job_id}"


def upload_mark(job_id: str, upload: str) -> str:
    """The mark that an upload was begun, and is no job yet."""
    return f"{UPLOADS}/{job_id}-{upload}"


def ended_mark(job_id: str, day: str) -> str:
    """The mark of the day, as 2026-11-21 in UTC, on which a job was over."""
    return f"{ENDED}/{day}/{job_id}"


def webhook(job_id: str) -> str:
    """Where the Delivery lies."""
    return f"jobs/{job_id}/webhook.json"


def hook_mark(job_id: str) -> str:
    """The mark that a webhook is owed."""
    return f"{HOOKS}/{job_id}"


def dead_mark(job_id: str) -> str:
    """The mark that a webhook was given up."""
    return f"dead/{job_id}"
