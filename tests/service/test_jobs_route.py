"""POST /jobs and the answers about a job: all ways to send one, all refusals; a job is accepted whole or not at all."""

import io
import socket
import threading
import zipfile
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import httpx
import numpy as np
import pytest
from obstore.store import LocalStore
from PIL import Image
from support.bundles import toy_bundle, toy_picture
from support.jobs import accepted, ended, following, form, kept
from support.services import Stuck, encoded, png, serving, settings
from support.sockets import WAIT_S, assert_closed_with, connected

from models.bundle.store import Store
from worker.settings import JobSettings
from worker.storage import Storage, StorageError, Stored

Start = Callable[..., httpx.Client]

PNG = png({"black", "smiling"})
BLOND = {"domains": "blond"}
NO_JOB = "0" * 26


def test_every_picture_of_a_form_is_translated(client: httpx.Client) -> None:
    """A job's results are the bytes that POST /translate answers, under the pictures' own names."""
    pictures = [("a.png", PNG), ("b.png", png({"brown"})), ("c.webp", encoded(toy_picture(set()), "WEBP"))]
    job = ended(client, client.post("/jobs", params=BLOND, files=form(pictures)))
    assert (job["state"], job["pictures"], job["done"], job["failed"], job["failures"]) == ("done", 3, 3, 0, [])
    for name, data in pictures:
        alone = client.post("/translate", params=BLOND, content=data)
        assert client.get(f"{job['links']['results']}/{name}").content == alone.content


def test_every_picture_of_an_archive_is_translated(client: httpx.Client) -> None:
    """A ZIP's folders are the results' folders."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("one/a.png", PNG)
        archive.writestr("two/a.png", png({"brown"}))
    job = ended(client, client.post("/jobs", params=BLOND, files={"archive": ("all.zip", packed.getvalue())}))
    assert (job["state"], job["pictures"]) == ("done", 2)
    assert client.get(f"{job['links']['results']}/two/a.png").status_code == 200


def test_folders_in_storage_are_read_and_written(serve: Start, tmp_path: Path) -> None:
    """With source and destination nothing is uploaded, and the results are in the destination."""
    for name in ("in/one/a.png", "in/b.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(PNG)
    jobs = JobSettings(storage=str(tmp_path / "jobs"), roots={"disk": str(tmp_path)})
    client = serve(settings(), jobs=jobs)
    body = {"source": "disk/in", "destination": "disk/out"}
    job = ended(client, client.post("/jobs", params={**BLOND, "format": "jpeg"}, json=body))
    assert job["done"] == 2
    assert kept(tmp_path / "out") == ["b.jpg", "one/a.jpg"]
    assert client.get(f"{job['links']['results']}/one/a.jpg").content == (tmp_path / "out/one/a.jpg").read_bytes()


def test_an_accepted_job_says_where_it_is_and_how_far(client: httpx.Client) -> None:
    """The 202 has the job's path, and the job has every member that programs rely on."""
    answer = client.post("/jobs", params={"domains": ["blond", "smiling"]}, files=form([("a.png", PNG)]))
    job = accepted(answer)
    path = f"/jobs/{job['id']}"
    assert answer.headers["location"] == path
    assert "idempotent-replayed" not in answer.headers
    assert list(job) == [
        *("id", "state", "created", "ended", "pictures", "done", "failed", "position", "rate", "seconds_left"),
        *("domains", "model", "links", "failures"),
    ]
    assert job["links"] == {"self": path, "events": f"{path}/events", "results": f"{path}/results"}
    assert (job["pictures"], job["domains"]) == (1, ["blond", "smiling"])
    assert datetime.fromisoformat(job["created"]).utcoffset() is not None
    over = ended(client, answer)
    assert datetime.fromisoformat(over["ended"]) >= datetime.fromisoformat(over["created"])
    assert (over["position"], over["rate"], over["seconds_left"]) == (None, None, None)


@pytest.mark.parametrize(
    ("query", "model"),
    [
        ({"domains": "blond"}, "toy@1"),
        ({"domains": "zebra", "model": "flip"}, "flip@1"),
        ({"domains": "*", "model": "toy"}, "toy@1"),
        ({"domains": "glasses,zebra"}, None),
    ],
)
def test_a_job_keeps_the_version_that_it_began_with(
    client: httpx.Client, query: dict[str, str], model: str | None
) -> None:
    """A job that needs one bundle names it with its version, which was chosen when the job was accepted."""
    answer = client.post("/jobs", params=query, files=form([("a.png", PNG)]))
    assert accepted(answer)["model"] == model
    assert ended(client, answer)["state"] == "done"


