"""Models of two unpaired domains (CycleGAN): both ways there and back, and what the judge takes the outcome for.

Where every held-out picture has one of the same name on the other side, as sets that are made here have, that one is
the truth for it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.bundle.manifest import Domain
from models.data import unpaired
from models.evaluation import figures
from models.evaluation.evaluation import Evaluation, Row, Sheet, Strip, Table
from models.evaluation.features import Vectors, Yardstick
from models.evaluation.figures import Value
from models.evaluation.instruments import SHOWN, Instruments, doubts, spread
from models.evaluation.judge import SideJudge, side_judge
from models.evaluation.metrics import Pixels, l1, psnr, ssim
from models.evaluation.subject import Subject


def evaluate_unpaired(subject: Subject, folder: Path, instruments: Instruments) -> Evaluation:
    """Measures on `instruments.count` held-out pictures of each side at most."""
    makers = _makers(subject)
    sides = _open_sides(subject, makers, folder, instruments)
    ways: list[_Way] = []
    for number, to_b in enumerate(makers, 1):
        ways.append(_translated(subject, makers, sides, to_b))
        instruments.notify("translating", number, len(makers))
    known = [(name, accuracy) for name, accuracy in sides.accuracies]
    named = "Files of one name on both sides were taken for one thing seen twice; if they are not, ignore the truth."
    return Evaluation(
        subject=subject.name,
        family=subject.manifest.family,
        step=subject.step,
        pictures=sum(map(len, sides.pixels)),
        values=(*_judged(sides), *(value for way in ways for value in _values(way, sides, instruments))),
        tables=(Table("As they are", _AS_THEY_ARE, tuple(_untouched(way, sides) for way in ways)),),
        sheets=tuple(_sheet(way) for way in ways),
        notes=(*doubts(known), *([named] if any(way.truth is not None for way in ways) else [])),
        curves=subject.curves,
    )


_AS_THEY_ARE = "What a model that does nothing has, to read the others by: distances from real inputs to real targets."


@dataclass(frozen=True)
class _Sides:
    """Held-out pictures n x s x s x 3 of A and of B with their file names, the domains' names, and the judge."""

    names: tuple[str, str]
    pixels: tuple[Pixels, Pixels]
    files: tuple[list[str], list[str]]
    judge: SideJudge
    yardsticks: tuple[Yardstick, ...]
    real: tuple[tuple[Vectors, Vectors], ...]
    """Features of both sides, for each of the yardsticks."""

    @property
    def accuracies(self) -> list[tuple[str, float]]:
        """How often the judge is right on each side, per cent."""
        right = [100 * (self.judge.sides(self.pixels[side]) == bool(side)).mean() for side in (0, 1)]
        return [(name, float(share)) for name, share in zip(self.names, right, strict=True)]


@dataclass(frozen=True)
class _Way:
    """One way: inputs, what is made of them, and that translated back or the truth where there is such a thing."""

    name: str
    to_b: bool
    inputs: Pixels
    made: Pixels
    back: Pixels | None
    truth: Pixels | None


def _makers(subject: Subject) -> dict[bool, Domain]:
    """Which domain's graph makes B (True), and which A (False); one of them may lack."""
    return {subject.sources.get(domain.graph, "a") == "a": domain for domain in reversed(subject.manifest.domains)}


def _open_sides(subject: Subject, makers: dict[bool, Domain], folder: Path, instruments: Instruments) -> _Sides:
    picture = subject.manifest.picture
    wanted = f"{makers[False].name},{makers[True].name}" if len(makers) == 2 else ""
    training = unpaired.read(folder, wanted, picture, "train", True, picture.size)
    judge = side_judge(training, instruments.training, instruments.training_step)
    testing = unpaired.read(folder, wanted, picture, "test", False, picture.size)
    chosen = [[side[place] for place in spread(len(side), instruments.count)] for side in (testing.a, testing.b)]
    a, b = (np.stack([testing.pictures[index] for index in side]) for side in chosen)
    files_a, files_b = ([testing.pictures.paths[index].stem for index in side] for side in chosen)
    yardsticks = instruments.yardsticks_with(judge)
    real = tuple((yardstick.measure.features(a), yardstick.measure.features(b)) for yardstick in yardsticks)
    name_a, name_b = (domain.name for domain in testing.description.domains)
    return _Sides((name_a, name_b), (a, b), (files_a, files_b), judge, yardsticks, real)


def _translated(subject: Subject, makers: dict[bool, Domain], sides: _Sides, to_b: bool) -> _Way:
    source, target = (0, 1) if to_b else (1, 0)
    inputs = sides.pixels[source]
    made = subject.translate(makers[to_b], inputs)
    back = subject.translate(makers[not to_b], made) if len(makers) == 2 else None
    places = {name: place for place, name in enumerate(sides.files[target])}
    known = len(places) > 1 and all(name in places for name in sides.files[source])
    truth = sides.pixels[target][[places[name] for name in sides.files[source]]] if known else None
    return _Way(f"{sides.names[source]} to {sides.names[target]}", to_b, inputs, made, back, truth)


def _judged(sides: _Sides) -> Iterator[Value]:
    yield Value(figures.JUDGE, float(np.mean([accuracy for _, accuracy in sides.accuracies])), "sides")
    yield Value(figures.JUDGE, 100 * sides.judge.told(np.concatenate(sides.pixels)), "quarter turns")


def _values(way: _Way, sides: _Sides, instruments: Instruments) -> Iterator[Value]:
    yield Value(figures.TAKEN, float(100 * (sides.judge.sides(way.made) == way.to_b).mean()), way.name)
    for yardstick, real in zip(sides.yardsticks, sides.real, strict=True):
        yield from yardstick.distances(yardstick.measure.features(way.made), real[way.to_b], way.name)
    if way.back is not None:
        yield Value(figures.CYCLE, float(l1(way.inputs, way.back).mean()), f"{way.name} and back")
    if way.truth is not None:
        yield Value(figures.L1, float(l1(way.made, way.truth).mean()), way.name)
        yield Value(figures.PSNR, float(psnr(way.made, way.truth).mean()), way.name)
        yield Value(figures.SSIM, float(ssim(way.made, way.truth).mean()), way.name)
        if instruments.lpips:
            yield Value(figures.LPIPS, float(instruments.lpips.distances(way.made, way.truth).mean()), way.name)


def _untouched(way: _Way, sides: _Sides) -> Row:
    values = [Value(figures.TAKEN, float(100 * (sides.judge.sides(way.inputs) == way.to_b).mean()))]
    for yardstick, real in zip(sides.yardsticks, sides.real, strict=True):
        values += yardstick.distances(real[not way.to_b], real[way.to_b])
    return Row(way.name, len(way.inputs), tuple(values))


def _sheet(way: _Way) -> Sheet:
    strips = [("input", way.inputs), ("made", way.made), ("and back", way.back), ("truth", way.truth)]
    some = spread(len(way.inputs), SHOWN)
    shown = tuple(Strip(caption, pictures[some]) for caption, pictures in strips if pictures is not None)
    return Sheet(way.name, "Some held-out pictures.", shown)
