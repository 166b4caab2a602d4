"""The report of one evaluation, or of several side by side: one HTML page, and the figures as JSON.

Style and pictures are inside the page, so it opens without a network. The page is `report.html`, a Jinja2 template that
escapes every value; this module computes its values.
"""

import base64
import io
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from models.evaluation.figures import FIGURES, Curve, Evaluation, Figure, Row, Sheet, Strip

_NONE = "-"
_POINTS = 240
_WIDTH, _HEIGHT = 340, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 8, 8, 22


def write_report(evaluations: Sequence[Evaluation], out: Path) -> None:
    """Writes OUT/report.html and OUT/metrics.json, each atomically."""
    out.mkdir(parents=True, exist_ok=True)
    subjects = [
        {
            "subject": one.subject,
            "family": one.family,
            "step": one.step,
            "pictures": one.pictures,
            "metrics": one.metrics,
            "notes": one.notes,
            "tables": {
                table.title: [
                    {"name": row.name, "pictures": row.pictures, **{value.key: value.value for value in row.values}}
                    for row in table.rows
                ]
                for table in one.tables
            },
        }
        for one in evaluations
    ]
    files = {"metrics.json": json.dumps({"subjects": subjects}, indent=2) + "\n", "report.html": page(evaluations)}
    for name, text in files.items():
        beside = out / f"{name}.tmp"
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, out / name)


def summary(evaluations: Sequence[Evaluation]) -> Iterator[str]:
    """A line for each figure with the values of all evaluations, then a line for each note."""
    for key in dict.fromkeys(key for one in evaluations for key in one.metrics):
        values = [next((value for value in one.values if value.key == key), None) for one in evaluations]
        yield f"{key}: {' | '.join(value.figure.format(value.value) if value else _NONE for value in values)}"
    for one in evaluations:
        yield from (f"{one.subject}: {note}" for note in one.notes)


def page(evaluations: Sequence[Evaluation]) -> str:
    """The report as HTML; the others are compared with the first evaluation."""
    found = [{value.key: value for value in one.values} for one in evaluations]
    rows = []
    for key in dict.fromkeys(key for one in found for key in one):
        measured = [one.get(key) for one in found]
        figure = next(value.figure for value in measured if value)
        cells = _compare(figure, [value.value if value else None for value in measured])
        rows.append({"key": key, "figure": figure, "cells": cells})
    sections = [_Section("Figures", "figures", rows)]
    for title in dict.fromkeys(table.title for one in evaluations for table in one.tables):
        sections.append(_Section(title, "table", _table(title, evaluations)))
    logged = [one.curves for one in evaluations]
    if names := dict.fromkeys(name for one in logged for name in one):
        charts = [_chart(name, [one.get(name, []) for one in logged]) for name in names]
        sections.append(_Section("Training", "charts", charts))
    for title in dict.fromkeys(sheet.title for one in evaluations for sheet in one.sheets):
        sheets = [next((sheet for sheet in one.sheets if sheet.title == title), None) for one in evaluations]
        sections.append(_Section(title, "sheet", _sheet(sheets)))
    values = [value for one in evaluations for value in one.values]
    values += [value for one in evaluations for table in one.tables for row in table.rows for value in row.values]
    present = {value.figure for value in values}
    sections.append(_Section("What the figures mean", "meanings", [one for one in FIGURES if one in present]))
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,  # a misspelt name in the template is an error, not an empty cell
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Each note appears once, with the numbers of the subjects that have it.
    notes = dict.fromkeys(note for one in evaluations for note in one.notes)
    return templates.get_template("report.html").render(
        title=f"Evaluation of {' and '.join(one.subject for one in evaluations)}",
        subjects=evaluations,
        notes={note: [number for number, one in enumerate(evaluations) if note in one.notes] for note in notes},
        sections=sections,
    )


@dataclass(frozen=True)
class _Section:
    """One part of the page: a macro of the template, and its argument."""

    title: str
    part: str
    content: object


@dataclass(frozen=True)
class _Cell:
    """A value as text; `apart` is the difference to the first subject, `change` whether that is better or worse."""

    text: str
    best: bool = False
    apart: str = ""
    change: str = ""


