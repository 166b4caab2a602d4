"""A real Redis for tests: on a port of its own, its files in a folder of its own, to be killed and started again."""

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

PATIENCE_S = 20.0


class Server:
    """redis-server with an append-only file and `noeviction`, as it is recommended to be run."""

    def __init__(self, folder: Path, *, maxmemory: str = "0", tls: bool = False) -> None:
        """With `tls`, the folder holds `certificate.pem` for localhost and `key.pem`, and nothing else is spoken."""
        self._folder = folder
        self._maxmemory = maxmemory
        self._tls = tls
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]

    @property
    def url(self) -> str:
        return f"rediss://localhost:{self.port}/0" if self._tls else f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        """A client for the test itself."""
        return redis.Redis(port=self.port, socket_timeout=PATIENCE_S, ssl=self._tls, ssl_cert_reqs="none")

    def start(self) -> None:
        """Starts it and returns when it answers; what its files hold is there again."""
        program = shutil.which("redis-server") or "/usr/bin/redis-server"
        tls = {
            "port": "0",
            "tls-port": str(self.port),
            "tls-cert-file": "certificate.pem",
            "tls-key-file": "key.pem",
            "tls-auth-clients": "no",
        }
        options = {
            **(tls if self._tls else {"port": str(self.port)}),
            "bind": "127.0.0.1",
            "dir": str(self._folder),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory": self._maxmemory,
            "maxmemory-policy": "noeviction",
            "loglevel": "warning",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        self._process = subprocess.Popen([program, *words], cwd=self._folder, stdout=subprocess.DEVNULL)
        until = time.monotonic() + PATIENCE_S
        with self.client() as client:
            while not self._answers(client):
                assert self._process.poll() is None, "redis-server ended at once"
                assert time.monotonic() < until, "redis-server did not answer"
                time.sleep(0.02)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def hang(self) -> None:
        """SIGSTOP: connections stay, and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _answers(self, client: redis.Redis) -> bool:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False


@contextmanager
def serving(folder: Path, *, maxmemory: str = "0", tls: bool = False) -> Iterator[Server]:
    """A server that runs until the end of the block; the folder is made."""
    folder.mkdir(parents=True, exist_ok=True)
    server = Server(folder, maxmemory=maxmemory, tls=tls)
    server.start()
    try:
        yield server
    finally:
        server.kill()
