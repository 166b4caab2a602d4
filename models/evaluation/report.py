"""One HTML page of one evaluation or of several side by side; everything is inside, so it opens without a network."""

import base64
import html
import io
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from models.evaluation import curves
from models.evaluation.evaluation import Evaluation, Row, Sheet, Strip
from models.evaluation.figures import FIGURES, Figure, Value
from models.evaluation.metrics import Pixels
from models.evaluation.style import STYLE

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_NONE = "-"


def write_report(evaluations: Sequence[Evaluation], out: Path) -> None:
    """Writes OUT/report.html and OUT/metrics.json, each atomically."""
    out.mkdir(parents=True, exist_ok=True)
    subjects = [_facts(evaluation) for evaluation in evaluations]
    _replace(out / "metrics.json", json.dumps({"subjects": subjects}, indent=2) + "\n")
    _replace(out / "report.html", page(evaluations))


def summary(evaluations: Sequence[Evaluation]) -> Iterator[str]:
    """A line for each figure, and one for each note; with several evaluations their values beside each other."""
    for key in dict.fromkeys(key for one in evaluations for key in one.metrics):
        values = [next((value for value in one.values if value.key == key), None) for one in evaluations]
        yield f"{key}: {' | '.join(value.figure.shown(value.value) if value else _NONE for value in values)}"
    for one in evaluations:
        yield from (f"{one.subject}: {note}" for note in one.notes)


def page(evaluations: Sequence[Evaluation]) -> str:
    """The report; the first evaluation is what the others are compared with."""
    names = " and ".join(evaluation.subject for evaluation in evaluations)
    title = html.escape(f"Evaluation of {names}")
    sections = [section for part in _PARTS for section in part(evaluations)]
    links = "".join(f'<a href="#{place}">{html.escape(one.title)}</a>' for place, one in enumerate(sections))
    bodies = "".join(
        f'<section id="{place}"><h2>{html.escape(one.title)}</h2>{one.body}</section>'
        for place, one in enumerate(sections)
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"><title>{title}</title>'
        f"<style>{STYLE}</style></head><body><main><h1>{title}</h1>{_subjects(evaluations)}"
        f"<nav>{links}</nav>{_notes(evaluations)}{bodies}</main></body></html>\n"
    )


@dataclass(frozen=True)
class _Section:
    """A part of the page; `body` is HTML."""

    title: str
    body: str


def _facts(evaluation: Evaluation) -> dict[str, object]:
    return {
        "subject": evaluation.subject,
        "family": evaluation.family,
        "step": evaluation.step,
        "pictures": evaluation.pictures,
        "metrics": evaluation.metrics,
        "notes": evaluation.notes,
        "tables": {
            table.title: [
                {"name": row.name, "pictures": row.pictures, **{value.key: value.value for value in row.values}}
                for row in table.rows
            ]
            for table in evaluation.tables
        },
    }


def _replace(path: Path, text: str) -> None:
    beside = path.with_name(path.name + ".tmp")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)


def _subjects(evaluations: Sequence[Evaluation]) -> str:
    lines = [
        f"<li>{_dot(number, evaluations)}<b>{html.escape(one.subject)}</b> {html.escape(one.family)}, "
        f"{f'{one.step:,} steps' if one.step else 'a bundle'}, {one.pictures:,} held-out pictures</li>"
        for number, one in enumerate(evaluations)
    ]
    return f'<ul class="subjects">{"".join(lines)}</ul>'


def _notes(evaluations: Sequence[Evaluation]) -> str:
    """What must be known first, each once, with the subjects that it is true of."""
    notes = dict.fromkeys(note for one in evaluations for note in one.notes)
    lines: list[str] = []
    for note in notes:
        concerned = [number for number, one in enumerate(evaluations) if note in one.notes]
        lines.append(f"<p>{''.join(_dot(number, evaluations) for number in concerned)}{html.escape(note)}</p>")
    return f'<aside class="notes">{"".join(lines)}</aside>' if lines else ""


def _figures(evaluations: Sequence[Evaluation]) -> Iterator[_Section]:
    """A row for each figure, a column for each subject."""
    found = [{value.key: value for value in one.values} for one in evaluations]
    keys = list(dict.fromkeys(key for one in found for key in one))
    heads = "".join(
        f"<th>{_dot(number, evaluations)}{html.escape(one.subject)}</th>" for number, one in enumerate(evaluations)
    )
    rows = "".join(_figure_row(key, [one.get(key) for one in found]) for key in keys)
    yield _Section("Figures", f'<div class="wide"><table><tr><th></th>{heads}</tr>{rows}</table></div>')


def _figure_row(key: str, values: Sequence[Value | None]) -> str:
    figure = next(value.figure for value in values if value)
    better = f", {figure.better} is better" if figure.better else ""
    numbers = [value.value if value else None for value in values]
    cells = "".join(f"<td>{cell}</td>" for cell in _compared(figure, numbers, said=True))
    return (
        f'<tr><th scope="row" title="{html.escape(figure.meaning)}">{html.escape(key)}<i>{better}</i></th>{cells}</tr>'
    )


def _compared(figure: Figure, values: Sequence[float | None], said: bool = False) -> list[str]:
    """Each value; the best stands out, and others than the first are marked by it: better or worse, `said` how much."""
    known = [value for value in values if value is not None]
    best = max(known, key=lambda value: figure.gain(value, 0.0)) if figure.better and len(set(known)) > 1 else None
    cells: list[str] = []
    for place, value in enumerate(values):
        text = _NONE if value is None else figure.shown(value)
        text = f"<b>{text}</b>" if value is not None and value == best else text
        if place and value is not None and values[0] is not None and value != values[0]:
            gain = figure.gain(value, values[0])
            kind, mark = ("better", "▲") if gain > 0 else ("worse", "▼") if gain < 0 else ("", "")
            apart = ("+" if value > values[0] else "") + figure.shown(value - values[0])
            note = f'<small class="{kind}" title="{apart}">{mark}{apart if said else ""}</small>'
            text = f"{text} {note}" if said else f"{note} {text}"
        cells.append(text)
    return cells


