"""A line to a service that breaks where a test says: TCP passed on, until so many bytes have gone one way."""

import asyncio
import threading
from collections import deque
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

ALL = 1 << 62


@dataclass
class Line:
    """What becomes of the connections: one that is broken is reset, as when a process is killed."""

    target: str
    """The service's address; connections to come go there."""
    address: str = ""
    """Where the line begins."""
    breaks: deque[tuple[int, int]] = field(default_factory=deque)
    """For each of the connections to come, bytes up and bytes down after which it breaks; beyond, none breaks."""
    taken: int = 0
    """Connections so far."""
    answered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    """Released for each connection that the first bytes of an answer have come down."""
    refused: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    """Released for each connection that has found nobody at the other end."""
    open: set[asyncio.StreamWriter] = field(default_factory=set)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def cut(self) -> None:
        """Breaks all connections that there are."""

        def reset() -> None:
            for writer in self.open:
                writer.transport.abort()

        self.loop.call_soon_threadsafe(reset)

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Passes one connection on."""
        self.taken += 1
        up, down = self.breaks.popleft() if self.breaks else (ALL, ALL)
        parsed = urlsplit(self.target)
        ends, broken = {writer}, True
        try:
            their_reader, their_writer = await asyncio.open_connection(parsed.hostname, parsed.port)
            ends.add(their_writer)
            self.open |= ends
            answer = _pass(their_reader, writer, down, self.answered)
            broken = await _first(_pass(reader, their_writer, up), answer)
        except ConnectionRefusedError:
            self.refused.release()
        finally:
            self.open -= ends
            for end in ends:
                end.transport.abort() if broken else end.close()
            await asyncio.gather(*(end.wait_closed() for end in ends), return_exceptions=True)


@contextmanager
def line(target: str) -> Iterator[Line]:
    """A line to the service at `target`, until the end of the block."""
    found = Line(target)

    async def serve() -> asyncio.Server:
        server = await asyncio.start_server(found.take, "127.0.0.1", 0)
        found.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return server

    thread = threading.Thread(target=found.loop.run_forever, name="line")
    thread.start()
    server = asyncio.run_coroutine_threadsafe(serve(), found.loop).result()
    try:
        yield found
    finally:
        asyncio.run_coroutine_threadsafe(_close(server), found.loop).result()
        found.loop.call_soon_threadsafe(found.loop.stop)
        thread.join()
        found.loop.close()


async def _first(*ways: Coroutine[None, None, bool]) -> bool:
    """What the one says that ends first; the others are ended."""
    tasks = [asyncio.create_task(way) for way in ways]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return any(task.result() for task in ended)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pass(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most: int, begun: threading.Semaphore | None = None
) -> bool:
    """Returns at the end, or when a byte comes after `most`: whether that is so."""
    with suppress(OSError):
        while piece := await reader.read(1 << 16):
            writer.write(piece[:most])
            await writer.drain()
            if begun:
                begun.release()
                begun = None
            most -= len(piece)
            if most < 0:
                return True
    return False


async def _close(server: asyncio.Server) -> None:
    server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
