"""One chunk of a job: its outputs and its commit, errors of pictures, errors that pass, and kills."""

import asyncio
import io
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from obstore.store import MemoryStore
from PIL import Image
from support.bundles import flip_bundle
from support.crashes import POISON, examine
from support.faces import add_detector
from support.pictures import noise, png, written
from support.stored import (
    NO_ROOTS,
    Counting,
    InProcess,
    finished,
    memory,
    outputs,
    paths,
    put_begun,
    put_finished,
    put_job,
)
from support.translators import Recorder

from models.bundle.archive import Bundle
from models.bundle.store import Store
from worker.errors import NotReady, Overloaded, RecastError, TimedOut, UnknownJob
from worker.imaging import formats
from worker.jobs import chunks, layout
from worker.jobs.board import Board
from worker.jobs.chunks import Chunks
from worker.jobs.layout import Begun, Job, Outcome
from worker.jobs.roots import Roots
from worker.pipeline import Pipeline
from worker.settings import Limits
from worker.storage import Storage, StorageError
from worker.translator import Arrays, Done, Translator
from worker.wish import Wish

PICTURES = {f"{name}.png": png(noise(32, 32, seed=ord(name))) for name in "abc"}
TRUNCATED = PICTURES["a.png"][:60]
HOUR = 3601.0


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store of the flip bundle."""
    folder = tmp_path_factory.mktemp("store")
    flip_bundle(folder)
    add_detector(folder)
    return Store([folder])


class Moody(Recorder):
    """A translator that raises the `errors` one by one (None: works), then works; `most`: how many ran at a time."""

    def __init__(self, inner: Translator, *errors: Exception | None) -> None:
        super().__init__(inner)
        self.errors = list(errors)
        self.now = self.most = 0

    async def run(self, bundle: Bundle, graph: str, inputs: Arrays, *, deadline: float) -> Done:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            if self.errors and (error := self.errors.pop(0)):
                raise error
            return await super().run(bundle, graph, inputs, deadline=deadline)
        finally:
            self.now -= 1


class Stuck(Recorder):
    """A translator that answers once, and then never again; `full` is set when `waiting` pictures wait in vain."""

    def __init__(self, inner: Translator, *, answers: int, waiting: int) -> None:
        super().__init__(inner)
        self.answers, self.waiting = answers, waiting
        self.full = asyncio.Event()

    async def run(self, bundle: Bundle, graph: str, inputs: Arrays, *, deadline: float) -> Done:
        if self.answers:
            self.answers -= 1
            return await super().run(bundle, graph, inputs, deadline=deadline)
        self.waiting -= 1
        if not self.waiting:
            self.full.set()
        await asyncio.Event().wait()
        raise AssertionError("nobody sets this event")


def run(test: Coroutine[Any, Any, None]) -> None:
    """One test, in an event loop of its own."""
    asyncio.run(asyncio.wait_for(test, 60))


def doing(storage: Storage, pipeline: Pipeline, *, roots: Roots = NO_ROOTS, at_once: int = 8) -> Chunks:
    """Chunks over a storage."""
    return Chunks(storage, roots, pipeline, at_once=at_once)


def moody(store: Store, translator: Translator, *, limits: Limits | None = None) -> Pipeline:
    """A pipeline over a translator of a test's own; its threads end with it."""
    return Pipeline(store, translator, limits or Limits(), threads=1)


def upside_down(data: bytes) -> NDArray[np.uint8]:
    """What the flip bundle's zebra makes of a picture."""
    return 255 - np.asarray(Image.open(io.BytesIO(data)))


def far(outcomes: list[Outcome]) -> list[tuple[str, str | None]]:
    """Names, and the code of each failure or the name of each output."""
    return [(outcome.name, outcome.code or outcome.output) for outcome in outcomes]


async def begun(storage: Storage, job: Job) -> Begun:
    """The mark of the first chunk."""
    found = await storage.get(layout.begun(job.id, 0))
    assert found is not None
    return Begun.model_validate_json(found)


# --- what becomes of pictures


