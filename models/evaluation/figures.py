"""The table of figures: what each is called, its unit, which direction is better, and what it means.

A key is `name[, detail][, unit]`. It stands in bundles, on their cards and in metrics.json, so it must not change.
"""

from dataclasses import dataclass
from typing import Literal

_DECIMALS = {"%": 1, "dB": 2, "levels": 2}


@dataclass(frozen=True)
class Figure:
    """One kind of figure; `short` heads a column, `better` is empty where it only helps to read another."""

    name: str
    short: str
    unit: str
    better: Literal["higher", "lower", ""]
    meaning: str

    def key(self, detail: str = "") -> str:
        """What the figure is called, with what it was taken of."""
        return ", ".join(filter(None, (self.name, detail, self.unit)))

    def shown(self, value: float) -> str:
        """A value as it is written for people; the unit stands in the key."""
        return f"{value:.{_DECIMALS[self.unit]}f}" if self.unit else f"{value:.4g}"

    def gain(self, value: float, former: float) -> float:
        """How much better a value is than another; below 0 where it is worse, 0 where no direction is better."""
        return {"higher": value - former, "lower": former - value, "": 0.0}[self.better]


@dataclass(frozen=True)
class Value:
    """A figure that was measured; `detail` says of what, where there are several."""

    figure: Figure
    value: float
    detail: str = ""

    @property
    def key(self) -> str:
        """`name[, detail][, unit]`."""
        return self.figure.key(self.detail)


JUDGE = Figure(
    *("judge's accuracy on real pictures", "judge", "%", "higher"),
    "How often the judge is right on held-out pictures as they are. What it says of translations is worth no more.",
)
SET = Figure(
    *("domain set on request", "set", "%", "higher"),
    "Share of translations in which the judge sees what was asked, of pictures that did not have it.",
)
KEPT = Figure(
    *("attributes not asked for kept", "kept", "%", "higher"),
    "Share of all other attributes that the judge sees in the translation as the picture's true labels have them.",
)
READ = Figure(
    *("own labels read right", "read", "%", "higher"),
    "Share of labels that the model's own classifier reads right. What it misreads, it is told to change.",
)
IDLE = Figure(
    *("PSNR to the input when nothing is asked", "idle", "dB", "higher"),
    "How well a picture comes through when its own labels are asked for.",
)
FACE = Figure(
    *("PSNR to the exact counterfactual over the face", "face", "dB", "higher"),
    "To the same person drawn anew with what was asked: skin, brows, eyes, mouth, glasses and beard; no hair, no hat.",
)
HEAD = Figure(
    *("PSNR to the exact counterfactual over the head", "head", "dB", "higher"),
    "The same over the whole head, with hair, ears and where a hat would be.",
)
CHANGED = Figure(
    *("PSNR over what should change", "changed", "dB", "higher"),
    "To the exact counterfactual, over the pixels in which it differs from the input. Low where the change is missing.",
)
STAYED = Figure(
    *("PSNR over what should stay", "stayed", "dB", "higher"),
    "The same over the head's other pixels. Low where the rest of the head suffers.",
)
UNTOUCHED = Figure(
    *("PSNR of the untouched input over the head", "untouched", "dB", ""),
    "What a model that does nothing has; the PSNR over the head means something only above it.",
)
EXACT = Figure(
    *("SSIM to the exact counterfactual", "SSIM", "", "higher"),
    "Structural similarity of the whole picture to the same person drawn anew; 1 is equal.",
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
    "Distance between translations and real pictures, both taken as Gaussians. Few pictures raise it.",
)
KID = Figure(
    *("KID on the judge's features", "KID", "", "lower"),
    "Such a distance without bias, whatever the number of pictures; about 0 where both are alike.",
)
FID_INCEPTION = Figure(
    *("FID on Inception's features", "FID, Inception", "", "lower"),
    "The published FID; comparable with others that were taken on as many pictures, 10,000 or more.",
)
KID_INCEPTION = Figure(
    *("KID on Inception's features", "KID, Inception", "", "lower"),
    "The published KID, not multiplied by anything.",
)

FIGURES = (
    *(JUDGE, SET, KEPT, READ, IDLE, FACE, HEAD, CHANGED, STAYED, UNTOUCHED, EXACT),
    *(TAKEN, CYCLE, L1, PSNR, SSIM, LPIPS, FID, KID, FID_INCEPTION, KID_INCEPTION),
)
"""All of them, in the order of docs/evaluation.md."""