def test_the_query_is_that_of_translate(client: httpx.Client) -> None:
    """Strength, size, format and quality are applied to every picture."""
    wide = encoded(toy_picture(set(), size=64).resize((96, 64)), "PNG")
    query = {"domains": "glasses", "strength": "0", "size": "model", "format": "webp", "quality": "100"}
    job = ended(client, client.post("/jobs", params=query, files=form([("a.png", wide)])))
    made = client.get(f"{job['links']['results']}/a.webp").content
    assert made == client.post("/translate", params=query, content=wide).content
    assert Image.open(io.BytesIO(made)).size == (32, 32)


def test_a_bad_picture_fails_alone(serve: Start) -> None:
    """A job lists each picture that can't be translated with its reason, and translates the others."""
    noise = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8)), "PNG")
    pictures = [("a.png", PNG), ("cut.png", PNG[:100]), ("doc.pdf", b"%PDF-1.7"), ("long.png", noise), ("z.png", PNG)]
    client = serve(settings(max_bytes=20_000))
    job = ended(client, client.post("/jobs", params=BLOND, files=form(pictures)))
    assert (job["state"], job["done"], job["failed"]) == ("done", 2, 3)
    failures = {failure["name"]: failure["code"] for failure in job["failures"]}
    assert failures == {"cut.png": "unreadable-image", "doc.pdf": "unsupported-media-type", "long.png": "too-large"}
    assert all(failure["reason"] for failure in job["failures"])


def test_a_job_without_one_good_picture_has_failed(client: httpx.Client) -> None:
    """A job whose pictures all fail ends as `failed` and has no results."""
    job = ended(client, client.post("/jobs", params=BLOND, files=form([("a.png", b"no picture")])))
    assert (job["state"], job["done"], job["failed"]) == ("failed", 0, 1)


