"""What is told of a job, the same to whoever asks over HTTP, follows its events, or is called by its webhook."""

from datetime import UTC, datetime
from typing import Any

from worker.jobs.board import Status


def told(status: Status, root: str = "") -> dict[str, Any]:
    """A job at one moment; `root` is the path that the service is mounted at, as in ASGI's root_path."""
    job = status.job
    path = f"{root}/jobs/{job.id}"
    return {
        "id": job.id,
        "state": status.state,
        "created": _moment(job.created),
        "ended": None if status.ended_at is None else _moment(status.ended_at),
        "pictures": job.pictures,
        "done": status.done,
        "failed": status.failed,
        "position": status.position,
        "rate": status.rate,
        "seconds_left": status.seconds_left,
        "domains": job.wish.domains,
        "model": job.wish.model,
        "links": {"self": path, "events": f"{path}/events", "results": f"{path}/results"},
    }


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
