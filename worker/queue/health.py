"""The small HTTP port on which a worker says whether it lives; for probes and Prometheus alone, so it is plain."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from worker.exposition import MEDIA_TYPE, Registry


class Health:
    """Answers /healthz with 200, or 503 and the reason, and /metrics as Prometheus reads it, until it is closed."""

    def __init__(self, port: int, ailing: Callable[[], str | None], registry: Registry) -> None:
        """`ailing` says what is wrong; None: nothing. Raises OSError where the port is taken."""
        self._server = ThreadingHTTPServer(("", port), _handler(ailing, registry))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    def close(self) -> None:
        """Frees the port."""
        self._server.shutdown()
        self._server.server_close()


def _handler(ailing: Callable[[], str | None], registry: Registry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            if self.path == "/healthz":
                reason = ailing()
                self._answer(503 if reason else 200, "text/plain; charset=utf-8", f"{reason or 'ok'}\n".encode())
            elif self.path == "/metrics":
                self._answer(200, MEDIA_TYPE, registry.text())
            else:
                self._answer(404, "text/plain; charset=utf-8", b"/healthz and /metrics are here\n")

        def log_message(self, format: str, *args: object) -> None:
            """Probes come every few seconds, and say nothing new."""

        def _answer(self, status: int, media_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
