"""Translates held-out pictures to every domain and measures what came out.

For every request (each domain; for an attribute also its absence) the pictures that don't have it yet are translated,
with the labels that the model itself reads for all that is not asked, exactly as serving does. Then

    set        share of pictures in which the judge sees what was asked
    kept       share of all other attributes that the judge sees as the picture's true labels have them
    psnr, ssim to the exact counterfactual over the face, where the data can draw it
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
    held_out = labelled.read(folder, spec, manifest.picture, "test", False)
    chosen = range(min(count, len(held_out)))
    pixels = np.stack([held_out.picture(index) for index in chosen])
    truth = held_out.labels[: len(chosen)]
    accuracy = {
        d.name: float((judge.labels(pixels)[:, d.column] == truth[:, d.column]).mean()) for d in manifest.domains
    }
    people = _people(folder, held_out, len(chosen))
    own = subject.own_labels(pixels)
    rows: list[Row] = []
    examples = [Example("input", pixels[:_SHOWN])]
    requests = _requests(manifest)
    for number, request in enumerate(requests, 1):
        asked = request.applied(own, manifest)
        rows.append(_row(subject, judge, request, pixels, truth, asked, people))
        examples.append(Example(str(request), subject.translate(pixels[:_SHOWN], asked[:_SHOWN])))
        notify("translating", number, len(requests))
    metrics = _summary(rows, accuracy, pixels, own, truth, subject)
    return Evaluation(subject.name, subject.step, metrics, tuple(rows), accuracy, tuple(examples))


People = list[avatars.Person]


def _requests(manifest: Manifest) -> list[Request]:
    requests: list[Request] = []
    for domain in manifest.domains:
        requests += [Request(domain, True)] + ([Request(domain, False)] if domain.group is None else [])
    return requests


def _row(
    subject: Subject,
    judge: Judge,
    request: Request,
    pixels: Pixels,
    truth: Labels,
    asked: Labels,
    people: People,
) -> Row:
    chosen = np.flatnonzero(~request.fulfilled(truth))
    if not len(chosen):
        raise DataError(f"every held-out picture is {request} already, so there is nothing to measure; add pictures")
    made = subject.translate(pixels[chosen], asked[chosen])
    seen = judge.labels(made)
    untouched = [column for column in range(truth.shape[1]) if column not in _fellows(request.domain, subject.manifest)]
    similarity = (float("nan"), float("nan"))
    if people:
        exact, mask = _counterfactuals([people[index] for index in chosen], request, pixels.shape[1])
        similarity = (float(psnr(made, exact, mask).mean()), float(ssim(made, exact).mean()))
    return Row(
        str(request),
        len(chosen),
        float(request.fulfilled(seen).mean()),
        float((seen[:, untouched] == truth[chosen][:, untouched]).mean()),
        *similarity,
    )


def _summary(
    rows: Sequence[Row],
    accuracy: dict[str, float],
    pixels: Pixels,
    own: Labels,
    truth: Labels,
    subject: Subject,
) -> dict[str, float]:
    """The figures that stand in a bundle."""
    metrics = {
        "judge accuracy on real pictures, mean": float(np.mean(list(accuracy.values()))),
        "judge accuracy on real pictures, lowest": min(accuracy.values()),
        "domain set on request, mean": float(np.mean([row.set for row in rows])),
        "domain set on request, lowest": min(row.set for row in rows),
        "attributes not asked for kept, mean": float(np.mean([row.kept for row in rows])),
        "attributes not asked for kept, lowest": min(row.kept for row in rows),
        "own labels read right": float((own == truth).mean()),
        "PSNR to the input when nothing is asked, dB": float(psnr(subject.translate(pixels, own), pixels).mean()),
    }
    if not np.isnan(rows[0].psnr):
        metrics["PSNR to the exact counterfactual over the face, dB"] = float(np.mean([row.psnr for row in rows]))
        metrics["PSNR to the exact counterfactual over the face, lowest domain, dB"] = min(row.psnr for row in rows)
        metrics["SSIM to the exact counterfactual"] = float(np.mean([row.ssim for row in rows]))
    if metrics["judge accuracy on real pictures, lowest"] < _TRUST_JUDGE:
        metrics["judge is below 98 % on some domain: its figures are weak"] = 1.0
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


def _people(folder: Path, data: labelled.Labelled, count: int) -> People:
    """The persons behind the pictures, where the folder is a set of avatars; else nobody."""
    made = avatars.describe(folder)
    return [avatars.person(made.seed, int(path.stem) - 1) for path in data.paths[:count]] if made else []


def _counterfactuals(people: People, request: Request, size: int) -> tuple[Pixels, NDArray[np.bool_]]:
    changed = [p.changed(p.attributes.with_domain(request.domain.name, request.present)) for p in people]
    return (
        np.stack([avatars.draw(person, size) for person in changed]),
        np.stack([avatars.face_mask(person, size) for person in people]),
    )
