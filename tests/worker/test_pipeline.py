"""One picture end to end: real bundles, real inference, exact pixels, and every error."""

import asyncio
import io
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms
from support.bundles import flip_bundle, toy_bundle, toy_picture, toy_translated
from support.pictures import difference, exif, noise, png, png_header, ramp, scene, stored, written
from support.translators import Recorder

from models.bundle.archive import Bundle, write
from models.bundle.pixels import shrink
from models.bundle.store import Store
from worker.errors import (
    InvalidDomains,
    InvalidParameter,
    NotReady,
    Overloaded,
    RecastError,
    TimedOut,
    TooLarge,
    UnknownDomain,
    UnknownModelError,
    UnreadableImage,
    UnsupportedMedia,
)
from worker.imaging import formats
from worker.imaging.encode import DIGITAL_SOURCE_TYPE
from worker.pipeline import Answer, Pipeline
from worker.settings import EngineSettings, Limits
from worker.translator import Arrays, Done
from worker.wish import Wish

SETTINGS = EngineSettings(device="cpu", threads=1)
ORDER = ("black", "blond", "brown", "grey", "smiling", "glasses")
LONG = 60.0


class Stuck(Recorder):
    """A translator that never answers; it notes its calls and their cancellation."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.cancelled = False

    async def run(self, bundle: Bundle, graph: str, inputs: Arrays, *, deadline: float) -> Done:
        self.asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        raise AssertionError("nobody sets this event")


class Refusing(Recorder):
    """A translator that refuses everything."""

    def __init__(self, error: RecastError) -> None:
        self.error = error

    async def run(self, bundle: Bundle, graph: str, inputs: Arrays, *, deadline: float) -> Done:
        raise self.error


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store of the toy bundle (attributes, a classifier) and the flip bundle (fixed targets), in that rank."""
    folder = tmp_path_factory.mktemp("store")
    toy_bundle(folder, folder="a-toy")
    flip_bundle(folder, folder="b-flip")
    return Store([folder])


def run(pipeline: Pipeline, data: bytes, request: Wish, *, seconds: float = LONG) -> Answer:
    """One translation, in an event loop of its own."""
    return asyncio.run(pipeline.translate(data, request, deadline=time.monotonic() + seconds))


def ask(*domains: str, strength: float = 1.0, size: str = "original", model: str | None = None) -> Wish:
    """A wish for a PNG."""
    asked = {"domains": domains, "model": model, "strength": strength, "size": size, "format": "png"}
    return Wish.model_validate(asked)


def opened(answer: Answer) -> Image.Image:
    """The answer's picture."""
    image = Image.open(io.BytesIO(answer.data))
    image.load()
    return image


def pixels(answer: Answer) -> NDArray[np.uint8]:
    """The answer's picture as uint8 [h,w,c]."""
    return np.asarray(opened(answer))


def vector(labels: Sequence[str]) -> NDArray[np.float32]:
    """The toy's label vector [1,6] with these labels on."""
    return np.array([[name in labels for name in ORDER]], np.float32)


def toy_made(picture: Image.Image, *labels: str) -> NDArray[np.uint8]:
    """What the toy's generator makes of a picture of its own size."""
    made: NDArray[np.uint8] = toy_translated(np.asarray(picture)[None], vector(labels))[0]
    return made


def close_to(actual: NDArray[np.uint8], expected: NDArray[np.uint8]) -> bool:
    """Whether two pictures agree to one level, the toy's rounding."""
    return actual.shape == expected.shape and int(np.abs(actual.astype(int) - expected).max()) <= 1


# --- labels and steps


def test_what_is_not_named_stays(pipeline: Pipeline, translator: Recorder) -> None:
    """Labels that the request leaves open are read from the picture; the other hair colours are switched off."""
    picture = toy_picture({"black", "smiling"})
    answer = run(pipeline, png(picture), ask("blond"))
    assert close_to(pixels(answer), toy_made(picture, "blond", "smiling"))
    assert answer.domains == {"black": 0, "blond": 1, "brown": 0, "grey": 0, "smiling": 1, "glasses": 0}
    assert answer.model == "toy@1"
    assert translator.calls == [("toy", "classifier", 1), ("toy", "generator", 1)]


def test_several_terms_of_one_bundle_are_one_step(pipeline: Pipeline, translator: Recorder) -> None:
    """Hair, an attribute and an absence are applied in a single run of the network."""
    picture = toy_picture({"black", "smiling"})
    answer = run(pipeline, png(picture), ask("Blond_Hair, glasses", "-smiling"))
    assert close_to(pixels(answer), toy_made(picture, "blond", "glasses"))
    assert [call[1] for call in translator.calls] == ["classifier", "generator"]


