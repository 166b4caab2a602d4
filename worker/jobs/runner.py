"""Runs jobs: `Runner` is the protocol, `Local` runs them in this process; with a broker it is worker.jobs.queued.

Code that accepts or follows a job does not know in which process its pictures are translated.
"""

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from worker.errors import RecastError, UnknownJob
from worker.jobs.board import Board
from worker.jobs.chunks import Chunks
from worker.jobs.layout import End, Job
from worker.logs import set_ids

NEWS_S = 10.0
"""Seconds after which followers of a job look at it without news, in case news got lost."""

JOBS_IN_TURN = 4
"""Jobs that share the work at a time."""

FIRST_PAUSE_S = 1.0
"""Seconds that a job pauses after an error; doubled by each further error without a success between."""

LONGEST_PAUSE_S = 60.0
"""Seconds of a job's longest pause."""

LOOK_S = 30.0
"""Seconds between two looks into storage for open jobs that `wake` was not called for."""

_log = logging.getLogger(__name__)


class Runner(Protocol):
    """Runs the jobs in storage; if it forgets all that it knows, nothing is lost."""

    async def wake(self, job_id: str) -> None:
        """Tells it that a job was accepted or cancelled; harmless when repeated, or for a job that has ended."""

    def news(self, job_id: str) -> AsyncGenerator[None, None]:
        """Yields at once, then whenever something of the job may have changed, and at least every NEWS_S seconds.

        It ends when the runner is closed. Close it earlier as with contextlib.aclosing.
        """

    async def close(self) -> None:
        """Stops at once; chunks under way are done again after the next start."""


class News:
    """Wakes those who follow a job in this process; one event loop may use it."""

    def __init__(self) -> None:
        self._followers: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._closed = False

    def tell(self, job_id: str | None = None) -> None:
        """Wakes the followers of a job; None: of every job."""
        for followed in list(self._followers) if job_id is None else [job_id]:
            for event in self._followers.get(followed, ()):
                event.set()

    async def follow(self, job_id: str) -> AsyncGenerator[None, None]:
        """See Runner.news."""
        event = asyncio.Event()
        self._followers[job_id].add(event)
        try:
            while not self._closed:
                yield
                await wait(event, NEWS_S)
        finally:
            self._followers[job_id].discard(event)
            if not self._followers[job_id]:
                del self._followers[job_id]

    def close(self) -> None:
        """Ends every `follow`."""
        self._closed = True
        self.tell()


