"""What a call of the client raises; each text is one line for people.

ClientError ─┬─ Problem      the service answered that something is wrong
             ├─ Unreachable  no answer came, or the connection broke
             └─ InputError   something here can't be sent
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

FOREIGN = "not-recast"
"""The code of a Problem where something answers that is no Recast service."""

_GATEWAY = (502, 503, 504)
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


class ClientError(Exception):
    """Any of the errors above."""


class InputError(ClientError):
    """A picture that is not there, or an address or a key that can't be one."""


class Unreachable(ClientError):
    """No answer came; `sent` tells whether the service may have begun what was asked."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class Problem(ClientError):
    """The service's answer that something is wrong (RFC 9457); programs rely on `code`."""

    def __init__(
        self,
        code: str,
        status: int,
        detail: str,
        *,
        retry_after: float | None = None,
        request_id: str | None = None,
        extras: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.status = status
        self.detail = detail
        """What is wrong this time, and what helps."""
        self.retry_after = retry_after
        """Seconds after which to ask again."""
        self.request_id = request_id
        """By which the log of the service knows the request."""
        self.extras = dict(extras or {})
        """Further members of the answer, as `known` and `nearest` of `unknown-domain`."""


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Turns the errors of httpx inside the block into Unreachable."""
    try:
        yield
    except httpx.TimeoutException as error:
        sent = not isinstance(error, _NEVER_SENT)
        raise Unreachable(f"{address} does not answer in time", sent=sent) from error
    except httpx.RequestError as error:
        sent = not isinstance(error, _NEVER_SENT)
        what = "broke the connection" if sent else "can't be reached"
        why = str(error).rstrip(".")
        raise Unreachable(f"{address} {what}{': ' if why else ''}{why}", sent=sent) from error


def failure(response: httpx.Response) -> ClientError:
    """What an answer without success says; its body has been read."""
    members = _members(response)
    if members is not None:
        known = ("type", "title", "status", "detail", "code", "request_id")
        return Problem(
            members["code"],
            response.status_code,
            str(members.get("detail", members["code"])),
            retry_after=_seconds(response.headers.get("Retry-After")),
            request_id=members.get("request_id"),
            extras={name: value for name, value in members.items() if name not in known},
        )
    if response.status_code in _GATEWAY:
        # Said by something in between: the service itself answers with problems.
        message = f"{response.url.host} can't reach the service behind it ({response.status_code})"
        return Unreachable(message, sent=True)
    return foreign(response)


def foreign(response: httpx.Response) -> Problem:
    """What to say of an answer that no Recast service gives."""
    kind = response.headers.get("Content-Type", "no content type").partition(";")[0]
    said = f"it answers {response.status_code} with {kind}"
    if response.has_redirect_location:
        said = f"it leads to {response.headers['Location'][:200]}"
    detail = f"{response.url.copy_with(query=None)} is no Recast service: {said}; check the address"
    return Problem(FOREIGN, response.status_code, detail)


def _members(response: httpx.Response) -> dict[str, Any] | None:
    if not response.headers.get("Content-Type", "").startswith("application/problem+json"):
        return None
    try:
        members = response.json()
    except ValueError:
        return None
    return members if isinstance(members, dict) and isinstance(members.get("code"), str) else None


def _seconds(value: str | None) -> float | None:
    """Retry-After in seconds; the service never sends its other form, a date."""
    return float(value) if value is not None and value.isdecimal() else None
