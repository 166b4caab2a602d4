"""Evaluates attribute models (StarGAN, alone or joint): translates by every request, and lets a judge check.

A request is a domain, or the absence of an attribute; it applies to the pictures that don't fulfil it yet. All other
labels are those that the model itself reads, exactly as in serving. In a joint data set each set has its own judge, and
the pictures of each set are translated by the requests of all sets. Figures across sets stand apart, since a judge has
never seen pictures of another set.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.bundle.manifest import Domain, Manifest
from models.data import labelled
from models.data.labelled import Labelled
from models.data.pictures import Pictures
from models.data.tables import UNKNOWN, Labels
from models.errors import DataError
from models.evaluation import figures
from models.evaluation.counterfactuals import Request, Scenes, columns_of, open_scenes, requests, with_mask
from models.evaluation.figures import Evaluation, Figure, Row, Sheet, Strip, Table, Value
from models.evaluation.instruments import SHOWN, Instruments, Yardstick, spread, warn_of_judge
from models.evaluation.judge import LabelJudge, label_judge
from models.evaluation.metrics import Pixels, Vectors, psnr
from models.evaluation.subject import Subject

_WORST = 3


def evaluate_attributes(subject: Subject, folder: Path, instruments: Instruments) -> Evaluation:
    """Measures on at most `instruments.count` held-out pictures of each set; DataError if the data do not fit."""
    sets = _open_sets(subject, folder, instruments)
    tasks = [(held_out, owner, request) for held_out in sets for owner in sets for request in requests(owner.domains)]
    measured: list[_Measured] = []
    for number, (held_out, owner, request) in enumerate(tasks, 1):
        result = _measure(subject, instruments, held_out, owner, request)
        measured += [result] if result else []
        instruments.notify("translating", number, len(tasks))
    within = {m.row.name for m in measured if m.held_out is m.owner}
    missing = sorted({str(r) for h, o, r in tasks if h is o} - within)
    unmeasured = f"Not measured, since all held-out pictures fulfil it already or are unknown: {', '.join(missing)}."
    sheets = []
    for one in sets:
        some = spread(len(one.pixels), SHOWN)
        pixels, own = one.pixels[some], one.own[some]
        made = [
            Strip(str(r), subject.translate(r.domain, pixels, r.label_input(own, subject.manifest)))
            for owner in sets
            for r in requests(owner.domains)
        ]
        title = f"Translations{f', {one.name}' if one.name else ''}"
        sheets.append(
            Sheet(title, "Some held-out pictures, translated by every request.", (Strip("input", pixels), *made))
        )
    worst = tuple(Strip(m.row.name, m.worst) for m in measured if m.worst is not None)
    if worst:
        note = "For each request those with the lowest PSNR over the head: input, translation, exact counterfactual."
        sheets.append(Sheet("The worst", note, worst))
    return Evaluation(
        subject=subject.name,
        family=subject.manifest.family,
        step=subject.step,
        pictures=sum(len(one.pixels) for one in sets),
        values=tuple(_summary(subject, sets, measured)),
        tables=tuple(_tables(sets, measured)),
        sheets=tuple(sheets),
        notes=(*(note for one in sets for note in warn_of_judge(one.accuracies)), *([unmeasured] if missing else [])),
        curves=subject.curves,
    )


@dataclass(frozen=True)
class _HeldOut:
    """One labelled set, alone or in a joint one: its judge, and held-out pictures n x s x s x 3.

    `truth` are the set's labels, some of them unknown, in the columns `domains`. `own` are the labels that the model
    reads from the pictures, in the model's columns.
    """

    name: str
    domains: tuple[Domain, ...]
    judge: LabelJudge
    pixels: Pixels
    truth: Labels
    own: Labels
    yardsticks: tuple[Yardstick, ...]
    real: tuple[Vectors, ...]
    scenes: Scenes | None

    @property
    def accuracies(self) -> list[tuple[str, float]]:
        """The judge's accuracy for each domain, on the held-out pictures whose label is known, per cent."""
        right, known = self.judge.labels(self.pixels) == self.truth, self.truth != UNKNOWN
        return [
            (domain.name, float(100 * right[rows, column].mean()))
            for column, (domain, rows) in enumerate(zip(self.domains, known.T, strict=True))
            if rows.any()
        ]

    def reading_accuracy(self, manifest: Manifest) -> float:
        """The share of the set's known labels that the model reads correctly, per cent."""
        columns = columns_of(manifest)
        places = [columns.index(domain) for domain in self.domains]
        return float(100 * (self.own[:, places] == self.truth)[self.truth != UNKNOWN].mean())


