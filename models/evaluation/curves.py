"""The curves of a training: read from a run's metrics.jsonl, and drawn as SVG that follows the page's colours."""

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from models.evaluation.evaluation import Curve

_POINTS = 240
_WIDTH, _HEIGHT = 340.0, 150.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 60.0, 8.0, 8.0, 22.0


def read_curves(path: Path) -> dict[str, Curve]:
    """Every logged term by name; none where there is no file. A last line that was cut short is left out."""
    curves: dict[str, Curve] = {}
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    for line in lines:
        if not line.endswith("\n"):
            continue
        terms = json.loads(line)
        step = terms.pop("step")
        for name, value in terms.items():
            curves.setdefault(name, []).append((step, float(value)))
    return curves


def draw(name: str, curves: Sequence[Curve]) -> str:
    """One chart of the same term of several subjects, in the order of their colours; an empty curve is left out."""
    drawn = [_thinned(curve) for curve in curves]
    points = [point for curve in drawn for point in curve]
    steps, values = [step for step, _ in points], [value for _, value in points]
    low, high = _range(values)
    last = max(max(steps), 1)

    def place(step: float, value: float) -> str:
        x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * step / last
        y = _TOP + (_HEIGHT - _TOP - _BOTTOM) * (high - min(max(value, low), high)) / (high - low)
        return f"{x:.1f},{y:.1f}"

    lines = [
        f'<polyline class="curve c{number}" points="{" ".join(place(*point) for point in curve)}"/>'
        for number, curve in enumerate(drawn)
        if curve
    ]
    return (
        f'<figure class="chart"><figcaption>{html.escape(name)}</figcaption>'
        f'<svg viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" role="img" aria-label="{html.escape(name)} by step">'
        f"{_frame(low, high, last)}{''.join(lines)}</svg></figure>"
    )


def names(curves: Sequence[Mapping[str, Curve]]) -> list[str]:
    """The terms of several subjects, each once, in the order in which they were logged."""
    return list(dict.fromkeys(name for one in curves for name in one))


def _thinned(curve: Curve) -> list[tuple[float, float]]:
    """At most `_POINTS` points: means over as many steps each, so that a long and noisy curve can be read."""
    share = max(1, -(-len(curve) // _POINTS))
    parts = [curve[start : start + share] for start in range(0, len(curve), share)]
    return [(sum(s for s, _ in part) / len(part), sum(v for _, v in part) / len(part)) for part in parts]


def _range(values: Sequence[float]) -> tuple[float, float]:
    """From the second to the last but one of a hundred: a single spike, which lies on the edge, flattens nothing."""
    ordered = sorted(values)
    cut = len(ordered) // 100
    low, high = ordered[cut], ordered[-1 - cut]
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def _frame(low: float, high: float, last: float) -> str:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    labels = [
        (_LEFT - 6, _TOP + 9, "end", f"{high:.3g}"),
        (_LEFT - 6, bottom, "end", f"{low:.3g}"),
        (_LEFT, _HEIGHT - 6, "start", "0"),
        (right, _HEIGHT - 6, "end", f"{last:,.0f}"),
    ]
    texts = "".join(
        f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{text}</text>' for x, y, anchor, text in labels
    )
    zero = ""
    if low < 0 < high:
        y = _TOP + (bottom - _TOP) * high / (high - low)
        zero = f'<path class="zero" d="M{_LEFT:.0f} {y:.1f}H{right:.0f}"/>'
    return f'<path class="axis" d="M{_LEFT:.0f} {_TOP:.0f}V{bottom:.0f}H{right:.0f}"/>{zero}{texts}'