def test_a_chunk_is_translated_and_committed(pipeline: Pipeline) -> None:
    """Every picture has its output under its name with the output's suffix, and one record lists all in order."""

    async def test() -> None:
        storage = memory()
        pictures = {"a.png": PICTURES["a.png"], "b/c.bmp": written(noise(32, 32), "BMP"), "d.jpeg": PICTURES["b.png"]}
        job = await put_job(storage, pictures)
        await doing(storage, pipeline).do(job, 0)
        made = await outputs(storage, job)
        assert far(await finished(storage, job)) == [
            ("a.png", "a.png"), ("b/c.bmp", "b/c.png"), ("d.jpeg", "d.png")
        ]  # fmt: skip
        for name, data in zip(("a.png", "b/c.png", "d.png"), pictures.values(), strict=True):
            assert np.array_equal(np.asarray(Image.open(io.BytesIO(made[name]))), upside_down(data))
        assert await paths(storage, layout.finished_folder(job.id)) == ["jobs/job/chunks/00000-3-0"]

    run(test())


def test_each_chunk_does_its_own_pictures(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second chunk begins where the first one ended, and the last one is smaller."""
    monkeypatch.setattr(layout, "CHUNK", 2)

    async def test() -> None:
        storage = memory()
        job = await put_job(storage, PICTURES)
        await doing(storage, pipeline).do(job, 1)
        assert sorted(await outputs(storage, job)) == ["c.png"]
        await doing(storage, pipeline).do(job, 0)
        assert await Board(storage).unfinished(job) == []

    run(test())


def test_pictures_that_can_not_be_translated_fail_alone(store: Store, translator: Recorder) -> None:
    """An error of a picture is its outcome, with the code that /translate would answer; the others are done."""

    async def test() -> None:
        storage = memory()
        pictures = {
            "text.png": b"this is no picture",
            "cut.png": TRUNCATED,
            "good.png": PICTURES["a.png"],
            "large.png": png(noise(40, 40)),
            "long.png": PICTURES["b.png"] + bytes(4000),
            "gone.png": b"",
        }
        job = await put_job(storage, pictures)
        await storage.delete(layout.picture(job.id, job.upload, 5))
        pipeline = moody(store, translator, limits=Limits(max_pixels=1100, max_bytes=4000))
        await doing(storage, pipeline).do(job, 0)
        pipeline.close()
        outcomes = await finished(storage, job)
        assert far(outcomes) == [
            ("text.png", "unsupported-media-type"),
            ("cut.png", "unreadable-image"),
            ("good.png", "good.png"),
            ("large.png", "too-large"),
            ("long.png", "too-large"),
            ("gone.png", "unreadable-image"),
        ]
        assert all(outcome.output or outcome.reason for outcome in outcomes)
        assert await paths(storage, layout.finished_folder(job.id)) == ["jobs/job/chunks/00000-1-5"]

    run(test())


def test_what_no_output_can_hold_fails_alone(pipeline: Pipeline) -> None:
    """A picture too long for its output format, and one without the face that was asked for, are outcomes too."""

    async def test() -> None:
        storage = memory()
        long = png(Image.new("RGB", (16_384, 1)))
        first = await put_job(storage, {"long.png": long}, wish=Wish(domains=("zebra",), format="webp"), job_id="first")
        second = await put_job(storage, PICTURES, wish=Wish(domains=("zebra",), region="face"), job_id="second")
        for job in (first, second):
            await doing(storage, pipeline).do(job, 0)
        assert far(await finished(storage, first)) == [("long.png", "invalid-parameter")]
        assert {outcome.code for outcome in await finished(storage, second)} == {"no-face"}

    run(test())


def test_no_more_of_a_file_is_read_than_a_picture_may_have(store: Store, translator: Recorder) -> None:
    """Reading a file, however long, stops just beyond the bytes that a picture may have."""
    read = []

    class Endless(Storage):
        async def stream(self, path: str) -> AsyncIterator[bytes] | None:
            async def pieces() -> AsyncIterator[bytes]:
                while True:
                    read.append(path)
                    yield bytes(1000)

            return pieces()

    async def test() -> None:
        storage = Endless(MemoryStore())
        job = await put_job(storage, {"a.png": b""})
        pipeline = moody(store, translator, limits=Limits(max_bytes=3000))
        await doing(storage, pipeline).do(job, 0)
        pipeline.close()
        assert far(await finished(storage, job)) == [("a.png", "too-large")]
        assert len(read) == 4

    run(test())


def test_pictures_come_from_a_folder_and_go_to_another(pipeline: Pipeline, tmp_path: Path) -> None:
    """With source and destination, only the outcomes go into the storage of jobs."""
    (tmp_path / "in" / "2024").mkdir(parents=True)
    (tmp_path / "in" / "2024" / "a.png").write_bytes(PICTURES["a.png"])

    async def test() -> None:
        storage = memory()
        roots = Roots({"in": str(tmp_path / "in"), "out": str(tmp_path / "out")})
        job = await put_job(storage, {"2024/a.png": b""}, source="in/2024", destination="out/made")
        await doing(storage, pipeline, roots=roots).do(job, 0)
        assert far(await finished(storage, job)) == [("2024/a.png", "2024/a.png")]
        assert await outputs(storage, job) == {}
        made = (tmp_path / "out" / "made" / "2024" / "a.png").read_bytes()
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(made))), upside_down(PICTURES["a.png"]))
        everywhere = await put_job(storage, PICTURES, job_id="everywhere", destination="out")
        await doing(storage, pipeline, roots=roots).do(everywhere, 0)
        assert (tmp_path / "out" / "a.png").exists()

    run(test())


# --- what passes by itself


@pytest.mark.parametrize(
    "error", [NotReady("no device"), TimedOut("late"), StorageError("away"), RuntimeError("the graph failed")]
)
def test_what_may_pass_is_raised_and_tried_again(store: Store, translator: Recorder, error: Exception) -> None:
    """An error that is not the picture's commits nothing; pictures that were done before it are not done again."""

    async def test() -> None:
        storage = memory()
        job = await put_job(storage, PICTURES)
        moods = Moody(translator, None, None, error)
        pipeline = moody(store, moods)
        with pytest.raises(type(error)):
            await doing(storage, pipeline, at_once=1).do(job, 0)
        assert await finished(storage, job) == []
        assert len(await outputs(storage, job)) == 2
        assert (await begun(storage, job)).left
        moods.calls.clear()
        await doing(storage, pipeline).do(job, 0)
        pipeline.close()
        assert far(await finished(storage, job)) == [("a.png", "a.png"), ("b.png", "b.png"), ("c.png", "c.png")]
        assert len(moods.calls) == 1

    run(test())


def test_a_full_queue_is_waited_for(store: Store, translator: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """No job fails because of Overloaded: it waits as long as the error says, and tries again."""
    monkeypatch.setattr(chunks, "_PAUSES_S", (0.0, 0.001))

    async def test() -> None:
        storage = memory()
        job = await put_job(storage, PICTURES)
        pipeline = moody(store, Moody(translator, *[Overloaded("full", retry_after=5.0) for _ in range(4)]))
        await doing(storage, pipeline).do(job, 0)
        pipeline.close()
        assert len(await outputs(storage, job)) == 3

    run(test())


def test_a_full_queue_is_not_waited_for_for_ever(
    store: Store, translator: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture that gets no place in all its time raises Overloaded, and its chunk is tried again later."""
    monkeypatch.setattr(chunks, "PATIENCE_S", 0.05)

    async def test() -> None:
        storage = memory()
        job = await put_job(storage, {"a.png": PICTURES["a.png"]})
        pipeline = moody(store, Moody(translator, Overloaded("full", retry_after=5.0)))
        with pytest.raises(Overloaded):
            await doing(storage, pipeline).do(job, 0)
        pipeline.close()

    run(test())


@pytest.mark.parametrize(
    "wish",
    [
        Wish(domains=("unheard-of",)),
        Wish(domains=("zebra",), model="gone@7"),
        Wish(domains=("zebra,zebra:0.5:1",)),
        Wish(domains=("zebra",), format="webp"),
    ],
)
def test_what_is_not_here_is_waited_for(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, wish: Wish) -> None:
    """If a bundle, domain or format is gone since the job was accepted, no picture fails: it may come back."""
    monkeypatch.setattr(formats, "FORMATS", tuple(each for each in formats.FORMATS if each.name != "webp"))

    async def test() -> None:
        storage = memory()
        job = await put_job(storage, PICTURES, wish=wish)
        with pytest.raises(NotReady, match="job job can't be done here at the moment: "):
            await doing(storage, pipeline).do(job, 0)
        assert await finished(storage, job) == []

    run(test())


def test_what_does_not_come_back_is_given_up(pipeline: Pipeline) -> None:
    """After the days that the settings allow, the pictures of a job whose bundle is gone fail, and say why."""

    async def test(days: float) -> list[Outcome]:
        storage = memory()
        job = await put_job(storage, PICTURES, wish=Wish(domains=("zebra",), model="gone@7"))
        await put_begun(storage, job, 0, at=time.time() - days * 86_400, left=True)
        with suppress(NotReady):
            await Chunks(storage, NO_ROOTS, pipeline, at_once=8, patience_days=3).do(job, 0)
        return await finished(storage, job)

    async def both() -> None:
        assert await test(2.9) == []
        outcomes = await test(3.1)
        assert [outcome.code for outcome in outcomes] == ["not-ready"] * len(PICTURES)
        assert all("gone@7" in (outcome.reason or "") for outcome in outcomes)

    run(both())


def test_a_root_that_is_not_here_is_waited_for(pipeline: Pipeline) -> None:
    """A worker without the root that a job reads from or writes to leaves the job to one that has it."""

    async def test() -> None:
        storage = memory()
        for place in ({"source": "photos/2024"}, {"destination": "photos/2024"}):
            job = await put_job(storage, PICTURES, **place)  # type: ignore[arg-type]
            with pytest.raises(NotReady, match="no storage root"):
                await doing(storage, pipeline).do(job, 0)

    run(test())


def test_an_error_stops_the_other_pictures(store: Store, translator: Recorder) -> None:
    """A chunk that will be tried again computes nothing more, and raises only when all its pictures have stopped."""

    class Failing(Stuck):
        async def run(self, bundle: Bundle, graph: str, inputs: Arrays, *, deadline: float) -> Done:
            if self.waiting == 1:
                raise RuntimeError("the graph failed")
            try:
                return await super().run(bundle, graph, inputs, deadline=deadline)
            except asyncio.CancelledError:
                self.cancelled += 1
                raise

        cancelled = 0

    async def test() -> None:
        storage = memory()
        job = await put_job(storage, PICTURES)
        failing = Failing(translator, answers=0, waiting=3)
        pipeline = moody(store, failing)
        with pytest.raises(RuntimeError, match="the graph failed"):
            await asyncio.wait_for(doing(storage, pipeline).do(job, 0), 10)
        pipeline.close()
        assert failing.cancelled == 2

    run(test())


def test_what_never_passes_is_the_pictures_own(store: Store, translator: Recorder) -> None:
    """An error that comes back after an hour of tries ends that picture, so every job ends; the others are done."""

    async def test() -> None:
        storage = memory()
        job = await put_job(storage, PICTURES)
        await put_begun(storage, job, 0, at=time.time() - HOUR, left=True)
        pipeline = moody(store, Moody(translator, RuntimeError("a secret path")))
        await doing(storage, pipeline).do(job, 0)
        pipeline.close()
        outcomes = await finished(storage, job)
        assert sorted(outcome.code or "" for outcome in outcomes) == ["", "", "internal-error"]
        assert not any("secret" in (outcome.reason or "") for outcome in outcomes)
        assert (await begun(storage, job)).at < time.time() - 3600

    run(test())


@pytest.mark.parametrize("error", [NotReady("no device"), Overloaded("full", retry_after=1.0)])
def test_waiting_for_a_model_is_never_a_pictures_fault(
    store: Store, translator: Recorder, error: RecastError, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No picture fails because the translator refuses it, however long that lasts."""
    monkeypatch.setattr(chunks, "PATIENCE_S", 1.0)

    async def test() -> None:
        storage = memory()
        job = await put_job(storage, PICTURES)
        await put_begun(storage, job, 0, at=time.time() - HOUR, left=True)
        pipeline = moody(store, Moody(translator, error, error, error))
        with pytest.raises(type(error)):
            await doing(storage, pipeline).do(job, 0)
        pipeline.close()
        assert await finished(storage, job) == []

    run(test())


def test_a_job_that_is_gone_is_unknown(pipeline: Pipeline) -> None:
    """A chunk of a job that was removed stores nothing."""

    async def test() -> None:
        storage = memory()
        job = await put_job(storage, PICTURES)
        await storage.clear(layout.folder(job.id))
        with pytest.raises(UnknownJob):
            await doing(storage, pipeline).do(job, 0)
        assert await paths(storage, layout.folder(job.id)) == []

    run(test())


def test_only_so_many_pictures_are_in_memory(store: Store, translator: Recorder) -> None:
    """`at_once` bounds the pictures of all chunks together."""

    async def test() -> None:
        storage = memory()
        pictures = {f"{number}.png": PICTURES["a.png"] for number in range(12)}
        jobs = [await put_job(storage, pictures, job_id=job_id) for job_id in ("a", "b")]
        moods = Moody(translator)
        pipeline = moody(store, moods)
        both = doing(storage, pipeline, at_once=3)
        await asyncio.gather(*(both.do(job, 0) for job in jobs))
        pipeline.close()
        assert moods.most <= 3
        assert len(await outputs(storage, jobs[0])) == len(await outputs(storage, jobs[1])) == 12

    run(test())


# --- once more, after a kill


def test_a_chunk_is_marked_before_its_pictures_are_read(pipeline: Pipeline) -> None:
    """The mark is in storage before the first decoder runs, so a picture that kills the process becomes suspected."""

    async def test() -> None:
        storage = Counting(MemoryStore())
        job = await put_job(storage, PICTURES)
        storage.asked.clear()
        await doing(storage, pipeline).do(job, 0)
        puts = [path for method, path in storage.asked if method == "put"]
        assert puts[0] == layout.begun(job.id, 0)
        assert puts[-1] == "jobs/job/chunks/00000-3-0"
        assert not any(method == "list" for method, _ in storage.asked), "a new chunk costs no listing"

    run(test())


def test_a_finished_chunk_is_left_alone(pipeline: Pipeline, translator: Recorder) -> None:
    """Doing a finished chunk again stores nothing and translates nothing."""

    async def test() -> None:
        storage = Counting(MemoryStore())
        job = await put_job(storage, PICTURES)
        await doing(storage, pipeline).do(job, 0)
        storage.asked.clear()
        translator.calls.clear()
        await doing(storage, pipeline).do(job, 0)
        assert not any(method == "put" for method, _ in storage.asked)
        assert translator.calls == []

    run(test())


def test_outputs_that_are_there_are_not_made_again(
    pipeline: Pipeline, translator: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a kill only the missing outputs are made, whatever their suffix, and every outcome is right."""
    monkeypatch.setattr(chunks, "Probe", InProcess)

    async def test() -> None:
        storage = memory()
        pictures = {"a.bmp": written(noise(32, 32), "BMP"), "b.webp": PICTURES["b.png"], "text.png": b"text"}
        job = await put_job(storage, pictures | {"c.jpg": written(noise(32, 32), "JPEG")})
        await put_begun(storage, job, 0)
        for name in ("a.png", "c.jpg"):
            await storage.put(f"{layout.outputs(job.id)}/{name}", b"made before")
        await doing(storage, pipeline).do(job, 0)
        assert far(await finished(storage, job)) == [
            ("a.bmp", "a.png"), ("b.webp", "b.png"), ("text.png", "unsupported-media-type"), ("c.jpg", "c.jpg"),
        ]  # fmt: skip
        assert len(translator.calls) == 1
        assert (await outputs(storage, job))["a.png"] == b"made before"

    run(test())


def test_what_lay_in_a_destination_before_is_no_output(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder of the user's own a file of that name may be anything, so after a kill the output is made again."""
    monkeypatch.setattr(chunks, "Probe", InProcess)
    (tmp_path / "a.png").write_bytes(b"a file from before")

    async def test() -> None:
        storage = memory()
        job = await put_job(storage, {"a.png": PICTURES["a.png"]}, destination="out")
        await put_begun(storage, job, 0)
        await doing(storage, pipeline, roots=Roots({"out": str(tmp_path)})).do(job, 0)
        assert (tmp_path / "a.png").read_bytes() != b"a file from before"

    run(test())


def test_a_picture_that_kills_its_decoder_fails_alone(pipeline: Pipeline, translator: Recorder) -> None:
    """After a kill, pictures are first decoded in another process: the one that kills it fails, the others are done."""

    async def test() -> None:
        storage = memory()
        job = await put_job(storage, {"a.png": PICTURES["a.png"], "poison.png": POISON, "cut.png": TRUNCATED})
        await put_begun(storage, job, 0)
        await Chunks(storage, NO_ROOTS, pipeline, at_once=8, examine=examine).do(job, 0)
        assert far(await finished(storage, job)) == [
            ("a.png", "a.png"), ("poison.png", "unreadable-image"), ("cut.png", "unreadable-image")
        ]  # fmt: skip
        assert len(translator.calls) == 1

    run(test())


def test_a_chunk_that_failed_by_itself_is_not_suspected(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child process is used only after a kill, not after an error that was raised."""
    monkeypatch.setattr(chunks, "Probe", None)

    async def test() -> None:
        storage = memory()
        job = await put_job(storage, PICTURES)
        await put_begun(storage, job, 0, left=True)
        await doing(storage, pipeline).do(job, 0)
        assert len(await outputs(storage, job)) == 3

    run(test())


def test_a_chunk_stays_suspected_until_it_is_finished(
    store: Store, translator: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a kill and then an error, all pictures stay suspected: the next try is careful as well."""
    monkeypatch.setattr(chunks, "Probe", InProcess)

    async def test() -> None:
        storage = memory()
        job = await put_job(storage, PICTURES)
        await put_begun(storage, job, 0)
        pipeline = moody(store, Moody(translator, NotReady("no device")))
        with pytest.raises(NotReady):
            await doing(storage, pipeline).do(job, 0)
        pipeline.close()
        assert not (await begun(storage, job)).left

    run(test())


# --- cancelling, and closing


def test_a_cancelled_job_begins_nothing(pipeline: Pipeline) -> None:
    """No chunk of a cancelled job is begun."""

    async def test() -> None:
        storage = memory()
        job = await put_job(storage, PICTURES)
        await Board(storage).cancel(job.id)
        await doing(storage, pipeline).do(job, 0)
        assert await paths(storage, layout.begun_folder(job.id)) == []

    run(test())


def test_a_chunk_under_way_stops_when_its_job_is_cancelled(
    store: Store, translator: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures that are done are kept and counted; those that wait for the device are dropped."""
    monkeypatch.setattr(chunks, "LOOK_S", 0.001)

    async def test() -> None:
        storage = memory()
        job = await put_job(storage, PICTURES)
        stuck = Stuck(translator, answers=1, waiting=2)
        pipeline = moody(store, stuck)
        working = asyncio.ensure_future(doing(storage, pipeline).do(job, 0))
        await stuck.full.wait()
        while not await outputs(storage, job):
            await asyncio.sleep(0)
        await Board(storage).cancel(job.id)
        await working
        pipeline.close()
        (only,) = await finished(storage, job)
        assert only.output in await outputs(storage, job)
        end = await Board(storage).conclude(job)
        assert end is not None
        assert (end.state, end.done, end.failed) == ("cancelled", 1, 0)

    run(test())


def test_a_watch_that_fails_is_no_cancelled_job(
    store: Store, translator: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the check for a cancellation fails unexpectedly, the chunk is tried again, not committed in part."""
    monkeypatch.setattr(chunks, "LOOK_S", 0.001)

    class Closed(Storage):
        broken = False

        async def has(self, path: str) -> bool:
            if self.broken and path == layout.cancelled("job"):
                raise RuntimeError("the client is closed")
            return await super().has(path)

    async def test() -> None:
        storage = Closed(MemoryStore())
        job = await put_job(storage, PICTURES)
        stuck = Stuck(translator, answers=1, waiting=2)
        pipeline = moody(store, stuck)
        working = asyncio.ensure_future(doing(storage, pipeline).do(job, 0))
        await stuck.full.wait()
        while not await outputs(storage, job):
            await asyncio.sleep(0)
        storage.broken = True
        with pytest.raises(RuntimeError, match="the client is closed"):
            await working
        pipeline.close()
        assert await Board(storage).unfinished(job) == [0]

    run(test())


def test_what_an_end_counts_stays_true(store: Store, translator: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk that stops after its cancelled job has ended adds nothing to it."""
    monkeypatch.setattr(chunks, "LOOK_S", 0.001)

    async def test() -> None:
        storage = memory()
        job = await put_job(storage, PICTURES)
        stuck = Stuck(translator, answers=0, waiting=3)
        pipeline = moody(store, stuck)
        working = asyncio.ensure_future(doing(storage, pipeline).do(job, 0))
        await stuck.full.wait()
        await storage.put(layout.done(job.id), b"{}")
        await storage.put(layout.cancelled(job.id), b"")
        await working
        pipeline.close()
        assert await paths(storage, layout.finished_folder(job.id)) == []

    run(test())


def test_a_chunk_that_is_closed_is_not_committed(store: Store, translator: Recorder) -> None:
    """A chunk that is cancelled in the middle is done again."""

    async def test() -> None:
        storage = memory()
        job = await put_job(storage, PICTURES)
        stuck = Stuck(translator, answers=1, waiting=2)
        pipeline = moody(store, stuck)
        working = asyncio.ensure_future(doing(storage, pipeline).do(job, 0))
        await stuck.full.wait()
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
        pipeline.close()
        assert await Board(storage).unfinished(job) == [0]
        assert not (await begun(storage, job)).left

    run(test())


def test_a_pipeline_that_closes_loses_no_picture(store: Store, translator: Recorder) -> None:
    """Pictures that a closing pipeline drops are no outcome: the chunk is done again by the next process."""

    class Dropping(Recorder):
        async def run(self, bundle: Bundle, graph: str, inputs: Arrays, *, deadline: float) -> Done:
            raise asyncio.CancelledError

    async def test() -> None:
        storage = memory()
        job = await put_job(storage, PICTURES)
        pipeline = moody(store, Dropping(translator))
        with pytest.raises(NotReady, match="shutting down"):
            await doing(storage, pipeline).do(job, 0)
        pipeline.close()
        assert await Board(storage).unfinished(job) == [0]

    run(test())


def test_a_storage_that_fails_at_the_commit_leaves_the_chunk(pipeline: Pipeline) -> None:
    """Without its record a chunk is not finished, though all its outputs are there; the next try only commits."""

    class Full(Storage):
        full = True

        async def put(self, path: str, data: bytes, *, new: bool = False) -> bool:
            if self.full and path.startswith(layout.finished_folder("job")):
                raise StorageError("no room")
            return await super().put(path, data, new=new)

    async def test() -> None:
        storage = Full(MemoryStore())
        job = await put_job(storage, PICTURES)
        with pytest.raises(StorageError):
            await doing(storage, pipeline).do(job, 0)
        assert await Board(storage).unfinished(job) == [0]
        storage.full = False
        await doing(storage, pipeline).do(job, 0)
        assert await Board(storage).unfinished(job) == []

    run(test())


def test_two_workers_at_one_chunk_agree(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk that two workers do at once is finished once, with the same outputs."""
    monkeypatch.setattr(chunks, "Probe", InProcess)

    async def test() -> None:
        storage, alone = memory(), memory()
        job = await put_job(storage, PICTURES)
        both = doing(storage, pipeline), doing(storage, pipeline)
        await asyncio.gather(*(each.do(job, 0) for each in both))
        other = await put_job(alone, PICTURES)
        await doing(alone, pipeline).do(other, 0)
        assert await outputs(storage, job) == await outputs(alone, other)
        assert await finished(storage, job) == await finished(alone, other)

    run(test())


def test_a_mark_of_another_chunk_finishes_nothing(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a chunk's own record says that it is finished."""
    monkeypatch.setattr(layout, "CHUNK", 2)

    async def test() -> None:
        storage = memory()
        job = await put_job(storage, PICTURES)
        await put_finished(storage, job, 0, done=2)
        await put_begun(storage, job, 1, left=True)
        await doing(storage, pipeline).do(job, 1)
        assert await Board(storage).unfinished(job) == []

    run(test())
