"""Files become the network's pictures by the bundle's rule, and are all checked before a training begins."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support.data import class_folders, labelled_folder, pair_folder
from support.training import trained, trainer, words

from models.bundle.manifest import Picture
from models.bundle.pixels import shrink
from models.data import pictures
from models.data.pairs import read
from models.data.pictures import Pictures, find_broken
from models.errors import DataError
from models.training.loop import Progress
from models.training.start import prepare

PICTURE = Picture(size=16, crop="centre")


def noise(height: int = 20, width: int = 24) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def saved(image: Image.Image, path: Path) -> Path:
    image.save(path)
    return path


def test_pictures_are_decoded_by_the_bundles_rule(tmp_path: Path) -> None:
    """Training and serving decode a picture to the same bytes."""
    path = saved(Image.fromarray(noise()), tmp_path / "a.png")
    assert (Pictures([path], PICTURE)[0] == shrink(Image.fromarray(noise()), PICTURE)).all()


def test_a_picture_is_decoded_once(tmp_path: Path) -> None:
    """A decoded picture stays in the cache, even when its file is gone."""
    path = saved(Image.fromarray(noise()), tmp_path / "a.png")
    files = Pictures([path], PICTURE)
    before = files[0].copy()
    path.unlink()
    assert (files[0] == before).all()


def test_pictures_beyond_the_cache_are_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache holds the first pictures that fit into its bytes; the others are decoded at each access."""
    monkeypatch.setattr(pictures, "CACHE_BYTES", 16 * 16 * 3)
    paths = [saved(Image.fromarray(noise()), tmp_path / name) for name in ("a.png", "b.png")]
    files = Pictures(paths, PICTURE)
    assert not files.fit
    for index, path in enumerate(paths):
        files[index]
        Image.new("RGB", (16, 16), "red").save(path)
    assert (files[0] != (255, 0, 0)).any()
    assert (files[1] == (255, 0, 0)).all()


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "1", "LA", "RGBA"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    """Grey, palette, CMYK, two-level and opaque pictures with alpha come out as Pillow shows them in RGB."""
    image = Image.fromarray(noise()).convert(mode)
    path = saved(image, tmp_path / ("a.tif" if mode == "CMYK" else "a.png"))
    assert (Pictures([path], PICTURE)[0] == shrink(image.convert("RGB"), PICTURE)).all()


def test_sixteen_bits_are_scaled(tmp_path: Path) -> None:
    """Half of 65535 is half of 255; plain conversion would clip it to white."""
    path = saved(Image.fromarray(np.full((16, 16), 32_768, np.uint16)), tmp_path / "a.png")
    assert (Pictures([path], PICTURE)[0] == 128).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pictures_lie_over_white(tmp_path: Path, mode: str) -> None:
    """The colour below full transparency does not show."""
    image = Image.new("RGBA", (16, 16), (0, 0, 0, 0)).convert(mode)
    path = tmp_path / "a.png"
    if mode == "P":
        image.info["transparency"] = 0
    image.save(path)
    assert (Pictures([path], PICTURE)[0] == 255).all()


def test_pictures_are_rotated_upright(tmp_path: Path) -> None:
    """A camera's EXIF orientation is applied, as serving does."""
    upside = noise(16, 16)
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(upside).save(tmp_path / "a.png", exif=exif)
    assert (Pictures([tmp_path / "a.png"], PICTURE)[0] == upside[::-1, ::-1]).all()


def test_sizes_may_differ(tmp_path: Path) -> None:
    """Pictures of any size and aspect become one size."""
    paths = [saved(Image.fromarray(noise(*size)), tmp_path / f"{size[0]}.png") for size in ((9, 70), (64, 48))]
    assert [Pictures(paths, PICTURE)[index].shape for index in range(2)] == [(16, 16, 3)] * 2


def test_two_pictures_of_one_file_do_not_mix(tmp_path: Path) -> None:
    """Each half is cropped and resized by itself, so no pixel bleeds over the border."""
    left, right = noise(32, 32), 255 - noise(32, 32)
    path = saved(Image.fromarray(np.concatenate([left, right], axis=1)), tmp_path / "a.png")
    both = Pictures([path], PICTURE, columns=2)[0]
    assert (both[:, :16] == shrink(Image.fromarray(left), PICTURE)).all()
    assert (both[:, 16:] == shrink(Image.fromarray(right), PICTURE)).all()