def _tables(evaluations: Sequence[Evaluation]) -> Iterator[_Section]:
    """The tables of one title together: a line for each subject in every row."""
    titles = dict.fromkeys(table.title for one in evaluations for table in one.tables)
    yield from (_Section(title, _table(title, evaluations)) for title in titles)


def _table(title: str, evaluations: Sequence[Evaluation]) -> str:
    found = [next((table for table in one.tables if table.title == title), None) for one in evaluations]
    note = next(table.note for table in found if table)
    rows = [{row.name: row for row in table.rows} if table else {} for table in found]
    present = {value.figure for one in rows for row in one.values() for value in row.values}
    shown = [figure for figure in FIGURES if figure in present]
    heads = "".join(f'<th title="{html.escape(f.meaning)}">{html.escape(_head(f))}</th>' for f in shown)
    names = dict.fromkeys(name for one in rows for name in one)
    body = "".join(_lines(name, [one.get(name) for one in rows], shown) for name in names)
    return (
        f'<p>{html.escape(note)}</p><div class="wide"><table>'
        f"<thead><tr><th></th><th>pictures</th>{heads}</tr></thead>{body}</table></div>"
    )


def _head(figure: Figure) -> str:
    return ", ".join(filter(None, (figure.short, figure.unit)))


def _lines(name: str, rows: Sequence[Row | None], shown: Sequence[Figure]) -> str:
    """One row of a table, a line for each subject; one line where all say the same."""
    rows = rows[:1] if all(row == rows[0] for row in rows) else rows
    columns = [_compared(figure, [_of(row, figure) for row in rows]) for figure in shown]
    lines: list[str] = []
    for place, row in enumerate(rows):
        head = f'<th scope="rowgroup" rowspan="{len(rows)}">{html.escape(name)}</th>' if place == 0 else ""
        count = _dot(place, rows) + (f"{row.pictures:,}" if row else _NONE)
        cells = "".join(f"<td>{column[place]}</td>" for column in columns)
        lines.append(f"<tr>{head}<td>{count}</td>{cells}</tr>")
    return f"<tbody>{''.join(lines)}</tbody>"


def _of(row: Row | None, figure: Figure) -> float | None:
    return next((value.value for value in row.values if value.figure == figure), None) if row else None


def _training(evaluations: Sequence[Evaluation]) -> Iterator[_Section]:
    logged = [one.curves for one in evaluations]
    charts = [curves.draw(name, [one.get(name, []) for one in logged]) for name in curves.names(logged)]
    if charts:
        yield _Section("Training", f'<div class="charts">{"".join(charts)}</div>')


def _sheets(evaluations: Sequence[Evaluation]) -> Iterator[_Section]:
    for title in dict.fromkeys(sheet.title for one in evaluations for sheet in one.sheets):
        sheets = [next((sheet for sheet in one.sheets if sheet.title == title), None) for one in evaluations]
        yield _Section(title, _sheet(sheets))


def _sheet(sheets: Sequence[Sheet | None]) -> str:
    """The strips of one caption beneath each other; what is the same for all is shown once."""
    known = next(sheet for sheet in sheets if sheet)
    strips = [{strip.caption: strip for strip in sheet.strips} if sheet else {} for sheet in sheets]
    captions = dict.fromkeys(caption for one in strips for caption in one)
    figures = [f"<div>{''.join(_strips([one.get(caption) for one in strips]))}</div>" for caption in captions]
    return f"<p>{html.escape(known.note)}</p>{''.join(figures)}"


def _strips(strips: Sequence[Strip | None]) -> Iterator[str]:
    shown = [strip for strip in strips if strip]
    once = len(shown) == len(strips) and all(np.array_equal(s.pictures, shown[0].pictures) for s in shown)
    for place, strip in enumerate(strips[:1] if once else strips):
        if strip:
            dot = "" if once else _dot(place, strips)
            count = len(strip.pictures)
            yield (
                f'<figure class="strip"><figcaption>{dot}{html.escape(strip.caption)}</figcaption>'
                f'<img style="--pictures:{count}" alt="{count} pictures, {html.escape(strip.caption)}" '
                f'src="data:image/png;base64,{_png(strip.pictures)}"></figure>'
            )


def _meanings(evaluations: Sequence[Evaluation]) -> Iterator[_Section]:
    values = [value for one in evaluations for value in one.values]
    values += [value for one in evaluations for table in one.tables for row in table.rows for value in row.values]
    present = {value.figure for value in values}
    lines = "".join(
        f"<div><dt>{html.escape(figure.name)}</dt><dd>{html.escape(figure.meaning)}</dd></div>"
        for figure in FIGURES
        if figure in present
    )
    yield _Section("What the figures mean", f"<dl>{lines}</dl>")


_PARTS = (_figures, _tables, _training, _sheets, _meanings)


def _dot(number: int, subjects: Sequence[object]) -> str:
    """The subject's colour; nothing where there is only one."""
    return f'<span class="dot c{number % 4}" title="{number + 1}"></span>' if len(subjects) > 1 else ""


def _png(pictures: Pixels) -> str:
    written = io.BytesIO()
    Image.fromarray(np.concatenate(list(pictures), axis=1)).save(written, "PNG")
    return base64.b64encode(written.getvalue()).decode("ascii")
