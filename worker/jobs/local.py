"""Does jobs in this process; what it remembers is only whose turn it is, and storage tells even that anew.

The first JOBS_IN_TURN open jobs take turns, a chunk at a time, so that a short job need not wait for a long one. A
job whose chunk failed pauses, and its turn goes to the next.
"""

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from worker.errors import RecastError, UnknownJob
from worker.jobs.board import Board
from worker.jobs.chunks import Chunks
from worker.jobs.layout import End, Job
from worker.jobs.runner import NEWS_S, Runner
from worker.logs import bear

JOBS_IN_TURN = 4
"""Jobs that share the work at a time."""

FIRST_PAUSE_S = 1.0
"""How long a job pauses after an error, in seconds; doubled by each that follows without a success."""

LONGEST_PAUSE_S = 60.0
"""The longest pause of a job, in seconds."""

LOOK_S = 30.0
"""Seconds between two looks into storage for open jobs that nobody told of."""

_log = logging.getLogger(__name__)


class Local(Runner):
    """Does the open jobs of one storage; one event loop may use it."""

    def __init__(
        self, board: Board, chunks: Chunks, *, ended: Callable[[Job, End], Awaitable[None]], at_once: int
    ) -> None:
        """`at_once`: chunks at a time. `ended` is told of each job that is over, of some more than once."""
        self._board, self._chunks, self._ended, self._at_once = board, chunks, ended, at_once
        self._turns: dict[str, _Turn] = {}
        self._tasks: set[asyncio.Task[None]] = set()  # one for each chunk under way
        self._told: set[asyncio.Task[None]] = set()
        self._scheduler: asyncio.Task[None] | None = None
        self._stirred = asyncio.Event()
        self._listeners: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._served = 0
        self._closed = False

    async def start(self) -> None:
        """Begins to do what storage knows as open, also what another process was killed over."""
        self._scheduler = asyncio.create_task(self._run())

    async def wake(self, job_id: str) -> None:
        """As Runner says; a pausing job goes on at once."""
        turn = self._turns.setdefault(job_id, _Turn(job_id))
        turn.waiting, turn.resumes = None, 0.0
        self._tell(job_id)

    async def news(self, job_id: str) -> AsyncGenerator[None, None]:
        """As Runner says."""
        stirred = asyncio.Event()
        self._listeners[job_id].add(stirred)
        try:
            while not self._closed:
                yield
                await _happens(stirred, NEWS_S)
        finally:
            self._listeners[job_id].discard(stirred)
            if not self._listeners[job_id]:
                del self._listeners[job_id]

    async def close(self) -> None:
        """As Runner says; the pipeline and the storage stay open."""
        self._closed = True
        tasks = [*self._tasks, *self._told, *([self._scheduler] if self._scheduler else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for job_id in list(self._listeners):
            self._tell(job_id)

    async def _run(self) -> None:
        now = asyncio.get_running_loop().time
        while True:
            try:
                for job_id in await self._board.open_jobs():
                    self._turns.setdefault(job_id, _Turn(job_id))
            except Exception as error:
                _report("looking for open jobs failed", error)
            look = now() + LOOK_S
            while now() < look:
                await self._fill()
                resumes = [turn.resumes for turn in self._turns.values() if turn.resumes > now()]
                await _happens(self._stirred, min([look, *resumes]) - now())

    async def _fill(self) -> None:
        """Begins chunks until as many run as may, or none waits."""
        while len(self._tasks) < self._at_once and (turn := self._next()):
            if turn.job is None or turn.waiting is None:
                await self._open(turn)
                continue
            self._served += 1
            turn.served, turn.running = self._served, turn.running + 1
            task = asyncio.create_task(self._do(turn, turn.job, turn.waiting.popleft()))
            self._tasks.add(task)
            task.add_done_callback(self._free)

    def _next(self) -> "_Turn | None":
        """Whose turn it is: of the first jobs with something to do, the one that was served longest ago.

        Before all others one that may be over: whoever waits for it is to know, and its place is for the next.
        """
        now = asyncio.get_running_loop().time()
        able = (turn for turn in self._turns.values() if turn.able(now))
        return min(islice(able, JOBS_IN_TURN), key=lambda turn: (turn.waiting is not None, turn.served), default=None)

    async def _open(self, turn: "_Turn") -> None:
        """Reads what a job still needs, and ends it where that is nothing."""
        turn.waiting = waiting = deque[int]()
        try:
            turn.job = job = await self._board.job(turn.job_id)
            end = await self._board.conclude(job)
            if end is None:
                waiting += await self._board.unfinished(job)
        except UnknownJob:
            # Its job.json is not there yet, or the job is being removed: if it comes, it is told of, or seen.
            self._turns.pop(turn.job_id, None)
        except Exception as error:
            _report(f"job {turn.job_id} can't be taken up, and is tried again", error)
            turn.waiting = None
            self._pause(turn)
        else:
            if end is not None:
                self._over(job, end)
            elif not waiting:  # somebody else has just finished the last chunk
                turn.waiting = None
                self._pause(turn)

    def _over(self, job: Job, end: End) -> None:
        self._turns.pop(job.id, None)
        self._tell(job.id)
        task = asyncio.create_task(self._call(job, end))
        self._told.add(task)
        task.add_done_callback(self._told.discard)

    async def _call(self, job: Job, end: End) -> None:
        bear(job_id=job.id)
        try:
            await self._ended(job, end)
        except Exception as error:
            _report(f"telling that job {job.id} is over failed", error)

    async def _do(self, turn: "_Turn", job: Job, number: int) -> None:
        bear(job_id=job.id)
        try:
            await self._chunks.do(job, number)
            turn.pause_s = 0.0
        except Exception as error:
            _report(f"chunk {number} of job {job.id} failed, and is tried again", error)
            if isinstance(error, UnknownJob):
                turn.waiting = None
            self._pause(turn)
        finally:
            turn.running -= 1
            if not turn.waiting and not turn.running:
                turn.waiting = None  # what has failed, storage still calls unfinished: it comes after all the others
            self._tell(job.id)

    def _free(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._stirred.set()

    def _pause(self, turn: "_Turn") -> None:
        turn.pause_s = min(max(FIRST_PAUSE_S, 2 * turn.pause_s), LONGEST_PAUSE_S)
        turn.resumes = asyncio.get_running_loop().time() + turn.pause_s

    def _tell(self, job_id: str) -> None:
        self._stirred.set()
        for stirred in self._listeners.get(job_id, ()):
            stirred.set()


@dataclass
class _Turn:
    """An open job: `waiting` are the chunks to be done, None before storage was asked which they are."""

    job_id: str
    job: Job | None = None
    waiting: deque[int] | None = None
    running: int = 0
    served: int = 0
    pause_s: float = 0.0
    resumes: float = 0.0

    def able(self, now: float) -> bool:
        """Whether it can make use of its turn. Storage is asked when none of its chunks is under way."""
        return self.resumes <= now and (not self.running if self.waiting is None else bool(self.waiting))


async def _happens(event: asyncio.Event, seconds: float) -> None:
    """Returns when it has happened, at the latest after `seconds`."""
    with suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, seconds)):
            await event.wait()
    event.clear()


def _report(what: str, error: Exception) -> None:
    # What the project's own errors say is all there is to know; of others the place matters.
    _log.warning("%s: %s", what, error, exc_info=None if isinstance(error, RecastError) else error)
