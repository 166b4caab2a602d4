"""Does one chunk of a job: reads its pictures, translates them together, stores the outputs, then commits the chunk.

The commit is one put, the last one: a chunk whose process is killed before it is done again, with the same outputs.
Only an error of the picture itself becomes its outcome. An error that may go away is raised, and the chunk is tried
again later; one that has not gone away for PERSISTENT_S counts as the picture's own. A bundle, domain or folder that
is not here is no error of a picture: the job waits for it, but not longer than `patience_days`.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from worker.errors import (
    InvalidDomains,
    InvalidParameter,
    NoFace,
    NotReady,
    Overloaded,
    RecastError,
    TimedOut,
    TooLarge,
    UnknownDomain,
    UnknownJob,
    UnknownModelError,
    UnreadableImage,
    UnsupportedMedia,
)
from worker.imaging.careful import Examine, Probe
from worker.imaging.decode import decode
from worker.imaging.formats import sniff, stem
from worker.jobs import layout, results
from worker.jobs.board import finished_chunks
from worker.jobs.layout import Begun, Chunk, Entry, Finished, Job, Outcome
from worker.jobs.roots import Roots
from worker.pipeline import Answer, Pipeline, output_format
from worker.storage import Storage, StorageError
from worker.tracing import SILENT, Tracer
from worker.wish import Wish

PATIENCE_S = 600.0
"""Seconds that one picture may take once it is read, on the slowest CPU."""

PERSISTENT_S = 3600.0
"""Seconds for which an error must have come back to count as the picture's own."""

LOOK_S = 2.0
"""Seconds between two checks whether the job is cancelled."""

_PAUSES_S = (0.1, 10.0)  # the shortest and the longest wait for a full queue, whatever retry_after says
_OWN = (UnreadableImage, TooLarge, UnsupportedMedia, NoFace, InvalidParameter)
_NOT_HERE = (UnknownDomain, UnknownModelError, InvalidDomains, InvalidParameter)
_log = logging.getLogger(__name__)


