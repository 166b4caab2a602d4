"""A client that asks for the same picture at a steady pace, and records how each request ended."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import httpx

PICTURE = "200"
CUT = "no service"
"""The connection was refused or cut off."""

HUNG = "hung"
_ALLOWED = (PICTURE, "503", "504")
_PATIENCE_S = 10.0  # a request that takes this much longer than its deadline hangs


@dataclass(frozen=True)
class Request:
    """One request that has ended; times in seconds since 1970."""

    begun: float
    ended: float
    outcome: str
    """A status, CUT, HUNG, or a description of an answer that must not happen."""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.begun


class Client:
    """Asks a service to translate always the same picture, so all answers must be equal."""

    def __init__(self, address: str, domain: str, picture: bytes, *, deadline_s: float) -> None:
        self._address, self._domain, self._picture, self._deadline_s = address, domain, picture, deadline_s
        self._answer: bytes | None = None
        self.requests: list[Request] = []

    @asynccontextmanager
    async def requesting(self, every_s: float) -> AsyncIterator[None]:
        """Sends a request every so many seconds during the block, and waits for the last ones at its end."""
        pending: set[asyncio.Task[None]] = set()

        async def send_all(client: httpx.AsyncClient) -> None:
            while True:
                pending.add(asyncio.create_task(self._send(client)))
                await asyncio.sleep(every_s)

        # A connection for each request, so that none depends on the connection of the one before.
        limits = httpx.Limits(max_keepalive_connections=0, max_connections=None)
        timeout = self._deadline_s + _PATIENCE_S
        async with httpx.AsyncClient(base_url=self._address, limits=limits, timeout=timeout) as client:
            sending = asyncio.create_task(send_all(client))
            try:
                yield
            finally:
                sending.cancel()
                with suppress(asyncio.CancelledError):
                    await sending
                await asyncio.gather(*pending)

    def counts(self) -> Counter[str]:
        """The number of requests by outcome."""
        return Counter(request.outcome for request in self.requests)

    def problems(self, kills: Sequence[float], slack_s: float) -> list[str]:
        """What went wrong, a sentence each.

        `kills` are the times at which the service was killed; a request may take `slack_s` longer than its deadline.
        """
        found = []
        for request in self.requests:
            if request.outcome == CUT:
                killed_at = max((kill for kill in kills if kill <= request.ended), default=None)
                # An answer between the kill and this request shows that the service was already back.
                if killed_at is None or any(
                    killed_at < other.begun and other.ended < request.begun
                    for other in self.requests
                    if other.outcome in _ALLOWED
                ):
                    found.append("a request was cut off while the service was running")
            elif request.outcome not in _ALLOWED:
                found.append(f"a request ended with: {request.outcome}")
            elif request.seconds > self._deadline_s + slack_s:
                found.append(f"a request took {request.seconds:.1f} s, longer than its deadline")
        return found

    async def _send(self, client: httpx.AsyncClient) -> None:
        begun = time.time()
        headers = {"content-type": "image/png"}
        try:
            answer = await client.post(
                "/translate", params={"domains": self._domain}, content=self._picture, headers=headers
            )
        except httpx.TimeoutException:
            outcome = HUNG
        except httpx.TransportError:
            outcome = CUT
        else:
            outcome = str(answer.status_code)
            problem = answer.headers.get("content-type", "") == "application/problem+json"
            if outcome == PICTURE:
                self._answer = self._answer or answer.content
                if answer.content != self._answer:
                    outcome = "another picture than before"
            elif not (problem and outcome in _ALLOWED):
                outcome = f"{outcome} {answer.text[:200]}"
        self.requests.append(Request(begun, time.time(), outcome))
