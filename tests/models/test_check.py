"""Every file is looked at before a training begins; one that breaks later costs what came after the last checkpoint."""

from pathlib import Path

import pytest
from PIL import Image
from support.data import class_folders, labelled_folder, pair_folder
from support.training import trained, trainer, words

from models.bundle.manifest import Picture
from models.data import pictures
from models.data.check import broken
from models.data.pairs import read
from models.data.pictures import Pictures
from models.errors import DataError
from models.training.loop import Progress
from models.training.start import prepare


def pictures_of(folder: Path) -> Pictures:
    return Pictures(sorted((folder / "images").iterdir()), Picture(size=16))


def cut_short(path: Path) -> None:
    """Leaves the header whole."""
    path.write_bytes(path.read_bytes()[:-100])


def test_every_broken_file_is_found_at_once(tmp_path: Path) -> None:
    """Missing, empty, cut short and no picture: each is named with its reason, in the order of the files."""
    folder = labelled_folder(tmp_path / "set")
    files = pictures_of(folder)
    files.paths[1].unlink()
    files.paths[2].write_bytes(b"")
    cut_short(files.paths[30])
    files.paths[31].write_text("no picture")
    found = broken(files, decode=True)
    assert [Path(problem.split(" is no picture")[0]) for problem in found] == [files.paths[i] for i in (1, 2, 30, 31)]


def test_headers_alone_do_not_show_what_is_cut_short(tmp_path: Path) -> None:
    """Without decoding, what is missing or empty is found, and a file cut short is not: hence `--dry-run`."""
    folder = labelled_folder(tmp_path / "set")
    files = pictures_of(folder)
    files.paths[2].write_bytes(b"")
    cut_short(files.paths[30])
    assert len(broken(files, decode=False)) == 1


def test_a_thorough_look_is_told_as_it_goes_on(tmp_path: Path) -> None:
    """Each file counts one."""
    seen: list[tuple[int, int]] = []
    broken(pictures_of(labelled_folder(tmp_path / "set", 5)), True, lambda done, total: seen.append((done, total)))
    assert seen == [(done, 5) for done in range(1, 6)]


def test_what_the_check_decoded_is_not_decoded_again(tmp_path: Path) -> None:
    """Where all pictures are kept, the training needs no file any more."""
    folder = labelled_folder(tmp_path / "set")
    prepared = prepare("stargan", folder, tmp_path / "run", None, words("stargan", 2), resume=False)
    for path in prepared.training.pictures.paths:
        path.unlink()
    assert len(prepared.training.pictures) == 36
    for index in range(36):
        prepared.training.pictures[index]


def test_a_set_that_is_not_kept_is_not_decoded_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding twice is too dear: headers are read then, and `thorough`, which is `--dry-run`, decodes all."""
    monkeypatch.setattr(pictures, "CACHE_BYTES", 0)
    folder = labelled_folder(tmp_path / "set")
    cut_short(folder / "images" / "000003.png")
    prepare("stargan", folder, tmp_path / "run", None, words("stargan", 2), resume=False)
    with pytest.raises(DataError, match=r"000003\.png is no picture that can be read: .*truncated"):
        prepare("stargan", folder, tmp_path / "run", None, words("stargan", 2), resume=False, thorough=True)


def test_both_parts_are_checked_before_anything_is_said(tmp_path: Path) -> None:
    """What is wrong with held-out pictures comes with what is wrong with those of training, and no run is begun."""
    folder = labelled_folder(tmp_path / "set")
    (folder / "images" / "000001.png").unlink()
    (folder / "images" / "000040.png").unlink()
    (folder / "images" / "000039.png").write_bytes(b"")
    with pytest.raises(DataError) as raised:
        trainer("stargan", folder, tmp_path / "run", 2)
    assert len(raised.value.problems) == 3
    assert not (tmp_path / "run").exists()


def test_files_that_hold_no_pairs_are_all_named(tmp_path: Path) -> None:
    """Single pictures among pairs are found by their size, before a network sees their halves."""
    folder = pair_folder(tmp_path / "set")
    for name in ("1", "4"):
        Image.new("RGB", (32, 32)).save(folder / "train" / f"{name}.png")
    found = broken(read(folder, Picture(size=16), "train", False, 16).pictures, decode=False)
    assert [Path(problem.split(" is no")[0]).name for problem in found] == ["1.png", "4.png"]
    assert all("it is 32 x 32; two pictures side by side" in problem for problem in found)


def test_a_domain_of_one_picture_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It can be trained, and will be learned by heart: said, and left to the person."""
    folder = class_folders(tmp_path / "set", count=12)
    for path in sorted((folder / "train" / "dark").iterdir())[1:]:
        path.unlink()
    prepare("stargan", folder, tmp_path / "run", None, words("stargan", 2), resume=False)
    assert [record.getMessage() for record in caplog.records] == [
        "dark: a single training picture, which will be learned by heart"
    ]


def test_a_check_that_is_interrupted_ends_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody waits for is not looked at."""
    looked: list[int] = []

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Pictures, "probe", lambda self, index: looked.append(index))
    with pytest.raises(KeyboardInterrupt):
        broken(Pictures([tmp_path / str(number) for number in range(2000)], Picture(size=16)), False, stop)
    assert 0 < len(looked) < 1000


def test_a_file_that_breaks_in_training_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is named, and once it is back the run goes on to the bits of one that was never disturbed."""
    monkeypatch.setattr(pictures, "CACHE_BYTES", 0)
    folder = labelled_folder(tmp_path / "set")
    whole = {path: path.read_bytes() for path in (folder / "images").iterdir()}

    def spoil(progress: Progress) -> None:
        if progress.step == 3:
            for path in whole:
                path.write_bytes(path.read_bytes()[:-100])

    made = trainer("stargan", folder, tmp_path / "run", 9, "save_every=2")
    with pytest.raises(DataError, match=r"0000..\.png is no picture that can be read: .*truncated.*; replace it"):
        made.train(spoil)
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()]
    for path, content in whole.items():
        path.write_bytes(content)
    resumed = trained("stargan", folder, tmp_path / "run", 9, resume=True)
    undisturbed = trained("stargan", folder, tmp_path / "other", 9)
    for name, weights in undisturbed.recipe.networks["generator"].state_dict().items():
        assert (weights == resumed.recipe.networks["generator"].state_dict()[name]).all()
