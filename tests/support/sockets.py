"""Bare connections for tests, over which a client can do what no library would."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx

WAIT_S = 20


def free_port() -> int:
    """A port that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def connected(client: httpx.Client) -> Iterator[socket.socket]:
    """A bare connection to the client's service, closed at the end of the block."""
    address = urlsplit(str(client.base_url))
    with socket.create_connection((address.hostname, address.port), timeout=WAIT_S) as connection:
        yield connection


def assert_closed_with(connection: socket.socket, status: int, code: str) -> None:
    """The server answers with this problem and then closes the connection."""
    answer = b""
    while received := connection.recv(65536):
        answer += received
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer
    assert b"connection: close" in head.lower()
    assert f'"code":"{code}"'.encode() in body
