"""`recast submit` against a real service, which restarts, refuses, or is interrupted."""

import asyncio
import re
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from fastapi import FastAPI, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from support.commands import Recast, Said
from support.lines import Line, line
from support.services import Stuck, job_parts, png, running, serving, settings

from cli import submit as submit_commands
from models.bundle.store import Store
from service.app import create_app
from service.client import Client
from worker.jobs.board import Board
from worker.jobs.intake import id_of
from worker.pipeline import Pipeline
from worker.settings import JobSettings

Submit = Callable[..., Said]


@pytest.fixture
def submit(recast_: Recast, monkeypatch: pytest.MonkeyPatch) -> Submit:
    """Runs `recast submit WORDS...`, which does not wait for a service that does not answer at first."""
    monkeypatch.setattr(submit_commands, "_FIRST_CONTACT_S", 0)
    return partial(recast_, "submit")


@pytest.fixture(scope="module")
def url(toy_store: Path) -> Iterator[str]:
    """A service."""
    with serving(Store([toy_store]), settings()) as address:
        yield address


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two pictures, one in a folder of its own."""
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name in ("a.png", "deep/b.png"):
        (tmp_path / "in" / name).write_bytes(png({"blond"}))
    return tmp_path / "in"


def names(folder: Path) -> list[str]:
    """The files below a folder."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_folder_is_translated_and_keeps_its_shape(submit: Submit, url: str, pictures: Path, tmp_path: Path) -> None:
    """A folder becomes a folder with the pictures of the single call; standard output has only the last line."""
    said = submit(pictures, "--domains", "smiling", "--url", url, "--out", tmp_path / "out")
    assert (said.code, said.out) == (0, f"2 of 2 pictures are in {tmp_path / 'out'}\n")
    assert names(tmp_path / "out") == ["a.png", "deep/b.png"]
    with Client(url) as recast:
        assert (tmp_path / "out" / "a.png").read_bytes() == recast.translate(pictures / "a.png", "smiling").data


def test_options_reach_the_service(submit: Submit, url: str, pictures: Path, tmp_path: Path) -> None:
    """`--format` decides the suffix of the results."""
    words = ["--format", "webp", "--quality", 50, "--size", "model", "--region", "whole", "--strength", 0.5]
    said = submit(pictures / "a.png", "--domains", "smiling", "--url", url, "--out", tmp_path / "out", *words)
    assert said.code == 0, said.err
    assert names(tmp_path / "out") == ["a.webp"]


def test_a_bad_picture_fails_alone(submit: Submit, url: str, pictures: Path, tmp_path: Path) -> None:
    """A picture that fails has a line with its name and reason, and the exit code is 1."""
    (pictures / "broken.png").write_bytes((pictures / "a.png").read_bytes()[:60])
    said = submit(pictures, "--domains", "smiling", "--url", url, "--out", tmp_path / "out")
    assert said.code == 1
    assert [line for line in said.err.splitlines() if line.startswith("broken.png: ")] != []
    assert said.out.startswith("2 of 3 pictures are in")


