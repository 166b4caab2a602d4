"""Does one chunk of a job: reads its pictures, translates them together, keeps the outputs, then commits the chunk.

The commit is one put, the last: who is killed before it leaves a chunk that is done again, and doing it again gives
the same outputs. Only what fails because of the picture itself becomes its outcome. What may pass by itself is raised,
and the chunk is tried again later; what has not passed for PERSISTENT_S is taken for the picture's own.
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
from worker.imaging.formats import sniff
from worker.jobs import layout, results
from worker.jobs.board import finished_chunks
from worker.jobs.layout import Begun, Chunk, Entry, Finished, Job, Outcome
from worker.jobs.names import bare
from worker.jobs.roots import Roots
from worker.pipeline import Answer, Pipeline, output_format
from worker.storage import Storage, StorageError
from worker.tracing import SILENT, Tracer
from worker.wish import Wish

PATIENCE_S = 600.0
"""Seconds that one picture may take from when it is read, on the slowest CPU."""

PERSISTENT_S = 3600.0
"""Seconds for which an error must have come back to be taken for the picture's."""

LOOK_S = 2.0
"""Seconds between two looks at whether the job is cancelled."""

_PAUSES_S = (0.1, 10.0)  # the shortest and the longest wait for a full queue, whatever it asks for
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
        examine: Examine = decode,
        observe: Callable[[Finished], None] = lambda finished: None,
        tracer: Tracer = SILENT,
    ) -> None:
        """`at_once`: pictures in memory, of all chunks together; `examine` is what a child does with suspects.

        `observe` is told of each chunk that was finished here.
        """
        self._storage, self._roots, self._pipeline, self._examine = storage, roots, pipeline, examine
        self._observe, self._tracer = observe, tracer
        self._slots = asyncio.Semaphore(at_once)

    async def do(self, job: Job, number: int) -> None:
        """Does a chunk and commits it; nothing if it is finished, or the job cancelled.

        A chunk under way stops when its job is cancelled, and what of it is done by then is kept.

        Raises, and is to be called again later: NotReady (also for a domain or model that is not here at the moment),
        Overloaded, TimedOut, StorageError, and what the engine raises. UnknownJob: the job is gone.
        """
        before = await self._begun(job.id, number)
        if await self._over(job.id, number, before):
            return
        chunk = await self._chunk(job, number)
        begun = Begun(at=before.at if before else time.time())
        await self._storage.put(layout.begun(job.id, number), begun.bytes())
        try:
            with self._tracer.span("chunk", {"recast.job_id": job.id, "recast.chunk": number}):
                async with self._work(job, before) as work:
                    outcomes = await self._outcomes(work, chunk.entries)
        except Exception:
            if before is None or before.left:  # else one of its pictures stays suspected of having killed a try
                left = begun.model_copy(update={"left": True})
                await self._storage.put(layout.begun(job.id, number), left.bytes())
            raise
        if len(outcomes) < len(chunk.entries) and await self._storage.has(layout.done(job.id)):
            return  # what is counted in the End of a cancelled job stays true
        finished = Finished(outcomes=tuple(outcomes))
        await self._storage.put(layout.finished(job.id, number, finished), finished.bytes())
        self._observe(finished)

    async def _begun(self, job_id: str, number: int) -> Begun | None:
        found = await self._storage.get(layout.begun(job_id, number))
        return None if found is None else Begun.model_validate_json(found)

    async def _over(self, job_id: str, number: int, before: Begun | None) -> bool:
        if await self._storage.has(layout.cancelled(job_id)):
            return True
        # Only what was begun can be finished: a chunk that is new costs no listing.
        return before is not None and any(
            mark.number == number for mark in await finished_chunks(self._storage, job_id)
        )

    async def _chunk(self, job: Job, number: int) -> Chunk:
        found = await self._storage.get(layout.chunk(job.id, job.upload, number))
        if found is None:
            raise UnknownJob(f"there is no chunk {number} of job {job.id}, or no longer")
        return Chunk.model_validate_json(found)

    @asynccontextmanager
    async def _work(self, job: Job, before: Begun | None) -> AsyncIterator["_Work"]:
        """What the pictures of one try share. NotReady where this process can't do the job."""
        try:
            self._pipeline.plan(job.wish)
            source = self._roots.find(job.source)[0] if job.source else self._storage
            target, before_name = results.target(self._storage, self._roots, job)
        except _NOT_HERE as error:
            raise NotReady(f"job {job.id} can't be done here at the moment: {error}") from error
        killed = before is not None and not before.left
        probe = Probe(self._pipeline.limits, self._examine) if killed else None
        persistent = before is not None and time.time() - before.at > PERSISTENT_S
        # In a destination anything may lie from before; among the job's own outputs only what an earlier try has put.
        resumes = before is not None and not job.destination
        try:
            yield _Work(job.id, job.wish, source, target, before_name, resumes, persistent, probe)
        finally:
            if probe is not None:
                probe.close()

    async def _outcomes(self, work: "_Work", entries: Sequence[Entry]) -> list[Outcome]:
        """What became of the pictures, in order; of those only that were done when the job was cancelled."""
        tasks = [asyncio.ensure_future(self._outcome(work, entry)) for entry in entries]
        cancelled = asyncio.ensure_future(self._cancelled(work.job_id))
        everything = asyncio.gather(*tasks, return_exceptions=True)
        try:
            await asyncio.wait((everything, cancelled), return_when=asyncio.FIRST_COMPLETED)
            stopped = cancelled.done()
        finally:
            for task in (cancelled, *tasks):
                task.cancel()
            await asyncio.gather(cancelled, *tasks, return_exceptions=True)
        if stopped:
            return [task.result() for task in tasks if not task.cancelled() and not task.exception()]
        if any(task.cancelled() for task in tasks):
            raise NotReady("this process is shutting down")
        return [task.result() for task in tasks]

    async def _cancelled(self, job_id: str) -> None:
        """Returns when the job is cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                if await self._storage.has(layout.cancelled(job_id)):
                    return
            except StorageError:
                _log.warning("whether job %s is cancelled is not known: the storage does not answer", job_id)

    async def _outcome(self, work: "_Work", entry: Entry) -> Outcome:
        async with self._slots:
            try:
                return Outcome(name=entry.name, output=await self._output(work, entry))
            except _OWN as error:
                return Outcome(name=entry.name, code=error.code, reason=str(error))
            except _NOT_HERE as error:
                raise NotReady(f"job {work.job_id} can't be done here at the moment: {error}") from error
            except Exception as error:
                if not work.persistent or not _may_be_the_pictures(error):
                    raise
                _log.exception("a picture of job %s is given up", work.job_id)
                reason = str(error) if isinstance(error, RecastError) else "the log of the service says why"
                return Outcome(
                    name=entry.name, code="internal-error", reason=f"it failed for an hour in every try: {reason}"
                )

    async def _output(self, work: "_Work", entry: Entry) -> str:
        """Translates a picture and keeps the output, whose name is returned."""
        data = await _read(work.source, entry.path, self._pipeline.limits.max_bytes)
        if data is None:
            raise UnreadableImage("the picture is no longer where the job found it")
        read = sniff(data)
        if work.resumes and read is not None:
            name = bare(entry.name) + output_format(work.wish, read).extensions[0]
            if await work.target.has(work.before_name + name):
                return name
        if work.probe is not None:
            await work.probe.check(data)
        answer = await self._translated(work, data)
        name = bare(entry.name) + answer.format.extensions[0]
        await work.target.put(work.before_name + name, answer.data)
        return name

    async def _translated(self, work: "_Work", data: bytes) -> Answer:
        """The answer, waited for while others keep the device busy: a job has time."""
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


@dataclass(frozen=True)
class _Work:
    job_id: str
    wish: Wish
    source: Storage
    target: Storage
    before_name: str  # in an output's path
    resumes: bool  # outputs that are there are an earlier try's
    persistent: bool  # errors have had their time to pass
    probe: Probe | None  # an earlier try was killed, perhaps by a picture


def _may_be_the_pictures(error: Exception) -> bool:
    """Whether an error that comes back at every try may be due to the picture, or to where it lies."""
    return not isinstance(error, RecastError) or isinstance(error, (TimedOut, StorageError))


async def _read(storage: Storage, path: str, most: int) -> bytes | None:
    """The object, cut off behind one byte more than `most`: that much tells that it is too long."""
    pieces = await storage.stream(path)
    if pieces is None:
        return None
    data = bytearray()
    async for piece in pieces:
        data += piece
        if len(data) > most:
            break
    return bytes(data[: most + 1])
