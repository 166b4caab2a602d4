"""The one door to inference: arrays in, arrays out; callers can't tell in which process a graph runs.

What travels is small: pictures and text are uint8, and become float32 in the engine.
"""

import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from numpy.typing import NDArray

from models.bundle.archive import Bundle
from worker.errors import Overloaded, TimedOut

UNKNOWN_RATE_RETRY_S = 1.0
"""What Retry-After says of a full queue before the first batch is done, seconds."""

Array = NDArray[Any]
"""uint8 or float32; the first axis counts the rows."""
Arrays = Mapping[str, Array]
"""What a graph takes or gives, by the kinds of its ports.

uint8: pixels, translated and pictures [n,h,w,3] RGB, text [n,longest]. float32: latent, labels, logits, score, features
and map, with the axes of their ports after the first.
"""


# eq=False, here and below: arrays can't be compared to one truth value.
@dataclass(frozen=True, eq=False)
class Order:
    """One call of a Translator. Raises ValueError unless all inputs have the same number of rows, at least one."""

    bundle: str
    """`name@version`."""
    graph: str
    inputs: Arrays
    deadline: float
    """A moment of this process's time.monotonic()."""
    arrived: float = field(default_factory=time.monotonic)
    request_id: str | None = None
    """Of the HTTP request that it is a part of, for the log."""
    trace: str | None = None
    """The traceparent of the span that it is a part of; None: the one under way."""

    def __post_init__(self) -> None:
        """Counts the rows of each input."""
        counts = {array.shape[:1] for array in self.inputs.values()}
        if len(counts) != 1 or counts & {(), (0,)}:
            axes = ", ".join(f"{kind} {list(array.shape)}" for kind, array in self.inputs.items())
            raise ValueError(f"an order needs inputs with one row or more, as many in each; got {axes or 'none'}")

    @property
    def rows(self) -> int:
        """Rows of each input."""
        return len(next(iter(self.inputs.values())))

    @property
    def kind(self) -> Hashable:
        """Equal for orders of one bundle whose rows fit into one batch."""
        return self.graph, frozenset((name, array.shape[1:]) for name, array in self.inputs.items())


@dataclass(frozen=True, eq=False)
class Done:
    """The result of an order: the graph's outputs, and the seconds that it waited and was computed."""

    outputs: Arrays
    queue_s: float
    infer_s: float


class Translator(Protocol):
    """Runs a bundle's graphs; every `deadline` is a moment of time.monotonic(), in seconds."""

    async def run(self, bundle: Bundle, graph: str, inputs: Arrays, *, deadline: float) -> Done:
        """The graph's outputs by kind, as many rows as there are of each input.

        Raises Overloaded at once when the queue is full, TimedOut when the deadline passes, NotReady if nothing runs.
        """

    async def ready(self) -> None:
        """Returns when graphs can be run; raises NotReady with the reason until then."""

    async def close(self) -> None:
        """Fails waiting orders and frees the device."""


def overloaded(under_way: int, rate: float | None) -> Overloaded:
    """The error of a full queue, which should be empty after `under_way` pictures at `rate` pictures a second."""
    retry_after = under_way / rate if rate else UNKNOWN_RATE_RETRY_S
    return Overloaded(f"{under_way} pictures are under way, and no more may wait", retry_after=retry_after)


def timed_out(ref: str) -> TimedOut:
    """The error of an order for the bundle `ref` whose deadline passed."""
    return TimedOut(f"{ref} did not answer within the time allowed; the work is dropped")