@pytest.mark.parametrize("request_", [ask("blond:0.5"), ask("blond", strength=0.5), ask("blond:1", strength=0.5)])
def test_half_the_strength_is_half_of_the_change(pipeline: Pipeline, request_: Wish) -> None:
    """A strength, wherever it is given, acts on the pixels and on the reported domains."""
    picture = toy_picture({"black"})
    answer = run(pipeline, png(picture), request_)
    full = toy_made(picture, "blond").astype(float)
    expected = np.asarray(picture) + 0.5 * (full - np.asarray(picture))
    assert np.abs(pixels(answer) - expected).max() <= 1
    assert answer.domains == {"black": 0.5, "blond": 0.5, "brown": 0, "grey": 0, "smiling": 0, "glasses": 0}


def test_a_fixed_target_needs_no_labels(pipeline: Pipeline, translator: Recorder) -> None:
    """A bundle without labels is run without a classifier, and its target is what was applied."""
    picture = noise(32, 32)
    answer = run(pipeline, png(picture), ask("zebra"))
    assert close_to(pixels(answer), 255 - np.asarray(picture))
    assert answer.domains == {"zebra": 1}
    assert translator.calls == [("flip", "zebra", 1)]


def test_without_a_classifier_open_labels_are_off(tmp_path: Path, translator: Recorder) -> None:
    """A bundle without a classifier gets the labels of the request alone, and reports them."""
    full = toy_bundle(tmp_path / "full", name="blind")
    graphs = {"generator": full.manifest.graphs["generator"]}
    manifest = full.manifest.model_copy(update={"classifier": None, "graphs": graphs})
    write(tmp_path / "store" / "blind", manifest, {file: full.path(file) for file in manifest.files})
    store = Store([tmp_path / "store"])
    pipeline = Pipeline(store, translator, Limits(), threads=1)
    translator.calls.clear()
    picture = toy_picture({"black", "smiling"})
    answer = run(pipeline, png(picture), ask("glasses"))
    assert close_to(pixels(answer), toy_made(picture, "glasses"))
    assert answer.domains == {name: float(name == "glasses") for name in ORDER}
    assert translator.calls == [("blind", "generator", 1)]
    pipeline.close()


def test_each_step_works_on_what_the_former_made(pipeline: Pipeline) -> None:
    """Two targets are applied in the order written."""
    picture = noise(32, 32)
    levels = np.asarray(picture).astype(int)
    first = run(pipeline, png(picture), ask("zebra,horse"))
    second = run(pipeline, png(picture), ask("horse,zebra"))
    assert close_to(pixels(first), np.clip(255 - levels + 20, 0, 255).astype(np.uint8))
    assert close_to(pixels(second), (255 - np.clip(levels + 20, 0, 255)).astype(np.uint8))


@pytest.mark.parametrize("size", ["original", "model"])
def test_steps_of_several_bundles_are_chained(pipeline: Pipeline, size: str) -> None:
    """Where no bundle knows all names, several work one after the other, and the answer names both."""
    picture = toy_picture({"black"})
    answer = run(pipeline, png(picture), ask("blond", "zebra", size=size))
    assert close_to(pixels(answer), 255 - toy_made(picture, "blond"))
    assert answer.model == "toy@1,flip@1"
    assert answer.domains == {"black": 0, "blond": 1, "brown": 0, "grey": 0, "smiling": 0, "glasses": 0, "zebra": 1}


# --- strength 0


@pytest.mark.parametrize("request_", [ask("blond", strength=0), ask("blond:0,smiling:0"), ask("zebra:0,horse:0")])
def test_without_strength_nothing_is_run_and_nothing_changes(
    pipeline: Pipeline, translator: Recorder, request_: Wish
) -> None:
    """All strengths 0 give the picture back to the bit, alpha included, and no network is asked."""
    picture = noise(50, 33)
    picture.putalpha(noise(50, 33, seed=1).getchannel("R"))
    answer = run(pipeline, png(picture), request_)
    assert np.array_equal(pixels(answer), np.asarray(picture))
    assert translator.calls == []
    assert answer.domains == {}


def test_a_step_without_strength_is_left_out(pipeline: Pipeline, translator: Recorder) -> None:
    """Of several steps only those with a strength are run."""
    picture = noise(32, 32)
    answer = run(pipeline, png(picture), ask("zebra:0,horse"))
    assert close_to(pixels(answer), np.clip(np.asarray(picture).astype(int) + 20, 0, 255).astype(np.uint8))
    assert translator.calls == [("flip", "horse", 1)]
    assert answer.domains == {"horse": 1}


