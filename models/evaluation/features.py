"""Features of pictures, and the figures that are taken on them; any network that maps pictures to vectors will do."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.bundle.manifest import Picture
from models.bundle.pixels import to_tensor
from models.evaluation.distances import fid, kid
from models.evaluation.figures import Figure, Value
from models.evaluation.metrics import Pixels

Vectors = NDArray[np.float64]
_BATCH = 64


class Features(Protocol):
    """What turns pictures into vectors in which alike pictures lie near each other."""

    def features(self, pixels: Pixels) -> Vectors:
        """Pictures n x s x s x 3 to vectors n x d."""
        ...


@dataclass(frozen=True)
class Yardstick:
    """Features, and what the distances on them are called."""

    measure: Features
    fid: Figure
    kid: Figure

    def distances(self, made: Vectors, real: Vectors, detail: str = "") -> tuple[Value, ...]:
        """FID and KID between two sets of vectors; none where one of them has fewer than two."""
        if min(len(made), len(real)) < 2:
            return ()
        return Value(self.fid, fid(made, real), detail), Value(self.kid, kid(made, real), detail)


def best_device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def in_batches(network: Callable[[Tensor], Tensor], pixels: Pixels, picture: Picture, device: torch.device) -> Vectors:
    """Runs pictures n x s x s x 3 through a network, a few at a time; float64 n x ..."""
    parts: list[Tensor] = []
    with torch.no_grad():
        for start in range(0, len(pixels), _BATCH):
            tensor = torch.from_numpy(to_tensor(pixels[start : start + _BATCH], picture))
            parts.append(network(tensor.to(device)).cpu())
    vectors: Vectors = torch.cat(parts).double().numpy()
    return vectors


def device_of(network: nn.Module) -> torch.device:
    """Where a network's weights lie."""
    return next(network.parameters()).device
