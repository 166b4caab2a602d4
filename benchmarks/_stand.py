"""Redis, a service and workers as real processes, started by the documented commands, to be killed and brought back.

Whoever is killed here is started again at once, as a supervisor would; who ends by itself too, and it is noted.
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
"""Seconds until service and workers must be ready for the first time."""

_ANSWER_S = 10.0
_PORTS = range(20_000, 32_000)
_SETTINGS = {"RECAST_THREADS": "1", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


class Member:
    """A process that is there again as soon as it is killed; its log is a file of its name."""

    def __init__(self, name: str, command: Sequence[str], folder: Path, settings: Mapping[str, str]) -> None:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("RECAST_")}
        self.name, self._command, self._folder = name, command, folder
        self._environment = {**inherited, **_SETTINGS, **settings}
        self.kills: list[float] = []
        self._process = self._start()

    def kill(self) -> float:
        """kill -9 and a new start; when that was, seconds since 1970."""
        self.kills.append(time.time())
        self.close()
        self._process = self._start()
        return self.kills[-1]

    def revive(self) -> str | None:
        """Starts it again if it ended by itself, which is then said; None: it runs."""
        code = self._process.poll()
        if code is None:
            return None
        self._process = self._start()
        return f"the {self.name} ended by itself, with code {code}"

    @property
    def pid(self) -> int:
        """The process's number, since its last start."""
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has logged so far, at all its starts."""
        return (self._folder / f"{self.name}.log").read_text(errors="replace")

    def close(self) -> None:
        """kill -9."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def _start(self) -> "subprocess.Popen[bytes]":
        with (self._folder / f"{self.name}.log").open("ab") as log:
            return subprocess.Popen(
                self._command, cwd=self._folder, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )


@dataclass(frozen=True)
class Stand:
    """The processes, and where they are found."""

    redis: Member
    service: Member
    workers: Sequence[Member]
    address: str
    broker: str
    storage: Path

    @property
    def members(self) -> list[Member]:
        """All processes."""
        return [self.redis, self.service, *self.workers]

    def wait(self) -> None:
        """Returns when pictures can be translated."""
        _until(self._ready, "the service")

    def revive(self) -> list[str]:
        """Starts again what ended by itself, and says so."""
        return [said for member in self.members if (said := member.revive())]

    def errors(self) -> list[str]:
        """What the logs hold of bugs; that a part does not answer is a warning."""
        lines = [line for member in self.members for line in member.log.splitlines()]
        return [line for line in lines if " ERROR " in line or " CRITICAL " in line]

    def flush(self) -> float:
        """FLUSHALL, as soon as Redis answers; when that was, seconds since 1970."""
        with redis.Redis.from_url(self.broker, socket_timeout=_ANSWER_S) as client:
            _until(lambda: _answers(client), "Redis")
            client.flushall()
        return time.time()

    def _ready(self) -> bool:
        if ended := self.revive():
            raise RuntimeError("; ".join(ended))
        try:
            return httpx.get(f"{self.address}/readyz", timeout=_ANSWER_S).status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def stand(folder: Path, store: Path, *, workers: int, deadline_s: float) -> Iterator[Stand]:
    """The processes over a store of bundles, ready; their files lie in the folder. After the block they are gone."""
    storage, queue_port, port = folder / "storage", _free_port(), _free_port()
    broker, address = f"redis://127.0.0.1:{queue_port}/0", f"http://127.0.0.1:{port}"
    places = ["--store", str(store), "--storage", str(storage), "--broker", broker]
    recast = [sys.executable, "-m", "recast"]
    commands = {
        "redis": _redis(queue_port, folder),
        "service": [*recast, "serve", "--port", str(port), *places],
        **{f"worker {n}": [*recast, "work", "--device", "cpu", *places] for n in range(1, workers + 1)},
    }
    with ExitStack() as closing:
        members = []
        for name, command in commands.items():
            members.append(Member(name, command, folder, {"RECAST_DEADLINE_S": str(deadline_s)}))
            closing.callback(members[-1].close)
        made = Stand(members[0], members[1], members[2:], address, broker, storage)
        made.wait()
        yield made


def _redis(port: int, folder: Path) -> list[str]:
    """Redis as it is recommended to be run."""
    program = shutil.which("redis-server")
    if program is None:
        raise FileNotFoundError("there is no redis-server here")
    options = f"--port {port} --bind 127.0.0.1 --dir {folder} --appendonly yes --maxmemory-policy noeviction"
    return [program, *options.split(), "--save", "", "--loglevel", "warning"]


def _free_port() -> int:
    """A port below those that the system gives to connections, or one of these has it while its owner is away."""
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("there is no free port")


def _until(happens: Callable[[], bool], who: str) -> None:
    until = time.monotonic() + START_S
    while not happens():
        if time.monotonic() > until:
            raise TimeoutError(f"{who} was not ready within {START_S:g} s")
        time.sleep(0.05)


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
