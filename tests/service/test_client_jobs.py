"""The Python client's jobs: what is sent, followed and fetched, over connections that break."""

import asyncio
import json
import os
import signal
import threading
import tracemalloc
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Header, Response
from fastapi.responses import StreamingResponse
from support.lines import ALL, Line, line
from support.services import png, running, serving, settings

from models.bundle.store import Store
from service.client import Client, Failure, InputError, Job, Problem, Stored, Unreachable, gather
from service.client.calls import SUFFIXES, Form
from service.client.clients import Feed
from service.multipart import Multipart
from worker.imaging.formats import AVIF, BMP, GIF, JPEG, PNG, TIFF, WEBP
from worker.settings import JobSettings

PICTURE = png({"black"})
ODD = ['we"ird ü%20.png', "a;b=c.png", "deep/er/x.png", "%22.png"]


@pytest.fixture(scope="module")
def address(store: Store) -> Iterator[str]:
    """A service whose jobs are these tests' own."""
    with serving(store, settings()) as found:
        yield found


@pytest.fixture
def recast(address: str) -> Iterator[Client]:
    """A client of it."""
    with Client(address) as found:
        yield found


@pytest.fixture
def there(address: str) -> Iterator[Line]:
    """A connection to it that a test can break."""
    with line(address) as found:
        yield found


def told(done: int = 0, *, failed: int = 0, over: bool = False) -> dict[str, Any]:
    """A job of four pictures in JSON."""
    nothing = dict.fromkeys(("position", "rate", "seconds_left", "model"))
    ended = "2026-11-21T12:01:00Z" if over else None
    state = "done" if over else "running"
    begun = {"id": "job", "state": state, "created": "2026-11-21T12:00:00Z", "ended": ended, "pictures": 4}
    return begun | {"done": done, "failed": failed, "domains": ["blond"]} | nothing


def event(job: dict[str, Any]) -> bytes:
    """The job as a server-sent event."""
    return f"event: progress\r\nid: {job['done'] + job['failed']}\r\ndata: {json.dumps(job)}\r\n\r\n".encode()


def picture(name: str, *, failed: bool = False) -> dict[str, Any]:
    """What became of a picture, in JSON."""
    if failed:
        return {"name": name, "output": None, "code": "unreadable-image", "reason": "it is broken"}
    return {"name": name, "output": name, "code": None, "reason": None}


@dataclass
class Scripted:
    """A fake service with one job, whose answers a test decides."""

    streams: list[Iterable[bytes]] = field(default_factory=list)
    """The stream of each connection to the events; then it ends."""
    jobs: list[dict[str, Any]] = field(default_factory=list)
    """The answers about the job in order, the last one for ever."""
    pages: dict[int, dict[str, Any]] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    """The Last-Event-IDs and names of results of the requests."""

    def app(self) -> FastAPI:
        """The service."""
        app = FastAPI()

        @app.get("/jobs/job/events")
        def events(last: str | None = Header(default=None, alias="Last-Event-ID")) -> Response:
            self.seen.append(last or "")
            return StreamingResponse(self.streams.pop(0) if self.streams else iter(()), media_type="text/event-stream")

        @app.get("/jobs/job")
        def job() -> dict[str, Any]:
            return self.jobs.pop(0) if len(self.jobs) > 1 else self.jobs[0]

        @app.get("/jobs/job/pictures")
        def pictures(after: int) -> dict[str, Any]:
            return self.pages[after]

        @app.get("/jobs/job/results/{name:path}")
        def result(name: str) -> Response:
            self.seen.append(name)
            return Response(name.encode())

        return app


def folder(where: Path, names: Iterable[str], content: bytes = PICTURE) -> Path:
    """A folder of files."""
    for name in names:
        (where / name).parent.mkdir(parents=True, exist_ok=True)
        (where / name).write_bytes(content)
    return where


def files(where: Path) -> dict[str, bytes]:
    """The files below a folder, hidden ones too."""
    return {path.relative_to(where).as_posix(): path.read_bytes() for path in where.rglob("*") if path.is_file()}


def open_files() -> Iterator[str]:
    """The open files of this process; other threads open and close some at the same time."""
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            yield os.readlink(descriptor)


def test_folders_keep_their_shape_and_files_their_names(tmp_path: Path) -> None:
    """`gather` takes a folder's pictures, whatever the case of the suffix, and any named file."""
    folder(tmp_path / "in", ["a.png", "deep/b.JPG", "notes.txt"])
    (tmp_path / "other.bin").write_bytes(b"")
    assert list(gather([tmp_path / "in", tmp_path / "other.bin"])) == ["a.png", "deep/b.JPG", "other.bin"]


