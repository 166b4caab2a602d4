"""One bundle, ready to run: arrays as they travel in and out, float32 in between; long batches are cut to size.

On a GPU a batch is padded to one of a few sizes, since each new shape costs it time and memory. On a CPU padding would
only cost, and nothing is padded.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from models.bundle.archive import Bundle
from models.bundle.pixels import to_pixels, to_tensor
from models.bundle.ports import PICTURES
from worker.engine.session import CUDA, Floats, Session
from worker.errors import EngineError
from worker.settings import EngineSettings
from worker.translator import Array, Arrays


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

    def run(self, graph: str, inputs: Arrays) -> dict[str, Array]:
        """A graph's outputs by kind, given its inputs by kind, n rows of each: their types and axes as in Arrays.

        Raises ValueError for arrays that do not fit the bundle, EngineError where the graph fails.
        """
        self._check(graph, inputs)
        session = self._sessions.get(graph)
        if session is None:
            raise EngineError(f"{self.bundle.ref} is closed")
        picture = self.bundle.manifest.picture
        tensors = {
            kind: to_tensor(array, picture) if kind == "pixels" else array.astype(np.float32, copy=False)
            for kind, array in inputs.items()
        }
        made: dict[str, list[Array]] = {}
        for part in run_in_parts(session.run, tensors, most=self._max_batch, sizes=self._sizes(session)):
            for kind, rows in part.items():
                # Each part at once, so that float32 pictures of a long batch are never in memory together.
                made.setdefault(kind, []).append(to_pixels(rows, picture) if kind in PICTURES else rows)
        return {kind: parts[0] if len(parts) == 1 else np.concatenate(parts) for kind, parts in made.items()}

    def warm(self) -> None:
        """Runs every graph at every batch size it will see, so that no request pays for a first time."""
        picture = self.bundle.manifest.picture
        # No zeros where a graph may divide by a norm or by the length of a text: it would fail for no reason.
        values = {"pixels": sum(picture.range) / 2, "latent": 0.5, "labels": 0, "text": ord("a")}
        for name, session in self._sessions.items():
            ports = self.bundle.manifest.graphs[name].inputs
            shapes = {port.kind: [length or picture.size for length in picture.row(port)] for port in ports}
            for rows in self._sizes(session) or (1,):
                session.run({kind: np.full((rows, *row), values[kind], np.float32) for kind, row in shapes.items()})

    def close(self) -> None:
        """Lets the graphs and their memory go; a closed engine runs nothing."""
        self._sessions = {}

    def _check(self, graph: str, inputs: Arrays) -> None:
        """Raises ValueError unless the inputs are those of the graph's ports, with as many rows each."""
        manifest = self.bundle.manifest
        if graph not in manifest.graphs:
            raise ValueError(f"{self.bundle.ref} has no graph {graph!r}; it has {', '.join(manifest.graphs)}")
        label, ports = f"{self.bundle.ref}: graph {graph!r}", manifest.graphs[graph].inputs
        if inputs.keys() != (kinds := {port.kind for port in ports}):
            raise ValueError(f"{label} takes {', '.join(sorted(kinds))}, and got {', '.join(sorted(inputs))}")
        rows = len(next(iter(inputs.values())))
        for port in ports:
            array, row = inputs[port.kind], manifest.picture.row(port)
            if port.kind == "pixels":
                row = (*row[1:], row[0])  # colours come last where pictures are bytes
            dtype = np.uint8 if port.kind in ("pixels", "text") else np.float32
            wanted = ["any" if length is None else length for length in (rows, *row)]
            fits = len(array.shape) == len(wanted) and all(
                length in ("any", found) for found, length in zip(array.shape, wanted, strict=True)
            )
            if array.dtype != dtype or not fits:
                found = f"{array.dtype} {list(array.shape)}"
                raise ValueError(f"{label} takes {port.kind} as {np.dtype(dtype)} {wanted}, and got {found}")
            multiple = manifest.picture.multiple
            if None in row and any(side == 0 or side % multiple for side in array.shape[1:3]):
                height, width = array.shape[1:3]
                raise ValueError(f"{label} takes sides that are multiples of {multiple}, and got {height} x {width}")

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
    run: Callable[[Mapping[str, Floats]], dict[str, Floats]],
    inputs: Mapping[str, Floats],
    *,
    most: int,
    sizes: Sequence[int],
) -> Iterator[dict[str, Floats]]:
    """Runs n rows in parts of at most `most`, each padded to the next of `sizes`, if there are any.

    Yields what `run` gave for each part, without the padding.
    """
    for start in range(0, len(next(iter(inputs.values()))), most):
        part = {kind: rows[start : start + most] for kind, rows in inputs.items()}
        rows = len(next(iter(part.values())))
        padded = next((size for size in sizes if size >= rows), rows)
        if padded > rows:
            # With copies of the last row, which the graph is sure to handle, unlike zeros.
            part = {
                kind: np.concatenate([array, np.repeat(array[-1:], padded - rows, axis=0)])
                for kind, array in part.items()
            }
        yield {kind: array[:rows] for kind, array in run(part).items()}
