"""The comparisons of benchmarks/quality: data and scores by hand, and each comparison with two steps."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.quality import _exam, cyclegan, pix2pix, stargan
from benchmarks.quality._drawn import CLASSES, classes, face, label_map
from benchmarks.quality._work import Settings, compare_orders
from cli.app import app
from models.drawn.person import person
from models.errors import OptionsError

TINY = Settings(Path(), size=32, width=4, steps=2, batch=2, count=40, judge_steps=2)


def silent(what: str, done: int, total: int, note: str = "") -> None:
    """A report that shows nothing."""


def tiny(work: Path) -> Settings:
    return replace(TINY, work=work)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder that the comparisons on maps share, so that its pictures are drawn once."""
    return tmp_path_factory.mktemp("work")


def checkpoints(work: Path) -> dict[str, int]:
    """When each variant's newest checkpoint was written."""
    return {path.parts[-3]: path.stat().st_mtime_ns for path in work.glob("runs/*/checkpoints/*.ckpt")}


def test_a_map_shows_classes_and_no_free_colours() -> None:
    """Other skin, clothes and background give the same map; another colour of hair gives another."""
    one = person(0, 0)
    other = replace(one, skin=(124, 80, 58), clothes_colour=(92, 160, 108), background=((0, 0, 0), (0, 0, 0)))
    drawn = label_map(one, 32)
    assert np.array_equal(drawn, label_map(other, 32))
    dark = label_map(one.with_attributes(one.attributes.with_domain("black")), 32)
    assert not np.array_equal(drawn, dark)


def test_a_map_has_the_colours_of_its_classes_alone() -> None:
    """Each pixel has the colour of a class, and is read back as that class."""
    drawn = np.stack([label_map(person(0, index), 32) for index in range(6)])
    colours = np.array(list(CLASSES.values()))
    assert np.array_equal(colours[classes(drawn)], drawn)
    found = {list(CLASSES)[place] for place in np.unique(classes(drawn))}
    assert {"background", "skin", "clothes", "hat", "mouth", "black", "blond", "grey"} <= found


def test_scores_of_maps_by_hand() -> None:
    """One of 3 background pixels read as skin, beside 1 of skin, scores 3/4, (2/3 + 1)/2 and (2/3 + 1/2)/2."""
    b, s = CLASSES["background"], CLASSES["skin"]
    truth = np.array([[[b, b], [b, s]]], np.uint8)
    read = np.array([[[b, b], [s, s]]], np.uint8)
    assert _exam.shares(read, truth) == pytest.approx((3 / 4, 5 / 6, 7 / 12))
    assert _exam.shares(truth, truth) == (1, 1, 1)


def test_variants_in_another_order_are_named() -> None:
    """Pairs in the opposite order are named, unless their figures agree to two decimals."""
    paper = {"worst": 0.1, "middle": 0.2, "best": 0.3}
    assert compare_orders({"worst": 0.501, "middle": 0.5, "best": 0.7}, paper) == "The order is the paper's."
    assert compare_orders({"worst": 0.6, "middle": 0.5, "best": 0.55}, paper).endswith(
        "worst above middle, worst above best."
    )


def test_a_face_has_brows_and_mouth() -> None:
    """A surprised face differs from the neutral one in its upper and in its lower half."""
    one = person(0, 0)
    calm, surprised = (
        face(one.with_attributes(one.attributes.with_domain(name)), 32) for name in ("neutral", "surprised")
    )
    differs = (calm != surprised).any(axis=-1)
    assert calm.shape == (32, 32, 3)
    assert differs[:16].any()
    assert differs[16:].any()


def test_pix2pix_comparison_resumes(work: Path) -> None:
    """Tables have the paper's rows; a second call trains nothing, and other settings or options are refused."""
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
    with pytest.raises(OptionsError, match="belongs to the settings --size 32"):
        pix2pix.compare(variants, replace(tiny(work), count=50), silent)
    with pytest.raises(OptionsError, match="has a training with other options"):
        pix2pix.compare({"L1": "adversarial=2"}, tiny(work), silent)


def test_cyclegan_is_compared_in_both_directions(work: Path) -> None:
    """The variant has a row in each table, and no person of trainA is in trainB."""
    lines = cyclegan.compare({"GAN + forward": cyclegan.VARIANTS["GAN + forward"]}, tiny(work), silent)
    assert sum(line.startswith("| GAN + forward |") for line in lines) == 2
    sides = [
        {path.name for path in work.glob(f"data/unpaired/{part}/*")} for part in ("trainA", "trainB", "testA", "testB")
    ]
    assert len(sides[0]) == len(sides[1]) == 16
    assert not sides[0] & sides[1]
    assert sides[2] == sides[3]


def test_stargan_is_compared_with_a_cyclegan_for_each_pair(tmp_path: Path) -> None:
    """One training stands against six with as many translations in all; real faces are their own truth."""
    lines = stargan.compare(tiny(tmp_path), silent)
    cells = {row.split(" | ")[0].removeprefix("| "): row.split(" | ") for row in lines if row.startswith("| ")}
    assert (cells["StarGAN"][3], cells["CycleGANs"][3]) == ("1", "6")
    assert cells["real faces"][2] == "0.0"
    assert float(cells["untouched"][2]) > 0
    steps = {path.parts[-3]: int(path.stem) for path in tmp_path.glob("runs/*/checkpoints/*.ckpt")}
    generator = steps.pop("stargan") // stargan.EVERY * stargan.LARGER * TINY.batch
    assert generator == sum(2 * TINY.batch * each for each in steps.values())


def test_the_command_lists_the_comparisons() -> None:
    """`recast bench` lists the comparisons among its benchmarks, and no module that begins with an underscore."""
    result = CliRunner().invoke(app, ["bench", "nothing"], terminal_width=200)
    said = result.output.replace("\n", " ")
    assert all(f"quality/{name}" in said for name in ("pix2pix", "cyclegan", "stargan"))
    assert "_work" not in said


def test_no_benchmark_hides_a_standard_module() -> None:
    """A script's folder comes first in the search for modules, so no benchmark has the name of a standard module."""
    names = {path.stem for path in Path(pix2pix.__file__).parents[1].rglob("*.py")}
    assert "serving" in names
    assert names.isdisjoint(sys.stdlib_module_names)