@pytest.mark.parametrize(
    ("paths", "said"),
    [(["in", "gone"], "no file or folder .*gone"), (["none"], "no pictures in .*none"), (["in", "in/a.png"], "both")],
)
def test_what_can_not_be_sent_is_named(tmp_path: Path, paths: list[str], said: str) -> None:
    """`gather` refuses a missing path, a folder without pictures, and two pictures of one name."""
    folder(tmp_path / "in", ["a.png"])
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match=said):
        gather(tmp_path / path for path in paths)


def test_the_suffixes_are_those_of_the_formats() -> None:
    """The client's suffixes, which need no Pillow, are those of the table of formats."""
    assert {suffix for kind in (JPEG, PNG, WEBP, AVIF, GIF, BMP, TIFF) for suffix in kind.extensions} == SUFFIXES


def test_the_form_is_as_long_as_it_says_and_reads_back(tmp_path: Path) -> None:
    """The service's reader finds every picture under its name, however odd, and the length is exact."""
    pictures: dict[str, Path | bytes] = dict.fromkeys(ODD, PICTURE)
    pictures["file.png"] = folder(tmp_path, ["file.png"]) / "file.png"
    form = Form(pictures)
    body = b"".join(form.body())
    assert len(body) == form.length

    async def read() -> dict[str | None, bytes]:
        async def pieces() -> AsyncIterator[bytes]:
            yield body

        return {part.filename: await part.read(1 << 20) async for part in Multipart(form.content_type, pieces())}

    assert asyncio.run(read()) == dict.fromkeys(pictures, PICTURE)


def test_a_form_is_never_in_memory_and_opens_one_file_at_a_time(tmp_path: Path) -> None:
    """Sending 300 files of 64 MB in all takes less than 8 MB of memory and one open file."""
    folder(tmp_path, [f"{number}.png" for number in range(299)])
    with (tmp_path / "big.png").open("wb") as file:
        file.truncate(64 << 20)
    form = Form(gather(tmp_path))
    tracemalloc.start()
    for piece in form.body():
        assert len(piece) <= 1 << 18
        assert sum(Path(file).is_relative_to(tmp_path) for file in open_files()) <= 1
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


def test_a_file_that_changes_while_it_is_sent_is_named(tmp_path: Path, recast: Client) -> None:
    """When a file changes while it is sent, the service accepts nothing."""
    names = folder(tmp_path, ["a.png", "b.png"])
    before = recast.jobs(1)

    def spoil(pictures: int, size: int) -> None:
        (tmp_path / "b.png").write_bytes(b"short")

    with pytest.raises(InputError, match=r"b\.png changed"):
        recast.submit(names, "blond", on_progress=spoil)
    assert recast.jobs(1) == before


def test_a_folder_comes_back_in_its_shape(recast: Client, tmp_path: Path) -> None:
    """A job's fetched results are the pictures of the single call, and a broken picture fails alone."""
    source = folder(tmp_path / "in", [f"{number}.png" for number in range(31)] + ODD[1:])
    (source / "bad.jpg").write_bytes(b"no picture")
    sent: list[tuple[int, int]] = []
    job = recast.submit(source, "blond", on_progress=lambda pictures, size: sent.append((pictures, size)))
    over = recast.wait(job.id)
    assert sent[-1] == (35, 34 * len(PICTURE) + 10)
    assert (over.state, over.done, over.failed, over.over) == ("done", 34, 1, True)
    assert [(failure.name, failure.code) for failure in over.failures] == [("bad.jpg", "unsupported-media-type")]
    fetched = recast.results(job.id, tmp_path / "out")
    assert (fetched.pictures, fetched.failures) == (34, over.failures)
    expected = recast.translate(PICTURE, "blond").data
    assert files(tmp_path / "out") == {name: expected for name in files(source) if name != "bad.jpg"}


def test_an_upload_that_breaks_is_one_job(there: Line, recast: Client) -> None:
    """A job whose upload and answer are cut off is sent again, and accepted once."""
    pictures: dict[str, Path | bytes] = {f"{number}.png": PICTURE + bytes(90_000) for number in range(3)}
    before = len(recast.jobs(200))
    there.breaks.extend([(100_000, ALL), (ALL, 0)])
    with Client(there.address) as broken:
        job = broken.submit(pictures, "blond")
    assert there.taken == 3
    assert len(recast.jobs(200)) == before + 1
    assert recast.wait(job.id).done == 3


def test_the_callers_own_key_makes_one_job(recast: Client) -> None:
    """Two calls with one key are one job, and other pictures with this key are a conflict."""
    first, second = (recast.submit({"a.png": PICTURE}, "blond", idempotency_key="mine") for _ in range(2))
    assert first.id == second.id
    with pytest.raises(Problem) as caught:
        recast.submit({"b.png": PICTURE}, "blond", idempotency_key="mine")
    assert caught.value.code == "idempotency-conflict"


