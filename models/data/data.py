"""What every reader gives: a described set of examples, each a dictionary of uint8 pictures and float labels."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from models.bundle.manifest import Domain, Picture
from models.data.pictures import Pictures

Example = dict[str, NDArray[Any]]
"""Names to arrays: pictures uint8 h x w x 3 RGB (turned into tensors by the loader), everything else float32."""


class Description(BaseModel):
    """What a recipe must know of its data, and what stays known when the data are gone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """The data's name, for the model card."""
    domains: tuple[Domain, ...]
    """The domains in label order."""
    picture: Picture
    """How a file becomes the network's picture."""
    count: int
    """Examples in the part that is read."""
    counts: dict[str, int] = {}
    """Pictures of the part by domain, and by set where sets are joined."""
    unknown: dict[str, int] = {}
    """Pictures of the part, or of the domain's own set, of which nobody has told whether they have the domain."""
    masks: tuple[str, ...] = ()
    """The sets that were joined, in the order of their masks; empty where it is one."""


class Data(Protocol):
    """A random-access set of examples."""

    description: Description
    pictures: Pictures
    """The files behind it."""

    def __len__(self) -> int:
        """Examples in the set."""
        ...

    def example(self, index: int, random: np.random.Generator) -> Example:
        """The example at `index`; flips and crops are drawn from `random`."""
        ...
