"""A real HTTP server for what is sent outwards: it answers as told, hangs, redirects, and remembers what it got."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Reply:
    """What the receiver does with one request."""

    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    hang: bool = False
    """Answers nothing until the receiver is closed."""
    drop: bool = False
    """Hangs up without an answer."""
    endless: bool = False
    """Never ends its body."""
    slow: bool = False
    """Begins to answer at once, and goes on for ten seconds."""


@dataclass(frozen=True)
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes


@dataclass(frozen=True)
class Receiver:
    """A server that runs."""

    port: int
    received: list[Received]
    """Every request, the oldest first."""
    names: list[str]
    """The host names that TLS connections asked for."""

    def url(self, host: str = "127.0.0.1", *, scheme: str = "http", path: str = "/hook") -> str:
        """Where it is, under a host name of one's choice."""
        return f"{scheme}://{host}:{self.port}{path}"


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for them

    def __init__(self, replies: list[Reply]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies = replies
        self.received: list[Received] = []
        self.closing = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.received.append(Received(self.path, headers, body))
        reply = self.server.replies[min(len(self.server.received), len(self.server.replies)) - 1]
        if reply.hang:
            self.server.closing.wait(60)
        if reply.hang or reply.drop:
            return
        with suppress(OSError):  # the caller may hang up
            self._answer(reply)

    def _answer(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for number in range(100 if reply.slow else 0):
            self.send_header(f"x-{number}", "slow")
            self.flush_headers()
            self.server.closing.wait(0.1)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)
        while reply.endless and not self.server.closing.is_set():
            self.wfile.write(bytes(65536))

    def log_message(self, format: str, *args: object) -> None:
        return


@contextmanager
def receiver(*replies: Reply | int, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """A receiver on a free port of 127.0.0.1; it gives one reply after another, and then the last one again."""
    server = _Server([reply if isinstance(reply, Reply) else Reply(reply) for reply in replies or (204,)])
    names: list[str] = []
    if tls is not None:
        tls.sni_callback = lambda connection, name, context: names.append(name)
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield Receiver(server.server_address[1], server.received, names)
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def certificate(name: str, folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's TLS with a certificate for a name, and that of a client which trusts it and nothing else."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / f"{name}.pem"
    file.write_bytes(public + private)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    client = ssl.create_default_context(cadata=public.decode())
    return server, client
