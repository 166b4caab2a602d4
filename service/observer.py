"""Counts, times and traces every request, and gives the log its id.

Labels are routes and codes, never a path or name that a client sent: those would grow without limit.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import Counter, Histogram
from starlette.datastructures import Headers
from starlette.types import Scope

from worker.exposition import SECONDS, Registry
from worker.logs import set_ids
from worker.tracing import SILENT, Tracer

HUNG_UP = 499
"""The status of requests whose client hung up before the answer, as nginx counts them."""

OTHER = "other"
"""The label of unknown paths and of unknown methods."""

UNTRACED = frozenset({"/healthz", "/readyz", "/metrics"})
"""Paths that probes call every few seconds: their traces would bury all others."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@dataclass
class Exchange:
    """A request that is being answered; `status` is None until the answer begins."""

    status: int | None = None


class Observer:
    """Observes the requests of one application."""

    def __init__(self, registry: Registry, tracer: Tracer = SILENT) -> None:
        self.registry = registry
        self._tracer = tracer
        self._requests = Counter(
            "recast_requests",
            "Requests by the status of their answer; 499: the client hung up before it.",
            ["route", "method", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "recast_request_seconds",
            "From a request's head to the end of its answer, the upload included.",
            ["route", "method"],
            buckets=SECONDS,
            registry=registry,
        )
        self._problems = Counter("recast_problems", "Answers that were errors, by code.", ["code"], registry=registry)

    @contextmanager
    def request(self, scope: Scope) -> Iterator[Exchange]:
        """Observes the block in which a request is answered; the scope's `state` must have its `request_id`."""
        exchange = Exchange()
        method = scope["method"] if scope["method"] in METHODS else OTHER
        request_id = scope["state"]["request_id"]
        parent = Headers(scope=scope).get("traceparent")
        root = scope.get("root_path", "")
        # The client's `traceparent` is trusted: behind a proxy, a trace begins at the proxy.
        tracer = SILENT if scope["path"].removeprefix(root) in UNTRACED else self._tracer
        began = time.monotonic()
        attributes = {"http.request.method": method, "recast.request_id": request_id}
        set_ids(request_id=request_id)
        with tracer.span(method, attributes, kind="server", within=parent) as span:
            try:
                yield exchange
            finally:
                # The path's template, as in OpenAPI; for a mounted application, the path of the mount.
                mounted = scope.get("root_path", "").removeprefix(root) or OTHER
                route = scope["route"].path_format if "route" in scope else mounted
                status = exchange.status or HUNG_UP
                self._requests.labels(route, method, str(status)).inc()
                self._seconds.labels(route, method).observe(time.monotonic() - began)
                if code := scope["state"].get("problem"):
                    self._problems.labels(code).inc()
                span.update(
                    {"http.route": route, "http.response.status_code": status},
                    name=f"{method} {route}",
                    failed=status >= 500,
                )
