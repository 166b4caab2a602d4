"""Errors as RFC 9457 problem details; programs rely on `code`, while `title` and `detail` may change."""

import difflib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from http import HTTPStatus
from itertools import groupby
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from worker.errors import (
    IdempotencyConflict,
    InvalidDomains,
    InvalidParameter,
    NoFace,
    NotReady,
    Overloaded,
    RecastError,
    TimedOut,
    TooLarge,
    UnknownDomain,
    UnknownJob,
    UnknownModelError,
    UnknownResult,
    UnreadableImage,
    UnsupportedMedia,
)
from worker.wish import explain

MEDIA_TYPE = "application/problem+json"


class Unauthorized(RecastError):
    """Keys are configured and none fits."""

    code = "unauthorized"


class RateLimited(RecastError):
    """The client sent more requests than configured; `retry_after` is the time in seconds until the next one."""

    code = "rate-limited"


class NotFound(RecastError):
    """There is nothing at this path."""

    code = "not-found"


class MethodNotAllowed(RecastError):
    """The path takes another method."""

    code = "method-not-allowed"


class InternalError(RecastError):
    """An error without a code of its own."""

    code = "internal-error"


@dataclass(frozen=True)
class Kind:
    """One row of the table of errors: a stable code, its status and its meaning."""

    code: str
    status: int
    title: str


KINDS: tuple[Kind, ...] = (
    Kind(UnreadableImage.code, 400, "The picture can't be read"),
    Kind(Unauthorized.code, 401, "A key is needed"),
    Kind(NotFound.code, 404, "There is nothing here"),
    Kind(UnknownModelError.code, 404, "No such model"),
    Kind(UnknownJob.code, 404, "No such job"),
    Kind(UnknownResult.code, 404, "No such result"),
    Kind(MethodNotAllowed.code, 405, "This path takes another method"),
    Kind(IdempotencyConflict.code, 409, "The key was used for another request"),
    Kind(TooLarge.code, 413, "Larger than this service allows"),
    Kind(UnsupportedMedia.code, 415, "Not a picture format that this service reads"),
    Kind(UnknownDomain.code, 422, "No model knows this domain"),
    Kind(InvalidDomains.code, 422, "The domains can't be applied together"),
    Kind(NoFace.code, 422, "No face was found"),
    Kind(InvalidParameter.code, 422, "A parameter is wrong"),
    Kind(RateLimited.code, 429, "Too many requests"),
    Kind(InternalError.code, 500, "Something went wrong in the service"),
    Kind(Overloaded.code, 503, "The service is too busy"),
    Kind(NotReady.code, 503, "Not ready to translate"),
    Kind(TimedOut.code, 504, "It took too long"),
)
"""The only place that knows the statuses of errors; subclasses of an error share its code and so its row."""

_BY_CODE = {kind.code: kind for kind in KINDS}


class Problem(BaseModel):
    """An error (RFC 9457). Some codes have more members, such as `known` and `nearest` of `unknown-domain`."""

    model_config = ConfigDict(
        extra="allow", use_attribute_docstrings=True, json_schema_extra={"x-codes": [asdict(kind) for kind in KINDS]}
    )

    type: str
    """The place of the documentation that explains the code."""
    title: str
    """The meaning of the code."""
    status: int
    """The HTTP status of the answer."""
    detail: str
    """What is wrong with this request, and what helps."""
    code: Annotated[str, Field(json_schema_extra={"enum": [kind.code for kind in KINDS]})]
    """The stable name of the error, for programs."""
    request_id: str
    """The same as the header X-Request-Id."""


def respond(error: RecastError, request_id: str, *, extra: Mapping[str, object] | None = None) -> JSONResponse:
    """The response for one of our own errors; `extra` are more members of the problem."""
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = 'Bearer realm="recast"'
    if isinstance(error, UnknownDomain):
        extra = {"known": list(error.known), "nearest": error.nearest, **(extra or {})}
    if isinstance(error, UnknownModelError):
        extra = {"known": list(error.known), **(extra or {})}
    return _response(error.code, _BY_CODE[error.code].status, str(error), request_id, extra=extra, headers=headers)


def unexpected(request_id: str) -> JSONResponse:
    """The answer to an unforeseen error; it shows nothing of the error, which the log has under the same id."""
    detail = "the service could not answer the request; its log has the reason under this request id"
    return respond(InternalError(detail), request_id)