# --- size, alpha, orientation, metadata


def test_the_originals_size_is_kept(pipeline: Pipeline) -> None:
    """A large picture keeps its size and its alpha, and what lies outside the network's square stays to the bit."""
    picture = noise(200, 120)
    picture.putalpha(ramp(200, 120))
    result = opened(run(pipeline, png(picture), ask("glasses")))
    assert (result.size, result.mode) == ((200, 120), "RGBA")
    assert not difference(result.getchannel("A"), ramp(200, 120)).any()
    changed = np.any(difference(result.convert("RGB"), picture.convert("RGB")), axis=(0, 2))
    assert not changed[:40].any()
    assert not changed[160:].any()
    assert changed[60:140].all()


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_the_models_size_is_what_the_network_made(pipeline: Pipeline, store: Store, strength: float) -> None:
    """At size=model the answer is the network's own picture of the crop, with the same part of the alpha."""
    picture = scene(200, 120)
    picture.putalpha(ramp(200, 120))
    answer = run(pipeline, png(picture), ask("zebra", size="model", strength=strength))
    seen = shrink(scene(200, 120), store.snapshot().bundles[1].manifest.picture)
    assert close_to(pixels(answer)[..., :3], 255 - seen if strength else seen)
    assert difference(opened(answer).getchannel("A"), ramp(200, 120).resize((32, 32))).max() <= 3


def test_alpha_is_cropped_with_the_picture(pipeline: Pipeline) -> None:
    """At size=model a bundle that crops to the centre crops the alpha likewise."""
    picture = scene(96, 32)
    alpha = Image.new("L", (96, 32), 0)
    alpha.paste(255, (32, 0, 64, 32))
    picture.putalpha(alpha)
    result = opened(run(pipeline, png(picture), ask("blond", size="model")))
    assert np.asarray(result.getchannel("A")).min() == 255


@pytest.mark.parametrize("size", ["original", "model"])
def test_the_answer_is_upright(pipeline: Pipeline, size: str) -> None:
    """A picture stored on its side is translated and answered upright, without an orientation of its own."""
    data = written(stored(scene(48, 32), 6), "PNG", exif=exif(orientation=6))
    result = opened(run(pipeline, data, ask("zebra", size=size)))
    assert result.size == ((48, 32) if size == "original" else (32, 32))
    assert ExifTags.Base.Orientation not in result.getexif()
    expected = Image.fromarray(255 - np.asarray(scene(48, 32))).resize(result.size, Image.Resampling.BICUBIC)
    assert difference(result, expected).mean() < 12


def test_metadata_is_reduced_to_what_may_stay(pipeline: Pipeline) -> None:
    """Profile and copyright stay, GPS and camera go, and the mark is there."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = written(scene(), "JPEG", exif=exif(copyright=b"Jane", gps=True), icc=profile)
    result = opened(run(pipeline, data, Wish(domains=("zebra",))))
    assert result.info["icc_profile"] == profile
    assert dict(result.getexif()) == {ExifTags.Base.Copyright: "Jane"}
    assert DIGITAL_SOURCE_TYPE.encode() in result.info["xmp"]


# --- formats


@pytest.mark.parametrize(
    ("upload", "asked", "expected"),
    [
        ("JPEG", None, "jpeg"),
        ("PNG", None, "png"),
        ("WEBP", None, "webp"),
        ("GIF", None, "png"),
        ("BMP", None, "png"),
        ("TIFF", None, "png"),
        ("PNG", "webp", "webp"),
        ("GIF", "jpeg", "jpeg"),
    ],
)
def test_the_format_is_the_uploads_unless_asked_otherwise(
    pipeline: Pipeline, upload: str, asked: Literal["webp", "jpeg"] | None, expected: str
) -> None:
    """The answer has the requested format, else the upload's if that can be written, else PNG."""
    answer = run(pipeline, written(scene(), upload), Wish(domains=("zebra",), format=asked))
    assert answer.format.name == expected
    assert answer.media_type == f"image/{expected}"
    assert formats.sniff(answer.data) is answer.format


def test_quality_reaches_the_encoder(pipeline: Pipeline) -> None:
    """A lower quality gives a smaller file."""
    sizes = [
        len(run(pipeline, png(noise(64, 64)), Wish(domains=("zebra",), format="jpeg", quality=quality)).data)
        for quality in (20, 90)
    ]
    assert sizes[0] < sizes[1]


