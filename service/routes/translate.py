"""POST /translate: one picture in, one out, while the client waits; the query is judged before the body is read."""

import hashlib
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from service.deadline import awaited
from service.dependencies import Deadline, PipelinePart
from service.problems import responses
from service.schemas import TranslateQuery
from service.uploads import BODY, picture
from service.wishes import wished
from worker.pipeline import Answer

router = APIRouter(tags=["translate"])

_HEADERS = {
    "ETag": "Strong hash of the picture.",
    "Server-Timing": "`decode`, `queue`, `infer`, `compose`, `encode` in milliseconds.",
    "Recast-Model": "The bundle, or bundles, as `name@version`.",
    "Recast-Domains": "The full label vector that was really applied, as in `black=0, blond=1`.",
}
_PICTURE = {
    "description": "The translated picture.",
    "content": {"image/*": {}},
    "headers": {name: {"description": text, "schema": {"type": "string"}} for name, text in _HEADERS.items()},
}
_PROBLEMS = (
    "unreadable-image",
    "unknown-model",
    "too-large",
    "unsupported-media-type",
    "unknown-domain",
    "invalid-domains",
    "no-face",
    "invalid-parameter",
    "overloaded",
    "not-ready",
    "timed-out",
)


@router.post(
    "/translate",
    summary="Translate one picture",
    response_class=Response,
    responses={200: _PICTURE, **responses(*_PROBLEMS)},
    openapi_extra={"requestBody": BODY},
)
async def translate(
    request: Request, query: Annotated[TranslateQuery, Query()], pipeline: PipelinePart, deadline: Deadline
) -> Response:
    """The picture, translated into the domains; what they do not name keeps what the picture has.

    The picture is the multipart field `image`, or the body itself. The answer is marked as made by AI, keeps its colour
    profile and transparency, and loses its private metadata.
    """
    wish = wished(query, accept=",".join(request.headers.getlist("accept")))
    data = await picture(request, deadline=deadline)
    answer = await awaited(pipeline.translate(data, wish, deadline=deadline), request, deadline=deadline)
    return Response(answer.data, media_type=answer.media_type, headers=_headers(answer))


def _headers(answer: Answer) -> dict[str, str]:
    return {
        "ETag": f'"{hashlib.sha256(answer.data).hexdigest()}"',
        "Server-Timing": ", ".join(f"{name};dur={duration:.3f}" for name, duration in answer.timings.items()),
        "Recast-Model": answer.model,
        "Recast-Domains": ", ".join(f"{name}={round(value, 3) + 0.0:g}" for name, value in answer.domains.items()),
        "Cache-Control": "no-store",
        "Content-Disposition": f'inline; filename="recast{answer.format.extensions[0]}"',
        "Vary": "Accept",
    }
