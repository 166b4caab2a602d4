"""Evaluates models between two sides, A and B, of pairs (pix2pix) or of unpaired pictures (CycleGAN).

Translations of pairs are compared with the true pictures. Unpaired pictures are measured in both directions, and there
and back. If every held-out picture has one of the same name on the other side, as in sets of `recast data`, that one is
the truth.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.bundle.manifest import Domain
from models.data import pairs, unpaired
from models.evaluation import figures
from models.evaluation.figures import Evaluation, Row, Sheet, Strip, Table, Value
from models.evaluation.instruments import SHOWN, Instruments, Yardstick, spread, warn_of_judge
from models.evaluation.judge import SideJudge, side_judge
from models.evaluation.metrics import Pixels, Vectors, l1, psnr, ssim
from models.evaluation.subject import Subject

_SAME_NAMES = (
    "Files of one name on both sides were taken for pictures of the same thing; if they are not, ignore the truth."
)
_AS_THEY_ARE = "The figures of a model that does nothing, for comparison: distances from real inputs to real targets."


def evaluate_pairs(subject: Subject, folder: Path, instruments: Instruments) -> Evaluation:
    """Measures on at most `instruments.count` held-out pairs."""
    picture = subject.manifest.picture
    training = pairs.read(folder, picture, "train", True, picture.size)
    judge = side_judge(training, instruments.training, instruments.on_judge_step)
    testing = pairs.read(folder, picture, "test", False, picture.size)
    halves = [testing.halves(index) for index in spread(len(testing), instruments.count)]
    a, b = (np.stack(side) for side in zip(*halves, strict=True))
    domain = subject.manifest.domains[0]
    to_b = subject.sources.get(domain.graph, "a") == "a"
    inputs, truth = (a, b) if to_b else (b, a)
    instruments.notify("translating", 0, len(inputs))
    made = subject.translate(domain, inputs)
    instruments.notify("translating", len(inputs), len(inputs))

    right = [judge.sides(inputs) != to_b, judge.sides(truth) == to_b]
    accuracy = float(100 * np.mean(right))
    values = [
        Value(figures.JUDGE, accuracy, "sides"),
        Value(figures.JUDGE, 100 * judge.turn_accuracy(np.concatenate([inputs, truth])), "quarter turns"),
        Value(figures.TAKEN, float(100 * (judge.sides(made) == to_b).mean())),
        *_compare(made, truth, instruments),
    ]
    for yardstick in instruments.yardsticks(judge):
        values += yardstick.distances(yardstick.network.features(made), yardstick.network.features(truth))
    # A stable sort, so that pictures of equal PSNR come in the same order on every machine.
    some, worst = spread(len(made), SHOWN), np.argsort(psnr(made, truth), kind="stable")[:SHOWN]
    strips = (("input", inputs), ("made", made), ("truth", truth))
    return Evaluation(
        subject=subject.name,
        family=subject.manifest.family,
        step=subject.step,
        pictures=len(inputs),
        values=tuple(values),
        tables=(),
        sheets=(
            Sheet("Translations", "Some held-out pairs.", tuple(Strip(name, shown[some]) for name, shown in strips)),
            Sheet(
                "The worst",
                "Those with the lowest PSNR to the truth.",
                tuple(Strip(name, shown[worst]) for name, shown in strips),
            ),
        ),
        notes=warn_of_judge([("which side a picture is of", accuracy)]),
        curves=subject.curves,
    )


def evaluate_unpaired(subject: Subject, folder: Path, instruments: Instruments) -> Evaluation:
    """Measures on at most `instruments.count` held-out pictures of each side."""
    # The domain whose graph makes B (True), and the one whose graph makes A (False); a model may have only one.
    makers = {subject.sources.get(domain.graph, "a") == "a": domain for domain in reversed(subject.manifest.domains)}
    sides = _open_sides(subject, makers, folder, instruments)
    ways: list[_Way] = []
    for number, to_b in enumerate(makers, 1):
        ways.append(_measure(subject, makers, sides, to_b, instruments))
        instruments.notify("translating", number, len(makers))
    judge = sides.judge
    right = [100 * (judge.sides(sides.pixels[side]) == bool(side)).mean() for side in (0, 1)]
    accuracies = [(name, float(share)) for name, share in zip(sides.names, right, strict=True)]
    return Evaluation(
        subject=subject.name,
        family=subject.manifest.family,
        step=subject.step,
        pictures=sum(map(len, sides.pixels)),
        values=(
            Value(figures.JUDGE, float(np.mean([accuracy for _, accuracy in accuracies])), "sides"),
            Value(figures.JUDGE, 100 * judge.turn_accuracy(np.concatenate(sides.pixels)), "quarter turns"),
            *(value for way in ways for value in way.values),
        ),
        tables=(Table("As they are", _AS_THEY_ARE, tuple(way.untranslated for way in ways)),),
        sheets=tuple(way.sheet for way in ways),
        notes=(*warn_of_judge(accuracies), *([_SAME_NAMES] if any(way.has_truth for way in ways) else [])),
        curves=subject.curves,
    )


@dataclass(frozen=True)
class _Sides:
    """Held-out pictures n x s x s x 3 of A and of B with their file names, the domains' names, and the judge."""

    names: tuple[str, str]
    pixels: tuple[Pixels, Pixels]
    files: tuple[list[str], list[str]]
    judge: SideJudge
    yardsticks: tuple[Yardstick, ...]
    real: tuple[tuple[Vectors, Vectors], ...]
    """Features of both sides, for each yardstick."""


