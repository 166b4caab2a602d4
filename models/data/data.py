"""The interface of every reader: a description, and examples of uint8 pictures and float labels."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from models.bundle.manifest import Domain, Picture
from models.data.pictures import Pictures

Example = dict[str, NDArray[Any]]
"""Names to arrays: pictures uint8 h x w x 3 RGB (turned into tensors by the loader), everything else float32."""


class Description(BaseModel):
    """What a recipe needs to know about its data; it is stored with a run, so it is known without the data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """The data's name, for the model card."""
    domains: tuple[Domain, ...]
    """In label order."""
    picture: Picture
    """How a file becomes the network's picture."""
    count: int
    """Examples in the part."""
    counts: dict[str, int] = {}
    """Pictures of the part by domain, and in a joint set by set."""
    unknown: dict[str, int] = {}
    """Pictures by domain that are not annotated with it; in a joint set, only pictures of the domain's own set."""
    masks: tuple[str, ...] = ()
    """The sets of a joint set, in the order of their masks; else empty."""


class Data(Protocol):
    """A random-access set of examples."""

    description: Description
    pictures: Pictures
    """Its files."""

    def __len__(self) -> int:
        """The number of examples."""
        ...

    def example(self, index: int, random: np.random.Generator) -> Example:
        """The example at `index`; flips and crops are drawn from `random`."""
        ...
