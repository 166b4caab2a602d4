"""Decodes suspect pictures in a child process: one of them may have killed the process that decoded it before.

Only a verdict comes back, as text, so that a child that a hostile picture has taken over can't harm its parent. The
child is spawned, not forked: it has neither the parent's memory nor its GPU, and it imports no runtime.
"""

import asyncio
import multiprocessing
import resource
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from worker.errors import RecastError, TooLarge, UnreadableImage, UnsupportedMedia
from worker.imaging.decode import decode
from worker.settings import MIB, Limits

Examine = Callable[[bytes, Limits], object]
"""What the child does with a picture, as `decode`; a module's function, since the child imports it by name."""

PATIENCE_S = 120.0
"""Seconds that one picture may take."""

_START_S = 60.0
_READY = b"ready"
_LONGEST_VERDICT = 10_000
_ROOM = 1024 * MIB  # bytes beside what a picture's pixels take
_ROOM_PER_PIXEL = 64  # bytes; 16-bit and float pictures pass through several arrays of floats
_VERDICTS = {kind.code: kind for kind in (UnreadableImage, TooLarge, UnsupportedMedia)}


class Probe:
    """Decodes pictures one by one in a child, which starts with the first one, and again after one has killed it."""

    def __init__(self, limits: Limits, examine: Examine = decode, *, patience_s: float = PATIENCE_S) -> None:
        self._limits, self._examine, self._patience_s = limits, examine, patience_s
        self._turn = asyncio.Lock()
        self._child: tuple[BaseProcess, Connection] | None = None
        self._closed = False

    async def check(self, data: bytes) -> None:
        """Raises what `decode` raises, and UnreadableImage for a picture that kills the child or takes too long."""
        async with self._turn:
            await asyncio.to_thread(self._check, data)

    def close(self) -> None:
        """Ends the child for good; a check under way fails."""
        self._closed = True
        self._end()

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            process, _ = child  # the pipe stays open for the thread that may be waiting at it
            process.kill()
            process.join()

    def _check(self, data: bytes) -> None:
        self._child = self._child or self._start()
        _, pipe = self._child
        if self._closed:  # close() was called while the child started
            self._end()
        try:
            pipe.send_bytes(data)
            verdict = pipe.recv_bytes(_LONGEST_VERDICT) if pipe.poll(self._patience_s) else None
        except (EOFError, OSError):
            verdict = None
        if self._closed:
            raise RuntimeError("the decoding process was closed")
        if verdict is None:
            self._end()
            raise UnreadableImage("the picture is corrupt in a way that crashes its decoder: save it again")
        code, _, reason = verdict.decode(errors="replace").partition(" ")
        if code:
            raise _VERDICTS.get(code, UnreadableImage)(reason)

    def _start(self) -> tuple[BaseProcess, Connection]:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._examine, self._limits), daemon=True)
        process.start()
        theirs.close()
        # Only a child that is ready can be killed by a picture: if it never gets there, no picture is to blame.
        try:
            begun = ours.poll(_START_S) and ours.recv_bytes() == _READY
        except (EOFError, OSError):
            begun = False
        if not begun:
            process.kill()
            process.join()
            raise RuntimeError("the decoding process did not start")
        return process, ours


def _serve(pipe: Connection, examine: Examine, limits: Limits) -> None:
    """The child's main function; it ends when the parent's end of the pipe closes, also if the parent is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C reaches the child too, but the parent handles it
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would leave the sender's picture on the disk
    sizes = Path("/proc/self/statm")
    if sizes.exists():
        # Counted from what it has now: libraries reserve much address space for threads that never run.
        room = _ROOM + _ROOM_PER_PIXEL * limits.max_pixels
        limit = int(sizes.read_text().split()[0]) * resource.getpagesize() + room
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    with suppress(EOFError, ConnectionError):
        pipe.send_bytes(_READY)
        while True:
            verdict = b""
            try:
                examine(pipe.recv_bytes(), limits)
            except RecastError as error:
                verdict = f"{error.code} {error}".encode()[:_LONGEST_VERDICT]
            pipe.send_bytes(verdict)
