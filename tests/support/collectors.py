"""A collector of traces for tests: takes OTLP over HTTP, as real ones do, and keeps every span."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Seen:
    """A span that arrived; ids in hexadecimal, times in nanoseconds, `parent` empty where it has none."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    begun: int
    ended: int
    attributes: dict[str, str | int]
    failed: bool


@dataclass
class Collector:
    """What came to `endpoint` so far."""

    endpoint: str
    spans: list[Seen] = field(default_factory=list)

    def named(self, name: str) -> Seen:
        """The only span of that name."""
        (found,) = (span for span in self.spans if span.name == name)
        return found

    def below(self, above: Seen) -> list[str]:
        """The names of the spans right below another one, in the order in which they began."""
        found = [span for span in self.spans if span.parent == above.id]
        return [span.name for span in sorted(found, key=lambda span: span.begun)]


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a port of its own."""
    collector = Collector("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            collector.spans += _spans(ExportTraceServiceRequest.FromString(data))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector.endpoint = f"http://127.0.0.1:{server.server_port}/v1/traces"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()


def _spans(request: ExportTraceServiceRequest) -> Iterator[Seen]:
    for resource in request.resource_spans:
        facts = {each.key: each.value.string_value for each in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Seen(
                    service=facts["service.name"],
                    name=span.name,
                    trace=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    begun=span.start_time_unix_nano,
                    ended=span.end_time_unix_nano,
                    attributes={each.key: each.value.string_value or each.value.int_value for each in span.attributes},
                    failed=span.status.code == span.status.STATUS_CODE_ERROR,
                )
