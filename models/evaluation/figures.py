"""The table of figures, and the parts of an evaluation: figures, tables, sheets of pictures, and curves.

A figure's key is `name[, detail][, unit]`. Bundles, their cards and metrics.json contain it: never change one. A report
shows an evaluation without knowing the kind of its model.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from models.evaluation.metrics import Pixels

Curve = list[tuple[int, float]]
"""Steps and values, rising in steps."""

_DECIMALS = {"%": 1, "dB": 2, "levels": 2}


@dataclass(frozen=True)
class Figure:
    """One kind of figure; `short` heads a column, `better` is empty if the figure only helps to read another."""

    name: str
    short: str
    unit: str
    better: Literal["higher", "lower", ""]
    meaning: str

    def key(self, detail: str = "") -> str:
        """The figure's name in bundles and metrics.json; `detail` says what it was measured on."""
        return ", ".join(filter(None, (self.name, detail, self.unit)))

    def format(self, value: float) -> str:
        """A value as text, without its unit, which is in the key."""
        return f"{value:.{_DECIMALS[self.unit]}f}" if self.unit else f"{value:.4g}"

    def gain(self, value: float, former: float) -> float:
        """How much better a value is than `former`: negative if worse, 0 if the figure has no better direction."""
        return {"higher": value - former, "lower": former - value, "": 0.0}[self.better]


@dataclass(frozen=True)
class Value:
    """A measured figure; `detail` says on what, if there are several."""

    figure: Figure
    value: float
    detail: str = ""

    @property
    def key(self) -> str:
        """`name[, detail][, unit]`."""
        return self.figure.key(self.detail)


@dataclass(frozen=True)
class Row:
    """The figures of one request."""

    name: str
    pictures: int
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Table:
    """Rows of figures; not every row has every figure."""

    title: str
    note: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Strip:
    """Pictures of one kind, n x s x s x 3, in the order of the sheet's other strips."""

    caption: str
    pictures: Pixels


@dataclass(frozen=True)
class Sheet:
    """A contact sheet: strips that show the same pictures in one order."""

    title: str
    note: str
    strips: tuple[Strip, ...]


@dataclass(frozen=True)
class Evaluation:
    """Everything that a report shows about one subject; `step` is the training's, 0 for a bundle."""

    subject: str
    family: str
    step: int
    pictures: int
    """The number of held-out pictures that were used."""
    values: tuple[Value, ...]
    tables: tuple[Table, ...]
    sheets: tuple[Sheet, ...]
    notes: tuple[str, ...] = ()
    """What a reader must know before trusting the figures."""
    curves: Mapping[str, Curve] = field(default_factory=dict)
    """The training's logged terms by name."""

    @property
    def metrics(self) -> dict[str, float]:
        """The figures by key, as in a bundle."""
        return {value.key: value.value for value in self.values}


JUDGE = Figure(
    *("judge's accuracy on real pictures", "judge", "%", "higher"),
    "How often the judge is right on real held-out pictures. Trust what it says about translations no more than that.",
)
SET = Figure(
    *("domain set on request", "set", "%", "higher"),
    "Share of translations in which the judge sees what was asked for; only pictures without it are translated.",
)
KEPT = Figure(
    *("attributes not asked for kept", "kept", "%", "higher"),
    "Share of all other attributes that the judge sees in the translation as the picture's true labels have them.",
)
READ = Figure(
    *("own labels read right", "read", "%", "higher"),
    "Share of labels that the model's own classifier reads correctly. A misread label is changed by mistake.",
)
IDLE = Figure(
    *("PSNR to the input when nothing is asked", "idle", "dB", "higher"),
    "How well a picture is preserved when its own labels are asked for.",
)
FACE = Figure(
    *("PSNR to the exact counterfactual over the face", "face", "dB", "higher"),
    "To the same person drawn again as asked: skin, brows, eyes, mouth, glasses and beard, without hair and hat.",
)
HEAD = Figure(
    *("PSNR to the exact counterfactual over the head", "head", "dB", "higher"),
    "The same over the whole head, with hair, ears and the place of a hat.",
)
CHANGED = Figure(
    *("PSNR over what should change", "changed", "dB", "higher"),
    "To the exact counterfactual, over the pixels in which it differs from the input. Low where the change is missing.",
)
STAYED = Figure(
    *("PSNR over what should stay", "stayed", "dB", "higher"),
    "The same over the head's other pixels. Low where the rest of the head is damaged.",
)
UNTOUCHED = Figure(
    *("PSNR of the untouched input over the head", "untouched", "dB", ""),
    "The figure of a model that does nothing; only a PSNR over the head above it means something.",
)
EXACT = Figure(
    *("SSIM to the exact counterfactual", "SSIM", "", "higher"),
    "Structural similarity of the whole picture to the same person drawn again; 1 is equal.",
)
TAKEN = Figure(
    *("taken for the target domain", "taken", "%", "higher"),
    "Share of translations that the judge takes for real pictures of the target domain.",
)
CYCLE = Figure(
    *("cycle error, L1", "cycle", "levels", "lower"),
    "Mean distance of a picture to its translation there and back, in levels of 0 to 255.",
)
L1 = Figure(
    *("L1 to the truth", "L1", "levels", "lower"),
    "Mean distance to the true picture, in levels of 0 to 255.",
)
PSNR = Figure(
    *("PSNR to the truth", "PSNR", "dB", "higher"),
    "Peak signal to noise ratio to the true picture.",
)
SSIM = Figure(
    *("SSIM to the truth", "SSIM", "", "higher"),
    "Structural similarity to the true picture; 1 is equal.",
)
LPIPS = Figure(
    *("LPIPS to the truth", "LPIPS", "", "lower"),
    "Distance to the true picture in AlexNet's features; 0 is equal.",
)
FID = Figure(
    *("FID on the judge's features", "FID", "", "lower"),
    "Distance between translations and real pictures, as two Gaussians. Too high with few pictures.",
)
KID = Figure(
    *("KID on the judge's features", "KID", "", "lower"),
    "Distance between translations and real pictures without bias, whatever their number; about 0 for equal ones.",
)
FID_INCEPTION = Figure(
    *("FID on Inception's features", "FID, Inception", "", "lower"),
    "The published FID; comparable with figures of as many pictures, 10,000 or more.",
)
KID_INCEPTION = Figure(
    *("KID on Inception's features", "KID, Inception", "", "lower"),
    "The published KID, without a factor.",
)

FIGURES = (
    *(JUDGE, SET, KEPT, READ, IDLE, FACE, HEAD, CHANGED, STAYED, UNTOUCHED, EXACT),
    *(TAKEN, CYCLE, L1, PSNR, SSIM, LPIPS, FID, KID, FID_INCEPTION, KID_INCEPTION),
)
"""All of them, in the order of docs/evaluation.md."""