def test_a_job_is_found_by_its_key(recast: Client) -> None:
    """`find` gives the job of a key, and None for a key that was never used."""
    job = recast.submit({"a.png": PICTURE}, "blond", idempotency_key="find-me")
    found = recast.find("find-me")
    assert found is not None
    assert found.id == job.id
    assert recast.find("another") is None


def test_a_job_that_is_too_long_is_refused_in_the_middle(store: Store, tmp_path: Path) -> None:
    """The client raises the problem that the service answers before it closes the connection."""
    jobs = JobSettings(storage=str(tmp_path), job_bytes=1000)
    with serving(store, settings(), jobs=jobs) as url, Client(url) as recast, pytest.raises(Problem) as caught:
        recast.submit({"a.png": bytes(20 << 20)}, "blond")
    assert caught.value.code == "too-large"


def test_a_long_upload_of_a_wrong_request_is_not_sent_to_its_end(recast: Client, tmp_path: Path) -> None:
    """A misspelt domain raises its problem long before 200 MB are sent."""
    with (tmp_path / "big.png").open("wb") as file:
        file.truncate(200 << 20)
    sent = [0]
    with pytest.raises(Problem) as caught:
        recast.submit(tmp_path, "smilling", on_progress=lambda pictures, size: sent.append(size))
    assert caught.value.code == "unknown-domain"
    assert sent[-1] < 100 << 20


def test_a_folder_of_the_service_is_translated_where_it_lies(store: Store, tmp_path: Path) -> None:
    """A job of Stored writes its results to the destination, and the client can fetch them too."""
    folder(tmp_path / "photos" / "in", ["x.png"])
    jobs = JobSettings(storage=str(tmp_path / "storage"), roots={"photos": str(tmp_path / "photos")})
    with serving(store, settings(), jobs=jobs) as url, Client(url) as recast:
        job = recast.submit(Stored("photos/in", "photos/out"), "blond")
        fetched = recast.results(job.id, tmp_path / "fetched")
    assert fetched.pictures == 1
    assert files(tmp_path / "fetched") == files(tmp_path / "photos" / "out")


def test_jobs_are_listed_and_cancelled(recast: Client) -> None:
    """`jobs` has the newest first, page by page; `cancel` ends a job, and does not change one that is over."""
    ids = [recast.submit({"a.png": PICTURE}, "blond").id for _ in range(3)]
    for each in ids:
        recast.wait(each)
    first = recast.jobs(2)
    assert {job.id for job in [*first, *recast.jobs(1, before=first[-1].id)]} == set(ids)
    assert recast.cancel(ids[0]).state == "done"


def test_following_goes_on_where_it_broke() -> None:
    """After a break the client sends the last event's id, gives no news twice, and stops at `end`."""
    script = Scripted([[event(told(1)), b": ping\n\n"], [event(told(1)), event(told(3))], [event(told(4, over=True))]])
    script.jobs = [told(1), told(3)]
    with running(script.app()) as url, Client(url) as recast:
        assert [(job.done, job.over) for job in recast.events("job")] == [(1, False), (3, False), (4, True)]
    assert script.seen == ["", "1", "3"]


def test_where_events_do_not_come_through_the_job_is_asked() -> None:
    """If a proxy holds the events back, the client gets the news by asking for the job."""
    script = Scripted(jobs=[told(1), told(1), told(2), told(4, over=True)])
    with running(script.app()) as url, Client(url) as recast:
        assert [job.done for job in recast.events("job")] == [1, 2, 4]


def test_events_may_come_in_any_pieces() -> None:
    """Feed reads the same jobs byte by byte, with either line end, and among comments."""
    said = b": ping\r\n\r\n" + event(told(1)) + event(told(1)) + event(told(2)).replace(b"\r", b"") + event(told(2))[:9]
    feed = Feed()
    assert [job.done for byte in said for job in feed.read(bytes([byte]))] == [1, 2]
    feed.reconnect()
    assert [job.done for job in feed.read(event(told(3)))] == [3]
    assert feed.last_id == "3"


