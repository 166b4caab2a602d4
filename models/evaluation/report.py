"""One HTML page with figures and pictures, everything inside, so that it opens without a network."""

import base64
import html
import io
import json
import math
import os
from pathlib import Path

import numpy as np
from PIL import Image

from models.evaluation.evaluate import Evaluation, Example, Row
from models.evaluation.metrics import Pixels

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; }
td, th { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #8885; }
td:first-child, th:first-child { text-align: left; }
figure { margin: .5rem 0; display: flex; align-items: center; gap: 1rem; }
figcaption { width: 8rem; text-align: right; }
img { image-rendering: auto; height: 96px; }
"""


def write_report(evaluation: Evaluation, out: Path) -> None:
    """Writes OUT/report.html and OUT/metrics.json, each atomically."""
    out.mkdir(parents=True, exist_ok=True)
    figures = {
        "subject": evaluation.subject,
        "step": evaluation.step,
        "metrics": evaluation.metrics,
        "requests": [_finite(row) for row in evaluation.rows],
        "judge": evaluation.judge,
    }
    _replace(out / "metrics.json", json.dumps(figures, indent=2) + "\n")
    _replace(out / "report.html", _page(evaluation))


def _replace(path: Path, text: str) -> None:
    beside = path.with_name(path.name + ".tmp")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)


def _finite(row: Row) -> dict[str, object]:
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value for name, value in vars(row).items()
    }


def _page(evaluation: Evaluation) -> str:
    title = html.escape(f"Evaluation of {evaluation.subject}")
    summary = "".join(f"<tr><td>{html.escape(n)}</td><td>{v:.4g}</td></tr>" for n, v in evaluation.metrics.items())
    judged = "".join(f"<tr><td>{html.escape(n)}</td><td>{v:.2%}</td></tr>" for n, v in evaluation.judge.items())
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f"<h1>{title}</h1><table>{summary}</table>"
        "<h2>Requests</h2><p>Held-out pictures without what was asked, judged by an independent classifier.</p>"
        f"<table>{_HEAD}{''.join(map(_row, evaluation.rows))}</table>"
        f"<h2>Pictures</h2>{''.join(map(_figure, evaluation.examples))}"
        f"<h2>The judge on real held-out pictures</h2><table>{judged}</table></html>\n"
    )


_HEAD = "<tr><th>asked</th><th>pictures</th><th>set</th><th>rest kept</th><th>PSNR, dB</th><th>SSIM</th></tr>"


def _row(row: Row) -> str:
    similarity = ("", "") if math.isnan(row.psnr) else (f"{row.psnr:.1f}", f"{row.ssim:.3f}")
    cells = (html.escape(row.request), str(row.pictures), f"{row.set:.1%}", f"{row.kept:.1%}", *similarity)
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _figure(example: Example) -> str:
    return (
        f"<figure><figcaption>{html.escape(example.title)}</figcaption>"
        f'<img alt="{html.escape(example.title)}" src="data:image/png;base64,{_strip(example.pictures)}"></figure>'
    )


def _strip(pictures: Pixels) -> str:
    written = io.BytesIO()
    Image.fromarray(np.concatenate(list(pictures), axis=1)).save(written, "PNG")
    return base64.b64encode(written.getvalue()).decode("ascii")
