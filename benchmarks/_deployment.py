"""Redis, a service and workers as real processes, started by the documented commands, for benchmarks to kill.

As under a supervisor, a process that a benchmark kills starts again at once. One that ends by itself is restarted and
reported.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import redis

ROOT = Path(__file__).resolve().parents[1]
START_S = 120.0
"""Seconds that a process may take until it is ready."""

_ANSWER_S = 10.0
_PORTS = range(20_000, 32_000)
_SETTINGS = {"RECAST_THREADS": "1", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


class Supervised:
    """A process that is restarted when it is killed; it logs to FOLDER/NAME.log."""

    def __init__(self, name: str, command: Sequence[str], folder: Path, settings: Mapping[str, str]) -> None:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("RECAST_")}
        self.name, self._command, self._folder = name, command, folder
        self._environment = {**inherited, **_SETTINGS, **settings}
        self.kills: list[float] = []
        """When it was killed, seconds since 1970."""
        self._process = self._start()

    def kill(self) -> float:
        """Kills it with -9 and starts it again; the time of the kill, seconds since 1970."""
        self.kills.append(time.time())
        self.close()
        self._process = self._start()
        return self.kills[-1]

    def restart_if_ended(self) -> str | None:
        """Restarts it if it ended by itself, and returns a sentence about that; None if it runs."""
        code = self._process.poll()
        if code is None:
            return None
        self._process = self._start()
        return f"the {self.name} ended by itself, with code {code}"

    @property
    def pid(self) -> int:
        """The process's number since its last start."""
        return self._process.pid

    @property
    def log(self) -> str:
        """Everything that it has logged, over all its starts."""
        return (self._folder / f"{self.name}.log").read_text(errors="replace")

    def close(self) -> None:
        """Kills it with -9."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def _start(self) -> "subprocess.Popen[bytes]":
        with (self._folder / f"{self.name}.log").open("ab") as log:
            return subprocess.Popen(
                self._command, cwd=self._folder, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )


@dataclass(frozen=True)
class Deployment:
    """The processes, and their addresses."""

    redis: Supervised
    service: Supervised
    workers: Sequence[Supervised]
    address: str
    broker: str
    storage: Path

    @property
    def processes(self) -> list[Supervised]:
        """All processes."""
        return [self.redis, self.service, *self.workers]

    def wait(self) -> None:
        """Returns when the service can translate; RuntimeError when a process ends meanwhile."""

        def ready() -> bool:
            if ended := self.restart_ended():
                raise RuntimeError("; ".join(ended))
            return is_ready(self.address)

        wait_until(ready, "the service")

    def restart_ended(self) -> list[str]:
        """Restarts the processes that ended by themselves; a sentence about each."""
        return [ended for process in self.processes if (ended := process.restart_if_ended())]

    def errors(self) -> list[str]:
        """The lines of all logs that point to a bug: errors. An unreachable part is only a warning."""
        lines = [line for process in self.processes for line in process.log.splitlines()]
        return [line for line in lines if " ERROR " in line or " CRITICAL " in line]

    def flush(self) -> float:
        """Empties Redis with FLUSHALL as soon as it answers; the time of that, seconds since 1970."""
        wait_for_redis(self.broker)
        with redis.Redis.from_url(self.broker, socket_timeout=_ANSWER_S) as client:
            client.flushall()
        return time.time()


@contextmanager
def deploy(folder: Path, store: Path, *, workers: int, deadline_s: float) -> Iterator[Deployment]:
    """Processes that serve a store of bundles, ready; their files lie in `folder`. They end with the block."""
    storage, redis_port, port = folder / "storage", free_port(), free_port()
    broker, address = f"redis://127.0.0.1:{redis_port}/0", f"http://127.0.0.1:{port}"
    places = ["--store", str(store), "--storage", str(storage), "--broker", broker]
    recast = [sys.executable, "-m", "recast"]
    commands = {
        "redis": redis_command(redis_port, folder, appendonly=True),
        "service": [*recast, "serve", "--port", str(port), *places],
        **{f"worker {n}": [*recast, "work", "--device", "cpu", *places] for n in range(1, workers + 1)},
    }
    with ExitStack() as closing:
        processes = []
        for name, command in commands.items():
            processes.append(Supervised(name, command, folder, {"RECAST_DEADLINE_S": str(deadline_s)}))
            closing.callback(processes[-1].close)
        deployment = Deployment(processes[0], processes[1], processes[2:], address, broker, storage)
        deployment.wait()
        yield deployment


def redis_command(port: int, folder: Path, appendonly: bool) -> list[str]:
    """Redis with the recommended settings; FileNotFoundError when it is not installed."""
    program = shutil.which("redis-server")
    if program is None:
        raise FileNotFoundError("redis-server is not installed")
    options = f"--port {port} --bind 127.0.0.1 --dir {folder} --maxmemory-policy noeviction --loglevel warning"
    return [program, *options.split(), "--appendonly", "yes" if appendonly else "no", "--save", ""]


def free_port() -> int:
    """A free port below those that the system gives to connections: a connection could take it during a restart."""
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError(f"all ports from {_PORTS.start} to {_PORTS.stop - 1} are in use")


def is_ready(address: str) -> bool:
    """Whether a service answers that it is ready."""
    try:
        return httpx.get(f"{address}/readyz", timeout=_ANSWER_S).status_code == 200
    except httpx.TransportError:
        return False


def wait_for_redis(url: str) -> None:
    """Returns when Redis answers; TimeoutError after START_S."""

    def answers() -> bool:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False

    with redis.Redis.from_url(url, socket_timeout=_ANSWER_S) as client:
        wait_until(answers, "Redis")


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Returns when the condition is true; TimeoutError, which names `what`, after START_S."""
    until = time.monotonic() + START_S
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"{what} was not ready within {START_S:g} s")
        time.sleep(0.05)
