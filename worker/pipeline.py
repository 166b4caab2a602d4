"""One picture from bytes to bytes: plan, decode, run, compose, encode; it awaits the translator, and loads no model.

The plan comes first because it costs nothing: a misspelt domain is refused before anything is decoded.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.bundle.archive import Bundle
from models.bundle.labels import own_labels, probabilities
from models.bundle.pixels import crop_box
from models.bundle.store import Bundles
from worker import domains
from worker.domains import Plan, Step, Term, by_face
from worker.errors import InvalidParameter, NoFace, NotReady, TimedOut
from worker.faces import Face, find
from worker.imaging import compose
from worker.imaging.decode import decode
from worker.imaging.encode import encode
from worker.imaging.formats import PNG, Format, by_name
from worker.pool import Pool
from worker.regions import Canvas, Part, Pixels, views
from worker.settings import Limits
from worker.tracing import SILENT, Tracer
from worker.translator import Arrays, Translator
from worker.wish import Wish

T = TypeVar("T")
Floats = NDArray[np.float32]

SHEET_CELL = 512
"""The longest side of one picture of a contact sheet at size=original, in pixels."""


@dataclass(frozen=True)
class Answer:
    """The translated picture, and how it was made."""

    data: bytes
    media_type: str
    format: Format
    model: str
    """`name@version`, several joined by a comma."""
    domains: dict[str, float]
    """What was applied: every label of the models by name, strength included; empty if there was nothing to do.

    With several faces, those of the largest one.
    """
    timings: dict[str, float]
    """Milliseconds of decode, queue, infer, compose and encode."""


class Pipeline:
    """Translates pictures, many at a time, within one event loop."""

    def __init__(
        self,
        store: Bundles,
        translator: Translator,
        limits: Limits,
        *,
        threads: int,
        observe: Callable[[Mapping[str, float]], None] = lambda seconds: None,
        tracer: Tracer = SILENT,
    ) -> None:
        """`threads` for decoding, composing and encoding; 0: one for each core.

        `observe` is called for each translated picture with the seconds of its stages, by name as in the timings.
        """
        self._store, self._translator, self.limits = store, translator, limits
        self._observe, self._tracer = observe, tracer
        self._pool = Pool(threads)

    def plan(self, wish: Wish) -> Plan:
        """Which bundles would carry out the wish now, in which order.

        Raises whatever is wrong with the wish itself: NotReady, UnknownModelError, UnknownDomain, InvalidDomains, and
        InvalidParameter for what this installation can't do.
        """
        snapshot = self._store.snapshot()
        if not snapshot.models:
            raise NotReady("there is no model yet to translate with")
        output_format(wish, PNG)
        plan = domains.plan(wish, snapshot)
        if not any(by_face(wish, step.bundle) for step in plan.steps):
            return plan
        if snapshot.detector is None:  # told here, so that a job is refused when it is sent, not picture by picture
            raise InvalidParameter(
                "faces can't be looked for here, as no store holds a bundle that detects them (the shipped one is "
                "`face-detector`); ask for region=whole"
            )
        return replace(plan, detector=snapshot.detector)

    async def translate(self, data: bytes, wish: Wish, *, deadline: float) -> Answer:
        """Translate one picture before `deadline`, a moment of time.monotonic(); raises RecastError of every kind.

        At the deadline, or when the call is cancelled, waiting work is dropped; a function in a thread runs to its end.
        """
        try:
            if deadline <= time.monotonic():
                raise TimeoutError
            async with asyncio.timeout(deadline - time.monotonic()):
                return await self._translate(data, wish, deadline)
        except TimeoutError as error:
            raise TimedOut("the picture was not done within the time allowed; the work is dropped") from error

    def close(self) -> None:
        """Cancels work that waits for a thread; the store and the translator stay open."""
        self._pool.close()

    async def _translate(self, data: bytes, wish: Wish, deadline: float) -> Answer:
        plan = self.plan(wish)
        work = _Work(self._translator, self._pool, self._tracer, wish, deadline)
        decoded = await work.measure("decode", self._pool.admit(partial(decode, data, self.limits)))
        canvas = Canvas(decoded.image, decoded.alpha)
        if plan.detector:
            canvas = canvas.with_faces(await work.faces(canvas.image, plan.detector))
        if plan.sheet:
            canvas = await work.sheet(canvas, plan.steps[0].bundle)
        else:
            for step in plan.steps:
                canvas = await work.step(canvas, step)
        format = output_format(wish, decoded.format)
        encoding = partial(
            encode,
            canvas.image,
            canvas.alpha,
            format=format,
            quality=wish.quality,
            icc=decoded.icc,
            copyright=decoded.copyright,
        )
        encoded = await work.measure("encode", self._pool.run(encoding))
        self._observe(work.seconds)
        models = ",".join(dict.fromkeys(step.bundle.ref for step in plan.steps))
        return Answer(encoded, format.media_type, format, models, work.applied, work.milliseconds())


def output_format(wish: Wish, read: Format) -> Format:
    """The output's format for a picture in the format `read`: the requested one, else `read`, else PNG.

    Raises InvalidParameter if this installation can't write the requested format.
    """
    if wish.format is None:
        return read if read.writes else PNG
    asked = by_name(wish.format)
    if asked is None or not asked.writes:
        raise InvalidParameter(
            f"the format {wish.format!r} can't be written by this installation; leave it out, or ask for png"
        )
    return asked


@dataclass
class _Work:
    """One picture under way: what it needs, what was applied so far and the seconds it took."""

    translator: Translator
    pool: Pool
    tracer: Tracer
    wish: Wish
    deadline: float
    applied: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("decode", "queue", "infer", "compose", "encode"), 0.0)
    )

    async def faces(self, image: Image.Image, detector: Bundle) -> tuple[Face, ...]:
        """The picture's faces, the largest first. Raises NoFace where there is none."""

        async def features(graph: str, pixels: Pixels) -> Floats:
            found: Floats = (await self._infer(detector, graph, {"pixels": pixels}))["features"]
            return found

        if found := await find(image, features, self.compose):
            return found
        raise NoFace(
            "no face was found; hidden faces, and those from the side, upside down, or narrower than a fortieth of the "
            "picture's long side, may be missed; region=whole translates the whole picture"
        )

    async def step(self, canvas: Canvas, step: Step) -> Canvas:
        """The picture after one step; a step without strength runs nothing."""
        canvas, parts, before = await self._focus(canvas, step.bundle)
        if not any(term.strength for term in step.terms):
            return canvas
        own = await self._own(step.bundle, step.graph, before)
        labels = [domains.labels(step, each) for each in own]
        vectors, strength = np.stack([vector for vector, _ in labels]), labels[0][1]
        after = await self._run(step.bundle, step.graph, before, vectors)
        if step.bundle.manifest.graphs[step.graph].labels:
            start, covered = own_labels(step.bundle.manifest, own[0]), domains.step_columns(step)
            moved = start + strength * (vectors[0][: len(start)] - start)
            # A label that this pass doesn't set keeps its value from an earlier pass, or from the picture.
            still = _by_name(step.bundle, start, ~covered)
            self.applied = still | self.applied | _by_name(step.bundle, moved, covered)
        else:
            self.applied |= {term.name: term.strength for term in step.terms}
        return await self.compose(partial(canvas.apply, parts, before, after, strength))

    async def sheet(self, canvas: Canvas, bundle: Bundle) -> Canvas:
        """A contact sheet: the picture and its translation to each domain of the bundle, without transparency."""
        if by_face(self.wish, bundle):
            canvas = await self.compose(partial(canvas.portrait, bundle.manifest.picture))
        canvas, (part,), before = await self._focus(canvas, bundle)
        steps = [
            Step(bundle, domain.graph, (Term(domain.name, strength=self.wish.strength),))
            for domain in bundle.manifest.domains
        ]
        graphs = dict.fromkeys(step.graph for step in steps)
        runs = [
            asyncio.create_task(self._rows(before, [step for step in steps if step.graph == graph])) for graph in graphs
        ]
        try:
            made = {name: pixels for rows in await asyncio.gather(*runs) for name, pixels in rows.items()}
        finally:  # after an error the other runs would go on for nothing
            for run in runs:
                run.cancel()
            await asyncio.gather(*runs, return_exceptions=True)

        def page() -> Image.Image:
            cell, place = canvas.image, part
            if self.wish.size == "original":
                cell = cell.copy()
                cell.thumbnail((SHEET_CELL, SHEET_CELL), Image.Resampling.BICUBIC)
                place = crop_box(cell.size, bundle.manifest.picture.crop)
            strength = self.wish.strength
            changed = [(name, compose.carry(cell, place, before[0], after, strength)) for name, after in made.items()]
            return compose.sheet([("original", cell), *changed])

        return Canvas(await self.compose(page), None)

    async def compose(self, function: Callable[[], T]) -> T:
        """The function's result, from a thread of the pool."""
        return await self.measure("compose", self.pool.run(function))

    async def measure(self, name: str, work: Awaitable[T]) -> T:
        """The result of `work`, its duration added to the named timing."""
        started = time.monotonic()
        try:
            with self.tracer.span(name):
                return await work
        finally:
            self.seconds[name] += time.monotonic() - started

    def milliseconds(self) -> dict[str, float]:
        """The timings in milliseconds."""
        return {name: round(seconds * 1000, 3) for name, seconds in self.seconds.items()}

    async def _focus(self, canvas: Canvas, bundle: Bundle) -> tuple[Canvas, tuple[Part, ...], Pixels]:
        """The canvas to work on, the parts of it that the network sees, and the network's view of them [n,s,s,3]."""
        picture = bundle.manifest.picture
        parts = canvas.parts(picture, by_face=by_face(self.wish, bundle))
        if self.wish.size == "original":
            return canvas, parts, await self.compose(partial(views, canvas.image, picture, parts))
        before = await self.compose(partial(views, canvas.image, picture, parts[:1]))
        canvas = canvas.crop_to(parts[0], before[0])
        return canvas, ((0, 0, *canvas.image.size),), before

    async def _own(self, bundle: Bundle, graph: str, before: Pixels) -> Floats:
        """The pictures' own label probabilities [n,c]; zeros without a classifier, or if the graph takes no labels."""
        manifest = bundle.manifest
        if manifest.classifier is None or not manifest.graphs[graph].labels:
            return np.zeros((len(before), len(manifest.label_order)), np.float32)
        reading = self.translator.run(bundle, manifest.classifier, {"pixels": before}, deadline=self.deadline)
        return probabilities(manifest, (await self.measure("infer", reading)).outputs["logits"])

    async def _run(self, bundle: Bundle, graph: str, pixels: Pixels, vectors: Floats) -> Pixels:
        inputs: Arrays = {"pixels": pixels, "labels": vectors}
        if not bundle.manifest.graphs[graph].labels:
            inputs = {"pixels": pixels}
        translated: Pixels = (await self._infer(bundle, graph, inputs))["translated"]
        return translated

    async def _infer(self, bundle: Bundle, graph: str, inputs: Arrays) -> Arrays:
        with self.tracer.span("infer"):
            done = await self.translator.run(bundle, graph, inputs, deadline=self.deadline)
        self.seconds["queue"] += done.queue_s
        self.seconds["infer"] += done.infer_s
        return done.outputs

    async def _rows(self, before: Pixels, steps: list[Step]) -> dict[str, Pixels]:
        """Each step's translation of one picture [1,s,s,3], by the name of its only domain; one call for all."""
        bundle, graph = steps[0].bundle, steps[0].graph
        own = (await self._own(bundle, graph, before))[0]
        vectors = np.stack([domains.labels(step, own)[0] for step in steps])
        rows = await self._run(bundle, graph, np.repeat(before, len(steps), axis=0), vectors)
        if bundle.manifest.graphs[graph].labels:
            self.applied |= _by_name(bundle, own_labels(bundle.manifest, own), np.ones(len(own), bool))
        return {step.terms[0].name: pixels for step, pixels in zip(steps, rows, strict=True)}


def _by_name(bundle: Bundle, vector: Floats, columns: NDArray[np.bool_]) -> dict[str, float]:
    rows = zip(bundle.manifest.label_order, vector, columns, strict=True)
    return {name: round(float(value), 4) for name, value, wanted in rows if wanted}
