"""One bundle, ready to run: RGB bytes in, RGB bytes or label probabilities out; batches of any length are cut to size.

On a GPU a batch is padded to one of a few sizes, since each new shape costs it time and memory. On a CPU padding would
only cost, and nothing is padded.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from models.bundle.archive import Bundle
from models.bundle.labels import probabilities
from models.bundle.pixels import to_pixels, to_tensor
from worker.engine.session import CUDA, Session, label_width
from worker.errors import EngineError
from worker.settings import EngineSettings

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


class Engine:
    """The graphs of one bundle in memory; safe to use from several threads, which take turns at a graph."""

    def __init__(self, bundle: Bundle, settings: EngineSettings) -> None:
        """Loads every graph of the bundle. Raises EngineError where one does not load or does not fit the manifest."""
        self.bundle = bundle
        self._max_batch = settings.max_batch
        self._sessions = {
            name: Session(bundle, name, device=settings.device, threads=settings.threads)
            for name in bundle.manifest.graphs
        }
        self.bytes = sum(session.bytes for session in self._sessions.values())
        """What the graphs take on disk, which is about what they take in memory."""

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers that the graphs really run on, each once."""
        return tuple(dict.fromkeys(session.provider for session in self._sessions.values()))

    def translate(self, graph: str, pixels: Pixels, labels: Floats | None) -> Pixels:
        """Pixels uint8 [n,h,w,3] RGB and labels float32 [n,c] (None for graphs without) to pixels of the same shape.

        Raises ValueError for arrays that do not fit the bundle, EngineError where the graph fails.
        """
        self._check(graph, pixels, labels)
        parts = self._run(graph, pixels, labels)
        return np.concatenate([pixels[:0], *(to_pixels(part, self.bundle.manifest.picture) for part in parts)])

    def classify(self, pixels: Pixels) -> Floats:
        """Pixels uint8 [n,h,w,3] RGB to the probability of each label, float32 [n,c] in 0..1.

        Raises ValueError where the bundle has no classifier or pixels do not fit it, EngineError where the graph fails.
        """
        manifest = self.bundle.manifest
        if manifest.classifier is None:
            raise ValueError(f"{self.bundle.ref} has no classifier")
        self._check(manifest.classifier, pixels, None)
        nothing = np.empty((0, len(manifest.label_order)), np.float32)
        parts = self._run(manifest.classifier, pixels, None)
        return np.concatenate([nothing, *(probabilities(manifest, part) for part in parts)])

    def warm(self) -> None:
        """Runs every graph at every batch size it will see, so that no request pays for a first time."""
        manifest = self.bundle.manifest
        side = manifest.picture.size
        for name, session in self._sessions.items():
            for rows in self._sizes(session) or (1,):
                pixels = to_tensor(np.full((rows, side, side, 3), 128, np.uint8), manifest.picture)
                labels = np.zeros((rows, label_width(manifest)), np.float32)
                session.run(pixels, labels if manifest.graphs[name].labels else None)

    def close(self) -> None:
        """Lets the graphs and their memory go; a closed engine runs nothing."""
        self._sessions = {}

    def _check(self, graph: str, pixels: Pixels, labels: Floats | None) -> None:
        manifest = self.bundle.manifest
        if graph not in manifest.graphs:
            raise ValueError(f"{self.bundle.ref} has no graph {graph!r}; it has {', '.join(manifest.graphs)}")
        _check_pixels(self.bundle, pixels)
        expected = (len(pixels), label_width(manifest)) if manifest.graphs[graph].labels else None
        found = None if labels is None else labels.shape
        if found != expected:
            raise ValueError(f"{self.bundle.ref}: graph {graph!r} takes labels of shape {expected}, and got {found}")

    def _run(self, graph: str, pixels: Pixels, labels: Floats | None) -> Iterator[Floats]:
        session = self._sessions.get(graph)
        if session is None:
            raise EngineError(f"{self.bundle.ref} is closed")
        tensor = to_tensor(pixels, self.bundle.manifest.picture)
        return run_in_parts(session.run, tensor, labels, most=self._max_batch, sizes=self._sizes(session))

    def _sizes(self, session: Session) -> tuple[int, ...]:
        return buckets(self._max_batch) if session.provider == CUDA else ()


def try_bundle(bundle: Bundle, settings: EngineSettings) -> str | None:
    """Loads a bundle and runs every graph of it once; the reason why it can't be served, or None."""
    try:
        engine = Engine(bundle, settings)
        try:
            engine.warm()
        finally:
            engine.close()
    except EngineError as error:
        return str(error)
    return None


def buckets(most: int) -> tuple[int, ...]:
    """The batch sizes that a GPU sees: 1, 2, 4, 8 and so on below `most`, and `most`."""
    return (*(2**power for power in range((most - 1).bit_length())), most)


def run_in_parts(
    run: Callable[[Floats, Floats | None], Floats],
    pixels: Floats,
    labels: Floats | None,
    *,
    most: int,
    sizes: Sequence[int],
) -> Iterator[Floats]:
    """Runs n rows in parts of at most `most`, each padded to the next of `sizes`, if there are any.

    Yields what `run` gave for each part, without the padding.
    """
    for start in range(0, len(pixels), most):
        part = slice(start, start + most)
        rows = len(pixels[part])
        padded = next((size for size in sizes if size >= rows), rows)
        yield run(_padded(pixels[part], padded), None if labels is None else _padded(labels[part], padded))[:rows]


def _padded(rows: Floats, count: int) -> Floats:
    # With copies of the last row, which the graph can surely digest.
    return rows if len(rows) == count else np.concatenate([rows, np.repeat(rows[-1:], count - len(rows), axis=0)])


def _check_pixels(bundle: Bundle, pixels: Pixels) -> None:
    picture = bundle.manifest.picture
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] != 3:
        raise ValueError(f"{bundle.ref} takes uint8 [n,h,w,3], and got {pixels.dtype} {list(pixels.shape)}")
    height, width = pixels.shape[1:3]
    if not picture.free and (height, width) != (picture.size, picture.size):
        raise ValueError(f"{bundle.ref} takes sides of {picture.size}, and got {height} x {width}")
    if any(side == 0 or side % picture.multiple for side in (height, width)):
        raise ValueError(
            f"{bundle.ref} takes sides that are multiples of {picture.multiple}, and got {height} x {width}"
        )
