"""What an evaluation measures with."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from models.evaluation import figures
from models.evaluation.features import Yardstick
from models.evaluation.inception import open_inception
from models.evaluation.judge import Judge, Training
from models.evaluation.lpips import Lpips, open_lpips

Notify = Callable[[str, int, int], None]
"""Told what is done, and how much of how much."""

SHOWN = 8
"""Pictures in each strip of a contact sheet."""
TRUSTED = 98.0
"""The accuracy of a judge, in per cent, below which its word is weak."""


@dataclass(frozen=True)
class Instruments:
    """How many held-out pictures are looked at, how judges are made, and networks that were given as files."""

    count: int
    training: Training
    notify: Notify
    yardsticks: tuple[Yardstick, ...] = ()
    lpips: Lpips | None = None

    def yardsticks_with(self, judge: Judge) -> tuple[Yardstick, ...]:
        """The judge's features, then those that were given."""
        return (Yardstick(judge, figures.FID, figures.KID), *self.yardsticks)

    def training_step(self, done: int, total: int) -> None:
        """Tells of the judge's training."""
        self.notify("training the judge", done, total)


def instruments(
    count: int, training: Training, notify: Notify, inception: Path | None, lpips: tuple[Path, Path] | None
) -> Instruments:
    """Opens the files of weights that were given; CheckpointError where one does not fit."""
    given = inception and Yardstick(open_inception(inception), figures.FID_INCEPTION, figures.KID_INCEPTION)
    return Instruments(count, training, notify, (given,) if given else (), open_lpips(*lpips) if lpips else None)


def spread(total: int, count: int) -> list[int]:
    """`count` of `total` places, evenly spread and in order, as files may be sorted by what they show; all if fewer."""
    count = min(count, total)
    return [place * total // count for place in range(count)]


def doubts(values: list[tuple[str, float]]) -> tuple[str, ...]:
    """A note where the judge is weak; pairs of what it judges and its accuracy there in per cent."""
    weak = [f"{what} ({accuracy:.1f} %)" for what, accuracy in values if accuracy < TRUSTED]
    if not weak:
        return ()
    return (
        f"The judge is right on less than {TRUSTED:.0f} % of real pictures for {', '.join(weak)}: "
        "its word is weak there.",
    )
