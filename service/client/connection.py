"""Sends calls to one service, patiently; knows none of them by name."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx

from service.client.calls import Call
from service.client.errors import ClientError, InputError, Unreachable, connected, failure
from service.client.patience import Patience
from service.client.pictures import Form

Answer = TypeVar("Answer")
Trouble = Callable[[ClientError, float], None]
"""Is told an error that is waited out, and the seconds until the next attempt."""

_UNHEARD = 1 << 16
"""Bytes of a body from which on the service may answer, and close the connection, before it has read them all."""


class Connection:
    """A service's address, and the connections to it that are kept."""

    def __init__(self, url: str, key: str | None, timeout: float, patience: float, on_trouble: Trouble | None) -> None:
        """As AsyncClient."""
        self.url = _address(url)
        self._patience = patience
        self._on_trouble = on_trouble
        self._timeout = timeout
        self._headers = {b"Authorization": _bearer(key)} if key else {}
        self._http = httpx.AsyncClient(base_url=self.url, headers=self._headers, timeout=timeout)

    async def close(self) -> None:
        """Closes what is open."""
        await self._http.aclose()

    async def send(self, call: Call[Answer]) -> Answer:
        """The answer to a call, which is made again where that may help."""
        return await self.patiently(call, lambda: self._once(call))

    async def patiently(self, call: Call[Any], attempt: Callable[[], Awaitable[Answer]]) -> Answer:
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
                    raise failure(response)
                yield response

    async def _once(self, call: Call[Answer]) -> Answer:
        if isinstance(call.body, Form):
            return await self._from_thread(call)
        try:
            with connected(self.url):
                response = await self._http.request(**self._request(call))
        except Unreachable as error:
            if not error.sent or len(call.body or b"") < _UNHEARD:
                raise
            return await self._from_thread(call)
        return call.answer(response)

    async def _from_thread(self, call: Call[Answer]) -> Answer:
        """The answer through a blocking socket, which alone hears what is said before a long body was read.

        A service that refuses a body closes the connection in the middle of it. asyncio takes that for the end of all
        things, and drops the answer that came before.
        """
        try:
            return await asyncio.to_thread(self._blocking, call)
        except asyncio.CancelledError:
            if isinstance(call.body, Form):
                call.body.stop()
            raise

    def _blocking(self, call: Call[Answer]) -> Answer:
        with (
            httpx.Client(base_url=self.url, headers=self._headers, timeout=self._timeout) as http,
            connected(self.url),
        ):
            response = http.request(**self._request(call))
        return call.answer(response)

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


def _address(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise InputError(f"the address {url!r} is none: {error}") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise InputError(f"the address {url!r} is none; write it as in http://127.0.0.1:8000")
    return str(parsed.copy_with(query=None, fragment=None)).rstrip("/")


def _bearer(key: str) -> bytes:
    if not key.isprintable():
        raise InputError("the key has characters that no key has; is it the right file?")
    return f"Bearer {key.strip()}".encode()
