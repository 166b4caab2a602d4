"""API keys and rate limits. The page, health checks and the API's description have no secrets and need no key."""

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
        """The index of the key that a header offers, or None; compares with every key, so its time reveals nothing."""
        if offered is None:
            return None
        # Starlette decodes headers as latin-1, whatever the client meant; this gives the bytes that it sent.
        sent = offered.encode("latin-1")
        fits = [hmac.compare_digest(key, sent) for key in self._keys]
        return fits.index(True) if True in fits else None


class Rate:
    """Counts each client's requests in a moving window, within this process."""

    def __init__(self, rate: str) -> None:
        """`rate`: as in "60/minute"; ValueError if it is malformed."""
        self._limit = limits.parse(rate)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def count(self, client: str) -> None:
        """Counts one request.

        Raises:
            RateLimited: the window is full; `retry_after` is when its oldest request leaves it.
        """
        if not self._limiter.hit(self._limit, client):
            wait = self._limiter.get_window_stats(self._limit, client).reset_time - time.time()
            message = f"one client may send at most {self._limit}; ask again in {max(wait, 1):.0f} s"
            raise RateLimited(message, retry_after=wait)


class Guard:
    """Checks the key and the rate of each request."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._keys = Keys([key.get_secret_value() for key in settings.keys])
        self._rate = Rate(settings.rate) if settings.rate else None

    def admit(self, request: Request, key: str | None) -> None:
        """Lets a request pass or raises.

        Raises:
            Unauthorized: keys are configured and this is none of them.
            RateLimited: the client sent too many requests.
        """
        index = self._keys.find(key)
        refused = self._keys.needed and index is None
        # GET costs little and is not counted; a wrong key always is, so that nobody can guess keys quickly.
        if self._rate and (refused or request.method != "GET"):
            self._rate.count(_network(request) if index is None else f"key {index}")
        if refused:
            hint = "none was sent" if key is None else "the one that was sent is wrong"
            raise Unauthorized(f"a key is needed and {hint}; send 'Authorization: Bearer KEY' or 'X-API-Key: KEY'")


async def without_key(request: Request) -> None:
    """The dependency of every call that makes work or describes the bundles, where no keys are configured."""
    guard: Guard = request.app.state.guard
    guard.admit(request, None)


async def with_key(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    header: Annotated[str | None, Depends(_header)],
) -> None:
    """The same where keys are configured; it runs before the parameters are checked and the body is read."""
    guard: Guard = request.app.state.guard
    guard.admit(request, bearer.credentials if bearer else header)


def _network(request: Request) -> str:
    """The address by which a client is counted: of IPv6 the /64 network, all of which one client usually owns."""
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else host