def test_every_stage_has_a_timing(pipeline: Pipeline) -> None:
    """Every stage has its milliseconds, none is negative, and a stage that ran took some time."""
    timings = run(pipeline, png(noise(64, 64)), ask("blond")).timings
    assert list(timings) == ["decode", "queue", "infer", "compose", "encode"]
    assert all(timings[name] > 0 for name in ("decode", "infer", "compose", "encode"))
    assert timings["queue"] >= 0


# --- contact sheet


def test_a_sheet_shows_all_domains_in_one_run(pipeline: Pipeline, translator: Recorder) -> None:
    """`*` makes every domain in one call of as many rows, and shows the original and each of them."""
    picture = toy_picture({"black", "smiling"})
    answer = run(pipeline, png(picture), ask("*", model="toy"))
    assert translator.calls == [("toy", "classifier", 1), ("toy", "generator", 6)]
    page = pixels(answer)
    made = [toy_made(picture, name, "smiling") for name in ORDER[:4]]
    made += [toy_made(picture, "black", "smiling"), toy_made(picture, "black", "smiling", "glasses")]
    for cell in (np.asarray(picture), *made):
        assert any(
            close_to(page[y : y + 32, x : x + 32], cell)
            for y in range(page.shape[0] - 31)
            for x in range(page.shape[1] - 31)
        )
    assert answer.domains == {"black": 1, "blond": 0, "brown": 0, "grey": 0, "smiling": 1, "glasses": 0}


def test_a_sheet_of_fixed_targets_runs_each_graph(pipeline: Pipeline, translator: Recorder) -> None:
    """Where every domain has a graph of its own, each is run once."""
    run(pipeline, png(noise(32, 32)), ask("*", model="flip"))
    assert sorted(translator.calls) == [("flip", "horse", 1), ("flip", "zebra", 1)]


def test_a_sheet_that_fails_computes_nothing_more(store: Store) -> None:
    """When one graph of a contact sheet fails, the others are cancelled before the error is raised."""

    class Failing(Recorder):
        def __init__(self) -> None:
            self.cancelled: list[str] = []
            self.waiting = asyncio.Event()

        async def run(self, bundle: Bundle, graph: str, inputs: Arrays, *, deadline: float) -> Done:
            if graph == "zebra":
                await self.waiting.wait()
                raise NotReady("no device")
            self.waiting.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.append(graph)
                raise
            raise AssertionError("nobody sets this event")

    async def test() -> None:
        failing = Failing()
        pipeline = Pipeline(store, failing, Limits(), threads=1)
        with pytest.raises(NotReady):
            await pipeline.translate(png(noise(32, 32)), ask("*", model="flip"), deadline=time.monotonic() + LONG)
        assert failing.cancelled == ["horse"]
        pipeline.close()

    asyncio.run(test())


@pytest.mark.parametrize("shape", [(3000, 40), (40, 3000), (1, 1), (1200, 900)])
@pytest.mark.parametrize("size", ["original", "model"])
def test_a_sheet_of_any_picture_stays_handy(pipeline: Pipeline, shape: tuple[int, int], size: str) -> None:
    """Whatever the upload's shape, the sheet's pictures are at most 512 pixels long."""
    page = opened(run(pipeline, png(noise(*shape)), ask("*", model="toy", size=size)))
    assert page.width * page.height < 9 * 600 * 600
    assert page.mode == "RGB"


# --- region, parameters, refusals


@pytest.mark.parametrize("region", ["auto", "whole"])
def test_the_whole_picture_can_be_asked_for(pipeline: Pipeline, region: Literal["auto", "whole"]) -> None:
    """`whole`, and `auto` for a bundle that asks for the whole, do the same."""
    request = Wish(domains=("zebra",), region=region, format="png")
    assert close_to(pixels(run(pipeline, png(noise(32, 32)), request)), 255 - np.asarray(noise(32, 32)))


