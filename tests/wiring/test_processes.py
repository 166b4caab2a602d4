"""Every process as the command line starts it: each follows its store, and closes on SIGTERM."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from PIL import Image, ImageChops
from support import redis
from support.bundles import flip_bundle, toy_bundle
from support.people import people
from support.pictures import png as encoded
from support.services import png
from support.sockets import free_port

ROOT = Path(__file__).parents[2]
PATIENCE_S = 90.0


class Processes:
    """A service and its workers, as `recast` starts them, with a store of their own."""

    def __init__(self, folder: Path, stack: ExitStack, *, workers: int) -> None:
        """Starts them; without workers there is no broker either."""
        self.store = folder / "store"
        toy_bundle(self.store)
        self._folder = folder
        self.port = free_port()
        self.settings = {"STORAGE": str(folder / "jobs"), "THREADS": "1", "PORT": str(self.port)}
        # Of the bundles only the test's own are loaded before they are asked for: the shipped ones are larger.
        self.settings |= {"CACHE_BYTES": "100000"}
        if workers:
            server = stack.enter_context(redis.serving(folder / "redis"))
            self.settings["BROKER"] = server.url
        names = [*(f"work{number}" for number in range(workers)), "serve"]
        self.running = {name: stack.enter_context(self._begun(name)) for name in names}
        self.client = stack.enter_context(
            httpx.Client(base_url=f"http://127.0.0.1:{self.port}", trust_env=False, timeout=PATIENCE_S)
        )
        self.wait_for(lambda: self.ready)

    @property
    def ready(self) -> bool:
        """Whether the service answers that it is ready."""
        with suppress(httpx.TransportError):
            return self.client.get("/readyz").status_code == 200
        return False

    def log(self, name: str) -> str:
        """The log of a process."""
        return (self._folder / f"{name}.log").read_text()

    def translate(
        self, domains: str, model: str, region: str = "auto", picture: Image.Image | None = None
    ) -> httpx.Response:
        """Translates one picture through the service, a small one by default."""
        content = png({"black"}) if picture is None else encoded(picture)
        return self.client.post(f"/translate?domains={domains}&model={model}&region={region}", content=content)

    def models(self) -> set[str]:
        """The bundles that the service offers, without the shipped ones."""
        found = self.client.get("/models").json()["models"]
        return {f"{model['name']}@{model['version']}" for model in found if model["name"] in ("toy", "flip")}

    def wait_for(self, happens: Callable[[], bool]) -> None:
        """Waits until that is true."""
        until = time.monotonic() + PATIENCE_S
        while not happens():
            for name, process in self.running.items():
                assert process.poll() is None, self.log(name)
            assert time.monotonic() < until, [self.log(name) for name in self.running]
            time.sleep(0.05)

    @contextmanager
    def asked_all_the_time(self) -> Iterator[None]:
        """Asks the service for one picture after another during the block; none may fail."""
        over, statuses = threading.Event(), Counter[tuple[int, str]]()

        def ask() -> None:
            while not over.is_set():
                answer = self.translate("blond", "toy")
                statuses[answer.status_code, answer.text if answer.is_error else ""] += 1
                time.sleep(0.02)

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            yield
        finally:
            over.set()
            asking.join()
        assert statuses.keys() == {(200, "")}

    @contextmanager
    def _begun(self, name: str) -> "Iterator[subprocess.Popen[bytes]]":
        environment = {key: value for key, value in os.environ.items() if not key.startswith("RECAST_")}
        environment |= {f"RECAST_{key}": value for key, value in self.settings.items()}
        environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        words = [sys.executable, "-m", "recast", name.rstrip("0123456789"), "--store", str(self.store)]
        with (self._folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(words, cwd=self._folder, env=environment, stdout=log, stderr=log)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


@pytest.fixture(params=[0, 2], ids=["alone", "with-workers"])
def processes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Processes]:
    """A service alone, and one with two workers."""
    with ExitStack() as stack:
        yield Processes(tmp_path, stack, workers=request.param)


def remove(store: Path, name: str) -> None:
    """Takes a bundle out of a store at one moment."""
    (store / name).rename(store / f".{name}")


@pytest.mark.timeout(300)
def test_a_service_follows_its_store(processes: Processes) -> None:
    """A bundle that appears, is replaced or goes is noticed without a restart and without a failed request."""
    assert processes.models() == {"toy@1"}
    with processes.asked_all_the_time():
        flip_bundle(processes.store)
        processes.wait_for(lambda: "flip@1" in processes.models())
        assert processes.translate("zebra", "flip").status_code == 200
        toy_bundle(processes.store, version="2")
        processes.wait_for(lambda: processes.models() == {"flip@1", "toy@2"})
        assert processes.translate("blond", "toy").headers["recast-model"] == "toy@2"
        remove(processes.store, "flip")
        processes.wait_for(lambda: processes.models() == {"toy@2"})
        assert processes.translate("zebra", "flip").json()["code"] == "unknown-model"


@pytest.mark.timeout(300)
def test_jobs_are_done_with_what_is_there(processes: Processes) -> None:
    """A job that is sent after a bundle was replaced is translated with the new version."""
    toy_bundle(processes.store, version="2")
    processes.wait_for(lambda: processes.models() == {"toy@2"})
    sent = processes.client.post("/jobs?domains=blond&model=toy", files={"images": ("a.png", png({"black"}))})
    assert sent.status_code == 202
    processes.wait_for(lambda: processes.client.get(sent.headers["location"]).json()["state"] == "done")
    assert sent.json()["model"] == "toy@2"


@pytest.mark.timeout(300)
def test_faces_are_found_where_the_models_run(processes: Processes) -> None:
    """With `region=face` a tilted face is changed and the rest is not; the detector is loaded when it is asked for."""
    picture = people((320, 240), (2, 128, 150, 60)).rotate(20, fillcolor=(90, 110, 130))
    answer = processes.translate("blond", "toy", "face", picture)
    assert answer.status_code == 200, answer.text
    made = Image.open(io.BytesIO(answer.content)).convert("RGB")
    changed = ImageChops.difference(made, picture).getbbox()
    assert changed is not None
    assert changed[0] > 80
    assert processes.translate("blond", "toy", "face", Image.new("RGB", (64, 64))).json()["code"] == "no-face"


@pytest.mark.timeout(300)
def test_each_process_closes_when_it_is_told_to(processes: Processes) -> None:
    """SIGTERM ends each process with exit code 0, and the one with the engine unloads its bundles."""
    assert processes.translate("blond", "toy").status_code == 200
    for name, process in reversed(processes.running.items()):
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0, processes.log(name)
        has_engine = len(processes.running) == 1 or name != "serve"
        assert ("toy@1 is unloaded" in processes.log(name)) == has_engine
        assert "Traceback" not in processes.log(name)


def test_commands_see_the_store_as_it_is(tmp_path: Path) -> None:
    """Each run of `translate`, `doctor` and `models` finds the bundles of that moment."""
    store, source = tmp_path / "store", tmp_path / "in.png"
    source.write_bytes(png({"black"}))
    toy_bundle(store)

    def recast(*words: str) -> "subprocess.CompletedProcess[str]":
        environment = {key: value for key, value in os.environ.items() if not key.startswith("RECAST_")}
        environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RECAST_CACHE_BYTES": "100000"}
        command = [sys.executable, "-m", "recast", *words, "--store", str(store)]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    def seen() -> tuple[int, set[str], bool]:
        translated = recast("translate", "in.png", "--domains", "zebra", "--model", "flip", "--out", "out.png")
        listed = json.loads(recast("models", "--json").stdout)["models"]
        refs = {f"{model['name']}@{model['version']}" for model in listed if model["name"] in ("toy", "flip")}
        return translated.returncode, refs, "bundle flip@1: every graph runs" in recast("doctor").stdout

    assert seen() == (2, {"toy@1"}, False)
    flip_bundle(store)
    toy_bundle(store, version="2")
    assert seen() == (0, {"flip@1", "toy@2"}, True)
    remove(store, "flip")
    assert seen() == (2, {"toy@2"}, False)
