"""Translates held-out pictures to every domain and measures what came out.

For every request (each domain; for an attribute also its absence) the pictures that don't have it yet are translated,
with the labels that the model itself reads for all that is not asked, exactly as serving does. Then

    set        share of pictures in which the judge sees what was asked
    kept       share of all other attributes that the judge sees as the picture's true labels have them
    psnr, ssim to the exact counterfactual over the head, where the data can draw it
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from models.bundle.manifest import Domain, Manifest
from models.data import avatars, labelled
from models.errors import DataError
from models.evaluation.judge import STEPS, Judge, train_judge
from models.evaluation.metrics import Pixels, psnr, ssim
from models.evaluation.subject import Subject

Labels = NDArray[np.float32]
Notify = Callable[[str, int, int], None]
_TRUST_JUDGE = 0.98
_SHOWN = 8


@dataclass(frozen=True)
class Request:
    """One domain asked for, or its absence."""

    domain: Domain
    present: bool

    def __str__(self) -> str:
        return self.domain.name if self.present else f"-{self.domain.name}"

    def fulfilled(self, labels: Labels) -> NDArray[np.bool_]:
        """Whether label vectors n x c have what is asked."""
        has: NDArray[np.bool_] = labels[:, self.column] > 0.5
        return has if self.present else ~has

    def applied(self, labels: Labels, manifest: Manifest) -> Labels:
        """Label vectors n x c with the request carried out."""
        changed = labels.copy()
        changed[:, _fellows(self.domain, manifest)] = 0
        changed[:, self.column] = self.present
        return changed

    @property
    def column(self) -> int:
        """The domain's place in the label vector."""
        return cast(int, self.domain.column)


@dataclass(frozen=True)
class Row:
    """The figures of one request; NaN stands where there is no ground truth."""

    request: str
    pictures: int
    set: float
    kept: float
    psnr: float
    ssim: float


@dataclass(frozen=True)
class Example:
    """Pictures to look at: inputs, and for every request the translations and, where known, the truth."""

    title: str
    pictures: Pixels


@dataclass(frozen=True)
class Evaluation:
    """Everything that a report shows."""

    subject: str
    step: int
    metrics: dict[str, float]
    rows: tuple[Row, ...]
    judge: dict[str, float]
    examples: tuple[Example, ...]


def evaluate(subject: Subject, folder: Path, count: int, notify: Notify, judge_steps: int = STEPS) -> Evaluation:
    """Trains the judge on the data's training part, then measures on `count` held-out pictures at most."""
    manifest = subject.manifest
    spec = _domain_text(manifest)
    judge = train_judge(
        labelled.read(folder, spec, manifest.picture, "train", True),
        manifest,
        lambda done, total: notify("training the judge", done, total),
        judge_steps,
    )
    held_out = _held_out(subject, folder, labelled.read(folder, spec, manifest.picture, "test", False), count)
    right = judge.labels(held_out.pixels) == held_out.truth
    accuracy = {domain.name: float(right[:, domain.column].mean()) for domain in manifest.domains}
    rows: list[Row] = []
    examples = [Example("input", held_out.pixels[:_SHOWN])]
    requests = _requests(manifest)
    for number, request in enumerate(requests, 1):
        rows.append(_row(subject, judge, request, held_out))
        asked = request.applied(held_out.own[:_SHOWN], manifest)
        examples.append(Example(str(request), subject.translate(held_out.pixels[:_SHOWN], asked)))
        notify("translating", number, len(requests))
    metrics = _judge_metrics(accuracy) | _model_metrics(rows, subject, held_out)
    return Evaluation(subject.name, subject.step, metrics, tuple(rows), accuracy, tuple(examples))


@dataclass(frozen=True)
class _HeldOut:
    """Pictures n x s x s x 3, their true labels and those that the model reads, n x c.

    Where the pictures are avatars: the persons, and where their heads are, n x s x s.
    """

    pixels: Pixels
    truth: Labels
    own: Labels
    people: Sequence[avatars.Person]
    heads: NDArray[np.bool_]


