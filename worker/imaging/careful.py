"""Decoding in a process of its own, for pictures of which one may have killed the process that decoded it.

Only the verdict comes back, as text: what a hostile picture makes of the child must not reach its parent. The child
is spawned, not forked, so it holds neither the parent's memory nor its GPU; it imports no runtime.
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
"""What the child does with a picture, as `decode`; a function of a module, since the child imports it."""

PATIENCE_S = 120.0
"""Seconds that one picture may take."""

_START_S = 60.0
_READY = b"ready"
_LONGEST_VERDICT = 10_000
_ROOM = 1024 * MIB  # bytes beside what a picture's pixels take
_ROOM_PER_PIXEL = 64  # bytes; 16-bit and float pictures pass through several arrays of floats
_VERDICTS = {kind.code: kind for kind in (UnreadableImage, TooLarge, UnsupportedMedia)}


class Probe:
    """Decodes pictures one after another in one child, started with the first, and anew after one that killed it."""

    def __init__(self, limits: Limits, examine: Examine = decode, *, patience_s: float = PATIENCE_S) -> None:
        self._limits, self._examine, self._patience_s = limits, examine, patience_s
        self._turn = asyncio.Lock()
        self._child: tuple[BaseProcess, Connection] | None = None
        self._closed = False

    async def check(self, data: bytes) -> None:
        """Raises what `decode` raises, and UnreadableImage for a picture that kills the child or holds it up."""
        async with self._turn:
            await asyncio.to_thread(self._check, data)

    def close(self) -> None:
        """Ends the child for good; a check that is under way fails."""
        self._closed = True
        self._end()

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            process, _ = child  # the pipe is left to the thread that may be waiting at it
            process.kill()
            process.join()

    def _check(self, data: bytes) -> None:
        self._child = self._child or self._start()
        _, pipe = self._child
        if self._closed:
            self._end()
        try:
            pipe.send_bytes(data)
            verdict = pipe.recv_bytes(_LONGEST_VERDICT) if pipe.poll(self._patience_s) else None
        except (EOFError, OSError):
            verdict = None
        if self._closed:
            raise RuntimeError("the process that pictures are decoded in was ended")
        if verdict is None:
            self._end()
            raise UnreadableImage("the picture is corrupt in a way that stops its decoder: save it anew")
        code, _, reason = verdict.decode(errors="replace").partition(" ")
        if code:
            raise _VERDICTS.get(code, UnreadableImage)(reason)

    def _start(self) -> tuple[BaseProcess, Connection]:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._examine, self._limits), daemon=True)
        process.start()
        theirs.close()
        # Only a child that has come so far can be killed by a picture; one that never does is nothing of the picture's.
        try:
            begun = ours.poll(_START_S) and ours.recv_bytes() == _READY
        except (EOFError, OSError):
            begun = False
        if not begun:
            process.kill()
            process.join()
            raise RuntimeError("the process that pictures are decoded in did not start")
        return process, ours


def _serve(pipe: Connection, examine: Examine, limits: Limits) -> None:
    """The child's whole life; it ends when the parent's end of the pipe closes, also where the parent is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C reaches it too, and is the parent's business
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _bound_memory(_ROOM + _ROOM_PER_PIXEL * limits.max_pixels)
    with suppress(EOFError, ConnectionError):
        pipe.send_bytes(_READY)
        while True:
            pipe.send_bytes(_verdict(pipe.recv_bytes(), examine, limits))


def _verdict(data: bytes, examine: Examine, limits: Limits) -> bytes:
    try:
        examine(data, limits)
    except RecastError as error:
        return f"{error.code} {error}".encode()[:_LONGEST_VERDICT]
    return b""


def _bound_memory(room: int) -> None:
    """Lets the process take `room` bytes more than it has; libraries reserve much for threads that never run."""
    sizes = Path("/proc/self/statm")
    if sizes.exists():
        limit = int(sizes.read_text().split()[0]) * resource.getpagesize() + room
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
