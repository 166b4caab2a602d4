"""POST /translate: one picture in, one out, while the client waits; checks the query before it reads the body."""

import hashlib
import re
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from service.dependencies import Deadline, PipelinePart, wait_for_answer
from service.problems import responses
from service.uploads import BODY, picture
from worker.imaging.formats import Format, by_media_type
from worker.wish import Wish

router = APIRouter(tags=["translate"])

_HEADERS = {
    "ETag": "Strong hash of the picture.",
    "Server-Timing": "`decode`, `queue`, `infer`, `compose`, `encode` in milliseconds.",
    "Recast-Model": "The bundle, or bundles, as `name@version`.",
    "Recast-Domains": "Every label that was applied, as in `black=0, blond=1`.",
}
_PICTURE = {
    "description": "The translated picture.",
    "content": {"image/*": {}},
    "headers": {name: {"description": text, "schema": {"type": "string"}} for name, text in _HEADERS.items()},
}
_QUALITY = re.compile(r"q=([01](?:\.\d{0,3})?)", re.IGNORECASE)
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
    request: Request, wish: Annotated[Wish, Query()], pipeline: PipelinePart, deadline: Deadline
) -> Response:
    """Translates the picture into the domains; what they do not name stays as it is in the picture.

    The picture is the multipart field `image`, or the body itself. The answer is marked as made by AI, keeps its colour
    profile and transparency, and loses its private metadata.
    """
    # `format=` wins over Accept: a browser sends an Accept that its user never chose.
    if wish.format is None and (preferred := preferred_format(",".join(request.headers.getlist("accept")))):
        wish = wish.model_copy(update={"format": preferred.name})
    data = await picture(request, deadline=deadline)
    answer = await wait_for_answer(pipeline.translate(data, wish, deadline=deadline), request, deadline=deadline)
    headers = {
        "ETag": f'"{hashlib.sha256(answer.data).hexdigest()}"',
        "Server-Timing": ", ".join(f"{name};dur={duration:.3f}" for name, duration in answer.timings.items()),
        "Recast-Model": answer.model,
        # Adding 0.0 turns -0.0 into 0.0.
        "Recast-Domains": ", ".join(f"{name}={round(value, 3) + 0.0:g}" for name, value in answer.domains.items()),
        "Cache-Control": "no-store",
        "Content-Disposition": f'inline; filename="recast{answer.format.extensions[0]}"',
        "Vary": "Accept",
    }
    return Response(answer.data, media_type=answer.media_type, headers=headers)


def preferred_format(header: str) -> Format | None:
    """The format that an Accept header (RFC 9110) prefers, of those that Recast writes; None: as uploaded.

    At equal quality a named format comes before `image/*` and `*/*`, which both mean as uploaded. A malformed header is
    no error, since a picture in the upload's format is better than none.
    """
    best = max((_preference(item) for item in header.split(",")), key=lambda preference: preference[:2], default=None)
    return best[2] if best and best[0] > 0 else None


def _preference(item: str) -> tuple[float, bool, Format | None]:
    """The quality of one media range, whether it names a format, and which."""
    media_type, *parameters = (part.strip() for part in item.lower().split(";"))
    named = by_media_type(media_type)
    if (named is None or not named.writes) and media_type not in ("image/*", "*/*"):
        return 0.0, False, None
    qualities = [float(found[1]) for part in parameters if (found := _QUALITY.fullmatch(part))]
    return (qualities[0] if qualities else 1.0), named is not None, named