@dataclass(frozen=True)
class _Measured:
    """The figures of a request for a domain of `owner`, on the pictures of `held_out`.

    `worst` has input, translation and exact answer of the worst pictures, if exact answers exist.
    """

    held_out: _HeldOut
    owner: _HeldOut
    row: Row
    worst: Pixels | None

    def value(self, figure: Figure) -> float | None:
        """The value of a figure, if the row has it."""
        return next((value.value for value in self.row.values if value.figure == figure), None)


def _open_sets(subject: Subject, folder: Path, instruments: Instruments) -> list[_HeldOut]:
    manifest = subject.manifest
    # The model's domains in the notation of `parse_domains`.
    parts: dict[str, list[str]] = {}
    for domain in columns_of(manifest):
        parts.setdefault(f"{domain.group}=" if domain.group else domain.name, []).append(domain.name)
    text = ",".join(key + "|".join(names) if key.endswith("=") else key for key, names in parts.items())
    training = labelled.read(folder, text, manifest.picture, "train", True)
    testing = labelled.read(folder, text, manifest.picture, "test", False)
    # A joint set must also have the same masks, which name the sets, not only the same domains.
    known, wanted = ({(d.name, d.mask) for d in some} for some in (training.description.domains, manifest.domains))
    if known != wanted:
        apart = ", ".join(sorted(f"{mask}/{name}" if mask else name for name, mask in known ^ wanted))
        raise DataError(
            f"the sets and domains of {training.description.name} are not the model's; they differ in {apart}"
        )
    sets = []
    for mask in manifest.mask_columns or (None,):
        own_training, own_testing = _one_set(training, mask), _one_set(testing, mask)
        found = [manifest.find(domain.name) for domain in own_training.description.domains]
        domains = tuple(domain for domain in found if domain)
        judge = label_judge(own_training, domains, instruments.training, instruments.on_judge_step)
        chosen = spread(len(own_testing), instruments.count)
        pixels = np.stack([own_testing.pictures[index] for index in chosen])
        yardsticks = instruments.yardsticks(judge)
        held_out = _HeldOut(
            name=mask or "",
            domains=domains,
            judge=judge,
            pixels=pixels,
            truth=own_testing.labels[chosen],
            own=subject.own_labels(pixels),
            yardsticks=yardsticks,
            real=tuple(yardstick.network.features(pixels) for yardstick in yardsticks),
            scenes=open_scenes([own_testing.pictures.paths[index] for index in chosen], manifest.picture),
        )
        sets.append(held_out)
    return sets


def _one_set(data: Labelled, mask: str | None) -> Labelled:
    """The pictures of one set of a joint one, with the set's own columns."""
    if data.masks is None:
        return data
    description = data.description
    rows = np.flatnonzero(data.masks[:, description.masks.index(str(mask))])
    columns = [column for column, domain in enumerate(description.domains) if domain.mask == mask]
    own = tuple(description.domains[column] for column in columns)
    part = description.model_copy(update={"name": mask, "domains": own, "count": len(rows), "masks": (), "counts": {}})
    pictures = Pictures([data.pictures.paths[row] for row in rows], data.pictures.picture)
    return Labelled(pictures, data.labels[rows][:, columns], part, data.flip)


