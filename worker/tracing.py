"""Where spans are said to begin and end; nothing comes of it unless worker.otel is put in the place of this tracer."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

Attributes = Mapping[str, str | int]
Kind = Literal["internal", "server", "client"]
"""Work of one's own; work for another process; work that another process may be asked to do."""


class Span:
    """Something under way that a trace will show; this one is not shown."""

    def tell(self, attributes: Attributes, *, name: str | None = None, failed: bool = False) -> None:
        """Adds what is known only now."""


class Tracer:
    """Records nothing. What is under way is known to the task, and to those that it starts."""

    def span(
        self, name: str, attributes: Attributes | None = None, *, kind: Kind = "internal", within: str | None = None
    ) -> AbstractContextManager[Span]:
        """A span that lasts as long as the block, below the one that is under way.

        within: the traceparent (W3C Trace Context) that came from another process, to be below that one instead; if it
            can't be read, a new trace begins.
        """
        return nullcontext(_UNSEEN)

    def computed(self, queue_s: float, infer_s: float, *, within: str) -> None:
        """What has just been done on the device: spans `queue` and `batch`, one after the other, below `within`."""

    def here(self) -> str | None:
        """The traceparent of the span under way, for another process; None: there is none."""
        return None

    def close(self) -> None:
        """Sends what is left; for when nothing is recorded any more."""


_UNSEEN = Span()
SILENT = Tracer()
"""For where no traces are wanted; it has no state."""
