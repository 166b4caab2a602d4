"""The Prometheus registry of a process, and its text.

A module of its own because a service uses it, too, and must not import the engine, which worker.metrics does.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Metric, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

MEDIA_TYPE = CONTENT_TYPE_PLAIN_0_0_4
"""The media type of `Registry.text`."""

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""The buckets of every duration."""

Values = Mapping[tuple[str, ...], float]
"""Values by the values of their labels."""


class Registry(CollectorRegistry):
    """Metrics of one process, its CPU time, memory and open files among them."""

    def __init__(self) -> None:
        super().__init__()
        ProcessCollector(registry=self)

    def collect(self) -> Iterable[Metric]:
        """Every metric, without the `_created` series: one for each other series, with no use."""
        for metric in super().collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric

    def show(self, name: str, text: str, labels: Sequence[str], values: Callable[[], Values]) -> None:
        """Adds a gauge whose values are read at each scrape, in the thread of the scrape."""
        self.register(_Reading(name, text, labels, values))

    def text(self) -> bytes:
        """Everything, as Prometheus reads it."""
        return generate_latest(self)


class _Reading(Collector):
    def __init__(self, name: str, text: str, labels: Sequence[str], values: Callable[[], Values]) -> None:
        self._name, self._text, self._labels, self._values = name, text, labels, values

    def describe(self) -> Iterable[Metric]:
        """The gauge without values: nothing is read when it is added."""
        yield GaugeMetricFamily(self._name, self._text, labels=self._labels)

    def collect(self) -> Iterable[Metric]:
        gauge = GaugeMetricFamily(self._name, self._text, labels=self._labels)
        for labels, value in self._values().items():
            gauge.add_metric(labels, value)
        yield gauge
