"""Real worker processes for tests, each with a log of its own; what they are told is told by their environment."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from support.redis import Server

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0

_CODE = """
import logging, sys
from pathlib import Path
from models.bundle.store import Store
from worker.settings import EngineSettings, JobSettings, Limits, QueueSettings
from wiring.process import Process
from wiring.worker import work
logging.basicConfig(level=logging.INFO)
logging.getLogger("celery").setLevel(logging.WARNING)
{prelude}
with Process(Store([Path(sys.argv[1])]), JobSettings()) as process:
    sys.exit(work(process, EngineSettings(), QueueSettings(), Limits()))
"""

SLOW = """
import time
from worker.engine.engine import Engine
quick = Engine.run
def slow(engine, graph, inputs):
    if graph != "classifier":
        time.sleep({seconds})
    return quick(engine, graph, inputs)
Engine.run = slow
"""
"""A prelude for a device on which every batch of a translation takes some seconds."""


class Worker:
    """`recast work` as a process, over a store and in a folder of its own."""

    def __init__(self, folder: Path, store: Path, settings: Mapping[str, str], prelude: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log_file = folder / "worker.log"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RECAST_")}
        environment |= {f"RECAST_{name.upper()}": value for name, value in settings.items()}
        environment |= {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _CODE.format(prelude=prelude), str(store)],
                cwd=folder,
                env=environment,
                stdout=log,
                stderr=log,
            )

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return self.log_file.read_text()

    def wait_for(self, words: str) -> None:
        """Returns when its log holds the words."""
        until = time.monotonic() + PATIENCE_S
        while words not in self.log:
            assert self.process.poll() is None, self.log
            assert time.monotonic() < until, self.log
            time.sleep(0.05)

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        self.process.terminate()
        return self.process.wait(PATIENCE_S)

    def kill(self) -> None:
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@contextmanager
def working(
    folder: Path,
    server: Server,
    store: Path,
    *,
    prelude: str = "",
    ready: bool = True,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Worker]:
    """A worker of this broker that beats; killed in the end, if it is still there."""
    told = {
        "broker": server.url,
        "device": "cpu",
        "threads": "1",
        "storage": str(folder / "storage"),
        **(settings or {}),
    }
    before = _crew(server) if ready else set()
    worker = Worker(folder, store, told, prelude)
    try:
        until = time.monotonic() + PATIENCE_S
        while ready and not _crew(server) - before:
            assert worker.process.poll() is None, worker.log
            assert time.monotonic() < until, worker.log
            time.sleep(0.05)
        yield worker
    finally:
        if worker.process.poll() is None:
            worker.kill()


def _crew(server: Server) -> set[bytes]:
    with server.client() as client:
        return set(client.zrange("recast:workers", 0, -1))
