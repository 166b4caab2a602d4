"""One picture from bytes to bytes: plan, decode, run, compose, encode; it awaits the translator, and loads no model.

The plan comes first because it costs nothing: a misspelt domain is refused before anything is decoded.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.bundle.archive import Bundle
from models.bundle.labels import own_labels, probabilities
from models.bundle.pixels import Box, crop_box
from models.bundle.store import Snapshot, Store
from worker import domains
from worker.domains import DomainError, Plan, Step, Term, UnknownModel
from worker.errors import InvalidDomains, InvalidParameter, NotReady, TimedOut, UnknownDomain, UnknownModelError
from worker.imaging import compose, faces
from worker.imaging.decode import decode
from worker.imaging.encode import QUALITY, encode
from worker.imaging.formats import PNG, Format
from worker.pool import Pool
from worker.regions import Canvas, Pixels, seen
from worker.settings import Limits
from worker.tracing import SILENT, Tracer
from worker.translator import Arrays, Translator

T = TypeVar("T")
Floats = NDArray[np.float32]

SHEET_CELL = 512
"""The longest side of one picture of a contact sheet at size=original, in pixels."""


@dataclass(frozen=True)
class Request:
    """What is asked for; raises InvalidParameter for values that can never be carried out."""

    domains: tuple[str, ...]
    model: str | None = None
    strength: float = 1.0
    region: Literal["auto", "whole", "face"] = "auto"
    """`face`: each face by itself; `auto`: what each bundle asks for."""
    size: Literal["original", "model"] = "original"
    format: Format | None = None
    """None: as the upload where that can be written, else PNG."""
    quality: int = 90

    def __post_init__(self) -> None:
        """Checks what does not depend on the picture or the models."""
        _one_of("region", self.region, ("auto", "whole", "face"))
        _one_of("size", self.size, ("original", "model"))
        if self.region == "face":
            faces.require()
        if self.quality not in QUALITY:
            raise InvalidParameter(f"quality is {self.quality}; it must be from {QUALITY[0]} to {QUALITY[-1]}")
        if self.format is not None and not self.format.writes:
            raise InvalidParameter(f"format {self.format.name} is read but not written; choose another, such as png")

    def by_face(self, bundle: Bundle) -> bool:
        """Whether the bundle's part in this is done face by face."""
        return (bundle.manifest.region if self.region == "auto" else self.region) == "face"

    def written(self, read: Format) -> Format:
        """The format of the output for an upload in the format `read`."""
        return self.format or (read if read.writes else PNG)


@dataclass(frozen=True)
class Answer:
    """The translated picture, and how it came about."""

    data: bytes
    media_type: str
    format: Format
    model: str
    """`name@version`, several joined by a comma."""
    domains: dict[str, float]
    """What was applied: every label of the models, by name, the strength taken in; empty if nothing was to be done.

    Of several faces, the largest one's.
    """
    timings: dict[str, float]
    """Milliseconds of decode, queue, infer, compose and encode."""


