"""Gauges that collectors read at scrape time, in the shape of Prometheus."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, Metric


def gauge(
    name: str, help_text: str, labels: tuple[str, ...], samples: Iterable[tuple[tuple[str, ...], float | None]]
) -> Metric:
    """One gauge by its label values. None is not known: that sample is left out, and the metric is still announced."""
    family = GaugeMetricFamily(name, help_text, labels=list(labels))
    for values, amount in sorted(samples):
        if amount is not None:
            family.add_metric(values, amount)
    return family
