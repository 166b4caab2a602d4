"""Follows a job by its server-sent events; knows the bytes, not the connection, which may break between any two."""

import json
from collections.abc import Iterator
from dataclasses import replace

from service.client import records
from service.client.records import Job


class Watch:
    """What was said so far; a new connection goes on after `last_id`."""

    def __init__(self) -> None:
        self.last_id: str | None = None
        self.over = False
        self._last: Job | None = None
        self._rest = b""

    def reconnect(self) -> None:
        """The next bytes are those of a new connection; what the last one had begun to say is lost."""
        self._rest = b""

    def feed(self, piece: bytes) -> list[Job]:
        """The job after each event that these bytes end; KeyError, TypeError or ValueError if they tell of no job."""
        # What comes is JSON, in which a carriage return is escaped: here they only end lines.
        *events, self._rest = (self._rest + piece.replace(b"\r", b"")).split(b"\n\n")
        return [job for event in events for job in self._event(event.decode())]

    def see(self, job: Job) -> Iterator[Job]:
        """The job, unless nothing is new."""
        news = replace(job, failures=())
        self.over = news.over
        if news != self._last:
            self._last = news
            yield news

    def _event(self, event: str) -> Iterator[Job]:
        fields = {name: value.strip() for name, _, value in (line.partition(":") for line in event.split("\n"))}
        if "data" in fields:
            self.last_id = fields.get("id", self.last_id)
            yield from self.see(records.job(json.loads(fields["data"])))