def _compare(figure: Figure, values: Sequence[float | None]) -> list[_Cell]:
    """A cell for each subject's value."""
    known = [value for value in values if value is not None]
    best = max(known, key=lambda value: figure.gain(value, 0.0)) if figure.better and len(set(known)) > 1 else None
    first = values[0]
    cells: list[_Cell] = []
    for value in values:
        if value is None:
            cells.append(_Cell(_NONE))
        elif first is None or value == first:
            cells.append(_Cell(figure.format(value), value == best))
        else:
            gain = figure.gain(value, first)
            change = "better" if gain > 0 else "worse" if gain < 0 else ""
            apart = ("+" if value > first else "") + figure.format(value - first)
            cells.append(_Cell(figure.format(value), value == best, apart, change))
    return cells


def _table(title: str, evaluations: Sequence[Evaluation]) -> dict[str, object]:
    """The tables of one title together: for each row a line for each subject, or one line where all are equal."""
    found = [next((table for table in one.tables if table.title == title), None) for one in evaluations]
    by_name: list[dict[str, Row]] = [{row.name: row for row in table.rows} if table else {} for table in found]
    present = {value.figure for rows in by_name for row in rows.values() for value in row.values}
    figures = [figure for figure in FIGURES if figure in present]
    groups = []
    for name in dict.fromkeys(name for rows in by_name for name in rows):
        rows = [one.get(name) for one in by_name]
        rows = rows[:1] if all(row == rows[0] for row in rows) else rows
        measured = [{value.figure: value.value for value in reversed(row.values)} if row else {} for row in rows]
        columns = [_compare(figure, [values.get(figure) for values in measured]) for figure in figures]
        lines = [
            {"pictures": f"{row.pictures:,}" if row else _NONE, "cells": [column[place] for column in columns]}
            for place, row in enumerate(rows)
        ]
        groups.append({"name": name, "lines": lines})
    return {"note": next(table.note for table in found if table), "figures": figures, "groups": groups}


def _chart(name: str, curves: Sequence[Curve]) -> dict[str, object]:
    """The same term of several subjects in one chart, as SVG coordinates; an empty curve is left out."""
    means: list[list[tuple[float, float]]] = []
    for curve in curves:  # means over equally many steps, so that a long and noisy curve is readable
        share = max(1, -(-len(curve) // _POINTS))
        parts = [curve[start : start + share] for start in range(0, len(curve), share)]
        means.append([(sum(s for s, _ in part) / len(part), sum(v for _, v in part) / len(part)) for part in parts])
    ordered = sorted(value for curve in means for _, value in curve)
    # The range leaves out a hundredth at each end, so that a single spike does not flatten the rest.
    cut = len(ordered) // 100
    low, high = ordered[cut], ordered[-1 - cut]
    if low == high:
        low, high = low - 0.5, high + 0.5
    last = max(1, *(step for curve in means for step, _ in curve))
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM

    def place(step: float, value: float) -> str:
        x = _LEFT + (right - _LEFT) * step / last
        y = _TOP + (bottom - _TOP) * (high - min(max(value, low), high)) / (high - low)
        return f"{x:.1f},{y:.1f}"

    return {
        "name": name,
        "width": _WIDTH,
        "height": _HEIGHT,
        "frame": (_LEFT, _TOP, right, bottom),
        "low": f"{low:.3g}",
        "high": f"{high:.3g}",
        "last": f"{last:,.0f}",
        "zero": f"{_TOP + (bottom - _TOP) * high / (high - low):.1f}" if low < 0 < high else None,
        "lines": [(number, " ".join(place(*point) for point in curve)) for number, curve in enumerate(means) if curve],
    }


def _sheet(sheets: Sequence[Sheet | None]) -> dict[str, object]:
    """For each caption the strips of all subjects; a strip that all share appears once, without a number."""
    by_caption = [{strip.caption: strip for strip in sheet.strips} if sheet else {} for sheet in sheets]
    strips = []
    for caption in dict.fromkeys(caption for one in by_caption for caption in one):
        found = [one.get(caption) for one in by_caption]
        shown = [(number, strip) for number, strip in enumerate(found) if strip]
        first = shown[0][1].pictures
        if len(shown) == len(found) and all(np.array_equal(strip.pictures, first) for _, strip in shown):
            strips.append([_strip(None, shown[0][1])])
        else:
            strips.append([_strip(number, strip) for number, strip in shown])
    return {"note": next(sheet.note for sheet in sheets if sheet), "strips": strips}


def _strip(number: int | None, strip: Strip) -> dict[str, object]:
    written = io.BytesIO()
    Image.fromarray(np.concatenate(list(strip.pictures), axis=1)).save(written, "PNG")
    png = base64.b64encode(written.getvalue()).decode("ascii")
    return {"number": number, "caption": strip.caption, "count": len(strip.pictures), "png": png}
