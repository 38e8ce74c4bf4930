"""The counts of all processes, read back from Redis and put into the shape of Prometheus."""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from app.infra import redis
from app.infra.metrics.catalogue import INSTRUMENTS
from app.infra.metrics.flusher import HASH
from app.infra.metrics.instruments import COUNT, SUM, Histogram, Instrument

Parts = Mapping[tuple[str, ...], Mapping[str, float]]
"""Label values → part → amount, of one metric."""


def collect() -> Iterator[Metric]:
    """Every instrument of the catalogue with the sum over all processes. Raises Transient without Redis."""
    with redis.transient_errors():
        fields: dict[str, str] = redis.client().hgetall(HASH)
    counted = parse(fields)
    for instrument in INSTRUMENTS:
        yield family(instrument, counted.get(instrument.name, {}))


def parse(fields: Mapping[str, str]) -> dict[str, dict[tuple[str, ...], dict[str, float]]]:
    """The hash by metric, label values and part. A field that is not ours is left out."""
    counted: dict[str, dict[tuple[str, ...], dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for name, amount in fields.items():
        try:
            metric, labels, part = json.loads(name)
            counted[metric][tuple(labels)][part] = float(amount)
        except (ValueError, TypeError):
            continue
    return counted


def family(instrument: Instrument, series: Parts) -> Metric:
    """One metric with its samples. Series whose labels an older version declared otherwise are left out."""
    fitting = {labels: parts for labels, parts in sorted(series.items()) if len(labels) == len(instrument.labels)}
    if isinstance(instrument, Histogram):
        histogram = HistogramMetricFamily(instrument.name, instrument.help_text, labels=list(instrument.labels))
        for labels, parts in fitting.items():
            histogram.add_metric(labels, buckets(instrument, parts), parts.get(SUM, 0.0))
        return histogram
    counter = CounterMetricFamily(instrument.name, instrument.help_text, labels=list(instrument.labels))
    for labels, parts in fitting.items():
        counter.add_metric(labels, parts.get(COUNT, 0.0))
    return counter


def buckets(histogram: Histogram, parts: Mapping[str, float]) -> list[tuple[str, float]]:
    """Cumulative counts by upper bound. A bound of an older version counts in the next larger one of today."""
    counts = dict.fromkeys(histogram.buckets, 0.0)
    for part, amount in parts.items():
        if part != SUM:
            bound = _bound(part)
            counts[histogram.buckets[bisect_left(histogram.buckets, bound)]] += amount
    total = 0.0
    cumulative = []
    for bound, amount in counts.items():
        total += amount
        cumulative.append(("+Inf" if math.isinf(bound) else str(float(bound)), total))
    return cumulative


def _bound(part: str) -> float:
    try:
        bound = float(part)
    except ValueError:
        return math.inf
    return math.inf if math.isnan(bound) else bound
