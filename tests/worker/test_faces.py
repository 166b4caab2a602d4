"""Faces are found where they are drawn, at any size of the picture, and nothing else is."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.people import KNOWN, people
from support.pictures import noise, ramp, scene

from models.bundle.pixels import Box
from worker.errors import InvalidParameter
from worker.imaging import faces


@pytest.mark.parametrize("index", KNOWN)
@pytest.mark.parametrize(
    ("size", "side", "at"),
    [
        ((64, 64), 64, (0, 0)),
        ((320, 240), 128, (30, 60)),
        ((640, 480), 128, (300, 200)),
        ((2000, 1500), 512, (900, 300)),
    ],
)
def test_a_face_is_framed_as_in_training(index: int, size: tuple[int, int], side: int, at: tuple[int, int]) -> None:
    """One face is found, once; its surroundings are the square in which the person was drawn, within 6 %."""
    found = faces.find(people(size, (index, side, *at)))
    assert len(found) == 1
    drawn = (at[0], at[1], at[0] + side, at[1] + side)
    assert max(abs(a - b) for a, b in zip(faces.surroundings(found[0], size), drawn, strict=True)) <= 0.06 * side


@pytest.mark.parametrize("index", [3, 18, 19])
def test_what_looks_like_a_face_within_a_face_is_none(index: int) -> None:
    """The cascades also see faces around these people's eyes; only the person's own is returned."""
    assert len(faces.find(people((640, 480), (index, 256, 200, 100)))) == 1


def test_small_pictures_are_enlarged() -> None:
    """A face that is hardly larger than the cascades' window is found."""
    assert len(faces.find(people((40, 40), (9, 40, 0, 0)))) == 1


def test_two_faces_come_largest_first() -> None:
    """The order is by size, not by place."""
    found = faces.find(people((640, 480), (17, 120, 20, 20), (2, 240, 300, 150)))
    assert [_holds(box, point) for box, point in zip(found, ((420, 284), (80, 87)), strict=True)] == [True, True]
    assert _side(found[0]) > 1.5 * _side(found[1])


def test_no_more_than_the_most_are_found() -> None:
    """The largest 16 of 20 faces are returned."""
    places = [(2, 96, 110 * column + 10, 110 * row + 10) for row in range(4) for column in range(5)]
    found = faces.find(people((560, 450), *places))
    assert len(found) == faces.MOST
    assert [_side(face) for face in found] == sorted(map(_side, found), reverse=True)


@pytest.mark.parametrize(
    "picture",
    [Image.new("RGB", (300, 200), "white"), Image.new("RGB", (64, 64)), scene(300, 200), noise(300, 200)],
    ids=["white", "black", "scene", "noise"],
)
def test_where_there_is_no_face_none_is_found(picture: Image.Image) -> None:
    """Blank, smooth and noisy pictures have no face."""
    assert faces.find(picture) == []


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (19, 19), (5, 640)])
def test_pictures_of_any_shape_are_searched(size: tuple[int, int]) -> None:
    """A picture too small or too narrow for any face has none, and is no error."""
    assert faces.find(ramp(*size).convert("RGB")) == []


def test_a_face_on_its_side_is_not_found() -> None:
    """Only upright faces are looked for, as the README says."""
    assert faces.find(people((320, 240), (2, 128, 30, 60)).rotate(90, expand=True)) == []


def test_searches_at_the_same_time_keep_apart() -> None:
    """Several threads that search at once find the same as one after the other."""
    pictures = [people((320, 240), (2, 120, left, 60)) for left in range(0, 200, 40)] * 2
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(faces.find, pictures)) == [faces.find(picture) for picture in pictures]


@settings(deadline=None)
@given(st.integers(1, 3000), st.tuples(*[st.integers(0, 3000)] * 4))
def test_surroundings_are_a_square_within_the_picture(side: int, around: tuple[int, ...]) -> None:
    """Surroundings are square, smaller than 1.8 faces only if the picture is, within it, and contain the face."""
    left, top, right, bottom = around
    size, face = (left + side + right, top + side + bottom), (left, top, left + side, top + side)
    box = faces.surroundings(face, size)
    assert _side(box) == box[3] - box[1] == min(round(1.8 * side), *size)
    assert min(box[:2]) >= 0
    assert (box[2] <= size[0], box[3] <= size[1]) == (True, True)
    assert [box[end] <= face[end] for end in (0, 1)] == [True, True]
    assert [box[end] >= face[end] for end in (2, 3)] == [True, True]


@pytest.mark.parametrize("opencv", [None, SimpleNamespace(__version__="5.0.0")])
def test_without_opencv_the_remedy_is_named(opencv: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without OpenCV, or with one without cascades, searching is refused with what to install."""
    monkeypatch.setattr(faces, "cv2", opencv)
    assert faces.version() is None
    with pytest.raises(InvalidParameter, match="`faces`, is not installed"):
        faces.find(scene())


def _side(box: Box) -> int:
    return box[2] - box[0]


def _holds(box: Box, point: tuple[int, int]) -> bool:
    return box[0] <= point[0] < box[2] and box[1] <= point[1] < box[3]
