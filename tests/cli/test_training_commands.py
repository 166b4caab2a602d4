"""`recast data`, `train`, `evaluate` and `export` in a row, and their errors."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import Recast
from support.data import labelled_folder
from support.training import words

from models.bundle import archive


def options(steps: int) -> list[str]:
    return [word for pair in words("stargan", steps) for word in ("--set", pair)]


def test_train_then_export_then_translate(recast_: Recast, labelled_set: Path, tmp_path: Path) -> None:
    """A folder of labelled pictures becomes a bundle, and the bundle a translated picture."""
    run, store = tmp_path / "run", tmp_path / "store"
    said = recast_("train", "stargan", "--data", labelled_set, "--out", run, *options(3))
    assert said.code == 0, said.err
    assert "training 3/3" in said.err
    said = recast_("export", run, "--to", store / "toy", "--precision", "fp16", "--licence", "CC0-1.0")
    assert said.code == 0, said.err
    assert "generator fp16: " in said.out
    picture = labelled_set / "images" / "000001.png"
    out = tmp_path / "out.png"
    said = recast_("translate", picture, "--domains", "green,-bright", "--store", store, "--out", out)
    assert said.code == 0, said.err
    assert out.stat().st_size > 0


def test_a_dry_run_says_what_would_be_trained(recast_: Recast, labelled_set: Path, tmp_path: Path) -> None:
    """`--dry-run` prints recipe, data, domains and networks with their numbers, and writes nothing."""
    said = recast_("train", "stargan", "--data", labelled_set, "--out", tmp_path / "run", "--dry-run", *options(3))
    assert said.code == 0, said.err
    recipe, data, domains, networks = said.out.splitlines()
    assert recipe == "recipe: stargan, 3 steps, batch 4, 32 px; begins anew"
    assert data == "data: plain, 36 examples to train with, 4 examples held out"
    assert domains == "domains: red 18, green 18, bright 18"
    assert re.fullmatch(r"networks: generator [\d,]+ parameters, critic [\d,]+ parameters", networks)
    assert "checking files 40/40" in said.err
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_of_a_run_says_where_it_goes_on(recast_: Recast, labelled_set: Path, tmp_path: Path) -> None:
    """`--resume --dry-run` prints the run's options and the step that it goes on from, and changes nothing."""
    train = ("train", "stargan", "--data", labelled_set, "--out", tmp_path / "run")
    recast_(*train, *options(2), "--set", "save_every=1")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    said = recast_(*train, "--resume", "--dry-run", "--set", "steps=1000")
    assert said.out.splitlines()[0] == "recipe: stargan, 1,000 steps, batch 4, 32 px; goes on at step 2"
    said = recast_(*train, "--resume", "--from-step", "1", "--dry-run")
    assert said.out.splitlines()[0].endswith("goes on at step 1")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_dry_run_decodes_every_file(recast_: Recast, tmp_path: Path) -> None:
    """`--dry-run` finds a broken held-out picture, which the start of a training does not decode."""
    folder = labelled_folder(tmp_path / "set")
    last = folder / "images" / "000040.png"
    last.write_bytes(last.read_bytes()[:-100])
    said = recast_("train", "stargan", "--data", folder, "--out", tmp_path / "run", "--dry-run", *options(2))
    assert said.code == 2
    assert "000040.png is not a readable picture" in said.err


def test_data_writes_avatars(recast_: Recast, tmp_path: Path) -> None:
    """`recast data avatars` writes as many pictures as asked, and refuses a folder that is in use."""
    said = recast_("data", "avatars", "--count", 3, "--size", 16, "--out", tmp_path / "avatars")
    assert said.code == 0, said.err
    assert len(list((tmp_path / "avatars" / "images").iterdir())) == 3
    again = recast_("data", "avatars", "--count", 3, "--size", 16, "--out", tmp_path / "avatars")
    assert (again.code, len(again.err.strip().splitlines())) == (2, 1)


@pytest.mark.parametrize(
    ("words", "written"),
    [(["expressions"], "train/neutral/000001.png"), (["emoji", "--layout", "hair"], "images/000003.png")],
)
def test_data_writes_the_other_sets(recast_: Recast, tmp_path: Path, words: list[str], written: str) -> None:
    """`recast data` makes every set that it offers, and shows its progress."""
    said = recast_("data", *words, "--count", 3, "--size", 16, "--out", tmp_path / "made")
    assert said.code == 0, said.err
    assert "drawing 3/3" in said.err
    assert said.out == f"{words[0]} of 16 px are in {tmp_path / 'made'}\n"
    assert (tmp_path / "made" / written).is_file()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["train", "stargan", "--data", "gone", "--out", "run"], "there is no data folder gone"),
        (["train", "stargan", "--data", "empty", "--out", "run"], "has no attribute file"),
        (
            ["train", "nogan", "--data", "empty", "--out", "run"],
            "there is no recipe 'nogan'; choose one of cyclegan, pix2pix, stargan",
        ),
        (["train", "stargan", "--data", "empty", "--out", "run", "--config", "gone.toml"], "gone.toml can't be read"),
        (["train", "stargan", "--data", "empty", "--out", "run", "--resume"], "is not the run of a training"),
        (["train", "stargan", "--data", "empty", "--out", "run", "--from-step", "3"], "--from-step 3"),
        (["export", "gone", "--to", "store/x"], "gone is not the run of a training"),
        (["export", "empty", "--to", "store/x"], "empty is not the run of a training"),
        (["evaluate", "empty", "--data", "gone"], "is neither a run"),
        (["data", "avatars", "--count", "0", "--out", "new"], "count"),
        (["data", "avatars", "--size", "5", "--out", "new"], "size"),
        (["data", "emoji", "--layout", "pear", "--out", "new"], "no layout 'pear' of emoji; choose one of attributes"),
        (["data", "emoji", "--font", "gone.ttf", "--out", "new"], "there is no font gone.ttf"),
    ],
)
def test_what_is_missing_is_one_line_and_exit_2(
    recast_: Recast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], message: str
) -> None:
    """A mistake gives one line on standard error, no traceback and no half-written folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    said = recast_(*command)
    assert (said.code, len(said.err.strip().splitlines())) == (2, 1), said.err
    assert message in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_a_missing_attribute_is_named(recast_: Recast, labelled_set: Path, tmp_path: Path) -> None:
    """A domain without a column is refused, and the error lists the columns."""
    said = recast_("train", "stargan", "--data", labelled_set, "--out", tmp_path / "run", "--set", "domains=blue")
    assert said.code == 2
    assert "no attribute column blue; the data have red, green, bright" in said.err
    assert not (tmp_path / "run").exists()


def test_a_refused_export_leaves_the_old_bundle(recast_: Recast, labelled_set: Path, tmp_path: Path) -> None:
    """A failed export leaves the bundle of the last one in place."""
    run, bundle = tmp_path / "run", tmp_path / "store" / "toy"
    recast_("train", "stargan", "--data", labelled_set, "--out", run, *options(2))
    recast_("export", run, "--to", bundle)
    said = recast_("export", run, "--to", bundle, "--data", tmp_path / "gone", "--version", "2")
    assert (said.code, archive.read(bundle).version) == (2, "1")


def test_help_is_quick_to_import() -> None:
    """`recast --help` loads neither torch nor onnxruntime nor the web framework."""
    code = (
        "import sys, recast; sys.argv = ['recast', '--help']\n"
        "try: recast.main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'onnxruntime', 'fastapi'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")
