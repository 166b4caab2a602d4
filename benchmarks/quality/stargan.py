"""StarGAN against a CycleGAN for every two domains (Choi et al., CVPR 2018, table 3): expressions of drawn faces.

Both train on the same faces with the same number of translations to each domain: StarGAN's one generator makes as many
as the n (n - 1) generators of all CycleGANs together. So each CycleGAN has a small share of the work, and StarGAN's
critic comes on top. An error is a translation that the judge, trained on real faces, takes for another expression than
the target.

    recast bench quality/stargan [--work DIR] [--steps N] ...

`--steps` are those of each CycleGAN, of `--batch` pictures.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality._drawn import expressive_person, face, write_faces
from benchmarks.quality._work import Settings, command, compare_orders, conclude, judge_of, markdown, train
from cli.terminal import Report
from models.evaluation.judge import LabelJudge
from models.evaluation.metrics import Pixels, l1
from models.training.run import open_run

USUAL = Settings(
    Path("runs/quality/stargan"),
    size=32, width=24, steps=1800, batch=2, count=4000, judge_steps=1250, precision="bf16-mixed",
)  # fmt: skip

EXPRESSIONS = ("angry", "happy", "neutral", "surprised")
"""Sorted by name, the order of the judge's columns."""

LARGER, EVERY = 4, 2
"""StarGAN's batch as a multiple of CycleGAN's, since its targets are permuted labels; critic steps a generator step."""

PAPER = {"real faces": (0.45, "-"), "StarGAN": (2.12, "53.2M"), "CycleGANs": (5.99, "14 x 52.6M")}
"""The error in %, and how many parameters."""

Translate = Callable[[Pixels, int, int], Pixels]
"""Translates pictures n x s x s x 3 from one of EXPRESSIONS to another, given by their indices."""


@dataclass(frozen=True)
class Exam:
    """Held-out people: the index of each one's own expression, all of them drawn with each, and the judge."""

    own: NDArray[np.intp]
    drawn: tuple[Pixels, ...]
    judge: LabelJudge

    def score(self, translate: Translate) -> tuple[float, float]:
        """The error in % and the L1 distance to the truth in levels of 0 to 255, over all pairs of expressions."""
        wrong, apart = [], []
        for source, target in permutations(range(len(EXPRESSIONS)), 2):
            rows = self.own == source
            made = translate(self.drawn[source][rows], source, target)
            wrong.append(self.judge.labels(made).argmax(axis=1) != target)
            apart.append(l1(made, self.drawn[target][rows]))
        return 100 * float(np.concatenate(wrong).mean()), float(np.concatenate(apart).mean())

    def truth(self, faces: Pixels, source: int, target: int) -> Pixels:
        """The same people drawn with the target expression."""
        again: Pixels = self.drawn[target][self.own == source]
        return again

    def translate_neutral(self, translate: Translate) -> list[Pixels]:
        """The neutral faces, translated to every other expression."""
        neutral = EXPRESSIONS.index("neutral")
        faces = self.drawn[neutral][self.own == neutral]
        return [translate(faces, neutral, target) for target in range(len(EXPRESSIONS)) if target != neutral]


def main() -> None:
    """Trains and measures all variants, except finished ones, and prints the tables."""
    command(__doc__, USUAL, compare)


def compare(settings: Settings, report: Report) -> list[str]:
    """The table's lines."""
    exam = _prepare(settings, report)
    models: dict[str, tuple[list[str], Translate]] = {
        "untouched": ([], lambda faces, source, target: faces),
        "real faces": ([], exam.truth),
        "StarGAN": _stargan(settings, report),
        "CycleGANs": _cyclegans(settings, report),
    }
    rows, errors = [], dict[str, float]()
    for name, (runs, translate) in models.items():
        errors[name], apart = exam.score(translate)
        trained = [open_run(settings.run(run)).trained()[0] for run in runs]
        networks = [network for recipe in trained for network in recipe.networks.values()]
        size = sum(weights.numel() for network in networks for weights in network.parameters())
        cells = [f"{errors[name]:.2f}", f"{apart:.1f}", str(len(runs)), f"{size / 1e6:.2f}M"]
        rows.append([name, *cells, *map(str, PAPER.get(name, ("-", "-")))])
    head = ("Expressions (table 3)", "error, %", "L1", "trainings", "parameters", "the paper's error", "parameters")
    order = compare_orders(
        {name: -errors[name] for name in PAPER}, {name: -error for name, (error, _) in PAPER.items()}
    )
    sheets = [exam.translate_neutral(translate) for _, translate in models.values()]
    strips = [strip for some in zip(*sheets, strict=True) for strip in some]
    return conclude("stargan", settings, [*markdown(head, rows), "", order], strips)


def _prepare(settings: Settings, report: Report) -> Exam:
    """Draws the faces and trains the judge, except what the work folder already has."""
    settings.claim()
    data, size, seed = _data(settings), settings.size, settings.seed
    if not data.exists():
        write_faces(data, EXPRESSIONS, seed, settings.count, size, partial(report, "faces"))
    judge, test = judge_of(settings, data, report)
    people = [expressive_person(EXPRESSIONS, seed, int(path.stem) - 1) for path in test.pictures.paths]
    drawn = [
        np.stack([face(one.with_attributes(one.attributes.with_domain(name)), size) for one in people])
        for name in EXPRESSIONS
    ]
    return Exam(test.labels.argmax(axis=1), tuple(drawn), judge)


def _stargan(settings: Settings, report: Report) -> tuple[list[str], Translate]:
    """Trains StarGAN; the name of its run, and its translation."""
    pairs = len(EXPRESSIONS) * (len(EXPRESSIONS) - 1)
    halvings = (settings.size & -settings.size).bit_length() - 1
    subject = train(
        settings,
        "stargan",
        "stargan",
        _data(settings),
        f"rate=2e-4 blocks=6 critic_layers={halvings - 1} generator_every={EVERY} batch={LARGER * settings.batch} "
        f"steps={EVERY * settings.steps * pairs // LARGER}",
        report,
    )
    columns = np.eye(len(EXPRESSIONS), dtype=np.float32)

    def translate(pixels: Pixels, source: int, target: int) -> Pixels:
        return subject.translate(subject.manifest.domains[target], pixels, columns[[target] * len(pixels)])

    return ["stargan"], translate


def _cyclegans(settings: Settings, report: Report) -> tuple[list[str], Translate]:
    """Trains a CycleGAN for each two expressions; the names of their runs, and their translations."""
    subjects = {
        (a, b): train(
            settings,
            f"{EXPRESSIONS[a]}-{EXPRESSIONS[b]}",
            "cyclegan",
            _data(settings),
            f"rate=2e-4 blocks=6 identity=0 domains={EXPRESSIONS[a]},{EXPRESSIONS[b]}",
            report,
        )
        for a, b in combinations(range(len(EXPRESSIONS)), 2)
    }

    def translate(pixels: Pixels, source: int, target: int) -> Pixels:
        subject = subjects[min(source, target), max(source, target)]
        return subject.translate(subject.manifest.domains[target > source], pixels)

    return [f"{EXPRESSIONS[a]}-{EXPRESSIONS[b]}" for a, b in subjects], translate


def _data(settings: Settings) -> Path:
    return settings.work / "data" / "faces"


if __name__ == "__main__":
    main()
