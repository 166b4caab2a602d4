"""What a person asks of a picture: the one place where a parameter, its default, its limits and its help are written.

The query of POST /translate and POST /jobs, stored jobs, the Python client and the options of `recast translate` and
`recast submit` are all made from `Wish`. It needs pydantic alone, so that the client stays light.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import ErrorDetails

STRONGEST = 2.0
"""The largest strength of a term, the strength of the wish multiplied in."""


class Wish(BaseModel):
    """What is asked of a picture. Raises ValidationError for what no installation can do.

    A name that is not a field is refused: it is likely a misspelt one, or a newer version's.
    """

    # A stored job has these names and, by its fingerprint, these defaults: to change one is to lose old jobs.
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    domains: Annotated[tuple[str, ...], Field(min_length=1, examples=[["blond,smiling"]])]
    """Comma-separated [-]name[:strength], such as blond,-smiling:0.5; or * for a contact sheet. May be repeated."""
    model: Annotated[str, Field(min_length=1)] | None = None
    """A bundle's NAME or NAME@VERSION; by default the first that knows all the domains."""
    strength: Annotated[float, Field(ge=0, le=STRONGEST, allow_inf_nan=False)] = 1.0
    """Multiplies every term's strength, 0 to 2."""
    region: Literal["auto", "whole", "face"] = "auto"
    """What is translated: the whole picture, each face in it by itself, or what the bundle asks for."""
    size: Literal["original", "model"] = "original"
    """Size of the result: the picture's own width and height, or the network's."""
    format: Literal["jpeg", "png", "webp", "avif"] | None = None
    """Format of the result; by default the picture's own, or png. One picture over HTTP follows Accept first."""
    quality: Annotated[int, Field(ge=1, le=100)] = 90
    """Quality of lossy formats, 1 to 100."""


def explain(error: ErrorDetails) -> str:
    """One of the errors of a ValidationError as a sentence with the parameter, its value and what is allowed."""
    name = [part for part in error["loc"] if isinstance(part, str)][-1]
    message = f"{error['msg'][:1].lower()}{error['msg'][1:]}"
    return f"the parameter {name!r} is {str(error['input'])[:100]!r}: {message}"