def test_an_unknown_job_is_a_problem(recast: Client, tmp_path: Path) -> None:
    """`events`, `wait` and `results` of an unknown job raise its problem and write nothing."""
    for call in (recast.job, recast.wait, lambda job: list(recast.events(job))):
        with pytest.raises(Problem) as caught:
            call("0" * 26)
        assert caught.value.code == "unknown-job"
    with pytest.raises(Problem):
        recast.results("0" * 26, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_results_come_whole_over_a_line_that_breaks(there: Line, recast: Client, tmp_path: Path) -> None:
    """Over connections that break, `results` fetches every result to the byte, and leaves nothing else."""
    job = recast.submit({f"{number}.png": PICTURE for number in range(33)}, "blond")
    recast.results(job.id, tmp_path / "straight")
    there.breaks.extend((ALL, size) for size in (200, 900, 5000, 0, 1500))
    with Client(there.address) as broken:
        fetched = broken.results(job.id, tmp_path / "broken")
    assert not there.breaks
    assert fetched.pictures == 33
    assert files(tmp_path / "broken") == files(tmp_path / "straight")


def test_results_are_fetched_while_the_job_runs(tmp_path: Path) -> None:
    """The job ends only after the client has asked for the first results."""
    script = Scripted(jobs=[told()])

    def stream() -> Iterator[bytes]:
        yield event(told(2))
        while not {"a.png", "b.png"} <= set(script.seen):
            yield b": ping\n\n"
        script.pages[16] = {"pictures": [picture("d.png")], "next": None}
        yield event(told(3, failed=1, over=True))

    script.streams = [stream()]
    first = [picture("a.png"), picture("b.png"), picture("c.png", failed=True)]
    script.pages = {0: {"pictures": first, "next": 16}, 16: {"pictures": [], "next": 16}}
    news: list[tuple[int, int]] = []
    with running(script.app()) as url, Client(url) as recast:
        fetched = recast.results("job", tmp_path, lambda job, here: news.append((job.done, here)))
    assert files(tmp_path) == {name: name.encode() for name in ("a.png", "b.png", "d.png")}
    assert fetched.failures == (Failure("c.png", "unreadable-image", "it is broken"),)
    assert news[-1] == (3, 3)


def test_fetching_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    """A second `results` fetches only what is missing, and replaces a file that is not from this job."""
    names = [f"{number}.png" for number in range(20)]
    pages = {0: {"pictures": [picture(name) for name in names], "next": None}}
    folder(tmp_path, ["7.png"], b"of another job")
    here: list[str] = []

    def broken(job: Job, count: int) -> None:
        here[:] = [name for name, data in files(tmp_path).items() if data == name.encode()]
        if count == 5:
            raise Unreachable("the line is dead", sent=True)

    first, second = (Scripted([[event(told(4, over=True))]], pages=pages) for _ in range(2))
    with running(first.app()) as url, Client(url) as recast, pytest.raises(Unreachable):
        recast.results("job", tmp_path, broken)
    with (tmp_path / ".recast-job" / "fetched").open("a") as listed:
        listed.write('\n"torn')
    with running(second.app()) as url, Client(url) as recast:
        assert recast.results("job", tmp_path).pictures == 20
    assert len(here) >= 5
    assert set(second.seen[1:]).isdisjoint(here)
    assert files(tmp_path) == {name: name.encode() for name in names}


@pytest.mark.parametrize("name", ["../x.png", "/x.png", "a/../../x.png", ".", "", "x\0.png"])
def test_results_stay_in_their_folder(tmp_path: Path, name: str) -> None:
    """A result's name that leads out of the folder is refused, and nothing is written outside."""
    script = Scripted([[event(told(4, over=True))]], pages={0: {"pictures": [picture(name)], "next": None}})
    with (
        running(script.app()) as url,
        Client(url) as recast,
        pytest.raises(InputError, match="no path within"),
    ):
        recast.results("job", tmp_path / "out")
    assert set(files(tmp_path)) <= {"out/.recast-job/fetched"}


def test_a_call_within_the_clients_own_thread_is_refused(recast: Client) -> None:
    """A call from within on_progress, which would wait for ever, raises an error that says what to do."""
    job = recast.submit({"a.png": PICTURE}, "blond")

    def cancel(job: Job) -> None:
        recast.cancel(job.id)

    with pytest.raises(RuntimeError, match="use events"):
        recast.wait(job.id, cancel)


def test_ctrl_c_ends_what_is_waited_for() -> None:
    """After Ctrl-C the connection is closed, and the client still works."""
    closed = threading.Event()

    async def stream() -> AsyncIterator[bytes]:
        try:
            yield event(told(1))
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            await asyncio.Event().wait()
        finally:
            closed.set()

    app, script = FastAPI(), Scripted(jobs=[told(2)])
    app.add_api_route("/jobs/job/events", lambda: StreamingResponse(stream(), media_type="text/event-stream"))
    app.mount("/", script.app())
    with running(app) as url, Client(url) as recast:
        with pytest.raises(KeyboardInterrupt):
            recast.wait("job")
        assert closed.wait(30)
        assert recast.job("job").done == 2


def test_a_stopped_upload_ends() -> None:
    """After `stop` the body of a form raises InputError instead of its rest."""
    form = Form({"a.png": bytes(10), "b.png": bytes(10)})
    body = form.body()
    next(body)
    form.stop()
    with pytest.raises(InputError, match="stopped"):
        list(body)
