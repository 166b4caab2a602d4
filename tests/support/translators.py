"""A translator for tests that remembers what it was asked for."""

from models.bundle.archive import Bundle
from worker.translator import Arrays, Done, Translator


class Recorder(Translator):
    """A real translator, and what it was asked for: (bundle, graph, rows)."""

    def __init__(self, inner: Translator) -> None:
        self.inner = inner
        self.calls: list[tuple[str, str, int]] = []

    async def run(self, bundle: Bundle, graph: str, inputs: Arrays, *, deadline: float) -> Done:
        self.calls.append((bundle.name, graph, len(inputs["pixels"])))
        return await self.inner.run(bundle, graph, inputs, deadline=deadline)

    async def ready(self) -> None:
        await self.inner.ready()

    async def close(self) -> None:
        await self.inner.close()