class Chunks:
    """Does chunks, several at a time; one event loop may use it."""

    def __init__(
        self,
        storage: Storage,
        roots: Roots,
        pipeline: Pipeline,
        *,
        at_once: int,
        patience_days: float = 7.0,
        examine: Examine = decode,
        observe: Callable[[Finished], None] = lambda finished: None,
        tracer: Tracer = SILENT,
    ) -> None:
        """`at_once`: pictures in memory, of all chunks together; `examine` is what a child does with suspects.

        After `patience_days` a chunk is given up whose bundle, domain, format or folder has not come back.
        `observe` is called with each chunk that was finished here.
        """
        self._storage, self._roots, self._pipeline, self._examine = storage, roots, pipeline, examine
        self._observe, self._tracer = observe, tracer
        self._slots, self._patience_days = asyncio.Semaphore(at_once), patience_days

    async def do(self, job: Job, number: int) -> None:
        """Does a chunk and commits it; does nothing if the chunk is finished or the job cancelled.

        A chunk under way stops when its job is cancelled, and keeps the outputs that it has made.

        Call it again later after NotReady (also for a domain or model that is not here at the moment), Overloaded,
        TimedOut, StorageError, and what the engine raises. UnknownJob: the job is gone.
        """
        if await self._storage.has(layout.cancelled(job.id)):
            return
        found = await self._storage.get(layout.begun(job.id, number))
        before = None if found is None else Begun.model_validate_json(found)
        # Only a chunk that was begun can be finished: a new one costs no listing.
        if before and any(mark.number == number for mark in await finished_chunks(self._storage, job.id)):
            return
        found = await self._storage.get(layout.chunk(job.id, job.upload, number))
        if found is None:
            raise UnknownJob(f"there is no chunk {number} of job {job.id}, or it was removed")
        chunk = Chunk.model_validate_json(found)
        # Before any picture is decoded: if one kills this process, the next try knows and is careful.
        begun = Begun(at=before.at if before else time.time())
        await self._storage.put(layout.begun(job.id, number), begun.bytes())
        try:
            with self._tracer.span("chunk", {"recast.job_id": job.id, "recast.chunk": number}):
                async with self._work(job, before) as work:
                    outcomes = await self._outcomes(work, chunk.entries)
        except Exception as error:
            given_up = isinstance(error, _NotHere) and time.time() - begun.at > self._patience_days * 86_400
            if not given_up:
                if before is None or before.left:  # else its pictures stay suspects: one may have killed a try
                    left = begun.model_copy(update={"left": True})
                    await self._storage.put(layout.begun(job.id, number), left.bytes())
                raise
            reason = f"given up after {self._patience_days:g} days: {error}"
            outcomes = [Outcome(name=entry.name, code=_NotHere.code, reason=reason) for entry in chunk.entries]
        if len(outcomes) < len(chunk.entries) and await self._storage.has(layout.done(job.id)):
            return  # the counts in the End of a cancelled job must stay true
        finished = Finished(outcomes=tuple(outcomes))
        await self._storage.put(layout.finished(job.id, number, finished), finished.bytes())
        self._observe(finished)

    @asynccontextmanager
    async def _work(self, job: Job, before: Begun | None) -> AsyncIterator["_Work"]:
        """What the pictures of one try share. NotReady if this process can't do the job."""
        try:
            self._pipeline.plan(job.wish)
            source = self._roots.find(job.source)[0] if job.source else self._storage
            target, before_name = results.target(self._storage, self._roots, job)
        except _NOT_HERE as error:
            raise _NotHere(f"job {job.id} can't be done here at the moment: {error}") from error
        killed = before is not None and not before.left
        probe = Probe(self._pipeline.limits, self._examine) if killed else None
        persistent = before is not None and time.time() - before.at > PERSISTENT_S
        # A destination may hold files of any origin; the job's own outputs are all from earlier tries.
        resumes = before is not None and not job.destination
        try:
            yield _Work(job.id, job.wish, source, target, before_name, resumes, persistent, probe)
        finally:
            if probe is not None:
                probe.close()

    async def _outcomes(self, work: "_Work", entries: Sequence[Entry]) -> list[Outcome]:
        """The outcomes of the pictures, in order; if the job was cancelled, only of those that are done.

        The first error of a picture stops the others, since the chunk is tried again in any case.
        """
        pictures = [asyncio.create_task(self._outcome(work, entry)) for entry in entries]
        watching = asyncio.create_task(self._wait_for_cancel(work.job_id))
        everything = asyncio.gather(*pictures)
        try:
            await asyncio.wait((everything, watching), return_when=asyncio.FIRST_COMPLETED)
            stopped = watching.done()
        finally:
            for task in (watching, *pictures):
                task.cancel()
            await asyncio.gather(everything, watching, *pictures, return_exceptions=True)
        if stopped:
            watching.result()  # raises what stopped the watch: then the job may well go on
            return [task.result() for task in pictures if not task.cancelled() and not task.exception()]
        try:
            return everything.result()
        except asyncio.CancelledError:  # the chunk was not cancelled: the pool of threads dropped its waiting work
            raise NotReady("this process is shutting down") from None

    async def _wait_for_cancel(self, job_id: str) -> None:
        """Returns when the job is cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                if await self._storage.has(layout.cancelled(job_id)):
                    return
            except StorageError:
                _log.warning("can't check whether job %s is cancelled: the storage does not answer", job_id)

    async def _outcome(self, work: "_Work", entry: Entry) -> Outcome:
        async with self._slots:
            try:
                return Outcome(name=entry.name, output=await self._output(work, entry))
            except _OWN as error:
                return Outcome(name=entry.name, code=error.code, reason=str(error))
            except _NOT_HERE as error:
                raise _NotHere(f"job {work.job_id} can't be done here at the moment: {error}") from error
            except Exception as error:
                # Of our own errors only these may come from the picture or from its storage.
                possible = not isinstance(error, RecastError) or isinstance(error, (TimedOut, StorageError))
                if not work.persistent or not possible:
                    raise
                _log.exception("a picture of job %s is given up", work.job_id)
                reason = str(error) if isinstance(error, RecastError) else "the log of the service says why"
                return Outcome(
                    name=entry.name, code="internal-error", reason=f"it failed for an hour in every try: {reason}"
                )

    async def _output(self, work: "_Work", entry: Entry) -> str:
        """Translates a picture, stores the output and returns its name."""
        data = await _read(work.source, entry.path, self._pipeline.limits.max_bytes)
        if data is None:
            raise UnreadableImage("the picture is no longer where the job found it")
        read = sniff(data)
        if work.resumes and read is not None:
            name = stem(entry.name) + output_format(work.wish, read).extensions[0]
            if await work.target.has(work.before_name + name):
                return name
        if work.probe is not None:
            await work.probe.check(data)
        answer = await self._translate(work, data)
        name = stem(entry.name) + answer.format.extensions[0]
        await work.target.put(work.before_name + name, answer.data)
        return name

    async def _translate(self, work: "_Work", data: bytes) -> Answer:
        """Translates a picture; waits while the queue is full, since a job has time."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                with self._tracer.span("picture"):
                    return await self._pipeline.translate(data, work.wish, deadline=deadline)
            except Overloaded as error:
                pause = min(max(error.retry_after or 0.0, _PAUSES_S[0]), _PAUSES_S[1])
                if time.monotonic() + pause >= deadline:
                    raise
                await asyncio.sleep(pause)


class _NotHere(NotReady):
    """The bundle, a domain, the format or a folder of a job is not here; it may come back."""


@dataclass(frozen=True)
class _Work:
    job_id: str
    wish: Wish
    source: Storage
    target: Storage
    before_name: str  # in an output's path
    resumes: bool  # outputs that exist are an earlier try's
    persistent: bool  # errors have had their time to pass
    probe: Probe | None  # an earlier try was killed, perhaps by a picture


async def _read(storage: Storage, path: str, most: int) -> bytes | None:
    """The object, cut at `most` + 1 bytes, which is enough to tell that it is too long; None where there is none."""
    pieces = await storage.stream(path)
    if pieces is None:
        return None
    data = bytearray()
    async for piece in pieces:
        data += piece
        if len(data) > most:
            break
    return bytes(data[: most + 1])
