"""Reader of the Prometheus text format: the samples of chosen metrics.

Source: Prometheus, "Exposition formats".
"""

from collections.abc import Collection
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True)
class MetricSample:
    """One value of a metric."""

    name: str
    value: float
    labels: dict[str, str] = field(default_factory=dict)


def read_samples(exposition: str, names: Collection[str]) -> list[MetricSample]:
    """Return the samples with these names, as they are in the text (a counter's ends in ``_total``).

    All other lines, most of which are buckets of histograms, are left out before the costly parsing.
    """
    lines = [line for line in exposition.splitlines() if _name(line) in names]
    families = text_string_to_metric_families("\n".join(lines))
    return [MetricSample(sample.name, sample.value, sample.labels) for family in families for sample in family.samples]


def _name(line: str) -> str:
    """Return the name of the sample in a line; empty for a comment."""
    return "" if line.startswith("#") else line.partition(" ")[0].partition("{")[0]
