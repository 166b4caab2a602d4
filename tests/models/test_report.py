"""A report has every figure and picture, needs no network, and shows several subjects side by side."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from models.evaluation import figures
from models.evaluation.figures import FIGURES, Curve, Evaluation, Row, Sheet, Strip, Table, Value
from models.evaluation.report import page, summary, write_report
from models.evaluation.subject import read_curves

ROOT = Path(__file__).parents[2]


def pictures(level: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.full((3, 8, 8, 3), level, np.uint8)


ONE = Evaluation(
    subject="one",
    family="stargan",
    step=5000,
    pictures=3,
    values=(Value(figures.SET, 90.0), Value(figures.FID, 12.0), Value(figures.UNTOUCHED, 20.0)),
    tables=(Table("Requests", "A note.", (Row("<blond>", 7, (Value(figures.SET, 90.0), Value(figures.KID, 0.5))),)),),
    sheets=(Sheet("Translations", "Some.", (Strip("input", pictures(1)), Strip("<blond>", pictures(2)))),),
    notes=("Beware.",),
    curves={"critic/penalty": [(step, float(step % 7)) for step in range(0, 5000, 10)]},
)
TWO = replace(
    ONE,
    subject="two",
    values=(Value(figures.SET, 95.0), Value(figures.FID, 13.5), Value(figures.CYCLE, 3.0, "a to b and back")),
    sheets=(Sheet("Translations", "Some.", (Strip("input", pictures(1)), Strip("<blond>", pictures(3)))),),
    curves={},
)


class Reader(HTMLParser):
    """Checks that tags are closed in order, and keeps what rows and pictures say."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.images = 0
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Counts pictures, begins rows and cells."""
        self.images += tag == "img"
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """SVG's empty elements close themselves."""

    def handle_endtag(self, tag: str) -> None:
        """Closes the tag that was opened last."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Text of cells."""
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def test_report_is_self_contained_and_has_every_figure(tmp_path: Path) -> None:
    """One HTML file with pictures inside, no script and no address to load from; the same figures as JSON."""
    write_report([ONE], tmp_path / "report")
    text = (tmp_path / "report" / "report.html").read_text()
    read = Reader(text)
    assert read.images == 2
    assert re.findall(r"(?:src|href)=\"(?!data:|#)", text) == []
    assert "<script" not in text
    assert "default-src 'none'" in text
    assert ["domain set on request, %, higher is better", "90.0"] in read.rows
    assert ["<blond>", "7", "90.0", "0.5"] in read.rows
    written = json.loads((tmp_path / "report" / "metrics.json").read_text())["subjects"]
    assert [(one["subject"], one["step"], one["metrics"]) for one in written] == [("one", 5000, ONE.metrics)]
    assert written[0]["tables"]["Requests"][0]["KID on the judge's features"] == 0.5
    assert [path.name for path in sorted((tmp_path / "report").iterdir())] == ["metrics.json", "report.html"]


def test_two_subjects_stand_side_by_side() -> None:
    """Figures in columns with differences marked as better or worse, and a dash where a subject has none."""
    read = Reader(page([ONE, TWO]))
    cells = {row[0]: row[1:] for row in read.rows}
    assert cells["domain set on request, %, higher is better"] == ["90.0", "95.0 ▲+5.0"]
    assert cells["FID on the judge's features, lower is better"] == ["12", "13.5 ▼+1.5"]
    assert cells["PSNR of the untouched input over the head, dB"] == ["20.00", "-"]
    assert cells["cycle error, L1, a to b and back, levels, lower is better"] == ["-", "3.00"]


def test_shared_pictures_rows_and_notes_are_shown_once() -> None:
    """The input of both, an equal row and an equal note appear once; translations appear below each other."""
    text = page([ONE, TWO])
    read = Reader(text)
    assert read.images == 3
    assert text.count("Beware.") == 1
    assert [row for row in read.rows if row[0] == "<blond>"] == [["<blond>", "7", "90.0", "0.5"]]


