"""Traces by OpenTelemetry, sent by OTLP over HTTP; needs the extra `otel`, so it is imported only if traces are wanted.

OpenTelemetry reads its own variables: OTEL_EXPORTER_OTLP_HEADERS, OTEL_TRACES_SAMPLER, OTEL_RESOURCE_ATTRIBUTES.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from worker.tracing import Attributes, Kind, Span, Tracer

CLOSE_S = 5.0
"""Seconds within which the last spans must be sent."""

_KINDS = {"internal": SpanKind.INTERNAL, "server": SpanKind.SERVER, "client": SpanKind.CLIENT}
_PARENT = "traceparent"


class OpenTelemetry(Tracer):
    """Records spans and sends them in the background; nothing waits for them, and spans that can't be sent are lost."""

    def __init__(self, endpoint: str, service: str) -> None:
        """`endpoint`: the URL for OTLP over HTTP, with its path; `service`: the name of this process."""
        # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win over the name.
        resource = Resource.create({SERVICE_NAME: service}).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)  # close() does it, within its limit
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint)))
        self._tracer = self._provider.get_tracer("recast")
        self._carrier = TraceContextTextMapPropagator()

    @contextmanager
    def span(
        self, name: str, attributes: Attributes | None = None, *, kind: Kind = "internal", within: str | None = None
    ) -> Iterator[Span]:
        """See Tracer; an exception that passes through is recorded in the span."""
        above = self._carrier.extract({_PARENT: within}) if within else None
        begun = self._tracer.start_as_current_span(name, above, kind=_KINDS[kind], attributes=attributes)
        with begun as span:
            yield _Recorded(span)

    def record_batch(self, queue_s: float, infer_s: float, *, within: str) -> None:
        """See Tracer."""
        above = self._carrier.extract({_PARENT: within})
        # The device reports a batch when it is done, so both spans are dated back.
        end = time.time_ns()
        begun = end - round(infer_s * 1e9)
        self._tracer.start_span("queue", above, start_time=begun - round(queue_s * 1e9)).end(begun)
        self._tracer.start_span("batch", above, start_time=begun).end(end)

    def traceparent(self) -> str | None:
        """See Tracer."""
        carried: dict[str, str] = {}
        self._carrier.inject(carried)
        return carried.get(_PARENT)

    def close(self) -> None:
        """See Tracer; takes at most CLOSE_S."""
        # In a thread: shutdown() itself waits up to 30 s for a collector that does not answer.
        closing = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        closing.start()
        closing.join(CLOSE_S)


class _Recorded(Span):
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def update(self, attributes: Attributes, *, name: str | None = None, failed: bool = False) -> None:
        self._span.set_attributes(attributes)
        if name is not None:
            self._span.update_name(name)
        if failed:
            self._span.set_status(Status(StatusCode.ERROR))
