"""The instruments of an evaluation: the training of judges, yardsticks for sets of pictures, and LPIPS."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from models.evaluation import figures
from models.evaluation.features import Lpips, open_inception, open_lpips
from models.evaluation.figures import Figure, Value
from models.evaluation.judge import Judge, Training
from models.evaluation.metrics import Pixels, Vectors, fid, kid

Notify = Callable[[str, int, int], None]
"""Called with the name of the work, how much of it is finished, and the total."""

SHOWN = 8
"""Pictures in each strip of a contact sheet."""
TRUSTED = 98.0
"""A judge with an accuracy below this, in per cent, gets a warning."""


class Features(Protocol):
    """A network that turns pictures into vectors, which are close for similar pictures."""

    def features(self, pixels: Pixels) -> Vectors:
        """Pictures n x s x s x 3 to vectors n x d."""
        ...


@dataclass(frozen=True)
class Yardstick:
    """Features, and the names of the distances on them."""

    network: Features
    fid: Figure
    kid: Figure

    def distances(self, made: Vectors, real: Vectors, detail: str = "") -> tuple[Value, ...]:
        """FID and KID between two sets of vectors; none if one of them has fewer than two."""
        if min(len(made), len(real)) < 2:
            return ()
        return Value(self.fid, fid(made, real), detail), Value(self.kid, kid(made, real), detail)


@dataclass(frozen=True)
class Instruments:
    """The largest number of held-out pictures, the training of judges, and the networks given as files."""

    count: int
    training: Training
    notify: Notify
    given: tuple[Yardstick, ...] = ()
    lpips: Lpips | None = None

    def yardsticks(self, judge: Judge) -> tuple[Yardstick, ...]:
        """The judge's features, then the given networks."""
        return (Yardstick(judge, figures.FID, figures.KID), *self.given)

    def on_judge_step(self, done: int, total: int) -> None:
        """Reports a step of the judge's training."""
        self.notify("training the judge", done, total)


def instruments(
    count: int, training: Training, notify: Notify, inception: Path | None, lpips: tuple[Path, Path] | None
) -> Instruments:
    """Opens the given files of weights; CheckpointError for one that does not fit."""
    given = inception and Yardstick(open_inception(inception), figures.FID_INCEPTION, figures.KID_INCEPTION)
    return Instruments(count, training, notify, (given,) if given else (), open_lpips(*lpips) if lpips else None)


def spread(total: int, count: int) -> list[int]:
    """`count` indices below `total`, evenly spread and in order, since files may be sorted by content; all if fewer."""
    count = min(count, total)
    return [place * total // count for place in range(count)]


def warn_of_judge(accuracies: list[tuple[str, float]]) -> tuple[str, ...]:
    """A note if the judge is weak; `accuracies` has what it judges, and its accuracy there in per cent."""
    weak = [f"{what} ({accuracy:.1f} %)" for what, accuracy in accuracies if accuracy < TRUSTED]
    if not weak:
        return ()
    return (
        f"The judge is right on less than {TRUSTED:.0f} % of real pictures for {', '.join(weak)}: "
        "do not rely on its answers there.",
    )
