"""Sends calls to one service, patiently: a restarted service or a broken line is waited out, for a while."""

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
from service.client.values import ClientError, InputError, Problem, Unreachable, connected, refusal

Value = TypeVar("Value")
Trouble = Callable[[ClientError, float], None]
"""It is called with an error that is waited out, and the seconds until the next attempt."""

_UNHEARD = 1 << 16
"""Bytes of a body from which on the service may answer, and close the connection, before it has read them all."""
_FIRST_S = 0.1
_LONGEST_S = 10.0
_BUSY = (429, 503)


class Patience:
    """For one call: the pauses between its attempts, which grow until one succeeds."""

    def __init__(self, seconds: float) -> None:
        """`seconds`: how long, from the first failure in a row."""
        self._seconds = seconds
        self.renew()

    def renew(self) -> None:
        """An attempt has succeeded."""
        self._ends: float | None = None
        self._pause = _FIRST_S

    def pause(self, call: Call[Any], error: ClientError) -> float:
        """Seconds until the next attempt; raises the error where another would be useless, harmful, or too late."""
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
        pause = max(asked or 0.0, self._pause * random.uniform(0.5, 1.0))
        if now + pause > self._ends:
            raise error
        self._pause = min(2 * self._pause, _LONGEST_S)
        return pause


class Connection:
    """A service's address, and the connections to it that are kept."""

    def __init__(self, url: str, key: str | None, timeout: float, patience: float, on_trouble: Trouble | None) -> None:
        """As AsyncClient."""
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise InputError(f"{url!r} is no address: {error}") from None
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise InputError(f"{url!r} is no address; write it as in http://127.0.0.1:8000")
        if not (key or "").isprintable():
            raise InputError("the key has characters that no key has; is it the right file?")
        self.url = str(parsed.copy_with(query=None, fragment=None)).rstrip("/")
        self._patience = patience
        self._on_trouble = on_trouble
        self._timeout = timeout
        self._headers = {b"Authorization": f"Bearer {key.strip()}".encode()} if key else {}
        self._http = httpx.AsyncClient(base_url=self.url, headers=self._headers, timeout=timeout)

    async def close(self) -> None:
        """Closes what is open."""
        await self._http.aclose()

    async def send(self, call: Call[Value]) -> Value:
        """The answer to a call, which is made again where that may help."""
        return await self.patiently(call, lambda: self._once(call))

    async def patiently(self, call: Call[Any], attempt: Callable[[], Awaitable[Value]]) -> Value:
        """What an attempt at a call gives in the end; raises its last error when patience does."""
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
        """A response whose body is still to come; errors of the connection in the block become Unreachable."""
        with connected(self.url):
            async with self._http.stream(**self._request(call)) as response:
                if not response.is_success:
                    await response.aread()
                    raise refusal(response)
                yield response

    async def _once(self, call: Call[Value]) -> Value:
        if isinstance(call.body, Form):
            return await self._from_thread(call)
        try:
            with connected(self.url):
                response = await self._http.request(**self._request(call))
        except Unreachable as error:
            if not error.sent or len(call.body or b"") < _UNHEARD:
                raise
            return await self._from_thread(call)
        return call.value(response)

    async def _from_thread(self, call: Call[Value]) -> Value:
        """The answer through a blocking socket: only that gets an answer that comes before a long body was read.

        A service that refuses a body closes the connection in the middle of it. asyncio takes that for the end of the
        connection, and drops the answer that came before.
        """
        done: Future[Value] = Future()
        done.set_running_or_notify_cancel()  # else a cancelled task would cancel it, and the thread could not set it

        def work() -> None:
            try:
                http = httpx.Client(base_url=self.url, headers=self._headers, timeout=self._timeout)
                with http, connected(self.url):
                    response = http.request(**self._request(call))
                done.set_result(call.value(response))
            except BaseException as error:
                done.set_exception(error)

        # Not a thread of the loop's: those are waited for at the end, and the service may take minutes to accept a job.
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
