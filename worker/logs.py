"""Log lines as text or JSON, with the request or job that they are about: its task sets the id once."""

import json
import logging
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal

OURS = ("models", "worker", "service", "wiring", "uvicorn")
"""Loggers that log from INFO on; all others log from WARNING on."""

IDS = ("request_id", "job_id")

_about: ContextVar[Mapping[str, str]] = ContextVar("about")


def set_ids(*, request_id: str | None = None, job_id: str | None = None) -> None:
    """Adds these ids to the log lines of this task, from here on, and of the tasks that it starts."""
    named = {"request_id": request_id, "job_id": job_id}
    _about.set({**current_ids(), **{name: value for name, value in named.items() if value}})


def current_ids() -> Mapping[str, str]:
    """The ids that this task has set: `request_id`, `job_id`."""
    return _about.get({})


class JsonLines(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message; request_id, job_id, exception if there are any."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_ids(record),
        }
        if record.exc_info and record.exc_info[0]:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class TextLines(logging.Formatter):
    """Lines for people: time (local), level, logger, message, and the ids at the end."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line, without the traceback."""
        ids = " ".join(f"{name}={value}" for name, value in _ids(record).items())
        return f"{super().formatMessage(record)}{f' [{ids}]' if ids else ''}"


def _ids(record: logging.LogRecord) -> Mapping[str, str]:
    """The task's ids, and those that were given to this line alone as `extra`."""
    own = {name: value for name in IDS if (value := getattr(record, name, None))}
    return {**current_ids(), **own}


def configure(form: Literal["text", "json"]) -> None:
    """Logs everything to standard error in this form, instead of what was configured before."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name in OURS:
        logging.getLogger(name).setLevel(logging.INFO)
