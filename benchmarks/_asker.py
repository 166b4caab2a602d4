"""Somebody who asks for one picture after another at a steady pace, and notes what became of each request."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import httpx

PICTURE = "200"
CUT = "no service"
"""Refused, or cut off in the middle: nobody was there."""

HUNG = "hung"
_CLEAN = (PICTURE, "503", "504")
_PATIENCE_S = 10.0  # beyond the deadline: what has not ended by then hangs


@dataclass(frozen=True)
class Asked:
    """One request; times in seconds since 1970."""

    begun: float
    ended: float
    outcome: str
    """A status, CUT, HUNG, or in words what nobody may be answered."""

    @property
    def took_s(self) -> float:
        """How long it took, in seconds."""
        return self.ended - self.begun


class Asker:
    """Asks a service to translate a picture, always the same one, so that the answer must be always the same too."""

    def __init__(self, address: str, domain: str, picture: bytes, *, deadline_s: float) -> None:
        self._address, self._domain, self._picture, self._deadline_s = address, domain, picture, deadline_s
        self._answer: bytes | None = None
        self.asked: list[Asked] = []

    @asynccontextmanager
    async def asking(self, every_s: float) -> AsyncIterator[None]:
        """Asks every so many seconds, whatever becomes of the requests before; in the end all have ended."""
        requests: set[asyncio.Task[None]] = set()

        async def ask_on(client: httpx.AsyncClient) -> None:
            while True:
                requests.add(asyncio.create_task(self._ask(client)))
                await asyncio.sleep(every_s)

        # A connection for each: what a request meets must not depend on the one before.
        limits = httpx.Limits(max_keepalive_connections=0, max_connections=None)
        timeout = self._deadline_s + _PATIENCE_S
        async with httpx.AsyncClient(base_url=self._address, limits=limits, timeout=timeout) as client:
            asking = asyncio.create_task(ask_on(client))
            try:
                yield
            finally:
                asking.cancel()
                with suppress(asyncio.CancelledError):
                    await asking
                await asyncio.gather(*requests)

    def counts(self) -> Counter[str]:
        """How many requests ended in which way."""
        return Counter(each.outcome for each in self.asked)

    def broken(self, kills: Sequence[float], slack_s: float) -> list[str]:
        """What is wrong, a line each; `kills`: when the service was killed, `slack_s`: what may come on top of the
        deadline."""
        wrong = []
        for each in self.asked:
            if each.outcome == CUT:
                if not self._gone(each, kills):
                    wrong.append("a request was cut off although the service was there")
            elif each.outcome not in _CLEAN:
                wrong.append(f"a request ended so: {each.outcome}")
            elif each.took_s > self._deadline_s + slack_s:
                wrong.append(f"a request took {each.took_s:.1f} s, which is past its deadline")
        return wrong

    def _gone(self, cut: Asked, kills: Sequence[float]) -> bool:
        """Whether the service was killed and, as far as the other requests tell, not yet back."""
        killed_at = max((kill for kill in kills if kill <= cut.ended), default=None)
        return killed_at is not None and not any(
            killed_at < each.begun and each.ended < cut.begun for each in self.asked if each.outcome in _CLEAN
        )

    async def _ask(self, client: httpx.AsyncClient) -> None:
        begun = time.time()
        try:
            answer = await client.post(
                "/translate",
                params={"domains": self._domain},
                content=self._picture,
                headers={"content-type": "image/png"},
            )
            outcome = self._judged(answer)
        except httpx.TimeoutException:
            outcome = HUNG
        except httpx.TransportError:
            outcome = CUT
        self.asked.append(Asked(begun, time.time(), outcome))

    def _judged(self, answer: httpx.Response) -> str:
        status = str(answer.status_code)
        if status == PICTURE:
            self._answer = self._answer or answer.content
            return PICTURE if answer.content == self._answer else "another picture than before"
        problem = answer.headers.get("content-type", "") == "application/problem+json"
        return status if problem and status in _CLEAN else f"{status} {answer.text[:200]}"