@dataclass(frozen=True)
class _Way:
    """The results of one direction; `untranslated` has the figures of the inputs, as if they were translations."""

    values: tuple[Value, ...]
    untranslated: Row
    sheet: Sheet
    has_truth: bool


def _open_sides(subject: Subject, makers: dict[bool, Domain], folder: Path, instruments: Instruments) -> _Sides:
    picture = subject.manifest.picture
    wanted = f"{makers[False].name},{makers[True].name}" if len(makers) == 2 else ""
    training = unpaired.read(folder, wanted, picture, "train", True, picture.size)
    judge = side_judge(training, instruments.training, instruments.on_judge_step)
    testing = unpaired.read(folder, wanted, picture, "test", False, picture.size)
    chosen = [[side[place] for place in spread(len(side), instruments.count)] for side in (testing.a, testing.b)]
    a, b = (np.stack([testing.pictures[index] for index in side]) for side in chosen)
    files_a, files_b = ([testing.pictures.paths[index].stem for index in side] for side in chosen)
    yardsticks = instruments.yardsticks(judge)
    real = tuple((yardstick.network.features(a), yardstick.network.features(b)) for yardstick in yardsticks)
    name_a, name_b = (domain.name for domain in testing.description.domains)
    return _Sides((name_a, name_b), (a, b), (files_a, files_b), judge, yardsticks, real)


def _measure(subject: Subject, makers: dict[bool, Domain], sides: _Sides, to_b: bool, instruments: Instruments) -> _Way:
    """Translates the held-out pictures of one side, and back if the model can, and compares them."""
    source, target = (0, 1) if to_b else (1, 0)
    name = f"{sides.names[source]} to {sides.names[target]}"
    inputs = sides.pixels[source]
    made = subject.translate(makers[to_b], inputs)
    strips = [("input", inputs), ("made", made)]
    values = [Value(figures.TAKEN, float(100 * (sides.judge.sides(made) == to_b).mean()), name)]
    untranslated = [Value(figures.TAKEN, float(100 * (sides.judge.sides(inputs) == to_b).mean()))]
    for yardstick, real in zip(sides.yardsticks, sides.real, strict=True):
        values += yardstick.distances(yardstick.network.features(made), real[target], name)
        untranslated += yardstick.distances(real[source], real[target])
    if len(makers) == 2:
        back = subject.translate(makers[not to_b], made)
        strips.append(("and back", back))
        values.append(Value(figures.CYCLE, float(l1(inputs, back).mean()), f"{name} and back"))
    places = {file: place for place, file in enumerate(sides.files[target])}
    # A single picture could have the name of its counterpart by chance.
    has_truth = len(places) > 1 and all(file in places for file in sides.files[source])
    if has_truth:
        truth = sides.pixels[target][[places[file] for file in sides.files[source]]]
        strips.append(("truth", truth))
        values += _compare(made, truth, instruments, name)
    some = spread(len(inputs), SHOWN)
    sheet = Sheet(name, "Some held-out pictures.", tuple(Strip(caption, shown[some]) for caption, shown in strips))
    return _Way(tuple(values), Row(name, len(inputs), tuple(untranslated)), sheet, has_truth)


def _compare(made: Pixels, truth: Pixels, instruments: Instruments, detail: str = "") -> Iterator[Value]:
    """The figures of translations that have a true picture each."""
    yield Value(figures.L1, float(l1(made, truth).mean()), detail)
    yield Value(figures.PSNR, float(psnr(made, truth).mean()), detail)
    yield Value(figures.SSIM, float(ssim(made, truth).mean()), detail)
    if instruments.lpips:
        yield Value(figures.LPIPS, float(instruments.lpips.distances(made, truth).mean()), detail)
