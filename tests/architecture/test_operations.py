"""docs/operations.md and the dashboard have every metric of the code, and no other."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Metric
from support.figures import Figures
from support.stored import memory

from models.bundle.store import Snapshot
from service.observer import Observer
from worker.engine.batcher import Batch
from worker.exposition import Registry
from worker.jobs.board import Board
from worker.jobs.layout import Delivery, Finished, Outcome
from worker.metrics import Metrics

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
DASHBOARD: dict[str, Any] = json.loads((ROOT / "docker/grafana/recast.json").read_text(encoding="utf-8"))
FIGURE = re.compile(r"\b(?:recast|process)_[a-z_]+\b")
PROMETHEUS = {"job", "instance", "le"}
"""Labels that Prometheus adds, and the one of buckets."""


class Everything:
    """A fake Library with what its metrics show."""

    @property
    def served(self) -> tuple[str, ...]:
        """One bundle."""
        return ("toy@1",)

    @property
    def refused(self) -> dict[str, str]:
        """Another."""
        return {"flip@1": "it does not load"}

    @property
    def providers(self) -> tuple[str, ...]:
        """One."""
        return ("CPUExecutionProvider",)


@pytest.fixture(scope="module")
def figures() -> Figures:
    """Every metric of service and workers, each with a value."""
    registry = Registry()
    metrics, watch = Metrics(registry), Observer(registry)
    metrics.picture({"decode": 0.1})
    metrics.batch(Batch(1, 1, "idle", 0.1, 0.1, 0))
    metrics.chunk(Finished(outcomes=(Outcome(name="a", output="a"),)))
    metrics.webhook(Delivery(delivered_at=1.0))
    metrics.watch_depth(lambda: 1)
    metrics.watch_workers(lambda: 1)
    metrics.watch_library(Everything(), Snapshot)
    state = {"request_id": "r", "problem": "overloaded"}

    async def look() -> None:  # a task of its own, which alone bears the request's id
        with watch.request({"type": "http", "method": "GET", "path": "/", "headers": [], "state": state}):
            pass
        watching = asyncio.ensure_future(metrics.watch_jobs(Board(memory())))
        await asyncio.sleep(0)
        watching.cancel()

    asyncio.run(look())
    return Figures(registry.text())


def row(metric: Metric) -> str:
    """How a row of the table begins: name, type, labels, sentence."""
    name = f"{metric.name}_total" if metric.type == "counter" else metric.name
    labels = sorted({label for sample in metric.samples for label in sample.labels} - {"le"})
    return (
        f"| `{name}` | {metric.type} | {', '.join(f'`{label}`' for label in labels) or '-'} | {metric.documentation} |"
    )


def queries() -> list[str]:
    """What the dashboard asks Prometheus."""
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]


def test_every_figure_is_in_the_table(figures: Figures) -> None:
    """The table has name, type, labels and the code's sentence of each metric."""
    rows = [row(metric) for metric in figures.metrics if metric.name.startswith("recast_")]
    assert len(rows) > 10
    assert "\n".join(row for row in rows if not any(line.startswith(row) for line in PAGE.splitlines())) == ""


def test_no_figure_is_named_that_is_not_there(figures: Figures) -> None:
    """Page and dashboard name only series that the code has."""
    known = {sample.name for metric in figures.metrics for sample in metric.samples} | figures.names
    assert set(FIGURE.findall(PAGE)) - known == set()
    assert set(FIGURE.findall(json.dumps(DASHBOARD))) - known == set()


def test_every_figure_is_on_the_dashboard(figures: Figures) -> None:
    """The dashboard shows each metric."""
    asked = " ".join(queries())
    ours = [metric.name for metric in figures.metrics if metric.name.startswith("recast_")]
    assert [name for name in ours if not re.search(rf"\b{name}(_total|_sum|_count|_bucket)?\b", asked)] == []


@pytest.mark.parametrize("query", queries())
def test_queries_name_labels_that_exist(figures: Figures, query: str) -> None:
    """Each query of the dashboard uses labels of the metrics that it names, and its brackets close."""
    named = set(FIGURE.findall(query))
    samples = [sample for metric in figures.metrics for sample in metric.samples if sample.name in named]
    labels = {label for sample in samples for label in sample.labels} | PROMETHEUS
    grouped = {word.strip() for words in re.findall(r"\bby \(([^)]*)\)", query) for word in words.split(",")}
    chosen = set(re.findall(r"[{,]\s*([a-z_]+)\s*[=!]", query))
    assert named
    assert (grouped | chosen) - labels == set()
    assert [query.count(opening) - query.count(closing) for opening, closing in ("()", "{}", "[]")] == [0, 0, 0]


def test_panels_have_places_of_their_own() -> None:
    """No two panels overlap, each has its own id, and all use the provisioned data source."""
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    provisioned = (ROOT / "docker/grafana/datasources/prometheus.yml").read_text(encoding="utf-8")
    sources = {panel["datasource"]["uid"] for panel in panels if panel["type"] != "row"}
    assert all(f"uid: {uid}\n" in provisioned for uid in sources)