class Pipeline:
    """Translates pictures, many at a time, within one event loop."""

    def __init__(
        self,
        store: Store,
        translator: Translator,
        limits: Limits,
        *,
        threads: int,
        observe: Callable[[Mapping[str, float]], None] = lambda seconds: None,
        tracer: Tracer = SILENT,
    ) -> None:
        """`threads` for decoding, composing and encoding; 0: one for each core.

        `observe` is told of each picture that was translated what its stages took, seconds by name as in the timings.
        """
        self._store, self._translator, self.limits = store, translator, limits
        self._observe, self._tracer = observe, tracer
        self._pool = Pool(threads)

    def plan(self, request: Request) -> Plan:
        """Which bundles would do it now, in which order; raises what `translate` raises before it decodes."""
        return _plan(request, self._store.snapshot())

    async def translate(self, data: bytes, request: Request, *, deadline: float) -> Answer:
        """Translate one picture before `deadline`, a moment of time.monotonic(); raises RecastError of every kind.

        When the deadline passes or the call is cancelled, what waits is dropped; only a function in a thread ends.
        """
        try:
            if deadline <= time.monotonic():
                raise TimeoutError
            async with asyncio.timeout(deadline - time.monotonic()):
                return await self._translate(data, request, deadline)
        except TimeoutError as error:
            raise TimedOut("the picture was not done within the time allowed; the work is dropped") from error

    def close(self) -> None:
        """Cancels what waits for a thread; the store and the translator stay open."""
        self._pool.close()

    async def _translate(self, data: bytes, request: Request, deadline: float) -> Answer:
        plan = self.plan(request)
        work = _Work(self._translator, self._pool, self._tracer, request, deadline)
        decoded = await work.timed("decode", self._pool.admit(partial(decode, data, self.limits)))
        canvas = Canvas(decoded.image, decoded.alpha)
        if any(request.by_face(step.bundle) for step in plan.steps):
            canvas = await work.compose(canvas.searched)
        if plan.sheet:
            canvas = await work.sheet(canvas, plan.steps[0].bundle)
        else:
            for step in plan.steps:
                canvas = await work.step(canvas, step)
        format = request.written(decoded.format)
        encoding = partial(
            encode,
            canvas.image,
            canvas.alpha,
            format=format,
            quality=request.quality,
            icc=decoded.icc,
            copyright=decoded.copyright,
        )
        encoded = await work.timed("encode", self._pool.run(encoding))
        self._observe(work.seconds)
        models = ",".join(dict.fromkeys(step.bundle.ref for step in plan.steps))
        return Answer(encoded, format.media_type, format, models, work.applied, work.milliseconds())


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InvalidParameter(f"{name} is {value!r}; choose {' or '.join(allowed)}")


def _plan(request: Request, snapshot: Snapshot) -> Plan:
    if not snapshot.bundles:
        raise NotReady("there is no model yet to translate with")
    try:
        return domains.plan(request.domains, snapshot, model=request.model, strength=request.strength)
    except UnknownModel as error:
        raise UnknownModelError(str(error), known=error.known) from error
    except DomainError as error:
        if error.code == "unknown-domain":
            raise UnknownDomain(error.message, known=error.known, nearest=error.nearest) from error
        raise InvalidDomains(error.message) from error


