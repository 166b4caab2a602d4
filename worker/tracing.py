"""The interface of tracing. This tracer records nothing; the one in worker.otel sends spans by OpenTelemetry."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

Attributes = Mapping[str, str | int]
Kind = Literal["internal", "server", "client"]
"""Work in this process; work for a client; work that another process is asked to do."""


class Span:
    """A span under way; this one is not recorded."""

    def update(self, attributes: Attributes, *, name: str | None = None, failed: bool = False) -> None:
        """Adds what is known only later: attributes, a better name, a failure."""


class Tracer:
    """Records nothing. A task has a current span, which the tasks that it starts inherit."""

    def span(
        self, name: str, attributes: Attributes | None = None, *, kind: Kind = "internal", within: str | None = None
    ) -> AbstractContextManager[Span]:
        """A span that lasts as long as the block, a child of the current one.

        within: the traceparent (W3C Trace Context) of another process's span, which is the parent instead; if it can't
            be read, a new trace begins.
        """
        return nullcontext(_UNSEEN)

    def record_batch(self, queue_s: float, infer_s: float, *, within: str) -> None:
        """Adds a batch that has just ended: spans `queue` and `batch`, one after the other, children of `within`."""

    def traceparent(self) -> str | None:
        """The traceparent of the current span, for another process; None: there is none."""
        return None

    def close(self) -> None:
        """Sends the last spans; nothing can be recorded afterwards."""


_UNSEEN = Span()
SILENT = Tracer()
"""The default where no traces are wanted; it has no state."""
