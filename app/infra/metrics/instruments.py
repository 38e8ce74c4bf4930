"""Counters and histograms that any process adds to. They hold only what was added since the last flush.

Adding costs a dictionary update under a lock: no network, no allocation that grows. The number of series is bounded
whatever the labels: a label with a known set of values (`know`) shows the others as "other", and the rest are cut off
at `MAX_VALUES` distinct values a process.
"""

from __future__ import annotations

import math
import os
import threading
import uuid
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

MAX_VALUES = 200
"""Distinct values of one label of one metric that a process keeps apart; later ones are counted as "other"."""

MAX_VALUE_LENGTH = 120
OTHER = "other"
SUM = "sum"
COUNT = "count"

Key = tuple[str, tuple[str, ...], str]
"""Metric name, label values in the order of its label names, part: "count", "sum" or the upper bound of a bucket."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one flush adds. Sent again under the same sequence until Redis answers: it adds only once."""

    sequence: int
    amounts: Mapping[Key, float]


@dataclass(slots=True)
class Deltas:
    """What this process counted and Redis does not know yet."""

    process: str = field(default_factory=lambda: uuid.uuid4().hex)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _amounts: dict[Key, float] = field(default_factory=dict)
    _sequence: int = 0
    _unanswered: Batch | None = None

    def restart(self) -> None:
        """Forget everything, under a new process's name. The lock is new: at a fork another thread may hold the old."""
        self._lock = threading.RLock()
        with self._lock:
            self.process = uuid.uuid4().hex
            self._amounts, self._sequence, self._unanswered = {}, 0, None

    def add(self, amounts: Mapping[Key, float]) -> None:
        with self._lock:
            for key, amount in amounts.items():
                self._amounts[key] = self._amounts.get(key, 0.0) + amount

    def take(self) -> Batch | None:
        """The batch to send: the one that got no answer, else all that was added since; None when nothing was."""
        with self._lock:
            if self._unanswered is None and self._amounts:
                self._sequence += 1
                self._unanswered = Batch(self._sequence, self._amounts)
                self._amounts = {}
            return self._unanswered

    def answered(self, batch: Batch) -> None:
        with self._lock:
            if self._unanswered is batch:
                self._unanswered = None


_deltas = Deltas()
_known: dict[str, frozenset[str]] = {}


def deltas() -> Deltas:
    """This process's unflushed counts."""
    return _deltas


def after_fork() -> None:
    """In a forked child: what the parent counted is the parent's to flush. Runs by itself after every fork."""
    _deltas.restart()


os.register_at_fork(after_in_child=after_fork)


def know(label: str, values: Iterable[str]) -> None:
    """Say which values a label may have, in every metric that has it; any other value is counted as "other"."""
    _known[label] = frozenset(values) | {OTHER}


def forget_known() -> None:
    """Undo `know`: every value may be had again."""
    _known.clear()


class Instrument:
    """A metric's name, help and labels; declared once, at module level."""

    def __init__(self, name: str, help_text: str, labels: tuple[str, ...] = ()) -> None:
        self.name = name
        self.help_text = help_text
        self.labels = labels
        self._seen: dict[str, set[str]] = {label: set() for label in labels}

    def _values(self, given: Mapping[str, object]) -> tuple[str, ...]:
        if given.keys() != set(self.labels):
            raise TypeError(f"{self.name} has the labels {self.labels}, not {tuple(given)}")
        return tuple(self._bounded(label, str(given[label])[:MAX_VALUE_LENGTH]) for label in self.labels)

    def _bounded(self, label: str, value: str) -> str:
        known = _known.get(label)
        if known is not None:
            return value if value in known else OTHER
        seen = self._seen[label]
        if value not in seen:
            if len(seen) >= MAX_VALUES:
                return OTHER
            seen.add(value)
        return value


class Counter(Instrument):
    """Only goes up; its name ends in _total."""

    def inc(self, amount: float = 1, /, **labels: object) -> None:
        """Add `amount`; what is negative or no number is left out. Raises TypeError for labels it does not have."""
        values = self._values(labels)
        if math.isfinite(amount) and amount > 0:
            _deltas.add({(self.name, values, COUNT): float(amount)})


class Histogram(Instrument):
    """Observations counted in buckets by their upper bounds; its name ends in its unit."""

    def __init__(self, name: str, help_text: str, labels: tuple[str, ...] = (), *, buckets: tuple[float, ...]) -> None:
        super().__init__(name, help_text, labels)
        self.buckets = (*sorted(buckets), math.inf)

    def observe(self, amount: float, /, **labels: object) -> None:
        """Count one observation; below zero (a clock set back) it is zero, and what is no number is left out."""
        values = self._values(labels)
        if not math.isfinite(amount):
            return
        seen = max(0.0, float(amount))
        bound = self.buckets[bisect_left(self.buckets, seen)]
        _deltas.add({(self.name, values, str(bound)): 1.0, (self.name, values, SUM): seen})