def spoiled(path: Path, how: str) -> Path:
    if how == "empty":
        path.write_bytes(b"")
    elif how == "text":
        path.write_bytes(b"not a picture")
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    elif how == "float":
        path = saved(Image.fromarray(np.zeros((16, 16), np.float32)), path.with_suffix(".tif"))
    else:
        path.unlink()
    return path


@pytest.mark.parametrize(
    ("how", "message", "header"),
    [
        ("empty", "it is empty", True),
        ("text", "its format is unknown", True),
        ("gone", "it is missing", True),
        ("float", "its values have 32 bits", True),
        ("cut", "truncated", False),
    ],
)
def test_an_unreadable_file_is_named_with_the_reason(tmp_path: Path, how: str, message: str, header: bool) -> None:
    """Decoding names file and reason; so does a look at the header, if the header is broken."""
    path = spoiled(saved(Image.fromarray(noise()), tmp_path / "a.jpg"), how)
    files = Pictures([path], PICTURE)
    with pytest.raises(DataError, match=rf"a\.(jpg|tif) is not a readable picture: .*{message}"):
        files[0]
    if header:
        with pytest.raises(DataError, match=message):
            files.probe(0)
    else:
        files.probe(0)


@pytest.mark.parametrize("size", [(33, 16), (16, 16), (64, 16)])
def test_a_file_that_holds_no_pair_is_refused_with_its_size(tmp_path: Path, size: tuple[int, int]) -> None:
    """An odd width, a single picture and a strip are not two pictures side by side, which the header shows."""
    path = saved(Image.new("RGB", size), tmp_path / "a.png")
    files = Pictures([path], PICTURE, columns=2)
    with pytest.raises(DataError, match=f"it is {size[0]} x {size[1]}; two pictures side by side"):
        files.probe(0)
    with pytest.raises(DataError, match="two pictures side by side"):
        files[0]


def test_only_pictures_are_listed(tmp_path: Path) -> None:
    """A folder's notes, thumbnails of file managers and sub-folders are ignored; the order is by name."""
    for name in ("b.JPG", "a.png", "README.md", "._a.png", "Thumbs.db"):
        (tmp_path / name).touch()
    (tmp_path / "c.png.d").mkdir()
    assert [path.name for path in pictures.list_pictures(tmp_path)] == ["a.png", "b.JPG"]
    assert pictures.list_pictures(tmp_path / "nowhere") == []


def pictures_of(folder: Path) -> Pictures:
    return Pictures(sorted((folder / "images").iterdir()), Picture(size=16))


def cut_short(path: Path) -> None:
    """Truncates a file after its header."""
    path.write_bytes(path.read_bytes()[:-100])


def test_every_broken_file_is_found_at_once(tmp_path: Path) -> None:
    """Missing, empty, truncated and other files are named with the reason, in the order of the files."""
    folder = labelled_folder(tmp_path / "set")
    files = pictures_of(folder)
    files.paths[1].unlink()
    files.paths[2].write_bytes(b"")
    cut_short(files.paths[30])
    files.paths[31].write_text("no picture")
    found = find_broken(files, decode=True)
    named = [Path(problem.split(" is not a readable picture")[0]) for problem in found]
    assert named == [files.paths[i] for i in (1, 2, 30, 31)]


def test_headers_do_not_show_truncation(tmp_path: Path) -> None:
    """Without decoding, missing and empty files are found, but not truncated ones; `--dry-run` finds those."""
    folder = labelled_folder(tmp_path / "set")
    files = pictures_of(folder)
    files.paths[2].write_bytes(b"")
    cut_short(files.paths[30])
    assert len(find_broken(files, decode=False)) == 1


def test_the_check_reports_its_progress(tmp_path: Path) -> None:
    """The callback counts the files one by one."""
    seen: list[tuple[int, int]] = []
    find_broken(pictures_of(labelled_folder(tmp_path / "set", 5)), True, lambda done, total: seen.append((done, total)))
    assert seen == [(done, 5) for done in range(1, 6)]


