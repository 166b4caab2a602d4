"""The ports of a graph, its inputs and outputs, and the parts of a manifest on latents, text and scores."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator


class Part(BaseModel):
    """A part of a manifest: frozen, without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


Place = tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)]]
"""x and y in a square of side 1, from its left and its top."""

_KNOWN = {"pixels": 3, "translated": 3, "pictures": 3, "map": 1, "score": 1}
"""The kinds whose shape may be open, and the length of their first axis: the channels, or the one score."""
_VECTORS = ("labels", "text", "logits", "score", "features")


def _check_shape(kind: str, shape: tuple[int, ...] | None) -> None:
    if shape is None:
        if kind not in _KNOWN:
            raise ValueError(f"{kind} needs a shape: its axes after the batch")
        return
    axes = 1 if kind in _VECTORS else max(1, len(shape)) if kind == "latent" else 3
    first = _KNOWN.get(kind)
    if len(shape) != axes or first not in (None, shape[0]):
        words = f"{axes} axes after the batch" + (f", the first of {first}" if first else "")
        raise ValueError(f"{kind} has shape {list(shape)}, but needs {words}")


class Input(Part):
    """A tensor that a graph takes, named after its kind: float32 with the batch as its first axis."""

    kind: Literal["pixels", "latent", "labels", "text"]
    """pixels: pictures in the picture's range. latent: random numbers. labels: 0 to 1 a column. text: byte values."""
    shape: tuple[PositiveInt, ...] | None = None
    """The axes after the batch; null for pixels of the picture's size: [3,size,size], or any sides where it is free."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_shape(self.kind, self.shape)
        return self


class Output(Part):
    """A tensor that a graph gives, named after its kind: float32 with the batch as its first axis."""

    kind: Literal["translated", "pictures", "logits", "score", "map", "features"]
    """translated: the pixels changed. pictures: made of no picture. logits: one for each label column.

    score: how strange a picture is, higher is stranger. map: the same for each of its pixels. features: any numbers.
    """
    shape: tuple[PositiveInt, ...] | None = None
    """The axes after the batch; null for the usual ones: [3,size,size] of pictures, [1] of a score, and the sides of
    the pixels for translated, with 3 channels, and map, with 1."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_shape(self.kind, self.shape)
        return self


PIXELS = Input(kind="pixels")
TRANSLATED = Output(kind="translated")
PICTURES = ("translated", "pictures")
"""The kinds that are pictures, which leave an engine as bytes."""
DETECTING = {
    "detector": ((Input(kind="pixels", shape=(3, 256, 256)),), (Output(kind="features", shape=(896 * 17,)),)),
    "mesh": ((Input(kind="pixels", shape=(3, 192, 192)),), (Output(kind="features", shape=(468 * 3 + 1,)),)),
}
"""The graphs of a bundle that detects, and their ports: what its features mean is known to who asks it."""


class Latent(Part):
    """What a graph's `latent` is drawn from."""

    shape: tuple[PositiveInt, ...]
    """The axes after the batch."""
    distribution: Literal["normal", "uniform"] = "normal"
    """normal: mean 0 and variance 1. uniform: from -1 to 1."""


class Text(Part):
    """How a sentence becomes a graph's `text`: its bytes, padded with zeros."""

    longest: PositiveInt
    """Bytes, at most."""
    encoding: Literal["ascii", "utf-8"] = "utf-8"
    """How characters become bytes."""


class Score(Part):
    """How a score is read; a higher one is always a stranger picture."""

    threshold: float
    """A picture with a higher score counts as strange."""
    quantile: Annotated[float, Field(gt=0, lt=1)]
    """The share of held-out ordinary pictures whose score is at most the threshold."""
