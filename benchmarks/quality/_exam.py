"""Scores for translations of held-out label maps and avatars, as in the papers' experiments on Cityscapes.

The papers segment translated photographs with a network trained on real ones (the FCN score). Ours is a U-Net trained
on real avatars and their maps, by the recipe pix2pix with L1 alone. Neither it nor the judge of the avatars' labels
ever sees a translation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality._drawn import CLASSES, classes, write_pairs
from benchmarks.quality._work import Settings, compare_orders, judge_of, markdown, train
from cli.terminal import Report
from models.bundle.manifest import Picture
from models.data import pairs
from models.drawn import people
from models.evaluation.judge import LabelJudge
from models.evaluation.metrics import Pixels, fid, l1
from models.evaluation.subject import Subject

Shares = tuple[float, float, float]
"""Per-pixel accuracy, class accuracy and class IoU."""

Paper = dict[str, Shares | None]
"""A paper's figures for our variants; None where the paper has none."""


@dataclass(frozen=True)
class Scores:
    """How well the segmenter reads the maps, and the distance to the true pictures in levels of 0 to 255.

    For avatars also the share of correct labels in %, and the FID on the judge's features.
    """

    shares: Shares
    distance: float
    labels: float | None = None
    fid: float | None = None

    def cells(self) -> list[str]:
        """The cells of a row."""
        labels = "-" if self.labels is None else f"{self.labels:.1f}"
        return [_cell(self.shares), labels, "-" if self.fid is None else f"{self.fid:.3g}", f"{self.distance:.1f}"]


@dataclass(frozen=True)
class Exam:
    """Held-out maps and avatars of the same n people, n x s x s x 3, the avatars' labels, judge and segmenter."""

    pairs: Path
    maps: Pixels
    avatars: Pixels
    labels: NDArray[np.float32]
    judge: LabelJudge
    segmenter: Subject

    def score_avatars(self, made: Pixels) -> Scores:
        """Scores of avatars translated from the maps."""
        read = self.segmenter.translate(self.segmenter.manifest.domains[0], made)
        right = 100 * float((self.judge.labels(made) == self.labels).mean())
        apart = fid(self.judge.features(made), self.judge.features(self.avatars))
        return Scores(shares(read, self.maps), float(l1(made, self.avatars).mean()), right, apart)

    def score_maps(self, made: Pixels) -> Scores:
        """Scores of maps translated from the avatars."""
        return Scores(shares(made, self.maps), float(l1(made, self.maps).mean()))


def prepare(settings: Settings, report: Report) -> Exam:
    """Draws the data and trains judge and segmenter, except what the work folder already has."""
    settings.claim()
    data, count, size, seed = settings.work / "data", settings.count, settings.size, settings.seed
    if not (data / "avatars").exists():
        people.write("avatars", data / "avatars", count, size, seed, partial(report, "avatars"))
    if not (data / "pairs").exists():
        write_pairs(data / "pairs", data / "avatars", seed, count, size, partial(report, "maps"))
    judge, test = judge_of(settings, data / "avatars", report)
    reads = "direction=BtoA adversarial=0 norm=instance"
    segmenter = train(settings, "segmenter", "pix2pix", data / "pairs", reads, report)
    held_out = pairs.read(data / "pairs", Picture(size=size, crop="none"), "test", False, size)
    maps, faces = (np.stack(side) for side in zip(*map(held_out.halves, range(len(held_out))), strict=True))
    return Exam(data / "pairs", maps, faces, test.labels, judge, segmenter)


def table(title: str, found: Mapping[str, Scores], paper: Paper) -> list[str]:
    """Our variants beside a table of a paper, and the differences between both orders by class IoU."""
    names = [name for name in paper if name in found]
    head = (title, "pixel / class / IoU", "labels, %", "FID", "L1", "the paper's")
    rows = [[name, *found[name].cells(), _cell(paper[name])] for name in names]
    theirs = {name: row[-1] for name in names if (row := paper[name])}
    order = compare_orders({name: found[name].shares[-1] for name in names}, theirs)
    return [*markdown(head, rows), "", order, ""]


def shares(read: Pixels, truth: Pixels) -> Shares:
    """The shares of maps n x s x s x 3, over the classes that the truth has."""
    kinds = len(CLASSES)
    both = classes(truth) * kinds + classes(read)
    confusion = np.bincount(both.ravel(), minlength=kinds * kinds).reshape(kinds, kinds)
    right, true, predicted = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    known = true > 0
    recall, overlap = right[known] / true[known], right[known] / (true + predicted - right)[known]
    return float(right.sum() / true.sum()), float(recall.mean()), float(overlap.mean())


def _cell(shares: Shares | None) -> str:
    return " / ".join(f"{share:.2f}" for share in shares) if shares else "-"
