"""Prometheus text for tests, read by Prometheus' own parser."""

from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

Series = tuple[str, frozenset[tuple[str, str]]]


class Figures:
    """Every series of a text."""

    def __init__(self, text: bytes) -> None:
        self.metrics = list(text_string_to_metric_families(text.decode()))
        self._values: dict[Series, float] = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for metric in self.metrics
            for sample in metric.samples
        }

    def get(self, name: str, labels: Mapping[str, str] | None = None) -> float | None:
        """The value of the series with exactly these labels; None: there is none."""
        return self._values.get((name, frozenset((labels or {}).items())))

    def labels(self, name: str, label: str) -> set[str]:
        """The values of a label among the series of that name."""
        return {value for (series, pairs) in self._values if series == name for key, value in pairs if key == label}

    def sum(self, name: str) -> float:
        """The sum of all series of that name."""
        return sum(value for (series, _), value in self._values.items() if series == name)

    @property
    def names(self) -> set[str]:
        """The names of all metrics as they are declared: those of counters without `_total`."""
        return {metric.name for metric in self.metrics}
