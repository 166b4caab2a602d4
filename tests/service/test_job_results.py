"""GET /jobs/{id}/results: one picture or all of them, under names that are safe on every disk."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from support.jobs import accepted, ended, form
from support.services import Stuck, png, settings

from worker.settings import JobSettings

Start = Callable[..., httpx.Client]

PNG = png({"black", "smiling"})
BLOND = {"domains": "blond"}


@pytest.fixture(scope="module")
def job(client: httpx.Client) -> str:
    """The path of the results of a job that is over: two pictures, and one that failed."""
    pictures = [("holiday/ä b.png", PNG), ("z.png", png({"brown"})), ("bad.png", b"no picture")]
    links = ended(client, client.post("/jobs", params=BLOND, files=form(pictures)))["links"]
    return str(links["results"])


def test_all_results_are_a_zip(client: httpx.Client, job: str) -> None:
    """The ZIP has every translated picture as it is served alone, and the list of failures."""
    answer = client.get(job)
    name = f"recast-{job.split('/')[2]}.zip"
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == f"attachment; filename*=UTF-8''{name}"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["holiday/ä b.png", "z.png", "failures.json"]
        assert archive.read("z.png") == client.get(f"{job}/z.png").content
        (failure,) = json.loads(archive.read("failures.json"))
    assert (failure["name"], failure["code"]) == ("bad.png", "unsupported-media-type")


def test_a_result_is_served_safely(client: httpx.Client, job: str) -> None:
    """A result may be neither sniffed nor run, and has its name of the ZIP."""
    answer = client.get(f"{job}/holiday/ä b.png")
    assert answer.content == client.post("/translate", params=BLOND, content=PNG).content
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-disposition"] == "inline; filename*=UTF-8''%C3%A4%20b.png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("call", ["", "/z.png"])
def test_a_look_at_results_sends_no_body(client: httpx.Client, job: str, call: str) -> None:
    """HEAD has the headers of GET."""
    answer = client.head(job + call)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-disposition"] == client.get(job + call).headers["content-disposition"]


@pytest.mark.parametrize(
    "name",
    ["nothing.png", "bad.png", "z", "Z.PNG", "/z.png", "holiday", "../job.json", "..%2Fjob.json", "%2e%2e%2fjob.json"],
)
def test_only_results_are_served(client: httpx.Client, job: str, name: str) -> None:
    """A name that is no result of the job is a 404, whatever path it spells."""
    answer = client.get(f"{job}/{name}")
    assert answer.status_code == 404
    assert answer.json()["code"] in ("unknown-result", "not-found", "unknown-job")


def test_results_of_a_job_that_runs_are_what_there_is(serve: Start) -> None:
    """Before the first result the ZIP is empty, and each picture is a 404."""
    client = serve(settings(), Stuck())
    results = accepted(client.post("/jobs", params=BLOND, files=form([("a.png", PNG)])))["links"]["results"]
    assert zipfile.ZipFile(io.BytesIO(client.get(results).content)).namelist() == []
    assert client.get(f"{results}/a.png").json()["code"] == "unknown-result"


def test_results_that_are_out_of_reach_are_a_problem(serve: Start, tmp_path: Path) -> None:
    """If the destination's root is no longer configured, the answer is a problem and no empty ZIP."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.png").write_bytes(PNG)
    storage = str(tmp_path / "jobs")
    before = serve(settings(), jobs=JobSettings(storage=storage, roots={"disk": str(tmp_path)}))
    body = {"source": "disk/in", "destination": "disk/out"}
    results = ended(before, before.post("/jobs", params=BLOND, json=body))["links"]["results"]
    after = serve(settings(), jobs=JobSettings(storage=storage))
    for path in (results, f"{results}/a.png"):
        answer = after.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown-result")
        assert str(tmp_path) not in answer.text
