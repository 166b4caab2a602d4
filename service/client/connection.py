"""Sends calls to one service, and repeats them for a while when the service restarts or the connection breaks."""

import asyncio
import random
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx

from service.client.calls import Call, Form
from service.client.values import ClientError, InputError, Problem, Unreachable, refusal, unreachable_errors

Value = TypeVar("Value")
Trouble = Callable[[ClientError, float], None]
"""Called with an error before the call is repeated, and the seconds until then."""

_UNHEARD = 1 << 16
"""Bytes of a body from which the service may answer and close the connection before it has read them all."""
_FIRST_S = 0.1
_LONGEST_S = 10.0
_BUSY = (429, 503)


class Patience:
    """The pauses between the attempts of one call, which grow until one succeeds."""

    def __init__(self, seconds: float) -> None:
        """`seconds`: how long to try again, from the first of several failures in a row."""
        self._seconds = seconds
        self.renew()

    def renew(self) -> None:
        """Starts again after an attempt that succeeded."""
        self._ends: float | None = None
        self._pause = _FIRST_S

    def pause(self, call: Call[Any], error: ClientError) -> float:
        """Seconds until the next attempt; raises the error if another would be useless, harmful or too late."""
        # A POST that failed inside the service may have done its work; a GET may be repeated after any 5xx.
        if isinstance(error, Problem):
            passing = error.status in _BUSY or (error.status >= 500 and call.method == "GET")
        else:
            passing = isinstance(error, Unreachable) and (call.again or not error.sent)
        if not passing:
            raise error
        now = time.monotonic()
        if self._ends is None:
            self._ends = now + self._seconds
        asked = error.retry_after if isinstance(error, Problem) else None
        # Random, so that many clients of a restarted service do not all come back at one moment.
        pause = max(asked or 0.0, self._pause * random.uniform(0.5, 1.0))
        if now + pause > self._ends:
            raise error
        self._pause = min(2 * self._pause, _LONGEST_S)
        return pause


class Connection:
    """A service's address, and the open connections to it."""

    def __init__(self, url: str, key: str | None, timeout: float, patience: float, on_trouble: Trouble | None) -> None:
        """As AsyncClient."""
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise InputError(f"{url!r} is no address: {error}; write it as in http://127.0.0.1:8000") from None
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise InputError(f"{url!r} is no address; write it as in http://127.0.0.1:8000")
        if not (key or "").isprintable():
            raise InputError("the key has line breaks or control characters, which no key has; was it read correctly?")
        self.url = str(parsed.copy_with(query=None, fragment=None)).rstrip("/")
        self._patience = patience
        self._on_trouble = on_trouble
        self._timeout = timeout
        self._headers = {b"Authorization": f"Bearer {key.strip()}".encode()} if key else {}
        self._http = httpx.AsyncClient(base_url=self.url, headers=self._headers, timeout=timeout)

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def send(self, call: Call[Value]) -> Value:
        """The answer to a call, which is repeated while that may help."""

        async def attempt() -> Value:
            if isinstance(call.body, Form):
                return await self._send_from_thread(call)
            try:
                with unreachable_errors(self.url):
                    response = await self._http.request(**self._request(call))
            except Unreachable as error:
                if not error.sent or len(call.body or b"") < _UNHEARD:
                    raise
                # The service may have refused the picture with an answer that asyncio lost: see below.
                return await self._send_from_thread(call)
            return call.value(response)

        return await self.repeat(call, attempt)

    async def repeat(self, call: Call[Any], attempt: Callable[[], Awaitable[Value]]) -> Value:
        """The result of the first attempt that succeeds; raises the error of the last one."""
        patience = Patience(self._patience)
        while True:
            try:
                return await attempt()
            except ClientError as error:
                pause = patience.pause(call, error)
                if self._on_trouble:
                    self._on_trouble(error, pause)
                await asyncio.sleep(pause)

    @asynccontextmanager
    async def open(self, call: Call[Any]) -> AsyncIterator[httpx.Response]:
        """A response whose body the block reads; errors of the connection in the block become Unreachable."""
        with unreachable_errors(self.url):
            async with self._http.stream(**self._request(call)) as response:
                if not response.is_success:
                    await response.aread()
                    raise refusal(response)
                yield response

    async def _send_from_thread(self, call: Call[Value]) -> Value:
        """The answer through a blocking socket, which also gets an answer that comes before the body was read.

        A service that refuses a body answers and closes the connection in the middle of it. asyncio sees only the
        closed connection, and drops the answer.
        """
        done: Future[Value] = Future()
        done.set_running_or_notify_cancel()  # else a cancelled task would cancel the future before the thread sets it

        def work() -> None:
            try:
                http = httpx.Client(base_url=self.url, headers=self._headers, timeout=self._timeout)
                with http, unreachable_errors(self.url):
                    response = http.request(**self._request(call))
                done.set_result(call.value(response))
            except BaseException as error:
                done.set_exception(error)

        # No thread of the loop's pool: the loop waits for those at its end, and a job may take minutes to be accepted.
        threading.Thread(target=work, name="recast-upload", daemon=True).start()
        try:
            return await asyncio.wrap_future(done)
        except asyncio.CancelledError:
            if isinstance(call.body, Form):
                call.body.stop()
            raise

    def _request(self, call: Call[Any]) -> dict[str, Any]:
        body = call.body.body() if isinstance(call.body, Form) else call.body
        return {
            "method": call.method,
            "url": call.path,
            "params": call.query,
            "headers": call.headers,
            "content": body,
            "timeout": httpx.Timeout(self._timeout, read=call.silence or self._timeout),
        }
