"""`recast translate` on files and folders."""

import json
import shutil
from collections import Counter
from pathlib import Path, PurePath

import numpy as np
import pytest
from PIL import Image
from support.bundles import toy_picture, toy_translated
from support.commands import Recast

from wiring.translate import gather
from worker.imaging.formats import JPEG, WEBP, sniff
from worker.wish import Wish

SMILING = np.array([[0, 1, 0, 0, 1, 0]], np.float32)


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    toy_picture({"blond"}).save(path)
    return path


def test_a_file_is_translated_to_the_file_named(recast_: Recast, toy_store: Path, tmp_path: Path) -> None:
    """A picture is translated, and labels that were not asked for are read from it."""
    source = picture(tmp_path / "in.png")
    said = recast_("translate", source, "--domains", "smiling", "--store", toy_store, "--out", tmp_path / "out.png")
    assert said.code == 0, said.err
    expected = toy_translated(np.asarray(toy_picture({"blond"}))[None], SMILING)[0]
    with Image.open(tmp_path / "out.png") as made:
        assert (np.asarray(made.convert("RGB")) == expected).all()


def test_domains_may_be_repeated(recast_: Recast, toy_store: Path, tmp_path: Path) -> None:
    """Two options, one of which begins with a minus, are one list with a comma."""
    source = picture(tmp_path / "in.png")
    for name, words in (("a", ["--domains", "smiling,-blond"]), ("b", ["--domains", "smiling", "--domains", "-blond"])):
        assert recast_("translate", source, *words, "--store", toy_store, "--out", tmp_path / f"{name}.png").code == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_strength_of_nothing_leaves_the_picture(recast_: Recast, toy_store: Path, tmp_path: Path) -> None:
    """`--strength 0` returns the same pixels."""
    source = picture(tmp_path / "in.png")
    words = ["--domains", "smiling", "--strength", "0", "--store", toy_store, "--out", tmp_path / "out.png"]
    assert recast_("translate", source, *words).code == 0
    with Image.open(tmp_path / "out.png") as made:
        assert (np.asarray(made.convert("RGB")) == np.asarray(toy_picture({"blond"}))).all()


def test_the_output_files_suffix_is_its_format(recast_: Recast, toy_store: Path, tmp_path: Path) -> None:
    """`--out x.webp` writes WebP without `--format`."""
    source = picture(tmp_path / "in.png")
    recast_("translate", source, "--domains", "smiling", "--store", toy_store, "--out", tmp_path / "out.webp")
    assert sniff((tmp_path / "out.webp").read_bytes()) is WEBP


def test_a_folder_keeps_its_shape_and_a_bad_picture_fails_alone(
    recast_: Recast, toy_store: Path, tmp_path: Path
) -> None:
    """Sub-folders are kept, other files are skipped, and a broken picture is named and makes the exit code 1."""
    picture(tmp_path / "in" / "a.png")
    picture(tmp_path / "in" / "deep" / "b.png")
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    (tmp_path / "in" / "broken.png").write_bytes((tmp_path / "in" / "a.png").read_bytes()[:60])
    out = tmp_path / "out"
    said = recast_("translate", tmp_path / "in", "--domains", "smiling", "--store", toy_store, "--out", out)
    assert said.code == 1
    assert "broken.png: " in said.err
    assert sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()) == ["a.png", "deep/b.png"]
    assert "2 of 3 pictures are in" in said.out


