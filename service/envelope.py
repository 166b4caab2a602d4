"""Middleware around every request: id, body limit, security headers, uncaught errors; plain ASGI, so bodies stream."""

import logging
import re
import uuid
from collections.abc import Mapping
from contextlib import suppress

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.observer import Observer
from service.problems import respond, unexpected
from worker.errors import RecastError, TimedOut, TooLarge

# `blob:` is for the user's own pictures, which the page shows without sending them anywhere.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# A picture or JSON that is opened in a browser may run nothing, even if the browser takes it for a page.
ANSWER_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
SMALL_BODY = 1 << 20
"""Bytes of a request's body, at most, for a path without a limit of its own."""

READ_ON = 16 << 20
"""Content-Length in bytes above which a refused body that was not read closes the connection.

Some clients read no answer while they still send, so the server reads and drops shorter bodies.
"""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,100}")
_log = logging.getLogger(__name__)


class Envelope:
    """Gives every request an id, adds the security headers, and turns uncaught errors into problems."""

    def __init__(self, app: ASGIApp, observer: Observer) -> None:
        self.app, self.observer = app, observer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one ASGI request; other scopes pass through unchanged."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        offered = Headers(scope=scope).get("x-request-id", "")
        request_id = offered if _REQUEST_ID.fullmatch(offered) else uuid.uuid4().hex
        inner: Scope = {**scope, "state": {**scope.get("state", {}), "request_id": request_id}}
        whole = False

        async def watched() -> Message:
            nonlocal whole
            message = await receive()
            whole = not message.get("more_body", False)
            return message

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                headers = MutableHeaders(scope=message)
                _add_headers(headers, request_id)
                if message["status"] >= 400 and not whole and _content_length(scope) > READ_ON:
                    headers["Connection"] = "close"
            await send(message)

        with self.observer.request(inner) as exchange:
            try:
                await self.app(inner, watched, send_with_headers)
            except ClientDisconnect:
                _log.info("request %s: the client hung up", request_id)
            except Exception as error:
                response = _problem(error, request_id)
                if exchange.status is not None:
                    # The status line is sent: only a broken connection can still tell the client.
                    raise
                if isinstance(error, (TooLarge, TimedOut)) and not whole:
                    # The body is too long or too slow, so the server must not read its rest.
                    response.headers["Connection"] = "close"
                await response(inner, receive, send_with_headers)


class Head:
    """Answers HEAD with the head of GET's answer, and stops there: some bodies, such as events, have no end."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one ASGI request; other methods pass through unchanged."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            return await self.app(scope, receive, send)

        async def send_head(message: Message) -> None:
            await send(message)
            await send({"type": "http.response.body"})
            raise _HeadSent

        inner = {**scope, "method": "GET"}
        try:
            with suppress(_HeadSent):
                await self.app(inner, receive, send_head)
        finally:
            # The framework writes them into its own copy of the scope; the observer outside counts by route.
            scope.update({name: inner[name] for name in ("route", "root_path") if name in inner})


class _HeadSent(Exception):
    """Stops an answer after its head."""


class BodyLimit:
    """Refuses a body that is longer than its path allows: by Content-Length at once, otherwise while it arrives.

    Starlette's own limit answers in plain text, and with 413 where a request without a key must get 401.
    """

    def __init__(self, app: ASGIApp, paths: Mapping[str, int]) -> None:
        """`paths`: path -> bytes; `SMALL_BODY` for every other path."""
        self.app = app
        self.paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one ASGI request; raises TooLarge if its body is longer than allowed."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        limit = self.paths.get(scope["path"].removeprefix(scope.get("root_path", "")), SMALL_BODY)
        received = 0

        async def counted() -> Message:
            nonlocal received
            # Only when the route reads the body: a request without a key must get its 401 first.
            _check(declared, limit)
            message = await receive()
            received += len(message.get("body", b""))
            _check(received, limit)
            return message

        declared = _content_length(scope)
        await self.app(scope, counted, send)


def _add_headers(headers: MutableHeaders, request_id: str) -> None:
    headers["X-Request-Id"] = request_id
    page = headers.get("content-type", "").startswith("text/html")
    headers.setdefault("Content-Security-Policy", PAGE_POLICY if page else ANSWER_POLICY)
    for name, value in HEADERS.items():
        headers.setdefault(name, value)


def _problem(error: Exception, request_id: str) -> Response:
    if isinstance(error, RecastError):
        return respond(error, request_id)
    _log.error("request %s failed", request_id, exc_info=error)
    return unexpected(request_id)


def _content_length(scope: Scope) -> int:
    value = Headers(scope=scope).get("content-length", "0")
    return int(value) if value.isdecimal() else 0


def _check(size: int, limit: int) -> None:
    if size > limit:
        raise TooLarge(f"the body has more than {limit} bytes, the limit of this call; send a smaller one")