def test_a_format_that_is_not_written_here_is_refused_before_decoding(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where Pillow was built without WebP, asking for it is refused with the remedy."""
    monkeypatch.setattr(formats, "FORMATS", tuple(each for each in formats.FORMATS if each.name != "webp"))
    with pytest.raises(InvalidParameter, match="'webp' can't be written by this installation"):
        run(pipeline, b"no picture", Wish(domains=("zebra",), format="webp"))


def test_an_unknown_domain_is_refused_before_decoding(pipeline: Pipeline) -> None:
    """The error for a misspelt domain has the nearest and all known names, even if the bytes are no picture."""
    with pytest.raises(UnknownDomain) as refusal:
        run(pipeline, b"no picture", ask("blont"))
    assert refusal.value.nearest == "blond"
    assert set(refusal.value.known) == {*ORDER, "zebra", "horse"}


@pytest.mark.parametrize("expression", ["", "blond,black", "blond:3", "-zebra", "blond,*"])
def test_contradictory_domains_are_refused(pipeline: Pipeline, expression: str) -> None:
    """What the expression language forbids is refused as invalid."""
    with pytest.raises(InvalidDomains):
        run(pipeline, png(scene()), ask(expression))


def test_an_unknown_model_is_refused(pipeline: Pipeline) -> None:
    """The error for an unknown model lists the known ones."""
    with pytest.raises(UnknownModelError) as refusal:
        run(pipeline, png(scene()), ask("blond", model="nobody"))
    assert set(refusal.value.known) == {"toy", "flip"}


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", UnreadableImage),
        (b"<svg/>", UnsupportedMedia),
        (png(noise(64, 64))[:-2000], UnreadableImage),
        (png_header(60_000, 60_000), TooLarge),
    ],
)
def test_bad_pictures_are_refused(
    pipeline: Pipeline, translator: Recorder, data: bytes, error: type[RecastError]
) -> None:
    """An error of decoding is raised unchanged, and no network runs."""
    with pytest.raises(error):
        run(pipeline, data, ask("blond"))
    assert translator.calls == []


def test_an_empty_store_is_not_ready(tmp_path: Path, translator: Recorder) -> None:
    """Without a bundle the error is NotReady, not an unknown domain."""
    pipeline = Pipeline(Store([tmp_path]), translator, Limits(), threads=1)
    with pytest.raises(NotReady):
        run(pipeline, png(scene()), ask("blond"))
    pipeline.close()


@pytest.mark.parametrize("error", [Overloaded("full", retry_after=3), NotReady("warming"), TimedOut("late")])
def test_the_translators_refusals_come_out_as_they_are(store: Store, error: RecastError) -> None:
    """A full queue, a model that is not ready and a deadline that passed in the queue reach the caller unchanged."""
    pipeline = Pipeline(store, Refusing(error), Limits(), threads=1)
    with pytest.raises(type(error)) as refusal:
        run(pipeline, png(scene()), ask("blond"))
    assert refusal.value is error
    pipeline.close()


# --- deadlines and cancellation


def test_a_deadline_that_has_passed_does_nothing(pipeline: Pipeline, translator: Recorder) -> None:
    """A request after its deadline is refused before anything is read."""
    with pytest.raises(TimedOut):
        run(pipeline, b"not even a picture", ask("not-even-a-domain"), seconds=-1)
    assert translator.calls == []


def test_the_deadline_cancels_the_translator(store: Store) -> None:
    """When the deadline passes during inference, the caller gets TimedOut and the work is dropped."""

    async def main() -> Stuck:
        stuck = Stuck()
        pipeline = Pipeline(store, stuck, Limits(), threads=1)
        with pytest.raises(TimedOut):
            await pipeline.translate(png(scene()), ask("blond"), deadline=time.monotonic() + 0.5)
        pipeline.close()
        return stuck

    stuck = asyncio.run(main())
    assert stuck.asked.is_set() == stuck.cancelled


def test_a_caller_who_leaves_cancels_the_translator(store: Store) -> None:
    """Cancelling the call reaches the translator."""

    async def main() -> Stuck:
        stuck = Stuck()
        pipeline = Pipeline(store, stuck, Limits(), threads=1)
        task = asyncio.create_task(pipeline.translate(png(scene()), ask("blond"), deadline=time.monotonic() + LONG))
        await stuck.asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        pipeline.close()
        return stuck

    assert asyncio.run(main()).cancelled


def test_many_pictures_at_a_time_keep_apart(pipeline: Pipeline) -> None:
    """Pictures that are translated at the same time each get their own answer."""

    async def main() -> list[Answer]:
        deadline = time.monotonic() + LONG
        works = [
            pipeline.translate(png(noise(32, 32, seed=seed)), ask("zebra"), deadline=deadline) for seed in range(6)
        ]
        return await asyncio.gather(*works)

    for seed, answer in enumerate(asyncio.run(main())):
        assert close_to(pixels(answer), 255 - np.asarray(noise(32, 32, seed=seed)))


# --- what it may know


def test_the_pipeline_needs_no_engine() -> None:
    """Importing the pipeline imports neither onnxruntime nor torch nor the engine."""
    code = (
        "import sys, worker.pipeline;"
        "print([name for name in ('onnxruntime', 'torch', 'worker.engine', 'celery') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=_root())
    assert done.stdout.strip() == "[]"


def _root() -> Path:
    return Path(__file__).parents[2]
