"""The Accept header (RFC 9110) as an output format; it never fails, since a picture as uploaded is better than none."""

import re

from worker.imaging.formats import Format, by_media_type

_QUALITY = re.compile(r"q=([01](?:\.\d{0,3})?)", re.IGNORECASE)


def accepted(header: str) -> Format | None:
    """The format that the client likes best, of those that are written here; None: as uploaded.

    Of equally liked ones a named format comes before `image/*` and `*/*`, which both mean as uploaded.
    """
    best = max((_liking(item) for item in header.split(",")), key=lambda liking: liking[:2], default=None)
    return best[2] if best and best[0] > 0 else None


def _liking(item: str) -> tuple[float, bool, Format | None]:
    """How much a media range is liked, whether it names a format, and which."""
    media_type, *parameters = (part.strip() for part in item.lower().split(";"))
    named = by_media_type(media_type)
    if (named is None or not named.writes) and media_type not in ("image/*", "*/*"):
        return 0.0, False, None
    qualities = [float(found[1]) for part in parameters if (found := _QUALITY.fullmatch(part))]
    return (qualities[0] if qualities else 1.0), named is not None, named
