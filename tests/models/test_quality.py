"""The comparisons of benchmarks/quality: their data and marks by hand, each whole comparison with two steps."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.quality import _exam, cyclegan, pix2pix, stargan
from benchmarks.quality._drawn import CLASSES, classes, face, label_map
from benchmarks.quality._work import Settings, disorder
from cli.app import app
from models.drawn.person import person
from models.errors import OptionsError

TINY = Settings(Path(), size=32, width=4, steps=2, batch=2, count=40, judge_steps=2)


def silent(what: str, done: int, total: int, note: str = "") -> None:
    """A report to nobody."""


def tiny(work: Path) -> Settings:
    return replace(TINY, work=work)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder that the comparisons on maps share, so that its pictures are drawn once."""
    return tmp_path_factory.mktemp("work")


def checkpoints(work: Path) -> dict[str, int]:
    """When each variant's newest checkpoint was written."""
    return {path.parts[-3]: path.stat().st_mtime_ns for path in work.glob("runs/*/checkpoints/*.ckpt")}


def test_a_map_shows_what_is_where_and_no_free_colours() -> None:
    """Another skin, shirt and background give the same map; another colour of hair does not."""
    one = person(0, 0)
    other = replace(one, skin=(124, 80, 58), clothes_colour=(92, 160, 108), background=((0, 0, 0), (0, 0, 0)))
    drawn = label_map(one, 32)
    assert np.array_equal(drawn, label_map(other, 32))
    dark = label_map(one.with_attributes(one.attributes.with_domain("black")), 32)
    assert not np.array_equal(drawn, dark)


def test_a_map_has_the_colours_of_its_classes_alone() -> None:
    """Each pixel is a class, and is read back as that class."""
    drawn = np.stack([label_map(person(0, index), 32) for index in range(6)])
    colours = np.array(list(CLASSES.values()))
    assert np.array_equal(colours[classes(drawn)], drawn)
    found = {list(CLASSES)[place] for place in np.unique(classes(drawn))}
    assert {"background", "skin", "clothes", "hat", "mouth", "black", "blond", "grey"} <= found


def test_marks_of_maps_by_hand() -> None:
    """Of 4 pixels, 3 background and 1 skin, one of the background read as skin: 3/4, (2/3 + 1)/2, (2/3 + 1/2)/2."""
    b, s = CLASSES["background"], CLASSES["skin"]
    truth = np.array([[[b, b], [b, s]]], np.uint8)
    read = np.array([[[b, b], [s, s]]], np.uint8)
    assert _exam.shares(read, truth) == pytest.approx((3 / 4, 5 / 6, 7 / 12))
    assert _exam.shares(truth, truth) == (1, 1, 1)


def test_another_order_is_said() -> None:
    """Pairs that stand the other way round are named; what agrees to two decimals stands in no order."""
    paper = {"worst": 0.1, "middle": 0.2, "best": 0.3}
    assert disorder({"worst": 0.501, "middle": 0.5, "best": 0.7}, paper).startswith("No two")
    assert disorder({"worst": 0.6, "middle": 0.5, "best": 0.55}, paper).endswith(
        "worst above middle, worst above best."
    )


def test_brows_and_mouth_are_on_a_face() -> None:
    """A surprised face differs from the neutral one in its upper and in its lower half."""
    one = person(0, 0)
    calm, surprised = (
        face(one.with_attributes(one.attributes.with_domain(name)), 32) for name in ("neutral", "surprised")
    )
    differs = (calm != surprised).any(axis=-1)
    assert calm.shape == (32, 32, 3)
    assert differs[:16].any()
    assert differs[16:].any()


def test_pix2pix_is_compared_and_gone_on_with(work: Path) -> None:
    """Each variant stands in the tables where the paper has it; nothing is trained again or mixed."""
    variants = {name: pix2pix.VARIANTS[name] for name in ("L1", "L1+cGAN", "patch 1")}
    lines = pix2pix.compare(variants, tiny(work), silent)
    rows = [line.split(" | ")[0] for line in lines if line.startswith("| ")]
    named = [row.removeprefix("| ") for row in rows if not row.startswith("| ---")]
    titles = list(pix2pix.PAPER)
    assert named == [
        *(titles[0], "L1", "L1+cGAN", "real avatars"),
        *(titles[1], "L1", "L1+cGAN"),
        *(titles[2], "patch 1", "L1+cGAN"),
    ]
    assert (work / "table.md").read_text(encoding="utf-8").splitlines() == lines
    assert (work / "sheet.png").exists()
    written = checkpoints(work)
    assert set(written) == {"segmenter", "L1", "L1+cGAN", "patch-1"}
    assert pix2pix.compare(variants, tiny(work), silent) == lines
    assert checkpoints(work) == written
    with pytest.raises(OptionsError, match="was begun with --size 32"):
        pix2pix.compare(variants, replace(tiny(work), count=50), silent)
    with pytest.raises(OptionsError, match="was trained with other options"):
        pix2pix.compare({"L1": "adversarial=2"}, tiny(work), silent)


def test_cyclegan_is_compared_both_ways(work: Path) -> None:
    """Both tables have their rows, and no person of trainA is in trainB."""
    lines = cyclegan.compare({"GAN + forward": cyclegan.VARIANTS["GAN + forward"]}, tiny(work), silent)
    assert sum(line.startswith("| GAN + forward |") for line in lines) == 2
    sides = [
        {path.name for path in work.glob(f"data/unpaired/{part}/*")} for part in ("trainA", "trainB", "testA", "testB")
    ]
    assert len(sides[0]) == len(sides[1]) == 16
    assert not sides[0] & sides[1]
    assert sides[2] == sides[3]


def test_stargan_stands_beside_a_cyclegan_for_each_pair(tmp_path: Path) -> None:
    """One training against six; real faces are their own truth; both saw as many translations to each domain."""
    lines = stargan.compare(tiny(tmp_path), silent)
    cells = {row.split(" | ")[0].removeprefix("| "): row.split(" | ") for row in lines if row.startswith("| ")}
    assert (cells["StarGAN"][3], cells["CycleGANs"][3]) == ("1", "6")
    assert cells["real faces"][2] == "0.0"
    assert float(cells["untouched"][2]) > 0
    steps = {path.parts[-3]: int(path.stem) for path in tmp_path.glob("runs/*/checkpoints/*.ckpt")}
    generator = steps.pop("stargan") // stargan.EVERY * stargan.LARGER * TINY.batch
    assert generator == sum(2 * TINY.batch * each for each in steps.values())


def test_the_command_knows_them_and_not_what_they_share() -> None:
    """`recast bench` names the comparisons among its benchmarks, and no module that begins with an underscore."""
    result = CliRunner().invoke(app, ["bench", "nothing"], terminal_width=200)
    said = result.output.replace("\n", " ")
    assert all(f"quality/{name}" in said for name in ("pix2pix", "cyclegan", "stargan"))
    assert "_work" not in said