@pytest.mark.parametrize(
    ("domains", "message"),
    [
        ("smilling", "smiling"),
        ("black,blond", "black"),
        ("", "domain"),
        ("smiling:3", "strength"),
    ],
)
def test_bad_domains_are_one_line_and_exit_2(
    recast_: Recast, toy_store: Path, tmp_path: Path, domains: str, message: str
) -> None:
    """A misspelt, contradictory, empty or too strong request fails once, before any output."""
    source = picture(tmp_path / "in.png")
    said = recast_("translate", source, "--domains", domains, "--store", toy_store, "--out", tmp_path / "out.png")
    assert said.code == 2
    assert message in said.err
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format", "bmp"], "bmp"),
        (["--model", "nobody"], "nobody"),
        (["--quality", "0"], "'quality' is '0'"),
        (["--region", "nose"], "'region' is 'nose': input should be 'auto', 'whole' or 'face'"),
    ],
)
def test_bad_parameters_are_one_line_and_exit_2(
    recast_: Recast, toy_store: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    """The error of a wrong option has its value and the allowed ones."""
    source = picture(tmp_path / "in.png")
    out = tmp_path / "out.png"
    said = recast_("translate", source, "--domains", "smiling", "--store", toy_store, "--out", out, *words)
    lines = said.err.strip().splitlines()
    assert (said.code, len(lines)) == (2, 1)
    assert message in lines[0]


def test_a_missing_input_is_named(recast_: Recast, toy_store: Path, tmp_path: Path) -> None:
    """The error for a missing file has its path."""
    said = recast_("translate", tmp_path / "gone.png", "--domains", "smiling", "--store", toy_store)
    assert (said.code, "there is no file or folder" in said.err) == (2, True)


def test_a_folder_without_pictures_is_refused(recast_: Recast, toy_store: Path, tmp_path: Path) -> None:
    """A folder without pictures is an error."""
    said = recast_("translate", tmp_path, "--domains", "smiling", "--store", toy_store)
    assert (said.code, "there are no pictures in" in said.err) == (2, True)


def test_two_pictures_never_overwrite_each_other(recast_: Recast, toy_store: Path, tmp_path: Path) -> None:
    """Two pictures with one output are refused before anything is written."""
    first, second = picture(tmp_path / "a" / "x.png"), picture(tmp_path / "b" / "x.png")
    said = recast_("translate", first, second, "--domains", "smiling", "--store", toy_store, "--out", tmp_path / "out")
    assert (said.code, "two pictures would be written" in said.err) == (2, True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("names", [("a.jpg", "a.png"), ("a.png", "a.webp", "deep/a.png", "b.jpg")])
def test_pictures_of_one_name_and_two_formats_stay_apart(
    recast_: Recast, toy_store: Path, tmp_path: Path, names: tuple[str, ...]
) -> None:
    """a.jpg and a.png become a.jpg and a.png: where formats are kept, the suffixes tell the outputs apart."""
    for name in names:
        picture(tmp_path / "in" / name)
    out = tmp_path / "out"
    said = recast_("translate", tmp_path / "in", "--domains", "smiling", "--store", toy_store, "--out", out)
    assert said.code == 0, said.err
    assert {str(path.relative_to(out)) for path in out.rglob("*.*")} == set(names)


@pytest.mark.parametrize(("names", "words"), [(("a.jpg", "a.png"), ["--format", "png"]), (("a.gif", "a.png"), [])])
def test_outputs_that_would_be_one_file_are_refused(
    recast_: Recast, toy_store: Path, tmp_path: Path, names: tuple[str, ...], words: list[str]
) -> None:
    """Two pictures that would both be a.png, by `--format` or since a GIF becomes a PNG, are refused."""
    for name in names:
        picture(tmp_path / "in" / name)
    out = tmp_path / "out"
    said = recast_("translate", tmp_path / "in", "--domains", "smiling", "--store", toy_store, "--out", out, *words)
    assert (said.code, "two pictures would be written to" in said.err, "a.png;" in said.err) == (2, True, True)
    assert not out.exists()


def test_formats_are_told_by_content(recast_: Recast, toy_store: Path, tmp_path: Path) -> None:
    """A PNG that is named a.jpg is refused beside a.png, since both would be a.png."""
    picture(tmp_path / "in" / "a.png").rename(tmp_path / "in" / "a.jpg")
    picture(tmp_path / "in" / "a.png")
    said = recast_("translate", tmp_path / "in", "--domains", "smiling", "--store", toy_store, "--out", tmp_path / "o")
    assert (said.code, "two pictures would be written to" in said.err) == (2, True)


def test_a_suffix_within_a_name_is_no_format(recast_: Recast, toy_store: Path, tmp_path: Path) -> None:
    """a.png.jpg is a JPEG called `a.png`, and so is its output."""
    picture(tmp_path / "in" / "a.png.jpg")
    out = tmp_path / "out"
    recast_("translate", tmp_path / "in", "--domains", "smiling", "--store", toy_store, "--out", out)
    assert [path.name for path in out.iterdir()] == ["a.png.jpg"]
    assert sniff((out / "a.png.jpg").read_bytes()) is JPEG


def test_outputs_of_an_earlier_run_are_no_inputs(recast_: Recast, toy_store: Path, tmp_path: Path) -> None:
    """An output folder within the input's is not translated again."""
    picture(tmp_path / "a.png")
    for _ in range(2):
        said = recast_("translate", tmp_path, "--domains", "smiling", "--store", toy_store, "--out", tmp_path / "out")
        assert (said.code, "1 of 1 pictures" in said.out) == (0, True)


@pytest.mark.parametrize("out", ["in", "in/a.png"])
def test_a_picture_is_not_written_over(recast_: Recast, toy_store: Path, tmp_path: Path, out: str) -> None:
    """An output that would replace its own source is refused, and the source stays."""
    source = picture(tmp_path / "in" / "a.png")
    before = source.read_bytes()
    said = recast_("translate", source, "--domains", "smiling", "--store", toy_store, "--out", tmp_path / out)
    assert (said.code, "would replace an input" in said.err) == (2, True)
    assert source.read_bytes() == before


def test_gathering_compares_no_picture_with_every_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For thousands of pictures `gather` compares few paths, and opens no file whose output is clear."""
    count = 300
    (tmp_path / "in").mkdir()
    for number in range(count):
        (tmp_path / "in" / f"{number}.jpg").touch()
    compared, opened, equal = Counter[str](), Counter[str](), PurePath.__eq__

    def counted(one: PurePath, other: object) -> bool:
        compared["all"] += 1
        return equal(one, other)

    monkeypatch.setattr(PurePath, "__eq__", counted)
    monkeypatch.setattr(Path, "open", lambda path, *_: opened.update([path.name]))
    todo = gather([tmp_path / "in"], tmp_path / "out", Wish(domains=("smiling",)))
    assert (len(todo), opened) == (count, Counter())
    assert compared["all"] < 10 * count


def test_models_lists_the_store_for_people_and_programs(recast_: Recast, toy_store: Path) -> None:
    """The bundle and its domains are listed; --json is JSON."""
    assert "toy@1" in recast_("models", "--store", toy_store).out
    listed = json.loads(recast_("models", "--store", toy_store, "--json").out)
    assert listed["models"][0]["domains"] == ["black", "blond", "brown", "grey", "smiling", "glasses"]


def test_models_verify_refuses_a_damaged_graph(recast_: Recast, toy_store: Path, tmp_path: Path) -> None:
    """A flipped byte breaks the hash: exit code 1, the bundle and the reason named, the others listed."""
    shutil.copytree(toy_store, tmp_path / "store")
    shutil.copytree(toy_store / "toy", tmp_path / "store" / "bad")
    graph = tmp_path / "store" / "bad" / "generator.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"x")
    said = recast_("models", "verify", "--store", tmp_path / "store")
    assert said.code == 1
    assert "toy@1" in said.out
    assert "refused bad: " in said.err
    assert "generator.onnx" in said.err


def test_a_store_that_is_not_there_is_named(recast_: Recast, tmp_path: Path) -> None:
    """A store that does not exist is an error."""
    said = recast_("models", "--store", tmp_path / "nowhere")
    assert (said.code, "nowhere" in said.err) == (2, True)
