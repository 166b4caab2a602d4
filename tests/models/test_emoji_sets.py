"""The sets of emoji: honest labels, parts that share nothing, and the same bytes every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.bundle.manifest import Picture
from models.data import labelled, pairs, unpaired
from models.drawn.emoji import GENDERS, HAIR, SKINS, find_font
from models.drawn.emoji_sets import Crowd, EmojiSet, read, write
from models.drawn.writing import part_of
from models.errors import OptionsError

SIDE = 16
COUNT = 30


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a set of each kind that is written: attributes, pairs and unpaired, seed 3."""
    folder = tmp_path_factory.mktemp("emoji")
    for layout in ("attributes", "pairs", "unpaired"):
        write(folder / layout, layout, COUNT, SIDE, 3, None, lambda done, total: None)
    return folder


def test_no_kind_is_trained_on_and_tested() -> None:
    """Without hair each kind of people is in one part; with hair each combination is, and every value is trained on."""
    path = find_font(None)
    for hair in (False, True):
        crowd = Crowd(path, 1, 600, hair)
        shown = [crowd.portrait(index).emoji for index in range(600)]
        parts: list[set[object]] = [set(), set(), set()]
        for index, one in enumerate(shown):
            parts[part_of(index, 600)].add(one if hair else one.kind)
        assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]
        assert all(parts)
        trained = shown[:480]
        assert {one.skin for one in trained} == set(SKINS)
        assert {one.gender for one in trained} == set(GENDERS)
        assert not hair or {one.hair for one in trained} == set(HAIR)


def test_labels_are_what_the_files_show(sets: Path) -> None:
    """The tables are read back as CelebA's are, and each picture can be made again from emoji.json."""
    picture = Picture(size=SIDE)
    made = read(sets / "attributes")
    assert made is not None
    for which in ("train", "test"):
        data = labelled.read(sets / "attributes", "", picture, which, False)
        names = [domain.name for domain in data.description.domains]
        assert names == [*SKINS, *GENDERS]
        assert {domain.group for domain in data.description.domains} == {"skin", "gender"}
        for index in range(len(data.pictures.paths)):
            portrait = made.scene(data.pictures.paths[index])
            assert portrait is not None
            assert (portrait.draw(SIDE) == data.pictures[index]).all()
            assert portrait.emoji.labels(tuple(names)) == tuple(data.labels[index])


def test_an_exact_counterfactual_keeps_its_place() -> None:
    """Another skin changes pixels of the emoji alone, and the ground behind it stays."""
    portrait = Crowd(find_font(None), 1, 10, True).portrait(4)
    head = portrait.head_mask(64)
    assert (portrait.face_mask(64) == head).all()
    for domain in (*HAIR, *SKINS, *GENDERS):
        other = portrait.with_domain(domain, True)
        differs = (portrait.draw(64) != other.draw(64)).any(axis=2)
        assert not (differs & ~head).any()
        assert (other.head_mask(64) == head).all()
        assert differs.any() == (other.emoji != portrait.emoji)
    assert 0.1 < head.mean() < 0.7


def test_pairs_are_a_drawing_and_its_emoji(sets: Path) -> None:
    """As many pairs as asked: left ink on white, right colour; no emoji is in both parts."""
    training = pairs.read(sets / "pairs", Picture(size=SIDE), "train", False, SIDE)
    assert len(training) == COUNT
    files = {
        part: {path.stem.partition("_")[0] for path in (sets / "pairs" / part).iterdir()} for part in ("train", "test")
    }
    assert len(files["test"]) == COUNT // 10
    assert not files["train"] & files["test"]
    drawings, emoji = [], []
    for path in sorted((sets / "pairs" / "train").iterdir()):
        with Image.open(path) as picture:
            assert picture.size == (2 * SIDE, SIDE)
            both = np.asarray(picture, np.int16)
        drawings.append(both[:, :SIDE])
        emoji.append(both[:, SIDE:])
    colourful = [np.ptp(np.stack(side), axis=3).mean() for side in (drawings, emoji)]
    assert colourful[0] < 3 < 30 < colourful[1]


def test_unpaired_sides_share_tests_alone(sets: Path) -> None:
    """Drawings and emoji to train on are of different emoji; files of one name in the tests show the same one."""
    assert len(unpaired.read(sets / "unpaired", "", Picture(size=SIDE), "train", False, SIDE)) == COUNT
    names = {
        folder.name: {path.stem.partition("_")[0] for path in folder.iterdir()}
        for folder in (sets / "unpaired").iterdir()
        if folder.is_dir()
    }
    assert names["testA"] == names["testB"]
    assert not names["trainA"] & names["trainB"]
    assert not names["testA"] & (names["trainA"] | names["trainB"])


def test_the_same_seed_gives_the_same_bytes(sets: Path, tmp_path: Path) -> None:
    """Written again, every file is the same; another seed gives other pictures; progress counts up to all of them."""
    told: list[tuple[int, int]] = []
    write(tmp_path / "again", "pairs", COUNT, SIDE, 3, None, lambda done, total: told.append((done, total)))
    write(tmp_path / "other", "pairs", 2, SIDE, 4, None, lambda done, total: None)
    files = sorted(path.relative_to(sets / "pairs") for path in (sets / "pairs").rglob("*") if path.is_file())
    assert len(files) == COUNT + COUNT // 10 + 2
    for file in files:
        assert (tmp_path / "again" / file).read_bytes() == (sets / "pairs" / file).read_bytes()
    assert told[-1] == (COUNT + COUNT // 10, COUNT + COUNT // 10)
    assert not {path.name for path in (tmp_path / "other" / "train").iterdir()} <= {file.name for file in files}


def test_each_set_names_its_artists(sets: Path) -> None:
    """Every set says whose artwork it is, under which licence, and how it is made again."""
    for layout in ("attributes", "pairs", "unpaired"):
        said = (sets / layout / "README.md").read_text()
        assert "Google" in said
        assert "SIL Open Font License 1.1" in said
        assert f"recast data emoji --layout {layout} --count {COUNT} --size {SIDE} --seed 3" in said


def test_what_can_not_be_drawn_again_is_none(sets: Path, tmp_path: Path) -> None:
    """Drawings have no counterfactual, nor have people of a font that is not the installed one."""
    made = read(sets / "pairs")
    assert made is not None
    assert made.scene(Path("1f600.png")) is None
    assert EmojiSet("attributes", 3, SIDE, COUNT, "another font").scene(Path("000001.png")) is None
    assert read(tmp_path) is None


@pytest.mark.parametrize(
    ("layout", "count", "size", "named"),
    [("attributes", 0, 16, "count is 0"), ("pairs", 1, 8, "size is 8"), ("pear", 1, 16, "'pear'.*unpaired")],
)
def test_impossible_sets_are_refused(tmp_path: Path, layout: str, count: int, size: int, named: str) -> None:
    """The error names the value, and nothing is written."""
    with pytest.raises(OptionsError, match=named):
        write(tmp_path / "out", layout, count, size, 1, None, lambda done, total: None)
    assert not list(tmp_path.iterdir())
