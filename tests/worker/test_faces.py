"""Faces are found where they are drawn, at any size and tilt, and nothing else is; by the bundle that ships."""

from math import hypot

import numpy as np
import pytest
from PIL import Image
from support.faces import find
from support.people import EYES, people
from support.pictures import noise, ramp, scene

from models.bundle.pixels import Square
from worker import faces
from worker.faces import Face


@pytest.mark.parametrize("index", [2, 3, 17, 19, 23])
@pytest.mark.parametrize(
    ("size", "side", "at"),
    [
        ((64, 64), 64, (0, 0)),
        ((320, 240), 128, (30, 60)),
        ((640, 480), 128, (300, 200)),
        ((2000, 1500), 512, (900, 300)),
        ((2000, 1500), 200, (1700, 1250)),
    ],
)
def test_a_face_is_found_by_its_eyes(index: int, size: tuple[int, int], side: int, at: tuple[int, int]) -> None:
    """One face is found, once, and its eyes within 4 % of the square in which the person was drawn."""
    (face,) = find(people(size, (index, side, *at)))
    assert _off(face, [(at[0] + x * side, at[1] + y * side) for x, y in EYES]) <= 0.04 * side


@pytest.mark.parametrize("degrees", [20, -20, 40, 90, -90])
def test_a_tilted_face_is_found_by_its_eyes(degrees: int) -> None:
    """A person who is turned by so much has turned eyes: which one is the left one is known too."""
    upright = people((320, 320), (2, 160, 80, 80))
    (face,) = find(upright.rotate(-degrees, Image.Resampling.BICUBIC, fillcolor=(90, 110, 130)))
    eyes = np.array([(x * 160 + 80, y * 160 + 80) for x, y in EYES], np.float32)
    turned = Square(160, 160, 320, np.deg2rad(degrees)).place(eyes, 320)
    assert _off(face, [(float(x), float(y)) for x, y in turned]) <= 0.04 * 160


def test_two_faces_come_largest_first() -> None:
    """The order is by size, not by place."""
    large, small = find(people((640, 480), (17, 120, 20, 20), (2, 240, 300, 150)))
    assert hypot(large.middle[0] - 420, large.middle[1] - 276) < 12
    assert hypot(small.middle[0] - 80, small.middle[1] - 83) < 6
    assert large.apart > 1.5 * small.apart


def test_no_more_than_the_most_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 20 faces as many are returned as may be, each once, and without a limit all of them."""
    places = [(2, 96, 110 * column + 10, 110 * row + 10) for row in range(4) for column in range(5)]
    crowd = people((560, 450), *places)
    assert len(find(crowd)) == 20
    monkeypatch.setattr(faces, "MOST", 16)
    assert len(find(crowd)) == 16


@pytest.mark.parametrize(
    "picture",
    [Image.new("RGB", (300, 200), "white"), Image.new("RGB", (64, 64)), scene(300, 200), noise(300, 200)],
    ids=["white", "black", "scene", "noise"],
)
def test_where_there_is_no_face_none_is_found(picture: Image.Image) -> None:
    """Blank, smooth and noisy pictures have no face."""
    assert find(picture) == ()


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (19, 19), (5, 640)])
def test_pictures_of_any_shape_are_searched(size: tuple[int, int]) -> None:
    """A picture too small or too narrow for any face has none, and is no error."""
    assert find(ramp(*size).convert("RGB")) == ()


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (500, 500), (900, 300), (3000, 1)])
def test_windows_cover_a_picture(size: tuple[int, int]) -> None:
    """Every pixel lies in one, none reaches far beyond, and a face of a quarter of the long side is whole in one."""
    seen = list(faces.windows(*size))
    side = max(size) / 2
    for x in np.linspace(0, size[0], 41):
        for y in np.linspace(0, size[1], 41):
            reach = [max(abs(window.x - x), abs(window.y - y)) for window in seen]
            near = min(max(min(x, size[0] - x), 0), max(min(y, size[1] - y), 0)) >= side / 4
            assert min(reach) <= (side / 4 if near else side / 2) + 1e-6
    assert len(seen) <= 9


def _off(face: Face, eyes: list[tuple[float, float]]) -> float:
    """How far the eye is from its place that is further off, pixels."""
    found = (face.left, face.right)
    return max(hypot(x - u, y - v) for (x, y), (u, v) in zip(found, eyes, strict=True))