def test_pictures_decoded_by_the_check_are_not_decoded_again(tmp_path: Path) -> None:
    """If all pictures fit into the cache, the training needs no file any more."""
    folder = labelled_folder(tmp_path / "set")
    prepared = prepare("stargan", folder, tmp_path / "run", None, words("stargan", 2), resume=False)
    for path in prepared.training.pictures.paths:
        path.unlink()
    assert len(prepared.training.pictures) == 36
    for index in range(36):
        prepared.training.pictures[index]


def test_a_set_larger_than_the_cache_is_not_decoded_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only its headers are read, unless the check is `thorough`, as with `--dry-run`."""
    monkeypatch.setattr(pictures, "CACHE_BYTES", 0)
    folder = labelled_folder(tmp_path / "set")
    cut_short(folder / "images" / "000003.png")
    prepare("stargan", folder, tmp_path / "run", None, words("stargan", 2), resume=False)
    with pytest.raises(DataError, match=r"000003\.png is not a readable picture: .*truncated"):
        prepare("stargan", folder, tmp_path / "run", None, words("stargan", 2), resume=False, thorough=True)


def test_problems_of_both_parts_are_reported_together(tmp_path: Path) -> None:
    """Problems of held-out pictures come with those of training pictures, and no run begins."""
    folder = labelled_folder(tmp_path / "set")
    (folder / "images" / "000001.png").unlink()
    (folder / "images" / "000040.png").unlink()
    (folder / "images" / "000039.png").write_bytes(b"")
    with pytest.raises(DataError) as raised:
        trainer("stargan", folder, tmp_path / "run", 2)
    assert len(raised.value.problems) == 3
    assert not (tmp_path / "run").exists()


def test_files_that_hold_no_pairs_are_all_named(tmp_path: Path) -> None:
    """Single pictures among pairs are found by their size before the training."""
    folder = pair_folder(tmp_path / "set")
    for name in ("1", "4"):
        Image.new("RGB", (32, 32)).save(folder / "train" / f"{name}.png")
    found = find_broken(read(folder, Picture(size=16), "train", False, 16).pictures, decode=False)
    assert [Path(problem.split(" is not a")[0]).name for problem in found] == ["1.png", "4.png"]
    assert all("it is 32 x 32; two pictures side by side" in problem for problem in found)


def test_a_domain_of_one_picture_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It can be trained, with a warning that it will be learned by heart."""
    folder = class_folders(tmp_path / "set", count=12)
    for path in sorted((folder / "train" / "dark").iterdir())[1:]:
        path.unlink()
    prepare("stargan", folder, tmp_path / "run", None, words("stargan", 2), resume=False)
    assert [record.getMessage() for record in caplog.records] == [
        "dark: a single training picture, which will be learned by heart"
    ]


def test_a_check_that_is_interrupted_ends_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an interrupt no further file is checked."""
    looked: list[int] = []

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Pictures, "probe", lambda self, index: looked.append(index))
    with pytest.raises(KeyboardInterrupt):
        find_broken(Pictures([tmp_path / str(number) for number in range(2000)], Picture(size=16)), False, stop)
    assert 0 < len(looked) < 1000


def test_a_file_that_breaks_in_training_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is named; once it is repaired, the run resumes and ends with the bits of an undisturbed one."""
    monkeypatch.setattr(pictures, "CACHE_BYTES", 0)
    folder = labelled_folder(tmp_path / "set")
    whole = {path: path.read_bytes() for path in (folder / "images").iterdir()}

    def spoil(progress: Progress) -> None:
        if progress.step == 3:
            for path in whole:
                path.write_bytes(path.read_bytes()[:-100])

    made = trainer("stargan", folder, tmp_path / "run", 9, "save_every=2")
    with pytest.raises(DataError, match=r"0000..\.png is not a readable picture: .*truncated.*; replace it"):
        made.train(spoil)
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()]
    for path, content in whole.items():
        path.write_bytes(content)
    resumed = trained("stargan", folder, tmp_path / "run", 9, resume=True)
    undisturbed = trained("stargan", folder, tmp_path / "other", 9)
    for name, weights in undisturbed.recipe.networks["generator"].state_dict().items():
        assert (weights == resumed.recipe.networks["generator"].state_dict()[name]).all()
