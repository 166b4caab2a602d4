"""What is made of held-out label maps and avatars, marked as the papers mark Cityscapes: read back, and compared.

The papers read made photographs with a segmentation network that was trained on real ones (the FCN score). Ours is a
U-Net that was trained on real avatars and their maps, by the recipe pix2pix with L1 alone. It never sees a generator,
nor does the judge of the avatars' labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality._drawn import CLASSES, classes, write_pairs
from benchmarks.quality._work import Settings, disorder, judge_of, markdown, trained
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
"""What a table of a paper has for our variants; None where we don't know it."""


@dataclass(frozen=True)
class Marks:
    """How well maps are read from pictures, and the distance to the true pictures in levels of 0 to 255.

    Of avatars also the labels that are right, in %, and the FID on the judge's features.
    """

    shares: Shares
    distance: float
    labels: float | None = None
    fid: float | None = None

    def cells(self) -> list[str]:
        """What stands in a table."""
        labels = "-" if self.labels is None else f"{self.labels:.1f}"
        return [_shown(self.shares), labels, "-" if self.fid is None else f"{self.fid:.3g}", f"{self.distance:.1f}"]


@dataclass(frozen=True)
class Exam:
    """Held-out maps and avatars of the same n people, n x s x s x 3, the avatars' labels, and who reads them."""

    pairs: Path
    maps: Pixels
    avatars: Pixels
    labels: NDArray[np.float32]
    judge: LabelJudge
    segmenter: Subject

    def of_avatars(self, made: Pixels) -> Marks:
        """Marks for what was made of the maps."""
        read = self.segmenter.translate(self.segmenter.manifest.domains[0], made)
        right = 100 * float((self.judge.labels(made) == self.labels).mean())
        apart = fid(self.judge.features(made), self.judge.features(self.avatars))
        return Marks(shares(read, self.maps), float(l1(made, self.avatars).mean()), right, apart)

    def of_maps(self, made: Pixels) -> Marks:
        """Marks for what was made of the avatars."""
        return Marks(shares(made, self.maps), float(l1(made, self.maps).mean()))


def prepare(settings: Settings, report: Report) -> Exam:
    """Draws the data where they are not there yet, and has judge and segmenter trained."""
    settings.claim()
    data, count, size, seed = settings.work / "data", settings.count, settings.size, settings.seed
    if not (data / "avatars").exists():
        people.write("avatars", data / "avatars", count, size, seed, partial(report, "avatars"))
    if not (data / "pairs").exists():
        write_pairs(data / "pairs", data / "avatars", seed, count, size, partial(report, "maps"))
    judge, test = judge_of(settings, data / "avatars", report)
    reads = "direction=BtoA adversarial=0 norm=instance"
    segmenter = trained(settings, "segmenter", "pix2pix", data / "pairs", reads, report)
    held_out = pairs.read(data / "pairs", Picture(size=size, crop="none"), "test", False, size)
    maps, faces = (np.stack(side) for side in zip(*map(held_out.halves, range(len(held_out))), strict=True))
    return Exam(data / "pairs", maps, faces, test.labels, judge, segmenter)


def table(title: str, found: Mapping[str, Marks], paper: Paper) -> list[str]:
    """Our variants beside a table of a paper, and where the order by class IoU is another."""
    names = [name for name in paper if name in found]
    head = (title, "pixel / class / IoU", "labels, %", "FID", "L1", "the paper's")
    rows = [[name, *found[name].cells(), _shown(paper[name])] for name in names]
    theirs = {name: row[-1] for name in names if (row := paper[name])}
    order = disorder({name: found[name].shares[-1] for name in names}, theirs)
    return [*markdown(head, rows), "", order, ""]


def shares(read: Pixels, truth: Pixels) -> Shares:
    """Of maps n x s x s x 3, over the classes that are there."""
    kinds = len(CLASSES)
    both = classes(truth) * kinds + classes(read)
    confusion = np.bincount(both.ravel(), minlength=kinds * kinds).reshape(kinds, kinds)
    right, there, said = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    known = there > 0
    recall, overlap = right[known] / there[known], right[known] / (there + said - right)[known]
    return float(right.sum() / there.sum()), float(recall.mean()), float(overlap.mean())


def _shown(shares: Shares | None) -> str:
    return " / ".join(f"{share:.2f}" for share in shares) if shares else "-"