def install(app: FastAPI) -> None:
    """Makes problems of the framework's own errors: unknown paths, wrong methods, invalid parameters."""
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)


def describe(schema: dict[str, Any]) -> None:
    """Puts the problems into an OpenAPI description, in place of the framework's own validation errors."""
    schemas = schema["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Problem"] = Problem.model_json_schema()
    for operation in (each for path in schema["paths"].values() for each in path.values()):
        if MEDIA_TYPE not in operation["responses"].get("422", {}).get("content", {MEDIA_TYPE: None}):
            del operation["responses"]["422"]


def responses(*codes: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's description of the problems that a call may answer; KeyError for a code that is not in the table."""
    if missing := set(codes) - set(_BY_CODE):
        raise KeyError(f"no such problem code: {', '.join(sorted(missing))}")
    described: dict[int | str, dict[str, Any]] = {}
    for status, kinds in groupby((kind for kind in KINDS if kind.code in codes), key=lambda kind: kind.status):
        examples, lines = {}, []
        for kind in kinds:
            members = _members(kind.code, kind.status, f"{kind.title}.", "0b9c7e")
            examples[kind.code] = {"summary": kind.title, "value": members}
            lines.append(f"`{kind.code}`: {kind.title}")
        schema = {"$ref": "#/components/schemas/Problem"}
        content = {MEDIA_TYPE: {"schema": schema, "examples": examples}}
        described[status] = {"description": "; ".join(lines), "content": content}
    return described


def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    request_id: str = request.state.request_id
    if isinstance(error.__cause__, RecastError):
        # The framework wraps an error of ours that is raised while it reads a body.
        return respond(error.__cause__, request_id)
    if error.status_code == 404:
        return respond(NotFound(f"there is nothing at {request.url.path[:200]}; /docs lists every call"), request_id)
    if error.status_code == 405:
        detail = f"{request.url.path[:200]} does not take {request.method}"
        return _response(MethodNotAllowed.code, 405, detail, request_id, headers=error.headers)
    code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
    return _response(code, error.status_code, str(error.detail), request_id, headers=error.headers)


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    # A misspelt required name gives two errors, unknown and missing; the unknown one says more.
    first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    name = str(first["loc"][-1])
    known = _parameters(request)
    extra: dict[str, object] = {"parameter": name}
    if first["type"] == "extra_forbidden":
        nearest = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"the known ones are {', '.join(known)}"
        message = f"the parameter {name[:100]!r} is not known; {hint}"
        extra["allowed"] = list(known)
    elif first["type"] == "missing":
        message = f"the parameter {name!r} is required"
    else:
        message = explain(first)
        extra |= {"value": str(first["input"])[:100], "allowed": known.get(name)}
    return respond(InvalidParameter(message), request_id=request.state.request_id, extra=extra)


def _parameters(request: Request) -> dict[str, object]:
    """The values, or the bounds, that OpenAPI publishes for each parameter of the call."""
    path = request.scope["route"].path_format
    operation = request.app.openapi()["paths"][path][request.method.lower()]
    allowed: dict[str, object] = {}
    for parameter in operation.get("parameters", ()):
        schema = parameter["schema"]
        bounds = {key: schema[key] for key in ("type", "minimum", "maximum") if key in schema}
        # OpenAPI describes an optional parameter as `anyOf` its type and null.
        enums = (option["enum"] for option in schema.get("anyOf", [schema]) if "enum" in option)
        allowed[parameter["name"]] = next(enums, bounds)
    return allowed


def _members(code: str, status: int, detail: str, request_id: str) -> dict[str, object]:
    kind = _BY_CODE.get(code)
    return {
        "type": f"/docs#{code}",
        "title": kind.title if kind else HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
    }


def _response(
    code: str,
    status: int,
    detail: str,
    request_id: str,
    *,
    extra: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    body = _members(code, status, detail, request_id) | dict(extra or {})
    return _ProblemResponse(body, status_code=status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


class _ProblemResponse(JSONResponse):
    """Leaves its code in the request's state, where the observer counts it."""

    def __init__(
        self, body: Mapping[str, object], *, status_code: int, headers: Mapping[str, str], media_type: str
    ) -> None:
        super().__init__(body, status_code, headers, media_type)
        self._code = body["code"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["problem"] = self._code
        await super().__call__(scope, receive, send)