class Local(Runner):
    """Runs the open jobs of one storage in this process; one event loop may use it.

    The first JOBS_IN_TURN open jobs take turns, a chunk at a time, so that a short job does not wait for a long one. A
    job whose chunk failed pauses, and the next one gets its turn. Only turns are kept here: storage knows the rest.
    """

    def __init__(
        self, board: Board, chunks: Chunks, *, ended: Callable[[Job, End], Awaitable[None]], at_once: int
    ) -> None:
        """`at_once`: chunks at a time. `ended` is called for each job that has ended, for some more than once."""
        self._board, self._chunks, self._ended, self._at_once = board, chunks, ended, at_once
        self._turns: dict[str, _Turn] = {}
        self._tasks: set[asyncio.Task[None]] = set()  # one for each chunk under way
        self._endings: set[asyncio.Task[None]] = set()
        self._scheduler: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._news = News()
        self._served = 0

    async def start(self) -> None:
        """Begins to run the open jobs, also those that another process was killed over."""
        self._scheduler = asyncio.create_task(self._run())

    async def wake(self, job_id: str) -> None:
        """See Runner; a pausing job goes on at once."""
        turn = self._turns.setdefault(job_id, _Turn(job_id))
        turn.waiting, turn.resumes = None, 0.0  # storage is asked again: the job may be cancelled
        self._tell(job_id)

    def news(self, job_id: str) -> AsyncGenerator[None, None]:
        """See Runner."""
        return self._news.follow(job_id)

    async def close(self) -> None:
        """See Runner; the pipeline and the storage stay open."""
        tasks = [*self._tasks, *self._endings, *([self._scheduler] if self._scheduler else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._news.close()

    async def _run(self) -> None:
        now = asyncio.get_running_loop().time
        look = now()
        while True:
            if look <= now():
                try:
                    for job_id in await self._board.open_jobs():
                        self._turns.setdefault(job_id, _Turn(job_id))
                except Exception as error:
                    report("looking for open jobs failed", error)
                look = now() + LOOK_S
            while len(self._tasks) < self._at_once and (turn := self._next(now())):
                if turn.job is None or turn.waiting is None:
                    await self._open(turn)
                    continue
                self._served += 1
                turn.served, turn.running = self._served, turn.running + 1
                task = asyncio.create_task(self._do(turn, turn.job, turn.waiting.popleft()))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                task.add_done_callback(lambda _: self._changed.set())
            resumes = [turn.resumes for turn in self._turns.values() if turn.resumes > now()]
            await wait(self._changed, min([look, *resumes]) - now())

    def _next(self, now: float) -> "_Turn | None":
        """The turn to take: of the first jobs with something to do, the one that was served longest ago.

        A job that may have ended comes before all others: someone waits for its end, and its place is for the next job.
        """
        able = (turn for turn in self._turns.values() if turn.can_run(now))
        return min(islice(able, JOBS_IN_TURN), key=lambda turn: (turn.waiting is not None, turn.served), default=None)

    async def _open(self, turn: "_Turn") -> None:
        """Reads which chunks a job still needs, and ends the job where it needs none."""
        turn.waiting = waiting = deque[int]()
        try:
            turn.job = job = await self._board.job(turn.job_id)
            end = await self._board.conclude(job)
            if end is None:
                waiting += await self._board.unfinished(job)
        except UnknownJob:
            # Its job.json is not there yet, or the job is being removed: if it comes, `wake` or the next look finds it.
            self._turns.pop(turn.job_id, None)
        except Exception as error:
            report(f"job {turn.job_id} can't be taken up, and is tried again", error)
            turn.waiting = None
            self._pause(turn)
        else:
            if end is not None:
                self._turns.pop(job.id, None)
                self._tell(job.id)
                task = asyncio.create_task(self._conclude(job, end))
                self._endings.add(task)
                task.add_done_callback(self._endings.discard)
            elif not waiting:  # another process has just finished the last chunk
                turn.waiting = None
                self._pause(turn)

    async def _conclude(self, job: Job, end: End) -> None:
        set_ids(job_id=job.id)
        try:
            await self._ended(job, end)
        except Exception as error:
            report(f"telling that job {job.id} has ended failed", error)

    async def _do(self, turn: "_Turn", job: Job, number: int) -> None:
        set_ids(job_id=job.id)
        try:
            await self._chunks.do(job, number)
            turn.pause_s = 0.0
        except Exception as error:
            report(f"chunk {number} of job {job.id} failed, and is tried again", error)
            if isinstance(error, UnknownJob):
                turn.waiting = None
            self._pause(turn)
        finally:
            turn.running -= 1
            if not turn.waiting and not turn.running:
                turn.waiting = None  # storage still lists the chunks that failed: they come after all the others
            self._tell(job.id)

    def _pause(self, turn: "_Turn") -> None:
        turn.pause_s = min(max(FIRST_PAUSE_S, 2 * turn.pause_s), LONGEST_PAUSE_S)
        turn.resumes = asyncio.get_running_loop().time() + turn.pause_s

    def _tell(self, job_id: str) -> None:
        self._changed.set()
        self._news.tell(job_id)


@dataclass
class _Turn:
    """An open job: `waiting` are the chunks to be done, None before storage was asked for them."""

    job_id: str
    job: Job | None = None
    waiting: deque[int] | None = None
    running: int = 0
    served: int = 0
    pause_s: float = 0.0
    resumes: float = 0.0

    def can_run(self, now: float) -> bool:
        """Whether it can use its turn. Storage is read again only when none of its chunks is under way."""
        return self.resumes <= now and (not self.running if self.waiting is None else bool(self.waiting))


async def wait(event: asyncio.Event, seconds: float) -> None:
    """Returns when the event is set, at the latest after `seconds`, and clears it."""
    with suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, seconds)):
            await event.wait()
    event.clear()


def report(what: str, error: Exception) -> None:
    """Logs that something of a job failed and is tried again."""
    # Our own errors say enough; others need their traceback.
    _log.warning("%s: %s", what, error, exc_info=None if isinstance(error, RecastError) else error)
