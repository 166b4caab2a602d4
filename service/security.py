"""Who may ask, and how often; the page, health and the description hold no secrets, so they are open to everybody."""

import hmac
import ipaddress
import time
from collections.abc import Sequence
from typing import Annotated

import limits
from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from service.problems import RateLimited, Unauthorized
from service.settings import ServiceSettings

_bearer = HTTPBearer(auto_error=False, description="One of the keys of RECAST_KEYS, where keys are configured.")
_header = APIKeyHeader(name="X-API-Key", auto_error=False, description="The same keys, for clients without Bearer.")


class Keys:
    """The keys that open the service; with none it is open."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = tuple(key.encode() for key in keys)

    @property
    def needed(self) -> bool:
        """Whether a request must bring a key."""
        return bool(self._keys)

    def find(self, offered: str | None) -> int | None:
        """The place of the key that a header offers; compares with every key, so that the time reveals nothing."""
        if offered is None:
            return None
        # Headers arrive as latin-1, whatever the client meant: back to the bytes that it sent.
        sent = offered.encode("latin-1")
        fits = [hmac.compare_digest(key, sent) for key in self._keys]
        return fits.index(True) if True in fits else None


class Rate:
    """Counts what each client asks in a moving window, within this process."""

    def __init__(self, rate: str) -> None:
        """`rate`: as in "60/minute"; ValueError if it can't be read."""
        self._limit = limits.parse(rate)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def count(self, client: str) -> None:
        """Count one request.

        Raises:
            RateLimited: the window is full; `retry_after` is when its oldest request leaves it.
        """
        if not self._limiter.hit(self._limit, client):
            wait = self._limiter.get_window_stats(self._limit, client).reset_time - time.time()
            message = f"no more than {self._limit} are taken from one client; ask again in {max(wait, 1):.0f} s"
            raise RateLimited(message, retry_after=wait)


class Guard:
    """Keys and rate together: who asks, whether they may, and whether it is their turn."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._keys = Keys([key.get_secret_value() for key in settings.keys])
        self._rate = Rate(settings.rate) if settings.rate else None

    def admit(self, request: Request, key: str | None) -> None:
        """Let a request pass. What asks for work is counted, and so is a wrong key, against guessing.

        Raises:
            Unauthorized: keys are configured and this is none of them.
            RateLimited: too many of them.
        """
        place = self._keys.find(key)
        refused = self._keys.needed and place is None
        # What only reads is free, but guessing keys is not.
        if self._rate and (refused or request.method != "GET"):
            self._rate.count(_network(request) if place is None else f"key {place}")
        if refused:
            hint = "none was sent" if key is None else "the one that was sent does not fit"
            raise Unauthorized(f"a key is needed and {hint}; send 'Authorization: Bearer KEY' or 'X-API-Key: KEY'")


async def anybody(request: Request) -> None:
    """The dependency of every call that makes work or tells of the bundles, where no keys are configured."""
    guard: Guard = request.app.state.guard
    guard.admit(request, None)


async def with_key(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    header: Annotated[str | None, Depends(_header)],
) -> None:
    """The same where keys are configured; it runs before the parameters are judged and the body is read."""
    guard: Guard = request.app.state.guard
    guard.admit(request, bearer.credentials if bearer else header)


def _network(request: Request) -> str:
    """The client behind an address: one household or server has a whole /64 of IPv6 to choose from."""
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else host
