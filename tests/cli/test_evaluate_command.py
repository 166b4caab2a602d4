"""`recast evaluate`: one run or several subjects, with a judge that is kept."""

import json
from pathlib import Path

import pytest
import torch
from support.commands import Recast
from support.training import trained

from models.evaluation import judge


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judges train for no time, since these tests are about the command."""
    torch.set_num_threads(1)
    monkeypatch.setattr(judge, "_train", lambda network, *rest: network)


def test_two_runs_are_compared(recast_: Recast, labelled_set: Path, tmp_path: Path) -> None:
    """Figures of two subjects are printed side by side and written to one report, and the judge is trained once."""
    runs = [trained("stargan", labelled_set, tmp_path / name, 2).run.folder for name in ("one", "two")]
    said = recast_("evaluate", *runs, "--data", labelled_set, "--count", 4, "--out", tmp_path / "out")
    assert said.code == 0, said.err
    assert "domain set on request, %: " in said.out
    assert " | " in said.out
    subjects = json.loads((tmp_path / "out" / "metrics.json").read_text())["subjects"]
    assert [one["subject"] for one in subjects] == ["one", "two"]
    assert len(list((tmp_path / "out" / "judges").iterdir())) == 1


def test_a_run_has_its_report_beside_it(recast_: Recast, pair_set: Path, tmp_path: Path) -> None:
    """Without `--out` the report is in the run's folder, and the judge in that of `--judges`."""
    run = trained("pix2pix", pair_set, tmp_path / "run", 2).run.folder
    said = recast_("evaluate", run, "--data", pair_set, "--count", 4, "--judges", tmp_path / "judges")
    assert said.code == 0, said.err
    assert {path.name for path in (run / "evaluation").iterdir()} == {"report.html", "metrics.json"}
    assert len(list((tmp_path / "judges").iterdir())) == 1


def test_a_file_of_weights_that_does_not_fit_is_one_line(recast_: Recast, pair_set: Path, tmp_path: Path) -> None:
    """A wrong file of `--inception` or `--lpips` is refused in one line that names it."""
    run = trained("pix2pix", pair_set, tmp_path / "run", 2).run.folder
    wrong = tmp_path / "weights.pth"
    wrong.write_bytes(b"nothing")
    for words in (("--inception", wrong), ("--lpips", wrong, wrong)):
        said = recast_("evaluate", run, "--data", pair_set, *words)
        assert (said.code, len(said.err.strip().splitlines())) == (2, 1), said.err
        assert "weights.pth" in said.err