@dataclass
class _Work:
    """One request under way: what it needs, what was applied so far and the seconds it took."""

    translator: Translator
    pool: Pool
    tracer: Tracer
    request: Request
    deadline: float
    applied: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("decode", "queue", "infer", "compose", "encode"), 0.0)
    )

    async def step(self, canvas: Canvas, step: Step) -> Canvas:
        """The picture after one step; a step without strength runs nothing."""
        canvas, boxes, before = await self._focus(canvas, step.bundle)
        if not any(term.strength for term in step.terms):
            return canvas
        own = await self._own(step.bundle, step.graph, before)
        labels = [domains.labels(step, each) for each in own]
        vectors, strength = np.stack([vector for vector, _ in labels]), labels[0][1]
        after = await self._run(step.bundle, step.graph, before, vectors)
        self._note(step, own[0], vectors[0], strength)
        return await self.compose(partial(canvas.changed, boxes, before, after, strength))

    async def sheet(self, canvas: Canvas, bundle: Bundle) -> Canvas:
        """The picture beside what each domain of the bundle makes of it; transparency is left out."""
        if self.request.by_face(bundle):
            canvas = await self.compose(canvas.portrait)
        canvas, (box,), before = await self._focus(canvas, bundle)
        cell = canvas.image
        if self.request.size == "original":
            cell = await self.compose(partial(_cell, cell))
            box = crop_box(cell.size, bundle.manifest.picture.crop)
        steps = [
            Step(bundle, domain.graph, (Term(domain.name, strength=self.request.strength),))
            for domain in bundle.manifest.domains
        ]
        graphs = dict.fromkeys(step.graph for step in steps)
        runs = [self._rows(before, [step for step in steps if step.graph == graph]) for graph in graphs]
        made = {name: pixels for rows in await asyncio.gather(*runs) for name, pixels in rows.items()}
        page = await self.compose(partial(_sheet, cell, box, before[0], made, self.request.strength))
        return Canvas(page, None)

    async def compose(self, function: Callable[[], T]) -> T:
        """The function's result, from a thread of the pool."""
        return await self.timed("compose", self.pool.run(function))

    async def timed(self, name: str, work: Awaitable[T]) -> T:
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

    async def _focus(self, canvas: Canvas, bundle: Bundle) -> tuple[Canvas, tuple[Box, ...], Pixels]:
        """The canvas to work on, the boxes of it that the network sees, and the network's view of them [n,s,s,3]."""
        picture = bundle.manifest.picture
        boxes = canvas.boxes(picture, by_face=self.request.by_face(bundle))
        if self.request.size == "original":
            return canvas, boxes, await self.compose(partial(seen, canvas.image, picture, boxes))
        before = await self.compose(partial(seen, canvas.image, picture, boxes[:1]))
        canvas = canvas.reduced(boxes[0], before[0])
        return canvas, ((0, 0, *canvas.image.size),), before

    async def _own(self, bundle: Bundle, graph: str, before: Pixels) -> Floats:
        """The pictures' own label probabilities [n,c]; zeros where nothing reads them, or the graph takes no labels."""
        manifest = bundle.manifest
        if manifest.classifier is None or not manifest.graphs[graph].labels:
            return np.zeros((len(before), len(manifest.label_order)), np.float32)
        reading = self.translator.run(bundle, manifest.classifier, {"pixels": before}, deadline=self.deadline)
        return probabilities(manifest, (await self.timed("infer", reading)).outputs["logits"])

    async def _run(self, bundle: Bundle, graph: str, pixels: Pixels, vectors: Floats) -> Pixels:
        inputs: Arrays = {"pixels": pixels, "labels": vectors}
        if not bundle.manifest.graphs[graph].labels:
            inputs = {"pixels": pixels}
        with self.tracer.span("infer"):
            done = await self.translator.run(bundle, graph, inputs, deadline=self.deadline)
        self.seconds["queue"] += done.queue_s
        self.seconds["infer"] += done.infer_s
        translated: Pixels = done.outputs["translated"]
        return translated

    async def _rows(self, before: Pixels, steps: list[Step]) -> dict[str, Pixels]:
        """What each step makes of the one picture [1,s,s,3], by the name of its only domain; all in one call."""
        bundle, graph = steps[0].bundle, steps[0].graph
        own = (await self._own(bundle, graph, before))[0]
        vectors = np.stack([domains.labels(step, own)[0] for step in steps])
        rows = await self._run(bundle, graph, np.repeat(before, len(steps), axis=0), vectors)
        if bundle.manifest.graphs[graph].labels:
            self.applied |= _by_name(bundle, own_labels(bundle.manifest, own), np.ones(len(own), bool))
        return {step.terms[0].name: pixels for step, pixels in zip(steps, rows, strict=True)}

    def _note(self, step: Step, own: Floats, vector: Floats, strength: float) -> None:
        if step.bundle.manifest.graphs[step.graph].labels:
            start, covered = own_labels(step.bundle.manifest, own), domains.covered(step)
            moved = start + strength * (vector[: len(start)] - start)
            # What this pass says nothing of stays as a pass before it left it, or as the picture has it.
            still = _by_name(step.bundle, start, ~covered)
            self.applied = still | self.applied | _by_name(step.bundle, moved, covered)
        else:
            self.applied |= {term.name: term.strength for term in step.terms}


def _by_name(bundle: Bundle, vector: Floats, columns: NDArray[np.bool_]) -> dict[str, float]:
    rows = zip(bundle.manifest.label_order, vector, columns, strict=True)
    return {name: round(float(value), 4) for name, value, wanted in rows if wanted}


def _cell(image: Image.Image) -> Image.Image:
    cell = image.copy()
    cell.thumbnail((SHEET_CELL, SHEET_CELL), Image.Resampling.BICUBIC)
    return cell


def _sheet(cell: Image.Image, box: Box, before: Pixels, made: dict[str, Pixels], strength: float) -> Image.Image:
    changed = [(name, compose.carry(cell, box, before, after, strength)) for name, after in made.items()]
    return compose.sheet([("original", cell), *changed])
