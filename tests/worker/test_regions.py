"""region=face: each face is translated by itself with its own labels, and everything around it stays to the bit."""

import asyncio
import io
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from support.bundles import TOY_LEVELS, flip_bundle, toy_bundle, toy_translated
from support.faces import add_detector, find
from support.people import EYES, people
from support.pictures import difference, noise, png, ramp
from support.translators import Recorder

from models.bundle.archive import Bundle, write
from models.bundle.pixels import Square, look, upright
from models.bundle.store import Store
from worker.errors import InvalidParameter, NoFace, UnknownModelError
from worker.imaging import compose
from worker.pipeline import Answer, Pipeline
from worker.regions import Canvas
from worker.settings import EngineSettings, Limits
from worker.wish import Wish

SETTINGS = EngineSettings(device="cpu", threads=1)
LARGE, SMALL = (2, 240, 360, 200), (17, 128, 40, 60)
"""Two people, the large one black-haired and smiling, the small one brown-haired, as the toy's classifier sees them."""
LABELS = (("black", "smiling"), ("brown",))
FACE = Wish(domains=("glasses",), region="face", format="png")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The toy bundle and the flip bundle, which ask for the whole; `facial` is a toy that asks for faces.

    All of them see faces as the people are drawn.
    """
    folder = tmp_path_factory.mktemp("store")
    _framed(folder / "a-toy", toy_bundle(folder.with_name("made"), folder="toy"), "whole")
    _framed(folder / "b-flip", flip_bundle(folder.with_name("made"), folder="flip"), "whole")
    _framed(folder / "c-facial", toy_bundle(folder.with_name("made"), folder="facial", name="facial"), "face")
    add_detector(folder)
    return Store([folder])


@pytest.fixture(scope="module")
def pair() -> Image.Image:
    """The two people, with corners that tell the toy's classifier their labels."""
    picture = people((640, 480), LARGE, SMALL)
    _paint_corners(picture, LARGE, (255, 0, 0), (0, 255, 0))
    _paint_corners(picture, SMALL, (0, 0, 255), (0, 0, 0))
    return picture


def test_each_face_keeps_its_own_labels(
    pipeline: Pipeline, translator: Recorder, store: Store, pair: Image.Image
) -> None:
    """One call reads both faces and one translates both; each keeps its own hair and smile, the larger is answered."""
    answer = run(pipeline, pair, FACE)
    expected = pair
    for box, own in zip(surroundings(pair), LABELS, strict=True):
        expected = carried(expected, box, bundle(store, "toy"), *own, "glasses")
    assert difference(opened(answer), expected).max() <= 1
    assert calls(translator) == [("toy", "classifier", 2), ("toy", "generator", 2)]
    assert answer.domains == {name: float(name in ("black", "smiling", "glasses")) for name in TOY_LEVELS}


