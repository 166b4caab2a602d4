"""What goes in and out as parameters and JSON; the OpenAPI description is made from these classes."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.bundle.manifest import Picture


class TranslateQuery(BaseModel):
    """The query of POST /translate; a parameter that is not here is refused, since it is likely a misspelt one."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    domains: Annotated[list[str], Field(min_length=1, examples=[["blond,smiling"]])]
    """Comma-separated `[-]name[:strength]`, or `*` for a contact sheet; may be repeated."""
    model: Annotated[str, Field(min_length=1)] | None = None
    """A bundle's `name` or `name@version`; by default the first that knows all the domains."""
    strength: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] = 1.0
    """Multiplies every term's strength."""
    region: Literal["auto", "whole", "face"] = "auto"
    """What is translated: the whole picture, each face in it by itself, or what the bundle asks for."""
    size: Literal["original", "model"] = "original"
    """The upload's own width and height, or the network's."""
    format: Literal["jpeg", "png", "webp", "avif"] | None = None
    """The answer's format; by default what `Accept` asks for, else that of the upload, else `png`."""
    quality: Annotated[int, Field(ge=1, le=100)] = 90
    """For lossy formats."""


class Out(BaseModel):
    """The base of every answer."""

    model_config = ConfigDict(use_attribute_docstrings=True, frozen=True)


class DomainInfo(Out):
    """A domain of one bundle."""

    name: str
    """The canonical name."""
    group: str | None
    """Domains of one group exclude each other."""
    aliases: tuple[str, ...]
    """Other names that are understood."""
    negatable: bool
    """Whether `-name` can be asked for."""


class ModelInfo(Out):
    """A bundle."""

    name: str
    """As in `model=`."""
    version: str
    """As in `model=name@version`."""
    title: str
    """The name for people."""
    family: str
    """The GAN system that it was trained with."""
    task: str
    """What its graphs do."""
    domains: tuple[DomainInfo, ...]
    """What pictures can be translated into."""
    groups: dict[str, tuple[str, ...]]
    """The names that exclude each other, by group."""
    picture: Picture
    """The network's own picture."""
    licence: str
    """The bundle's licence."""
    metrics: dict[str, float]
    """Figures of its evaluation."""
    samples: tuple[str, ...]
    """Paths of pictures to try it with."""
    size_bytes: int
    """Its files, together."""
    precision: str
    """Arithmetic inside the graphs."""


class RefusedInfo(Out):
    """A folder of the store that is not served."""

    name: str
    """The folder's name."""
    reason: str
    """What is wrong with it."""


class ModelList(Out):
    """Every bundle, in the store's rank."""

    models: tuple[ModelInfo, ...]
    """The bundles that are served."""
    refused: tuple[RefusedInfo, ...]
    """The ones that are not, and why."""


class KnownDomain(Out):
    """A domain, and who knows it."""

    name: str
    """The canonical name."""
    models: tuple[str, ...]
    """The bundles that know it as `name@version`, in rank."""


class DomainList(Out):
    """Every domain that can be asked for."""

    domains: tuple[KnownDomain, ...]
    """In order of their names."""


class Health(Out):
    """The process answers."""

    status: Literal["alive"] = "alive"
    """Always this."""


class Ready(Out):
    """Pictures can be translated."""

    status: Literal["ready"] = "ready"
    """Always this; otherwise the answer is a problem."""
    models: int
    """How many bundles are served."""
