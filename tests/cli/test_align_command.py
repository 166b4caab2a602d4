"""`recast data align`: photographs in, faces out as networks are to see them, and a list of the rest."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.commands import Recast
from support.faces import find
from support.people import people

from models.bundle.manifest import Picture


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Two people; one of them, tilted by 30 degrees; nobody; too small a person; no picture."""
    folder = tmp_path / "photographs"
    (folder / "smiling").mkdir(parents=True)
    people((640, 480), (17, 200, 20, 20), (2, 240, 300, 150)).save(folder / "two.png")
    tilted = people((320, 320), (2, 200, 60, 60)).rotate(-30, Image.Resampling.BICUBIC, fillcolor=(90, 110, 130))
    tilted.save(folder / "smiling" / "tilted.png")
    Image.new("RGB", (200, 100), "white").save(folder / "nobody.png")
    people((160, 120), (2, 64, 30, 20)).save(folder / "small.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    return folder


def test_faces_are_aligned_and_the_rest_is_told(recast_: Recast, photographs: Path, tmp_path: Path) -> None:
    """Each face becomes a picture with the eyes where networks expect them; what has none is listed with its reason."""
    out = tmp_path / "out"
    said = recast_("data", "align", photographs, "--size", 128, "--out", out)
    assert (said.code, said.out.splitlines()[0]) == (0, f"3 faces are in {out}")
    written = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.jpg"))
    assert written == ["images/two-1.jpg", "images/two-2.jpg", "smiling/tilted.jpg"]
    for name in written:
        with Image.open(out / name) as opened:
            assert opened.size == (128, 128)
            (face,) = find(opened.convert("RGB"))
        off = np.array([face.left, face.right]) / 128 - Picture(size=128).eyes
        assert np.abs(off).max() < 0.03, name
    reasons = dict(line.split(": ", 1) for line in (out / "left_out.txt").read_text().splitlines())
    assert reasons.keys() == {"nobody.png", "small.png", "broken.jpg"}
    assert reasons["nobody.png"] == "no face was found"
    assert reasons["small.png"].startswith("too small: ")


def test_photographs_of_one_name_are_kept_apart(recast_: Recast, tmp_path: Path) -> None:
    """Of a.png and a.jpg the whole names stay a part of the new ones, so that neither is overwritten."""
    folder, out = tmp_path / "photographs", tmp_path / "out"
    folder.mkdir()
    for name in ("a.png", "a.jpg", "b.png"):
        people((256, 256), (2, 240, 8, 8)).save(folder / name)
    assert recast_("data", "align", folder, "--size", 64, "--out", out).code == 0
    assert sorted(path.name for path in (out / "images").iterdir()) == ["a.jpg.jpg", "a.png.jpg", "b.jpg"]


def test_align_refuses_what_it_cannot_do(recast_: Recast, photographs: Path, tmp_path: Path) -> None:
    """A folder in use is not written to, and one without pictures is no input."""
    said = recast_("data", "align", photographs, "--out", photographs)
    assert (said.code, "is not an empty folder" in said.err) == (2, True)
    (tmp_path / "empty").mkdir()
    said = recast_("data", "align", tmp_path / "empty", "--out", tmp_path / "new")
    assert (said.code, "there are no pictures" in said.err) == (2, True)