def test_all_but_the_faces_stays_to_the_bit(pipeline: Pipeline, pair: Image.Image) -> None:
    """Outside the faces' squares, and in the alpha, no bit changes; within each of them the middle does."""
    upload = pair.copy()
    upload.putalpha(ramp(*pair.size))
    result = opened(run(pipeline, upload, FACE))
    changed = np.any(difference(result, upload), axis=-1, keepdims=True)
    for left, top, right, bottom in (square.bounds(pair.size) for square in surroundings(pair)):
        assert changed[(top + bottom) // 2, (left + right) // 2].any()
        changed[top:bottom, left:right] = False
    assert not changed.any()
    assert result.mode == "RGBA"


@pytest.mark.parametrize(
    ("model", "region", "rows"), [("facial", "auto", 2), ("facial", "whole", 1), ("toy", "auto", 1)]
)
def test_auto_is_what_the_bundle_asks_for(
    pipeline: Pipeline, translator: Recorder, pair: Image.Image, model: str, region: str, rows: int
) -> None:
    """A bundle made for faces is given faces unless the whole is asked for; any other is given the whole."""
    run(pipeline, pair, FACE.model_copy(update={"model": model, "region": region}))
    assert calls(translator) == [(model, "classifier", rows), (model, "generator", rows)]


def test_the_models_size_is_the_largest_face(
    pipeline: Pipeline, translator: Recorder, store: Store, pair: Image.Image
) -> None:
    """At size=model the answer is what the network makes of the largest face, with that part of the alpha."""
    upload = pair.copy()
    upload.putalpha(ramp(*pair.size))
    result = opened(run(pipeline, upload, FACE.model_copy(update={"size": "model"})))
    square = surroundings(pair)[0]
    assert close_to(np.asarray(result.convert("RGB")), made(pair, square, bundle(store, "toy"), *LABELS[0], "glasses"))
    alpha = Image.fromarray(upright(ramp(*pair.size), square, 32))
    assert difference(result.getchannel("A"), alpha).max() <= 3
    assert calls(translator) == [("toy", "classifier", 1), ("toy", "generator", 1)]


def test_several_steps_work_on_the_same_faces(
    pipeline: Pipeline, translator: Recorder, store: Store, pair: Image.Image
) -> None:
    """Faces are found in the upload, once: the second bundle works on the same squares of what the first one made."""
    wish = FACE.model_copy(update={"domains": ("glasses", "zebra")})
    answer = run(pipeline, pair, wish)
    squares = surroundings(pair)
    changed = np.any(difference(opened(answer), pair), axis=-1, keepdims=True)
    for left, top, right, bottom in (square.bounds(pair.size) for square in squares):
        changed[top:bottom, left:right] = False
    assert not changed.any()
    assert calls(translator)[-1] == ("flip", "zebra", 2)
    small = run(pipeline, pair, wish.model_copy(update={"size": "model"}))
    first = made(pair, squares[0], bundle(store, "toy"), *LABELS[0], "glasses")
    assert close_to(np.asarray(opened(small)), 255 - first)


def test_a_sheet_shows_the_largest_face(pipeline: Pipeline, translator: Recorder, pair: Image.Image) -> None:
    """`*` shows what each domain makes of the largest face alone, at the face's own size."""
    page = np.asarray(opened(run(pipeline, pair, FACE.model_copy(update={"domains": ("*",), "model": "toy"}))))
    square = surroundings(pair)[0]
    side = round(square.side)
    face = upright(pair, square, side, Image.Resampling.BICUBIC)
    corners = np.argwhere((page[: -side + 1, : -side + 1] == face[0, 0]).all(axis=-1))
    assert any(np.array_equal(page[y : y + side, x : x + side], face) for y, x in corners)
    assert calls(translator) == [("toy", "classifier", 1), ("toy", "generator", 6)]
    assert page.shape[1] < 4 * 1.3 * side


@pytest.mark.parametrize(
    "wish",
    [
        FACE,
        FACE.model_copy(update={"region": "auto", "model": "facial"}),
        FACE.model_copy(update={"domains": ("*",)}),
    ],
)
def test_without_a_face_nothing_is_translated(pipeline: Pipeline, translator: Recorder, wish: Wish) -> None:
    """Where faces are wanted, by the request or by the bundle, and there is none, that is the answer."""
    with pytest.raises(NoFace, match="region=whole"):
        run(pipeline, noise(200, 120), wish)
    assert calls(translator) == []


def test_without_a_detector_only_the_whole_is_translated(translator: Recorder, store: Store, tmp_path: Path) -> None:
    """Where no bundle detects, wanting faces is refused before any work, and the whole picture works."""
    facial = bundle(store, "facial")
    _framed(tmp_path / "facial", facial, "face")
    pipeline = Pipeline(Store([tmp_path]), translator, Limits(), threads=1)
    with pytest.raises(InvalidParameter, match="region=whole"):
        pipeline.plan(FACE)
    with pytest.raises(InvalidParameter, match="`face-detector`"):
        run(pipeline, noise(64, 64), Wish(domains=("glasses",)))
    assert run(pipeline, noise(64, 64), Wish(domains=("glasses",), region="whole")).model == "facial@1"
    pipeline.close()


def test_the_detector_is_no_model(pipeline: Pipeline, store: Store) -> None:
    """It can't be asked for, and no sentence counts it among those that can."""
    with pytest.raises(UnknownModelError, match=r"toy, flip, facial$"):
        pipeline.plan(Wish(domains=("glasses",), model="face-detector"))
    assert [each.name for each in store.snapshot().models] == ["toy", "flip", "facial"]


def test_finding_faces_counts_as_computing(pipeline: Pipeline, pair: Image.Image) -> None:
    """The time of a step without strength, which runs nothing, is the search's."""
    answer = run(pipeline, pair, FACE.model_copy(update={"strength": 0.0}))
    assert answer.timings["infer"] > 0


@pytest.mark.parametrize("degrees", [20, -40, 90])
def test_a_tilted_face_is_seen_upright_and_changed_where_it_is(
    pipeline: Pipeline, store: Store, pair: Image.Image, degrees: int
) -> None:
    """The network sees the person as if nothing were tilted, and its change is turned back with a soft edge."""
    tilted = pair.crop((320, 160, 640, 480)).rotate(-degrees, Image.Resampling.BICUBIC, fillcolor=(90, 110, 130))
    tilted = tilted.resize((640, 640), Image.Resampling.BICUBIC)
    (face,) = find(tilted)
    square = Square.around((face.left, face.right), EYES)
    assert abs(np.rad2deg(square.angle) - degrees) < 6
    answer = run(pipeline, tilted, FACE)
    assert difference(opened(answer), carried(tilted, square, bundle(store, "toy"), *LABELS[0], "glasses")).max() <= 1
    changed = np.any(difference(opened(answer), tilted), axis=-1)
    rows, columns = np.nonzero(changed)
    within = square.find(np.stack([columns + 0.5, rows + 0.5], axis=-1).astype(np.float32), 1)
    assert ((within > -0.01) & (within < 1.01)).all()


def test_where_faces_overlap_the_first_lies_on_top() -> None:
    """What both boxes claim shows the first one's change, as the largest face comes first."""
    canvas = Canvas(Image.new("RGB", (96, 64), (100, 100, 100)), None)
    before = np.full((2, 32, 32, 3), 100, np.uint8)
    after = np.stack([np.full((32, 32, 3), level, np.uint8) for level in (200, 0)])
    result = canvas.apply([(0, 0, 64, 64), (32, 0, 96, 64)], before, after, 1.0).image
    assert [result.getpixel((x, 32)) for x in (10, 48, 90)] == [(200,) * 3, (200,) * 3, (0,) * 3]


# --- what is expected


def run(pipeline: Pipeline, picture: Image.Image, request: Wish) -> Answer:
    """One translation, in an event loop of its own."""
    return asyncio.run(pipeline.translate(png(picture), request, deadline=time.monotonic() + 60))


def calls(translator: Recorder) -> list[tuple[str, str, int]]:
    """What the translator was asked, but for the search."""
    return [call for call in translator.calls if call[0] != "face-detector"]


def opened(answer: Answer) -> Image.Image:
    """The answer's picture."""
    image = Image.open(io.BytesIO(answer.data))
    image.load()
    return image


def bundle(store: Store, name: str) -> Bundle:
    """The store's bundle of that name."""
    found = store.snapshot().get(name)
    assert found is not None
    return found


def surroundings(picture: Image.Image) -> list[Square]:
    """The squares around the picture's two faces, turned as they are."""
    found = find(picture)
    assert len(found) == 2
    return [Square.around((face.left, face.right), EYES) for face in found]


def made(picture: Image.Image, square: Square, bundle: Bundle, *labels: str) -> NDArray[np.uint8]:
    """What the toy's generator makes of a square of the picture, given these labels."""
    vector = np.array([[name in labels for name in TOY_LEVELS]], np.float32)
    row: NDArray[np.uint8] = toy_translated(look(picture, bundle.manifest.picture, square)[None], vector)[0]
    return row


def carried(picture: Image.Image, square: Square, bundle: Bundle, *labels: str) -> Image.Image:
    """The picture with that change carried over."""
    before = look(picture, bundle.manifest.picture, square)
    return compose.carry(picture, square, before, made(picture, square, bundle, *labels), 1.0)


def close_to(actual: NDArray[np.uint8], expected: NDArray[np.uint8]) -> bool:
    """Whether two pictures agree to one level, the toy's rounding."""
    return actual.shape == expected.shape and int(np.abs(actual.astype(int) - expected).max()) <= 1


def _framed(folder: Path, made: Bundle, region: str) -> None:
    picture = made.manifest.picture.model_copy(update={"eyes": EYES})
    manifest = made.manifest.model_copy(update={"region": region, "picture": picture})
    write(folder, manifest, {file: made.path(file) for file in manifest.files})


def _paint_corners(
    picture: Image.Image, place: tuple[int, int, int, int], first: tuple[int, int, int], second: tuple[int, int, int]
) -> None:
    # A little beyond the drawn square and a little less than the quarter that the toy reads: squares found vary.
    _, side, left, top = place
    beyond, wide = side // 10, side // 4 + side // 20
    draw = ImageDraw.Draw(picture)
    draw.rectangle((left - beyond, top - beyond, left + wide, top + wide), fill=first)
    draw.rectangle((left + side - wide, top - beyond, left + side + beyond, top + wide), fill=second)
