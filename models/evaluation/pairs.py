"""Models of pairs (pix2pix): what is made of each held-out input is compared with the picture that belongs to it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.data import pairs
from models.evaluation import figures
from models.evaluation.evaluation import Evaluation, Sheet, Strip
from models.evaluation.figures import Value
from models.evaluation.instruments import SHOWN, Instruments, doubts, spread
from models.evaluation.judge import SideJudge, side_judge
from models.evaluation.metrics import Pixels, l1, psnr, ssim
from models.evaluation.subject import Subject


def evaluate_pairs(subject: Subject, folder: Path, instruments: Instruments) -> Evaluation:
    """Measures on `instruments.count` held-out pairs at most."""
    picture = subject.manifest.picture
    training = pairs.read(folder, picture, "train", True, picture.size)
    judge = side_judge(training, instruments.training, instruments.training_step)
    done = _translated(subject, pairs.read(folder, picture, "test", False, picture.size), instruments)
    values = [*_judged(judge, done), *_likeness(done, instruments), *_distances(judge, done, instruments)]
    accuracy = next(value.value for value in values if value.figure == figures.JUDGE)
    return Evaluation(
        subject=subject.name,
        family=subject.manifest.family,
        step=subject.step,
        pictures=len(done.inputs),
        values=tuple(values),
        tables=(),
        sheets=tuple(_sheets(done)),
        notes=doubts([("which side a picture is of", accuracy)]),
        curves=subject.curves,
    )


@dataclass(frozen=True)
class _Translated:
    """Inputs, what was made of them and what is true, each n x s x s x 3; `to_b` says which side was made."""

    inputs: Pixels
    made: Pixels
    truth: Pixels
    to_b: bool


def _translated(subject: Subject, data: pairs.Pairs, instruments: Instruments) -> _Translated:
    halves = [data.halves(index) for index in spread(len(data), instruments.count)]
    a, b = (np.stack(side) for side in zip(*halves, strict=True))
    domain = subject.manifest.domains[0]
    to_b = subject.sources.get(domain.graph, "a") == "a"
    inputs, truth = (a, b) if to_b else (b, a)
    instruments.notify("translating", 0, len(inputs))
    made = subject.translate(domain, inputs)
    instruments.notify("translating", len(inputs), len(inputs))
    return _Translated(inputs, made, truth, to_b)


def _judged(judge: SideJudge, done: _Translated) -> Iterator[Value]:
    right = [judge.sides(done.inputs) != done.to_b, judge.sides(done.truth) == done.to_b]
    yield Value(figures.JUDGE, float(100 * np.mean(right)), "sides")
    yield Value(figures.JUDGE, 100 * judge.told(np.concatenate([done.inputs, done.truth])), "quarter turns")
    yield Value(figures.TAKEN, float(100 * (judge.sides(done.made) == done.to_b).mean()))


def _likeness(done: _Translated, instruments: Instruments) -> Iterator[Value]:
    made, truth = done.made, done.truth
    yield Value(figures.L1, float(l1(made, truth).mean()))
    yield Value(figures.PSNR, float(psnr(made, truth).mean()))
    yield Value(figures.SSIM, float(ssim(made, truth).mean()))
    if instruments.lpips:
        yield Value(figures.LPIPS, float(instruments.lpips.distances(made, truth).mean()))


def _distances(judge: SideJudge, done: _Translated, instruments: Instruments) -> Iterator[Value]:
    for yardstick in instruments.yardsticks_with(judge):
        features = yardstick.measure.features
        yield from yardstick.distances(features(done.made), features(done.truth))


def _sheets(done: _Translated) -> Iterator[Sheet]:
    worst = np.argsort(psnr(done.made, done.truth), kind="stable")[:SHOWN]
    yield _sheet("Translations", "Some held-out pairs.", done, np.array(spread(len(done.made), SHOWN)))
    yield _sheet("The worst", "Those with the lowest PSNR to the truth.", done, worst)


def _sheet(title: str, note: str, done: _Translated, chosen: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Sheet:
    strips = (("input", done.inputs), ("made", done.made), ("truth", done.truth))
    return Sheet(title, note, tuple(Strip(caption, pictures[chosen]) for caption, pictures in strips))
