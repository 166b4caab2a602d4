"""Pairs are read in both published layouts, and both halves are augmented in the same way."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support.data import pair_folder

from models.bundle.manifest import Picture
from models.data.pairs import Pairs, read
from models.data.parts import Part
from models.errors import DataError, OptionsError

PICTURE = Picture(size=16, resize="bicubic", crop="none")


def pairs(folder: Path, part: Part = "train", flip: bool = False, load_size: int = 16) -> Pairs:
    return read(folder, PICTURE, part, flip, load_size)


def parted(folder: Path, layout: str) -> Path:
    """The set of `pair_folder` with A and B in folders of their own, where `layout` says."""
    both = pair_folder(folder / "both")
    for path in sorted(both.rglob("*.png")):
        pixels = np.array(Image.open(path))
        for side, half in (("A", pixels[:, :32]), ("B", pixels[:, 32:])):
            place = folder / "parted" / layout.format(part=path.parent.name, side=side)
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(half).save(place / path.name)
    return folder / "parted"


def negatives(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> bool:
    """Whether B is A's negative, as `pair_folder` draws it; resizing rounds both."""
    return bool(np.abs(a.astype(int) + b - 255).max() <= 1)


def test_halves_of_one_file_are_a_and_b(pair_set: Path) -> None:
    """The left half is A, the right one B; train and test are what their folders hold."""
    data = pairs(pair_set)
    assert (len(data), len(pairs(pair_set, "test"))) == (8, 2)
    a, b = data.halves(0)
    first = np.array(Image.open(pair_set / "train" / "1.png").resize((32, 16), Image.Resampling.BICUBIC))
    assert negatives(a, b)
    assert np.abs(a[4:12, 4:12].astype(int) - first[4:12, 4:12]).max() <= 2
    assert [domain.name for domain in data.description.domains] == ["a", "b"]


@pytest.mark.parametrize("layout", ["{part}{side}", "{side}/{part}", "{part}/{side}"])
def test_pairs_in_two_folders_are_those_side_by_side(tmp_path: Path, layout: str) -> None:
    """trainA beside trainB, A/train beside B/train and train/A beside train/B give the same pairs as one file does."""
    beside, one = pairs(parted(tmp_path, layout)), pairs(tmp_path / "both")
    assert len(beside) == len(one) == 8
    assert len(pairs(tmp_path / "parted", "test")) == 2
    for index in range(8):
        assert all((x == y).all() for x, y in zip(beside.halves(index), one.halves(index), strict=True))


def test_partners_may_have_other_endings(tmp_path: Path) -> None:
    """Partners have the same name, but may have different endings, as PNG and JPEG."""
    folder = parted(tmp_path, "{part}{side}")
    for path in (folder / "trainB").iterdir():
        Image.open(path).save(path.with_suffix(".jpg"))
        path.unlink()
    data = pairs(folder)
    assert [path.suffix for path in (data.pictures.paths[0], data.pictures.paths[8])] == [".png", ".jpg"]


def test_without_a_test_part_a_tenth_is_held_out(tmp_path: Path) -> None:
    """Pairs in one folder are split by a fixed seed, and none is in both parts."""
    folder = pair_folder(tmp_path / "set", count=20)
    for path in sorted(folder.glob("*/*.png")):
        path.rename(folder / path.name)
    train, test = pairs(folder), pairs(folder, "test")
    assert (len(train), len(test)) == (18, 2)
    assert not {*train.pictures.paths} & {*test.pictures.paths}


def test_both_halves_are_cropped_and_mirrored_in_the_same_way(pair_set: Path) -> None:
    """With every crop and flip B stays A's negative; crops and flips vary, and the same generator repeats them."""
    data = pairs(pair_set, flip=True, load_size=24)
    shown = [data.example(0, np.random.default_rng(seed)) for seed in range(12)]
    again = [data.example(0, np.random.default_rng(seed)) for seed in range(12)]
    assert all(negatives(each["a"], each["b"]) for each in shown)
    assert all((one["a"] == other["a"]).all() for one, other in zip(shown, again, strict=True))
    assert len({each["a"].tobytes() for each in shown}) > 6


def test_a_crop_is_a_part_of_what_was_loaded(pair_set: Path) -> None:
    """A crop of 16 from 24 has the loaded pixels."""
    data = pairs(pair_set, load_size=24)
    loaded, _ = data.halves(3)
    shown = data.example(3, np.random.default_rng(5))["a"]
    assert loaded.shape == (24, 24, 3)
    places = [(top, left) for top in range(9) for left in range(9)]
    assert any((loaded[top : top + 16, left : left + 16] == shown).all() for top, left in places)


def test_the_held_out_part_is_neither_cropped_nor_mirrored(pair_set: Path) -> None:
    """Test pictures are resized to the size, and are always the same."""
    data = pairs(pair_set, "test", flip=True, load_size=24)
    shown = {data.example(0, np.random.default_rng(seed))["a"].tobytes() for seed in range(6)}
    assert shown == {data.halves(0)[0].tobytes()}


def test_all_missing_partners_are_named(tmp_path: Path) -> None:
    """Pictures of either side without a partner are counted and named at once, with all other problems."""
    folder = parted(tmp_path, "{part}{side}")
    for name in ("1", "2"):
        (folder / "trainA" / f"{name}.png").unlink()
    (folder / "testB" / "9.png").unlink()
    (folder / "trainB" / "5.png").write_bytes(b"")
    with pytest.raises(DataError) as raised:
        pairs(folder)
    text = str(raised.value)
    assert "2 pictures without a partner in A: " in text
    assert "trainB/1.png, " in text
    assert "1 picture without a partner in B: " in text
    assert "trainB/5.png is not a readable picture: it is empty" in text


def test_a_name_that_stands_for_two_pictures_is_refused(tmp_path: Path) -> None:
    """1.png beside 1.jpg is ambiguous, so it is refused."""
    folder = parted(tmp_path, "{part}{side}")
    Image.new("RGB", (32, 32)).save(folder / "trainA" / "1.jpg")
    with pytest.raises(DataError, match=r"1 picture named like another of their folder: .*1\.jpg"):
        pairs(folder)


def test_folders_without_pairs_are_refused(tmp_path: Path) -> None:
    """A folder that is missing or has no sides is named with the layouts."""
    with pytest.raises(DataError, match="there is no data folder"):
        pairs(tmp_path / "nowhere")
    with pytest.raises(DataError, match="folders for 0 sides \\(none\\), and must have two: trainA and trainB"):
        pairs(tmp_path)


def test_a_load_size_below_the_size_is_refused(pair_set: Path) -> None:
    """A crop can't be larger than the picture."""
    with pytest.raises(OptionsError, match="load_size is 8; it must be at least the size, 16"):
        pairs(pair_set, load_size=8)
