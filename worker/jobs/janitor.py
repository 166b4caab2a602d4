"""Removes from storage the jobs that ended long ago, and the remains of uploads that never became a job.

It lists the days that are due and what is open, never all jobs. If it is killed in the middle, it goes on at the next
sweep, because it removes last the mark by which it found something.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from worker.jobs import layout
from worker.jobs.layout import Job
from worker.settings import JobSettings
from worker.storage import Storage, Stored

UPLOAD = timedelta(days=1)
"""How long an upload may take."""

SWEEP_S = 3600.0
"""Seconds between two sweeps."""

_log = logging.getLogger(__name__)


class Janitor:
    """Removes what is due; several of them may share one storage."""

    def __init__(self, storage: Storage, settings: JobSettings, *, clock: Callable[[], float] = time.time) -> None:
        self._storage, self._clock = storage, clock
        self._kept = timedelta(days=settings.job_days)

    async def run(self) -> None:
        """Sweeps every SWEEP_S seconds until it is cancelled; errors are logged."""
        while True:
            try:
                await self.sweep()
            except Exception:
                _log.exception("removing old jobs failed, and is tried again")
            await asyncio.sleep(SWEEP_S)

    async def sweep(self) -> int:
        """Removes what is due, and returns the number of removed jobs. Raises StorageError."""
        now = datetime.fromtimestamp(self._clock(), UTC)
        for mark in await self._older(layout.UPLOADS, now - UPLOAD):
            job_id, _, upload = _name(mark).partition("-")
            found = await self._storage.get(layout.job(job_id))
            if found is None or Job.model_validate_json(found).upload != upload:
                await self._storage.clear(layout.inputs(job_id, upload))
            await self._storage.delete(mark.path)
        for mark in await self._older(layout.OPEN, now - UPLOAD):
            job = layout.job(_name(mark))
            if not await self._storage.has(job):  # the upload ended before its job.json
                await self._storage.delete(mark.path)
                if await self._storage.has(job):  # accepted at that very moment
                    await self._storage.put(mark.path, b"")
        removed = 0
        for day in await self._storage.folders(layout.ENDED):
            if day > (now - self._kept).date().isoformat():
                break  # the days are sorted, and none after this one is due
            for mark in await self._older(f"{layout.ENDED}/{day}", now - self._kept):
                await self._remove(_name(mark))
                await self._storage.delete(mark.path)
                removed += 1
        return removed

    async def _remove(self, job_id: str) -> None:
        """Removes a job, but not what it wrote to a destination, which belongs to the user."""
        folder = layout.folder(job_id)
        found = await self._storage.get(layout.job(job_id))
        inputs = layout.inputs(job_id, Job.model_validate_json(found).upload) if found else None
        for name in await self._storage.folders(folder):
            if inputs is None or not inputs.startswith(f"{folder}/{name}/"):
                await self._storage.clear(f"{folder}/{name}")
        marks = layout.hook_mark(job_id), layout.dead_mark(job_id), layout.open_mark(job_id)
        # Once the Job is gone, the same Idempotency-Key may begin a new one, which must not find this one's End. The
        # inputs come last: no other job has any in this folder, and on a disk the job's empty folder goes with them.
        last = layout.webhook(job_id), layout.cancelled(job_id), layout.done(job_id), layout.job(job_id)
        for path in (*marks, *last):
            await self._storage.delete(path)
        if inputs is not None:
            await self._storage.clear(inputs)

    async def _older(self, folder: str, before: datetime) -> list[Stored]:
        return [stored async for stored in self._storage.list(folder) if stored.put_at < before]


def _name(mark: Stored) -> str:
    return mark.path.rpartition("/")[2]