def _held_out(subject: Subject, folder: Path, data: labelled.Labelled, count: int) -> _HeldOut:
    chosen = range(min(count, len(data)))
    pixels = np.stack([data.picture(index) for index in chosen])
    made = avatars.describe(folder)
    people = [avatars.person(made.seed, int(data.paths[index].stem) - 1) for index in chosen] if made else []
    heads = [avatars.face_mask(person, pixels.shape[1]) for person in people]
    return _HeldOut(pixels, data.labels[: len(chosen)], subject.own_labels(pixels), people, np.array(heads, bool))


def _requests(manifest: Manifest) -> list[Request]:
    requests: list[Request] = []
    for domain in manifest.domains:
        requests += [Request(domain, True)] + ([Request(domain, False)] if domain.group is None else [])
    return requests


def _row(subject: Subject, judge: Judge, request: Request, held_out: _HeldOut) -> Row:
    chosen = np.flatnonzero(~request.fulfilled(held_out.truth))
    if not len(chosen):
        raise DataError(f"every held-out picture is {request} already, so there is nothing to measure; add pictures")
    asked = request.applied(held_out.own[chosen], subject.manifest)
    made = subject.translate(held_out.pixels[chosen], asked)
    seen, truth = judge.labels(made), held_out.truth[chosen]
    untouched = [column for column in range(truth.shape[1]) if column not in _fellows(request.domain, subject.manifest)]
    likeness = (float("nan"), float("nan"))
    if held_out.people:
        exact = _counterfactuals([held_out.people[int(index)] for index in chosen], request, made.shape[1])
        likeness = (float(psnr(made, exact, held_out.heads[chosen]).mean()), float(ssim(made, exact).mean()))
    is_set = float(request.fulfilled(seen).mean())
    return Row(str(request), len(chosen), is_set, float((seen == truth)[:, untouched].mean()), *likeness)


def _counterfactuals(people: Sequence[avatars.Person], request: Request, size: int) -> Pixels:
    """The same people with what was asked, drawn anew: the exact answers, n x size x size x 3."""
    changed = [p.changed(p.attributes.with_domain(request.domain.name, request.present)) for p in people]
    return np.stack([avatars.draw(person, size) for person in changed])


def _judge_metrics(accuracy: dict[str, float]) -> dict[str, float]:
    metrics = {
        "judge accuracy on real pictures, mean": float(np.mean(list(accuracy.values()))),
        "judge accuracy on real pictures, lowest": min(accuracy.values()),
    }
    if min(accuracy.values()) < _TRUST_JUDGE:
        metrics["judge is below 98 % on some domain: its figures are weak"] = 1.0
    return metrics


def _model_metrics(rows: Sequence[Row], subject: Subject, held_out: _HeldOut) -> dict[str, float]:
    """The figures that stand in a bundle."""
    again = subject.translate(held_out.pixels, held_out.own)
    metrics = {
        "domain set on request, mean": float(np.mean([row.set for row in rows])),
        "domain set on request, lowest": min(row.set for row in rows),
        "attributes not asked for kept, mean": float(np.mean([row.kept for row in rows])),
        "attributes not asked for kept, lowest": min(row.kept for row in rows),
        "own labels read right": float((held_out.own == held_out.truth).mean()),
        "PSNR to the input when nothing is asked, dB": float(psnr(again, held_out.pixels).mean()),
    }
    if held_out.people:
        metrics["PSNR to the exact counterfactual over the head, dB"] = float(np.mean([row.psnr for row in rows]))
        metrics["PSNR to the exact counterfactual over the head, lowest domain, dB"] = min(row.psnr for row in rows)
        metrics["SSIM to the exact counterfactual"] = float(np.mean([row.ssim for row in rows]))
    return metrics


def _fellows(domain: Domain, manifest: Manifest) -> list[int]:
    """The columns that a request for `domain` may change: its group's, or its own."""
    members = manifest.groups[domain.group] if domain.group else (domain,)
    return [cast(int, member.column) for member in members]


def _domain_text(manifest: Manifest) -> str:
    """The manifest's domains as `labelled.parse_domains` reads them."""
    parts: dict[str, list[str]] = {}
    for domain in manifest.domains:
        parts.setdefault(f"{domain.group}=" if domain.group else domain.name, []).append(domain.name)
    return ",".join(key + "|".join(names) if key.endswith("=") else key for key, names in parts.items())
