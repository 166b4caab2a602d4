"""The one door to inference: pixels and labels in, pixels out; callers can't tell in which process it runs."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.bundle.archive import Bundle


@dataclass(frozen=True)
class Translated:
    """Pixels uint8 [n,h,w,3] RGB, and the seconds that they waited and were computed."""

    pixels: NDArray[np.uint8]
    queue_s: float
    infer_s: float


class Translator(Protocol):
    """Runs a bundle's graphs; every `deadline` is a moment of time.monotonic(), in seconds."""

    async def translate(
        self,
        bundle: Bundle,
        graph: str,
        pixels: NDArray[np.uint8],
        labels: NDArray[np.float32] | None,
        *,
        deadline: float,
    ) -> Translated:
        """Pixels uint8 [n,h,w,3] RGB and labels float32 [n,c] (None for graphs without) to pixels of the same shape.

        Raises Overloaded at once when the queue is full, TimedOut when the deadline passes, NotReady if nothing runs.
        """

    async def classify(self, bundle: Bundle, pixels: NDArray[np.uint8], *, deadline: float) -> NDArray[np.float32]:
        """The label probabilities float32 [n,c] that the bundle's classifier sees in pixels; errors as in translate."""

    async def ready(self) -> None:
        """Returns when translating works; raises NotReady with the reason until then."""

    async def close(self) -> None:
        """Fails what waits and frees the device."""