def test_a_job_is_left_to_itself_and_come_back_to(submit: Submit, url: str, pictures: Path, tmp_path: Path) -> None:
    """`--detach` prints the job's id, and `--job` with that id fetches the results."""
    said = submit(pictures, "--domains", "smiling", "--url", url, "--detach")
    assert (said.code, len(said.out.strip())) == (0, 26)
    said = submit("--job", said.out.strip(), "--url", url, "--out", tmp_path / "out")
    assert (said.code, names(tmp_path / "out")) == (0, ["a.png", "deep/b.png"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gone.png", "--domains", "blond"], "there is no file or folder gone.png"),
        (["--domains", "blond"], "there are no pictures"),
        (["."], "--domains is missing"),
        ([".", "--job", "x"], "leave IN and --domains out"),
        (["--job", "x"], "there is no job 'x'"),
        (["in", "--domains", "smilling"], "did you mean 'smiling'"),
        (["in", "--domains", "blond", "--strength", "7"], "'strength'"),
        (["in", "--domains", "blond", "--webhook", "https://there/"], "webhook"),
        (["in", "--domains", "blond", "--url", "there"], "write it as in http://127.0.0.1:8000"),
        (["in", "--domains", "blond", "--url", "http://127.0.0.1:1"], "can't be reached"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(
    submit: Submit, url: str, pictures: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    """A mistake gives one line that names it; no picture is sent, and no folder is made."""
    monkeypatch.chdir(pictures.parent)
    said = submit(*(words if "--url" in words else [*words, "--url", url]))
    lines = [line for line in said.err.splitlines() if not line.startswith("sending ")]
    assert (said.code, said.out, len(lines)) == (2, "", 1)
    assert message in lines[0]
    assert not Path("translated").exists()


def test_the_key_comes_by_option_or_by_environment(
    submit: Submit, toy_store: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the key `submit` is refused before it sends anything; with RECAST_KEY it works."""
    words = [pictures, "--domains", "smiling", "--detach", "--url"]
    with serving(Store([toy_store]), settings(keys=("secret",))) as url:
        assert "a key is needed" in submit(*words, url).err
        assert submit(*words, url, "--key", "secret").code == 0
        monkeypatch.setenv("RECAST_KEY", "secret")
        assert submit(*words, url).code == 0


def test_a_restarted_service_is_waited_for(submit: Submit, toy_store: Path, pictures: Path, tmp_path: Path) -> None:
    """When the service restarts in the middle of a job, the command goes on by itself."""
    store, jobs, stuck = Store([toy_store]), JobSettings(storage=str(tmp_path / "storage")), Stuck()
    with ExitStack() as first, ExitStack() as second, ThreadPoolExecutor(1) as threads:
        there = first.enter_context(line(first.enter_context(serving(store, settings(), stuck, jobs))))

        def restart(there: Line) -> None:
            for _ in ("the first contact", "the pictures are accepted", "the job's events"):
                assert there.answered.acquire(timeout=60)
            there.target = "http://127.0.0.1:1"
            there.cut()
            assert there.refused.acquire(timeout=60)
            there.target = second.enter_context(serving(store, settings(), jobs=jobs))

        restarted = threads.submit(restart, there)
        said = submit(pictures, "--domains", "smiling", "--url", there.address, "--out", tmp_path / "out")
        restarted.result()
    assert (said.code, names(tmp_path / "out")) == (0, ["a.png", "deep/b.png"])
    assert said.err.count("trying again for 5 minutes") == 1


def interrupt() -> None:
    """Raises Ctrl-C in the main thread, which runs the command."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def test_ctrl_c_leaves_the_job_running(submit: Submit, toy_store: Path, pictures: Path, tmp_path: Path) -> None:
    """Ctrl-C gives the exit code 130, and a line with the command that comes back to the job."""
    stuck = Stuck()

    def stop() -> None:
        assert stuck.begun.wait(60)
        interrupt()

    with serving(Store([toy_store]), settings(), stuck) as url, ThreadPoolExecutor(1) as threads:
        stopped = threads.submit(stop)
        said = submit(pictures, "--domains", "smiling", "--url", url, "--out", tmp_path / "out")
        stopped.result()
        with Client(url) as recast:
            job = recast.jobs(1)[0]
    assert said.code == 130
    assert not job.over
    assert said.err.endswith(f"recast submit --url {url} --out {tmp_path / 'out'} --job {job.id}\n")


@dataclass
class Late:
    """A proxy that holds back the answer to POST /jobs: the job is accepted, but the client does not know it."""

    app: ASGIApp
    accepted: Callable[[], None]
    """Called when the service has answered; the answer never arrives."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI request."""

        async def hold(message: Message) -> None:
            self.accepted()
            await asyncio.Event().wait()

        posts = scope["type"] == "http" and (scope["method"], scope["path"]) == ("POST", "/jobs")
        await self.app(scope, receive, hold if posts else send)


@contextmanager
def answering_late(folder: Path, store: Path, accepted: Callable[[], None]) -> Iterator[tuple[str, Board]]:
    """The address of a service behind Late whose translator does nothing, and the board of its jobs."""
    bundles, stuck = Store([store]), Stuck()
    pipeline = Pipeline(bundles, stuck, settings().limits(), threads=1)
    jobs = job_parts(JobSettings(storage=str(folder / "storage")), pipeline)
    app = create_app(settings(), pipeline, bundles, stuck, jobs)
    app.add_middleware(Late, accepted=accepted)
    try:
        with running(app, jobs.runner) as url:
            yield url, jobs.board
    finally:
        pipeline.close()


def test_ctrl_c_before_the_answer_finds_the_job(
    submit: Submit, toy_store: Path, pictures: Path, tmp_path: Path
) -> None:
    """After Ctrl-C between the service's acceptance and its answer, the line names the accepted job."""
    with answering_late(tmp_path, toy_store, interrupt) as (url, board):
        said = submit(pictures, "--domains", "smiling", "--url", url, "--out", tmp_path / "out")
        (status,) = asyncio.run(board.statuses(limit=5))
    assert said.code == 130
    assert said.err.endswith(f"recast submit --url {url} --out {tmp_path / 'out'} --job {status.job.id}\n")


def test_ctrl_c_without_an_answer_says_how_to_find_out(
    submit: Submit, toy_store: Path, pictures: Path, tmp_path: Path
) -> None:
    """If the service can't be asked either, the line has the key of the job that may have been accepted."""
    accepted: list[Callable[[], None]] = []
    with answering_late(tmp_path, toy_store, lambda: accepted[0]()) as (url, board), line(url) as way:

        def cut_and_interrupt() -> None:
            way.target = "http://127.0.0.1:1"
            interrupt()

        accepted.append(cut_and_interrupt)
        said = submit(pictures, "--domains", "smiling", "--url", way.address, "--out", tmp_path / "out")
        (status,) = asyncio.run(board.statuses(limit=5))
    assert (said.code, "nothing was accepted" in said.err) == (130, False)
    found = re.search(r"the job may have been accepted.* curl '(\S+)/jobs\?idempotency_key=(\w+)'\n$", said.err)
    assert found is not None
    assert (found[1], id_of(found[2])) == (way.address, status.job.id)


def test_ctrl_c_in_the_middle_of_an_upload_accepts_nothing(submit: Submit, pictures: Path, tmp_path: Path) -> None:
    """After Ctrl-C before the last picture is sent, the line says that nothing was accepted."""
    with (pictures / "big.png").open("wb") as file:
        file.truncate(64 << 20)
    app = FastAPI()

    @app.get("/domains")
    def domains() -> dict[str, list[str]]:
        return {"domains": []}

    @app.post("/jobs")
    async def jobs(request: Request) -> None:
        async for _ in request.stream():
            interrupt()
            await asyncio.Event().wait()

    with running(app) as url:
        said = submit(pictures, "--domains", "smiling", "--url", url, "--out", tmp_path / "out")
    assert said.code == 130
    assert said.err.endswith("recast: stopped; nothing was accepted\n")
