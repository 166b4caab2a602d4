"""Errors as RFC 9457 problem details; programs rely on `code`, while `title` and `detail` may change."""

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from worker.errors import InvalidParameter, RecastError, UnknownDomain, UnknownModelError

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True)
class Kind:
    """One row of the table of errors: a stable code, its status and what it means."""

    code: str
    status: int
    title: str


KINDS: tuple[Kind, ...] = (
    Kind("unreadable-image", 400, "The picture can't be read"),
    Kind("unauthorized", 401, "A key is needed"),
    Kind("not-found", 404, "Nothing is here"),
    Kind("unknown-model", 404, "No such model"),
    Kind("unknown-job", 404, "No such job"),
    Kind("unknown-result", 404, "No such result"),
    Kind("method-not-allowed", 405, "This path takes another method"),
    Kind("idempotency-conflict", 409, "The key was used for another request"),
    Kind("too-large", 413, "More than is taken here"),
    Kind("unsupported-media-type", 415, "Not a picture format that is read here"),
    Kind("unknown-domain", 422, "No model knows this domain"),
    Kind("invalid-domains", 422, "The domains can't be applied together"),
    Kind("no-face", 422, "No face was found"),
    Kind("invalid-parameter", 422, "A parameter is not as it should be"),
    Kind("rate-limited", 429, "Too many requests"),
    Kind("internal-error", 500, "Something went wrong here"),
    Kind("overloaded", 503, "Too much to do at the moment"),
    Kind("not-ready", 503, "Not ready to translate"),
    Kind("timed-out", 504, "It took too long"),
)
_TITLES = {kind.code: kind.title for kind in KINDS}


class Problem(BaseModel):
    """An error (RFC 9457). Further members depend on the code, as `known` and `nearest` of `unknown-domain`."""

    model_config = ConfigDict(
        extra="allow", use_attribute_docstrings=True, json_schema_extra={"x-codes": [asdict(kind) for kind in KINDS]}
    )

    type: str
    """Where the code is explained."""
    title: str
    """What the code means."""
    status: int
    """The HTTP status again."""
    detail: str
    """What is wrong this time, and what helps."""
    code: Annotated[str, Field(json_schema_extra={"enum": [kind.code for kind in KINDS]})]
    """The stable name of the error, for programs."""
    request_id: str
    """The same as the header X-Request-Id."""


class Unauthorized(RecastError):
    """Keys are configured and none fits."""

    code = "unauthorized"
    status = 401


class RateLimited(RecastError):
    """The client asked more often than configured; `retry_after` says in how many seconds it may ask again."""

    code = "rate-limited"
    status = 429


class NotFound(RecastError):
    """Nothing lies under this path."""

    code = "not-found"
    status = 404


def answer(error: RecastError, request_id: str, *, extra: Mapping[str, object] | None = None) -> JSONResponse:
    """The response for one of our own errors; `extra` are further members of the problem."""
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = 'Bearer realm="recast"'
    if isinstance(error, UnknownDomain):
        extra = {"known": list(error.known), "nearest": error.nearest, **(extra or {})}
    if isinstance(error, UnknownModelError):
        extra = {"known": list(error.known), **(extra or {})}
    return _response(error.code, error.status, str(error), request_id, extra=extra, headers=headers)


def unexpected(request_id: str) -> JSONResponse:
    """The blank answer to an error that nobody foresaw; the log has the rest under the same id."""
    detail = "the request could not be served; the log of the service has the reason under this request id"
    return _response("internal-error", 500, detail, request_id)


def install(app: FastAPI) -> None:
    """Have the framework's own errors (unknown paths, wrong methods, invalid parameters) answered as problems too."""
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)


def describe(schema: dict[str, Any]) -> None:
    """Put the problems into an OpenAPI description, in the place of the framework's own validation errors."""
    schemas = schema["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Problem"] = Problem.model_json_schema()
    for operation in (each for path in schema["paths"].values() for each in path.values()):
        if MEDIA_TYPE not in operation["responses"].get("422", {}).get("content", {MEDIA_TYPE: None}):
            del operation["responses"]["422"]


def responses(*codes: str) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of the problems that a call may answer with; KeyError for a code that is not in the table."""
    kinds = [kind for kind in KINDS if kind.code in codes]
    if missing := set(codes) - {kind.code for kind in kinds}:
        raise KeyError(f"no such problem code: {', '.join(sorted(missing))}")
    statuses = {kind.status for kind in kinds}
    return {status: _described([kind for kind in kinds if kind.status == status]) for status in sorted(statuses)}


def _described(kinds: Sequence[Kind]) -> dict[str, Any]:
    examples = {
        kind.code: {
            "summary": kind.title,
            "value": {
                "type": f"/docs#{kind.code}",
                "title": kind.title,
                "status": kind.status,
                "detail": kind.title + ".",
                "code": kind.code,
                "request_id": "0b9c7e",
            },
        }
        for kind in kinds
    }
    return {
        "description": "; ".join(f"`{kind.code}`: {kind.title}" for kind in kinds),
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": examples}},
    }


def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    request_id: str = request.state.request_id
    if isinstance(error.__cause__, RecastError):
        # The framework wraps whatever goes wrong while it reads a body; ours says more.
        return answer(error.__cause__, request_id)
    if error.status_code == 404:
        return answer(NotFound(f"there is nothing at {request.url.path[:200]}; /docs lists every call"), request_id)
    if error.status_code == 405:
        detail = f"{request.url.path[:200]} does not take {request.method}"
        return _response("method-not-allowed", 405, detail, request_id, headers=error.headers)
    code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
    return _response(code, error.status_code, str(error.detail), request_id, headers=error.headers)


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    # A misspelt name is also a missing one; the misspelling says more.
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
        value = str(first["input"])[:100]
        message = f"the parameter {name!r} is {value!r}: {first['msg'][:1].lower()}{first['msg'][1:]}"
        extra |= {"value": value, "allowed": known.get(name)}
    return answer(InvalidParameter(message), request_id=request.state.request_id, extra=extra)


def _parameters(request: Request) -> dict[str, object]:
    """What the published description allows for each parameter of the call: the values, or the bounds."""
    path = request.scope["route"].path_format
    operation = request.app.openapi()["paths"][path][request.method.lower()]
    return {parameter["name"]: _allowed(parameter["schema"]) for parameter in operation.get("parameters", ())}


def _allowed(schema: Mapping[str, Any]) -> object:
    options = schema.get("anyOf", [schema])
    for option in options:
        if "enum" in option:
            return option["enum"]
    return {key: schema[key] for key in ("type", "minimum", "maximum") if key in schema}


def _response(
    code: str,
    status: int,
    detail: str,
    request_id: str,
    *,
    extra: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    body = {
        "type": f"/docs#{code}",
        "title": _TITLES.get(code, HTTPStatus(status).phrase),
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
        **(extra or {}),
    }
    return _Answer(body, status_code=status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


class _Answer(JSONResponse):
    """Leaves its code in the request's state, where it is counted."""

    def __init__(
        self, body: Mapping[str, object], *, status_code: int, headers: Mapping[str, str], media_type: str
    ) -> None:
        super().__init__(body, status_code, headers, media_type)
        self._code = body["code"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["problem"] = self._code
        await super().__call__(scope, receive, send)