def _measure(
    subject: Subject, instruments: Instruments, held_out: _HeldOut, owner: _HeldOut, request: Request
) -> _Measured | None:
    """The figures of one request; None if no picture is known to contradict it."""
    # Across sets there are no true labels, so the other set's judge tells which pictures lack the domain.
    known = held_out.truth if held_out is owner else owner.judge.labels(held_out.pixels)
    chosen = np.flatnonzero(request.contradicted_by(known, owner.domains))
    if not len(chosen):
        return None
    inputs = held_out.pixels[chosen]
    made = subject.translate(request.domain, inputs, request.label_input(held_out.own[chosen], subject.manifest))
    seen = owner.judge.labels(made)
    values = [Value(figures.SET, float(100 * request.fulfilled_by(seen, owner.domains).mean()))]
    if others := request.other_columns(held_out.domains):
        # Across sets, only the judge of the pictures' own set knows their other labels.
        rest = seen if held_out is owner else held_out.judge.labels(made)
        truth = held_out.truth[chosen][:, others]
        if (is_known := truth != UNKNOWN).any():
            values.append(Value(figures.KEPT, float(100 * (rest[:, others] == truth)[is_known].mean())))
    # Real pictures that fulfil the request, so that the distance does not count the change itself.
    having = request.fulfilled_by(owner.truth, owner.domains)
    for yardstick, real in zip(owner.yardsticks, owner.real, strict=True):
        values += yardstick.distances(yardstick.network.features(made), real[having])
    worst = None
    scenes = held_out.scenes[chosen] if held_out.scenes else None
    if scenes and (exact := scenes.answers(request)) is not None:
        values += scenes.measure(inputs, made, exact)
        if instruments.lpips:
            values.append(Value(figures.LPIPS, float(instruments.lpips.distances(made, exact).mean())))
        lowest = scenes.worst(made, exact, _WORST)
        worst = np.stack([inputs[lowest], made[lowest], exact[lowest]], axis=1).reshape(-1, *made.shape[1:])
    name = str(request) if held_out is owner else f"{held_out.name}: {request}"
    return _Measured(held_out, owner, Row(name, len(chosen), tuple(values)), worst)


def _summary(subject: Subject, sets: Sequence[_HeldOut], measured: Sequence[_Measured]) -> Iterator[Value]:
    """The figures of the model as a whole, which go into a bundle; those of single sets of a joint one come last."""
    accuracies = [accuracy for one in sets for _, accuracy in one.accuracies]
    yield Value(figures.JUDGE, float(np.mean(accuracies)))
    yield Value(figures.JUDGE, min(accuracies), "lowest domain")
    within = [one for one in measured if one.held_out is one.owner]
    for figure in (figures.SET, figures.KEPT, figures.FACE, figures.HEAD):
        yield from _mean(figure, within)
        values = [value for one in within if (value := one.value(figure)) is not None]
        if values:
            yield Value(figure, min(values), "lowest domain")
    for figure in (figures.UNTOUCHED, figures.CHANGED, figures.STAYED, figures.EXACT, figures.LPIPS):
        yield from _mean(figure, within)
    for figure in (figures.KID, figures.FID, figures.KID_INCEPTION, figures.FID_INCEPTION):
        yield from _mean(figure, within)
    if subject.manifest.classifier:
        yield Value(figures.READ, float(np.mean([one.reading_accuracy(subject.manifest) for one in sets])))
    idle = []
    for one in sets:  # the request is what the model reads from the pictures, so nothing should change
        labels = with_mask(one.own, one.domains[0].mask, subject.manifest)
        idle.append(psnr(subject.translate(one.domains[0], one.pixels, labels), one.pixels))
    yield Value(figures.IDLE, float(np.concatenate(idle).mean()))
    if len(sets) > 1:
        for one in sets:
            yield from _mean(figures.SET, [m for m in within if m.owner is one], one.name)
        yield from _mean(figures.SET, [m for m in measured if m.held_out is not m.owner], "across sets")


def _mean(figure: Figure, measured: Sequence[_Measured], detail: str = "") -> Iterator[Value]:
    values = [value for one in measured if (value := one.value(figure)) is not None]
    if values:
        yield Value(figure, float(np.mean(values)), detail)


def _tables(sets: Sequence[_HeldOut], measured: Sequence[_Measured]) -> Iterator[Table]:
    for one in sets:
        rows = tuple(m.row for m in measured if m.held_out is one and m.owner is one)
        note = "Held-out pictures that don't fulfil the request; distances are to held-out pictures that do."
        yield Table(f"Requests{f', {one.name}' if one.name else ''}", note, rows)
    across = tuple(m.row for m in measured if m.held_out is not m.owner)
    if across:
        note = "Pictures of one set, requests of another, whose judge has never seen such pictures."
        yield Table("Requests across sets", note, across)
    for one in sets:
        rows = tuple(Row(name, len(one.pixels), (Value(figures.JUDGE, share),)) for name, share in one.accuracies)
        yield Table(f"The judge{f', {one.name}' if one.name else ''}", "On untranslated held-out pictures.", rows)
