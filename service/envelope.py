"""What wraps every request: id, body limit, security headers, last resort for errors; plain ASGI, so bodies stream."""

import logging
import re
import uuid
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.problems import answer, unexpected
from worker.errors import RecastError, TimedOut, TooLarge

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
ANSWER_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
SMALL_BODY = 1 << 20
"""Bytes that a request may carry to a path that names no limit of its own."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,100}")
_log = logging.getLogger(__name__)


class Envelope:
    """Names every request, adds the security headers, and turns what nobody else caught into a problem.

    HEAD is answered as GET is: the server leaves the body out.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI request; other scopes pass through untouched."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        request_id = _request_id(Headers(scope=scope).get("x-request-id"))
        inner: Scope = {**scope, "state": {**scope.get("state", {}), "request_id": request_id}}
        if scope["method"] == "HEAD":
            inner["method"] = "GET"
        started = whole = False

        async def watched() -> Message:
            nonlocal whole
            message = await receive()
            whole = not message.get("more_body", False)
            return message

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                _complete(MutableHeaders(scope=message), request_id)
            await send(message)

        try:
            await self.app(inner, watched, send_with_headers)
        except ClientDisconnect:
            _log.info("request %s: the client hung up", request_id)
        except Exception as error:
            response = _last_resort(error, request_id)
            if started:
                # The status line is out: only a broken connection can still tell the client.
                raise
            if isinstance(error, (TooLarge, TimedOut)) and not whole:
                # Too long or too slow: nobody reads the rest.
                response.headers["Connection"] = "close"
            await response(inner, receive, send_with_headers)


class BodyLimit:
    """Refuses a body that is longer than its path may carry: by Content-Length at once, otherwise while it arrives.

    Starlette's own limit answers in plain text and covers a 401 with a 413, so the counting is done here.
    """

    def __init__(self, app: ASGIApp, paths: Mapping[str, int]) -> None:
        """`paths`: path -> bytes; every other path may carry `SMALL_BODY`."""
        self.app = app
        self.paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI request.

        Raises:
            TooLarge: the body is longer than allowed.
        """
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        limit = self.paths.get(scope["path"].removeprefix(scope.get("root_path", "")), SMALL_BODY)
        received = 0

        async def counted() -> Message:
            nonlocal received
            # Only now, when somebody asks for the body: a request without a key is told of the key first.
            _check(declared, limit)
            message = await receive()
            received += len(message.get("body", b""))
            _check(received, limit)
            return message

        declared = _content_length(scope)
        await self.app(scope, counted, send)


def _request_id(offered: str | None) -> str:
    return offered if offered and _REQUEST_ID.fullmatch(offered) else uuid.uuid4().hex


def _complete(headers: MutableHeaders, request_id: str) -> None:
    headers["X-Request-Id"] = request_id
    page = headers.get("content-type", "").startswith("text/html")
    headers.setdefault("Content-Security-Policy", PAGE_POLICY if page else ANSWER_POLICY)
    for name, value in HEADERS.items():
        headers.setdefault(name, value)


def _last_resort(error: Exception, request_id: str) -> Response:
    if isinstance(error, RecastError):
        return answer(error, request_id)
    _log.error("request %s failed", request_id, exc_info=error)
    return unexpected(request_id)


def _content_length(scope: Scope) -> int:
    value = Headers(scope=scope).get("content-length", "0")
    return int(value) if value.isdecimal() else 0


def _check(size: int, limit: int) -> None:
    if size > limit:
        raise TooLarge(
            f"the body has more than {limit} bytes, which is the most that this call takes; send a smaller one"
        )
