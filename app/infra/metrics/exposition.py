"""What GET /metrics answers: the counts of all processes, what the domains' collectors read, and this process's own.

Redis and Postgres are read beside each other, each within a bound. One that does not answer takes its own metrics away
and nothing else, and `smm_scrape_source_up` says so: the page that shows an outage must not hang in it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from app import __version__, clock
from app.infra.metrics import stored
from app.infra.metrics.catalogue import SCRAPES

Source = Literal["postgres", "redis", "process"]
Collect = Callable[[], Iterable[Metric]]

SECONDS = 1.8
"""How long a scrape waits for its sources, all together."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Reader:
    """One collector. A scrape that finds an earlier reading still hanging waits for that one: they cannot pile up."""

    collect: Collect
    source: Source
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _reading: _Reading | None = None

    def start(self) -> _Reading:
        with self._lock:
            if self._reading is None or self._reading.done.is_set():
                self._reading = _Reading(self.source)
                threading.Thread(target=self._reading.run, args=(self.collect,), name="scrape", daemon=True).start()
            return self._reading


@dataclass(slots=True)
class _Reading:
    source: Source
    done: threading.Event = field(default_factory=threading.Event)
    families: list[Metric] | None = None

    def run(self, collect: Collect) -> None:
        try:
            self.families = list(collect())
        except Exception as error:  # whatever a collector raises, the other metrics are still answered
            _log.warning("metrics from %s are missing: %s", self.source, type(error).__name__)
        finally:
            self.done.set()


_readers: list[_Reader] = [_Reader(stored.collect, "redis")]


def register_collector(collect: Collect, *, source: Source) -> None:
    """Have every scrape call `collect`, in a thread of its own. `source` is what it needs to answer."""
    if all(reader.collect is not collect for reader in _readers):
        _readers.append(_Reader(collect, source))


def clear_collectors() -> None:
    """Forget what was registered; the counts of processes stay."""
    del _readers[1:]


def render(*, timeout_seconds: float = SECONDS) -> tuple[bytes, str]:
    """The page in Prometheus's text format, and its content type. Answers within the time-out, whatever is gone."""
    SCRAPES.inc()
    readings = [reader.start() for reader in _readers]
    deadline = clock.monotonic() + timeout_seconds
    for reading in readings:
        reading.done.wait(max(0.0, deadline - clock.monotonic()))
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Page(readings))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return generate_latest(registry), CONTENT_TYPE_LATEST


class _Page(Collector):
    def __init__(self, readings: list[_Reading]) -> None:
        self._readings = readings

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("smm_build", "The version of the product that answered.", {"version": __version__})
        up = {reading.source: 1.0 for reading in self._readings}
        seen: set[str] = set()
        for reading in self._readings:
            families = reading.families if reading.done.is_set() else None
            if families is None:
                up[reading.source] = 0.0
            for family in families or ():
                if family.name not in seen:
                    seen.add(family.name)
                    yield family
        sources = GaugeMetricFamily(
            "smm_scrape_source_up", "1 when all that is read there answered in time.", labels=["source"]
        )
        for source, value in sorted(up.items()):
            sources.add_metric([source], value)
        yield sources
