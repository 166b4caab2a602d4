"""What storage holds of a job: the truth about it, while a queue or a cache only makes things faster.

    jobs/ID/inputs/UPLOAD/00000           a picture as it was sent, by number
    jobs/ID/inputs/UPLOAD/chunks/00000    which pictures a chunk has: a Chunk
    jobs/ID/job.json                      what is asked: a Job; put last, so a folder without it is no job
    jobs/ID/begun/00000                   a chunk was begun, perhaps without success: a Begun
    jobs/ID/outputs/NAME.png              a translated picture
    jobs/ID/chunks/00000-30-2             a chunk is finished, 30 pictures translated and 2 failed: a Finished
    jobs/ID/cancelled                     the job was cancelled
    jobs/ID/done.json                     the job has ended: an End
    jobs/ID/webhook.json                  how far the webhook has come: a Delivery
    uploads/ID-UPLOAD                     an upload is under way, or was left behind; put before its first picture
    open/ID                               the job has not ended; put before job.json, so that no job is forgotten
    ended/DAY/ID                          the day on which the job ended, for the janitor
    hooks/ID                              a webhook is to be sent; put before done.json, so that none is forgotten
    dead/ID                               the webhook was given up; jobs/ID/webhook.json says why

A process that repeats some work gives its objects the same names, so doing a thing twice changes nothing.
The names of finished chunks contain their counts: one listing gives the progress of a job.

The names of the records' fields are in storages of earlier versions: rename none.
"""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from worker.wish import Wish

State = Literal["queued", "running", "done", "failed", "cancelled"]
"""`failed`: the job has ended, and no picture could be translated."""

CHUNK = 32
"""Pictures of one chunk, which a worker does and commits together."""

UPLOADS = "uploads"
"""The folder of the marks of uploads that are not yet a job."""

OPEN = "open"
"""The folder of the marks of jobs that have not ended."""

ENDED = "ended"
"""The folder of the days on which jobs ended."""

HOOKS = "hooks"
"""The folder of the marks of webhooks that are to be sent."""

_FINISHED = re.compile(r"(\d+)-(\d+)-(\d+)")


class Record(BaseModel):
    """The base of what is stored as JSON; fields of a newer version are refused, not dropped."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def bytes(self) -> bytes:
        """The JSON that is stored."""
        return self.model_dump_json().encode()


class Job(Record):
    """What was requested, and for how many pictures."""

    id: str
    created: float
    """Seconds since 1970, UTC."""
    wish: Wish
    """What is asked of every picture; `model` is the `name@version` that will do it, None if several take part."""
    pictures: Annotated[int, Field(ge=1)]
    upload: str
    """The upload whose chunks are the job's: if two race with one Idempotency-Key, only one becomes the job."""
    source: str | None = None
    """`ROOT/FOLDER` where the pictures are read; None: from the upload."""
    destination: str | None = None
    """`ROOT/FOLDER` where the outputs are written; None: to jobs/ID/outputs."""
    webhook: str | None = None
    """The URL to call when the job has ended."""
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
    """A clean relative path, unique in the job without its extension; the output has its own extension instead."""
    path: str
    """Where its bytes are: in the storage of jobs, or in the root of the job's source."""


class Chunk(Record):
    """The pictures of a chunk, in order."""

    entries: tuple[Entry, ...]


class Begun(Record):
    """A chunk was begun: a process does it now, was killed over it, or failed."""

    at: float
    """When its first try began, seconds since 1970, UTC."""
    left: bool = False
    """Every try has ended with an error; False: one is under way, or its process was killed, perhaps by a picture."""


class Outcome(Record):
    """The result of one picture: an output or an error."""

    name: str
    """As in its Entry."""
    output: str | None = None
    """The output's own name, as in `jobs/ID/outputs/NAME.png`."""
    code: str | None = None
    """The error's stable code."""
    reason: str | None = None
    """The error as a sentence."""


class Finished(Record):
    """The results of a chunk's pictures, in order."""

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
    """Pictures that could not be translated."""


class Delivery(Record):
    """How far a job's webhook has come; until it is delivered or dead there will be another attempt."""

    attempts: int = 0
    """Attempts begun."""
    first_at: float = 0.0
    """When the first one began, seconds since 1970, UTC."""
    next_at: float = 0.0
    """No other attempt begins before this, seconds since 1970, UTC."""
    status: int | None = None
    """The HTTP status of the receiver's answer to the last attempt; None: no answer."""
    reason: str | None = None
    """Why the last attempt failed, as a sentence."""
    delivered_at: float | None = None
    """When the receiver accepted it."""
    dead_at: float | None = None
    """When it was given up."""

    @property
    def over(self) -> bool:
        """Whether there will be no other attempt."""
        return self.delivered_at is not None or self.dead_at is not None


def job(job_id: str) -> str:
    """Path of the Job."""
    return f"jobs/{job_id}/job.json"


def folder(job_id: str) -> str:
    """Folder of everything of a job."""
    return f"jobs/{job_id}"


def inputs(job_id: str, upload: str) -> str:
    """Folder of everything of one upload."""
    return f"jobs/{job_id}/inputs/{upload}"


def picture(job_id: str, upload: str, number: int) -> str:
    """Path of a picture as it was sent."""
    return f"{inputs(job_id, upload)}/{number:05}"


def chunk(job_id: str, upload: str, number: int) -> str:
    """Path of a Chunk."""
    return f"{inputs(job_id, upload)}/chunks/{number:05}"


def begun_folder(job_id: str) -> str:
    """Folder of the marks of chunks that were begun."""
    return f"jobs/{job_id}/begun"


def begun(job_id: str, number: int) -> str:
    """Path of a Begun."""
    return f"{begun_folder(job_id)}/{number:05}"


def outputs(job_id: str) -> str:
    """Folder of a job's outputs, unless it names a destination."""
    return f"jobs/{job_id}/outputs"


def finished_folder(job_id: str) -> str:
    """Folder of the finished chunks."""
    return f"jobs/{job_id}/chunks"


def finished(job_id: str, number: int, record: Finished) -> str:
    """Path of a Finished."""
    return f"{finished_folder(job_id)}/{number:05}-{len(record.outcomes) - record.failed}-{record.failed}"


def counts(path: str) -> tuple[int, int, int] | None:
    """Number, translated and failed pictures of a chunk, from the path of its Finished; None for other paths."""
    match = _FINISHED.fullmatch(path.rpartition("/")[2])
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def cancelled(job_id: str) -> str:
    """The mark that a job is cancelled."""
    return f"jobs/{job_id}/cancelled"


def done(job_id: str) -> str:
    """Path of the End."""
    return f"jobs/{job_id}/done.json"


def open_mark(job_id: str) -> str:
    """The mark that a job has not ended."""
    return f"{OPEN}/{job_id}"


def upload_mark(job_id: str, upload: str) -> str:
    """The mark that an upload was begun, and is not yet a job."""
    return f"{UPLOADS}/{job_id}-{upload}"


def ended_mark(job_id: str, day: str) -> str:
    """The mark of the day, as 2026-11-21 in UTC, on which a job ended."""
    return f"{ENDED}/{day}/{job_id}"


def webhook(job_id: str) -> str:
    """Path of the Delivery."""
    return f"jobs/{job_id}/webhook.json"


def hook_mark(job_id: str) -> str:
    """The mark that a webhook is to be sent."""
    return f"{HOOKS}/{job_id}"


def dead_mark(job_id: str) -> str:
    """The mark that a webhook was given up."""
    return f"dead/{job_id}"