GOOD: dict[str, object] = {"files": form([("a.png", PNG)])}
REFUSED: list[tuple[str, dict[str, object], int, str]] = [
    ("domains=blnd", GOOD, 422, "unknown-domain"),
    ("domains=blond,brown", GOOD, 422, "invalid-domains"),
    ("domains=blond&model=nobody", GOOD, 404, "unknown-model"),
    ("domains=blond&quality=0", GOOD, 422, "invalid-parameter"),
    ("domains=blond&hook=https://example.org", GOOD, 422, "invalid-parameter"),
    ("domains=blond&webhook=https://example.org", GOOD, 422, "invalid-parameter"),
    ("", GOOD, 422, "invalid-parameter"),
    ("domains=blond", {"files": {"image": ("a.png", PNG)}}, 422, "invalid-parameter"),
    ("domains=blond", {"files": {"images": (None, b"text")}}, 422, "invalid-parameter"),
    ("domains=blond", {"files": {"archive": ("a.zip", PNG)}}, 400, "unreadable-image"),
    ("domains=blond", {"json": {"source": "disk/folder"}}, 422, "invalid-parameter"),
    ("domains=blond", {"json": {"sauce": "disk/folder"}}, 422, "invalid-parameter"),
    ("domains=blond", {"json": ["disk/folder"]}, 422, "invalid-parameter"),
    ("domains=blond", {"json": {"source": "x" * (1 << 20)}}, 413, "too-large"),
    ("domains=blond", {"content": b"{", "headers": {"Content-Type": "application/json"}}, 422, "invalid-parameter"),
    ("domains=blond", {"content": PNG, "headers": {"Content-Type": "image/png"}}, 415, "unsupported-media-type"),
    ("domains=blond", {"content": PNG}, 415, "unsupported-media-type"),
    ("domains=blond", {**GOOD, "headers": {"Content-Encoding": "gzip"}}, 415, "unsupported-media-type"),
    ("domains=blond", {**GOOD, "headers": {"Idempotency-Key": ""}}, 422, "invalid-parameter"),
    ("domains=blond", {**GOOD, "headers": {"Idempotency-Key": "two words"}}, 422, "invalid-parameter"),
    ("domains=blond", {**GOOD, "headers": {"Idempotency-Key": "ü".encode()}}, 422, "invalid-parameter"),
    ("domains=blond", {**GOOD, "headers": {"Idempotency-Key": "k" * 256}}, 422, "invalid-parameter"),
    (
        "domains=blond",
        {"content": b"--x--\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
        422,
        "invalid-parameter",
    ),
    (
        "domains=blond",
        {"content": b"--nothing", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
        400,
        "unreadable-image",
    ),
]


@pytest.mark.parametrize(("query", "sent", "status", "code"), REFUSED)
def test_refusals_are_problems_and_leave_nothing(
    client: httpx.Client, query: str, sent: dict[str, object], status: int, code: str
) -> None:
    """A bad request gets its code and leaves no job."""
    before = client.get("/jobs").json()["jobs"][:1]
    answer = client.post(f"/jobs?{query}", **sent)  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert [job["id"] for job in client.get("/jobs").json()["jobs"][:1]] == [job["id"] for job in before]


def test_the_query_is_judged_before_the_body_is_read(client: httpx.Client) -> None:
    """A misspelt domain is refused before the first byte of the upload."""
    with connected(client) as connection:
        send_head(connection, "Content-Length: 100000000", query="domains=blnd")
        assert connection.recv(65536).startswith(b"HTTP/1.1 422 ")


def test_more_bytes_than_a_job_may_have_are_refused_on_the_way(serve: Start, tmp_path: Path) -> None:
    """An upload over the byte limit is refused, with or without Content-Length, and nothing of it is kept."""
    client = serve(settings(), jobs=JobSettings(storage=str(tmp_path), job_bytes=100_000))
    with connected(client) as connection:
        send_head(connection, "Content-Length: 100001")
        assert_closed_with(connection, 413, "too-large")
    with connected(client) as connection:
        send_head(connection, "Transfer-Encoding: chunked")
        head = f'--x\r\nContent-Disposition: form-data; name="images"; filename="a.png"\r\n\r\n{"p" * 60_000}\r\n'
        for _ in range(2):
            connection.sendall(b"%x\r\n%s\r\n" % (len(head), head.encode()))
        assert_closed_with(connection, 413, "too-large")
    assert kept(tmp_path) == []


def test_more_pictures_than_a_job_may_have_are_refused(serve: Start, tmp_path: Path) -> None:
    """An upload with too many pictures is refused, and nothing of it is kept."""
    client = serve(settings(), jobs=JobSettings(storage=str(tmp_path), job_pictures=40))
    pictures = [(f"{number}.png", PNG) for number in range(41)]
    answer = client.post("/jobs", params=BLOND, files=form(pictures))
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")
    assert kept(tmp_path) == []


def test_an_upload_that_stands_still_is_given_up(serve: Start, tmp_path: Path) -> None:
    """An upload that stops in the middle is a 504, and nothing of it is kept."""
    client = serve(settings(deadline_s=0.2), jobs=JobSettings(storage=str(tmp_path)))
    with connected(client) as connection:
        send_head(connection, "Content-Length: 100000")
        connection.sendall(a_part())
        assert_closed_with(connection, 504, "timed-out")
    assert kept(tmp_path) == []


def test_hanging_up_in_the_middle_leaves_nothing(
    serve: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """When the client hangs up, its upload is removed, and the log has no error."""
    storage = Watched(tmp_path)
    client = serve(settings(deadline_s=3600), storage=storage)
    with connected(client) as connection:
        send_head(connection, "Content-Length: 100000")
        connection.sendall(a_part() + a_part())
        assert storage.pictures.acquire(timeout=WAIT_S)
    while kept(tmp_path):
        assert storage.removals.acquire(timeout=WAIT_S)
    assert [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []


def test_the_same_key_and_request_give_the_same_job(serve: Start, tmp_path: Path) -> None:
    """A repeated request is answered with the first one's job and says so, and its pictures are kept once."""
    client = serve(settings(), jobs=JobSettings(storage=str(tmp_path)))
    headers = {"Idempotency-Key": "key-1"}
    first = client.post("/jobs", params=BLOND, files=form([("a.png", PNG)]), headers=headers)
    over = ended(client, first)
    again = client.post("/jobs", params=BLOND, files=form([("a.png", PNG)]), headers=headers)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    assert accepted(again) == over
    assert len(uploads(tmp_path, over["id"])) == 1


def test_the_same_request_is_the_same_with_a_newer_bundle(tmp_path: Path) -> None:
    """After a new version came, a repeated request still gives its job, and a new request has the new version."""
    toy_bundle(tmp_path / "store")
    store = Store([tmp_path / "store"])
    headers, files = {"Idempotency-Key": "key-1"}, form([("a.png", PNG)])
    with serving(store, settings()) as address, httpx.Client(base_url=address, trust_env=False) as client:
        first = accepted(client.post("/jobs", params=BLOND, files=files, headers=headers))
        toy_bundle(tmp_path / "store", version="2")
        store.refresh()
        again = accepted(client.post("/jobs", params=BLOND, files=files, headers=headers))
        other = accepted(client.post("/jobs", params=BLOND, files=files))
    assert (again["id"], again["model"]) == (first["id"], "toy@1")
    assert other["model"] == "toy@2"


@pytest.mark.parametrize(
    ("query", "pictures"),
    [
        ({"domains": "brown"}, [("a.png", PNG)]),
        (BLOND, [("b.png", PNG)]),
        (BLOND, [("a.png", png({"grey"}))]),
        (BLOND, [("a.png", PNG), ("b.png", PNG)]),
    ],
)
def test_the_same_key_with_another_request_is_a_conflict(
    client: httpx.Client, query: dict[str, str], pictures: list[tuple[str, bytes]]
) -> None:
    """A key that comes with another query, name, picture or number of pictures is a 409."""
    headers = {"Idempotency-Key": "the-key-of-a-conflict"}
    accepted(client.post("/jobs", params=BLOND, files=form([("a.png", PNG)]), headers=headers))
    answer = client.post("/jobs", params=query, files=form(pictures), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency-conflict")


def test_parallel_calls_with_one_key_are_one_job(serve: Start, tmp_path: Path) -> None:
    """Eight equal calls at one moment get one job; one of them started it, and one upload is kept."""
    client = serve(settings(), jobs=JobSettings(storage=str(tmp_path)))
    together = threading.Barrier(8)

    def call() -> httpx.Response:
        together.wait(WAIT_S)
        files = form([(f"{number}.png", PNG) for number in range(5)])
        return client.post("/jobs", params=BLOND, files=files, headers={"Idempotency-Key": "key-1"})

    with ThreadPoolExecutor(8) as threads:
        answers = [future.result() for future in [threads.submit(call) for _ in range(8)]]
    assert {accepted(answer)["id"] for answer in answers} == {answers[0].json()["id"]}
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 7
    over = ended(client, answers[0])
    assert (over["pictures"], over["done"]) == (5, 5)
    assert len(client.get("/jobs").json()["jobs"]) == 1
    assert len(uploads(tmp_path, over["id"])) == 1


def test_jobs_are_listed_page_by_page(serve: Start, tmp_path: Path) -> None:
    """The list has the newest job first, `next` leads to the next page, and it has no failures."""
    client = serve(settings(), jobs=JobSettings(storage=str(tmp_path)))
    made = [ended(client, client.post("/jobs", params=BLOND, files=form([("a.png", PNG)])))["id"] for _ in range(3)]
    first = client.get("/jobs", params={"limit": 2}).json()
    rest = client.get("/jobs", params={"limit": 2, "before": first["next"]}).json()
    assert [job["id"] for job in first["jobs"]] == [made[2], made[1]]
    assert ([job["id"] for job in rest["jobs"]], rest["next"]) == ([made[0]], None)
    assert "failures" not in first["jobs"][0]


def test_what_became_of_the_pictures_is_listed(client: httpx.Client) -> None:
    """Each finished picture has a result's name or a reason, in the order of the upload."""
    pictures = [("b.png", PNG), ("bad.png", b"no picture"), ("a.png", PNG)]
    job = ended(client, client.post("/jobs", params={**BLOND, "format": "webp"}, files=form(pictures)))
    listed = client.get(f"/jobs/{job['id']}/pictures").json()
    assert [picture["output"] for picture in listed["pictures"]] == ["b.webp", None, "a.webp"]
    assert [picture["name"] for picture in listed["pictures"]] == ["b.png", "bad.png", "a.png"]
    assert listed["pictures"][1]["code"] == "unsupported-media-type"
    assert listed["next"] is None


def test_cancelling_ends_a_job(serve: Start) -> None:
    """DELETE cancels a running job, and a second DELETE changes nothing."""
    stuck = Stuck()
    client = serve(settings(), stuck)
    job = accepted(client.post("/jobs", params=BLOND, files=form([("a.png", PNG)])))
    assert stuck.begun.wait(WAIT_S)
    cancelled = client.delete(f"/jobs/{job['id']}")
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    assert stuck.dropped.wait(WAIT_S)
    with following(client, job["id"]) as events:
        over = list(events)[-1].data
    assert (over["state"], over["done"], over["failed"]) == ("cancelled", 0, 0)
    assert client.delete(f"/jobs/{job['id']}").json()["ended"] == over["ended"]


def test_a_job_that_is_over_is_not_cancelled(client: httpx.Client) -> None:
    """DELETE changes neither a finished job nor its results."""
    job = ended(client, client.post("/jobs", params=BLOND, files=form([("a.png", PNG)])))
    assert client.delete(f"/jobs/{job['id']}").json() == job
    assert client.get(f"{job['links']['results']}/a.png").status_code == 200


CALLS = ["GET /jobs/{}", "DELETE /jobs/{}", "GET /jobs/{}/events", "GET /jobs/{}/results", "GET /jobs/{}/results/a.png"]


@pytest.mark.parametrize("call", [*CALLS, "GET /jobs/{}/pictures"])
def test_unknown_jobs_are_problems(client: httpx.Client, call: str) -> None:
    """Every call for a job that does not exist is a 404 with its code."""
    method, path = call.format(NO_JOB).split()
    answer = client.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown-job")


@pytest.mark.parametrize("call", [*CALLS, "GET /jobs/{}/pictures"])
def test_storage_is_only_asked_for_what_can_be_a_job(serve: Start, tmp_path: Path, call: str) -> None:
    """While storage fails, a malformed id is a 404, and a well-formed one is a 503."""
    client = serve(settings(), storage=Broken(tmp_path))
    for job_id in ("no-job", "0" * 25, "0" * 27, "A" * 26, "..%2F" * 5, "0" * 25 + "%0A"):
        method, path = call.format(job_id).split()
        assert client.request(method, path).status_code == 404
    method, path = call.format(NO_JOB).split()
    answer = client.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (503, "not-ready")
    assert int(answer.headers["retry-after"]) > 0


def test_a_job_is_refused_while_the_storage_fails(serve: Start, tmp_path: Path) -> None:
    """While storage fails, no job is accepted."""
    client = serve(settings(), storage=Broken(tmp_path))
    answer = client.post("/jobs", params=BLOND, files=form([("a.png", PNG)]))
    assert (answer.status_code, answer.json()["code"]) == (503, "not-ready")
    assert client.get("/jobs").json()["code"] == "not-ready"


def test_an_accepted_job_is_never_answered_with_an_error(serve: Start, tmp_path: Path) -> None:
    """When storage fails just after a job was accepted, the answer is still 202, so that no client sends it twice."""
    answer = serve(settings(), storage=Fading(tmp_path)).post("/jobs", params=BLOND, files=form([("a.png", PNG)]))
    job = accepted(answer)
    assert (job["state"], job["pictures"], answer.headers["location"]) == ("queued", 1, f"/jobs/{job['id']}")


class Watched(Storage):
    """A storage on this disk with events for a stored picture and for a removal."""

    def __init__(self, folder: Path) -> None:
        super().__init__(LocalStore(folder))
        self.pictures, self.removals = threading.Semaphore(0), threading.Semaphore(0)

    async def put(self, path: str, data: bytes, *, new: bool = False) -> bool:
        """Puts."""
        done = await super().put(path, data, new=new)
        if data == PNG:
            self.pictures.release()
        return done

    async def delete(self, path: str) -> None:
        """Removes."""
        await super().delete(path)
        self.removals.release()

    async def clear(self, folder: str) -> None:
        """Removes."""
        await super().clear(folder)
        self.removals.release()


class Fading(Storage):
    """A storage that fails all reads once it has a job."""

    def __init__(self, folder: Path) -> None:
        super().__init__(LocalStore(folder))
        self.fails = False

    async def put(self, path: str, data: bytes, *, new: bool = False) -> bool:
        """Puts."""
        done = await super().put(path, data, new=new)
        self.fails = self.fails or path.endswith("/job.json")
        return done

    async def get(self, path: str) -> bytes | None:
        """Gets, or fails."""
        if self.fails:
            raise StorageError("the storage is away", retry_after=10)
        return await super().get(path)


class Broken(Storage):
    """A storage that fails."""

    def __init__(self, folder: Path) -> None:
        super().__init__(LocalStore(folder))

    async def put(self, path: str, data: bytes, *, new: bool = False) -> bool:
        """Fails."""
        raise StorageError("the storage is away", retry_after=10)

    async def get(self, path: str) -> bytes | None:
        """Fails."""
        raise StorageError("the storage is away", retry_after=10)

    async def list(self, folder: str) -> AsyncIterator[Stored]:
        """Fails."""
        raise StorageError("the storage is away", retry_after=10)
        yield


def uploads(folder: Path, job_id: str) -> list[Path]:
    """The stored uploads of a job."""
    return [*(folder / "jobs" / job_id / "inputs").iterdir()]


def send_head(connection: socket.socket, length: str, *, query: str = "domains=blond") -> None:
    """The head of POST /jobs, for a form of the given length."""
    content_type = "Content-Type: multipart/form-data; boundary=x"
    connection.sendall(
        "\r\n".join([f"POST /jobs?{query} HTTP/1.1", "Host: test", content_type, length, "", ""]).encode()
    )


def a_part() -> bytes:
    """A picture in a form without an end."""
    return b'--x\r\nContent-Disposition: form-data; name="images"; filename="a.png"\r\n\r\n' + PNG + b"\r\n"