def test_rows_that_differ_have_a_line_for_each_subject() -> None:
    """The better value stands out."""
    other = replace(ONE, tables=(Table("Requests", "", (Row("<blond>", 7, (Value(figures.SET, 80.0),)),)),))
    text = page([ONE, other])
    rows = Reader(text).rows
    place = next(i for i, row in enumerate(rows) if row[0] == "<blond>")
    assert rows[place : place + 2] == [["<blond>", "7", "90.0", "0.5"], ["7", "▼ 80.0", "-"]]
    assert "<b>90.0</b>" in text


def test_names_are_escaped() -> None:
    """Angle brackets and quotes show as they were written, and can't become markup anywhere."""
    bad = '<script>"&'
    row = Row(bad, 7, (Value(figures.SET, 90.0),))
    sheet = Sheet(bad, bad, (Strip(bad, pictures(1)),))
    one = replace(ONE, subject=bad, family=bad, notes=(bad,), tables=(Table(bad, bad, (row,)),), sheets=(sheet,))
    text = page([replace(one, curves={bad: [(0, 1.0)]}, values=(Value(figures.SET, 90.0, bad),))])
    Reader(text)
    assert "<script" not in text
    # Title, subject, chart and strip twice; family and note; table and sheet as link, heading and note; row and figure.
    assert text.count("&lt;script&gt;&#34;&amp;") == 4 * 2 + 2 + 2 * 3 + 2


def test_summary_has_a_line_for_each_figure() -> None:
    """The terminal shows values beside each other, then the notes."""
    lines = list(summary([ONE, TWO]))
    assert lines[0] == "domain set on request, %: 90.0 | 95.0"
    assert "PSNR of the untouched input over the head, dB: 20.00 | -" in lines
    assert lines[-2:] == ["one: Beware.", "two: Beware."]


def chart(name: str, curve: Curve) -> ElementTree.Element:
    """The one chart of a report, beside a subject that logged nothing."""
    text = page([replace(ONE, curves={name: curve}), TWO])
    (figure,) = re.findall(r'<figure class="chart">.*?</figure>', text, re.DOTALL)
    return ElementTree.fromstring(figure)


def test_charts_are_svg_of_few_points() -> None:
    """A long curve is reduced to means, a spike does not flatten it, and a curve without values draws nothing."""
    tree = chart("a & b", [(step, 1e6 if step == 5000 else step / 10_000) for step in range(10_000)])
    (line,) = tree.iter("polyline")
    points = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
    assert len(points) <= 250
    assert points[0][1] > 120
    assert points[-1][1] < 15
    assert "a & b" in "".join(tree.itertext())


def test_a_curve_of_one_value_can_be_drawn() -> None:
    """A single point and equal values get a range around them."""
    curves: list[Curve] = [[(0, 1.0)], [(0, 2.0), (10, 2.0)]]
    for curve in curves:
        tree = chart("flat", curve)
        (line,) = tree.iter("polyline")
        assert "nan" not in line.attrib["points"]
        value, last = curve[0][1], max(1, curve[-1][0])
        assert "".join(tree.itertext()).split() == ["flat", f"{value + 0.5:.3g}", f"{value - 0.5:.3g}", "0", str(last)]


def test_curves_are_read_up_to_the_last_whole_line(tmp_path: Path) -> None:
    """A line that a kill cut off is left out, and without a log there are no curves."""
    path = tmp_path / "metrics.jsonl"
    assert read_curves(path) == {}
    path.write_text('{"step": 10, "critic/loss": 2.0}\n{"step": 20, "critic/loss": 1.5, "other": 3}\n{"step": 30, "cr')
    assert read_curves(path) == {"critic/loss": [(10, 2.0), (20, 1.5)], "other": [(20, 3.0)]}


def test_figures_have_names_of_their_own() -> None:
    """No two figures share a key, and no name is the beginning of another with a detail."""
    keys = [figure.key() for figure in FIGURES]
    assert len(set(keys)) == len(keys)
    assert not [(a, b) for a in FIGURES for b in FIGURES if a != b and b.name.startswith(f"{a.name}, ")]


def test_every_figure_is_in_the_documentation() -> None:
    """docs/evaluation.md has each figure's name, unit, better direction and meaning; a failure prints the rows."""
    rows = [f"| {f.name} | {f.unit or '-'} | {f.better or '-'} | {f.meaning} |" for f in FIGURES]
    lines = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8").splitlines()
    assert "\n".join(row for row in rows if row not in lines) == ""
