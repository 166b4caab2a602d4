"""The query of POST /translate and POST /jobs as the pipeline's request, which judges what the query's types can't."""

from service.negotiation import accepted
from service.schemas import TranslateQuery
from worker.errors import InvalidParameter
from worker.imaging.formats import Format, by_name
from worker.pipeline import Request


def wished(query: TranslateQuery, *, accept: str = "") -> Request:
    """What the query asks for; `accept`, the header, counts where the query names no format.

    Raises InvalidParameter for what this installation can't do.
    """
    return Request(
        domains=tuple(query.domains),
        model=query.model,
        strength=query.strength,
        region=query.region,
        size=query.size,
        format=_named(query.format) if query.format else accepted(accept),
        quality=query.quality,
    )


def _named(name: str) -> Format:
    found = by_name(name)
    if found is None or not found.writes:
        raise InvalidParameter(
            f"the format {name!r} can't be written by this installation; leave it out, or ask for png"
        )
    return found
