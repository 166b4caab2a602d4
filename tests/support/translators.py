"""A translator for tests that remembers what it was asked for."""

import numpy as np
from numpy.typing import NDArray

from models.bundle.archive import Bundle
from worker.translator import Translated, Translator


class Recorder(Translator):
    """A real translator, and what it was asked for: ("translate", graph, rows) and ("classify", bundle, rows)."""

    def __init__(self, inner: Translator) -> None:
        self.inner = inner
        self.calls: list[tuple[str, str, int]] = []

    async def translate(
        self,
        bundle: Bundle,
        graph: str,
        pixels: NDArray[np.uint8],
        labels: NDArray[np.float32] | None,
        *,
        deadline: float,
    ) -> Translated:
        self.calls.append(("translate", graph, len(pixels)))
        return await self.inner.translate(bundle, graph, pixels, labels, deadline=deadline)

    async def classify(self, bundle: Bundle, pixels: NDArray[np.uint8], *, deadline: float) -> NDArray[np.float32]:
        self.calls.append(("classify", bundle.name, len(pixels)))
        return await self.inner.classify(bundle, pixels, deadline=deadline)

    async def ready(self) -> None:
        await self.inner.ready()

    async def close(self) -> None:
        await self.inner.close()
