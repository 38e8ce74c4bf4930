"""The geometry of the pages' small drawings: latency over time as steps, shares as bars. Pure; templates draw it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.web.console.figures import milliseconds

WIDTH, HEIGHT = 600, 100
_HEADROOM = 1.1
_LEAST_MS = 1.0
_LEAST_WIDTH = 1.5
"""A failed probe of a long time is still to be seen."""


@dataclass(frozen=True, slots=True)
class Chart:
    """Latency over a span of time. Paths are in a field of WIDTH by HEIGHT; `failures` are (left, width)."""

    title: str
    since: str
    median_path: str
    p95_path: str
    failures: tuple[tuple[float, float], ...]
    most: str
    said: str


def latency(title: str, since: str, given: Mapping[str, Any], span: timedelta, now: datetime) -> Chart | None:
    """Of a latency history (`step_seconds`, `buckets`); None when nothing was measured."""
    buckets: Sequence[Mapping[str, Any]] = given["buckets"]
    measured = [bucket for bucket in buckets if bucket["p95_ms"] is not None]
    if not buckets:
        return None
    most = max([_LEAST_MS, *(bucket["p95_ms"] * _HEADROOM for bucket in measured)])
    scale = _Scale(now - span, span.total_seconds(), given["step_seconds"], most)
    probes, failed = (sum(bucket[key] for bucket in buckets) for key in ("probes", "failed"))
    parts = [f"{failed:,} of {probes:,} probes failed" if failed else f"{probes:,} probes, none failed"]
    if measured:
        middle = sorted(bucket["p50_ms"] for bucket in measured)[len(measured) // 2]
        parts[:0] = [
            f"median {milliseconds(middle)}",
            f"95 of 100 within {milliseconds(max(bucket['p95_ms'] for bucket in measured))} at the worst time",
            f"slowest {milliseconds(max(bucket['max_ms'] for bucket in measured))}",
        ]
    return Chart(
        title=title,
        since=since,
        median_path=scale.path(measured, "p50_ms"),
        p95_path=scale.path(measured, "p95_ms"),
        failures=tuple(scale.place(bucket) for bucket in buckets if bucket["failed"]),
        most=milliseconds(most) if measured else "",
        said=", ".join(parts),
    )


@dataclass(frozen=True, slots=True)
class _Scale:
    since: datetime
    seconds: float
    step: float
    most: float

    def place(self, bucket: Mapping[str, Any]) -> tuple[float, float]:
        """(left, width) of a bucket, cut to the field."""
        begins = (datetime.fromisoformat(bucket["since"]) - self.since).total_seconds()
        left = min(max(0.0, begins / self.seconds * WIDTH), WIDTH - _LEAST_WIDTH)
        right = min(WIDTH, (begins + self.step) / self.seconds * WIDTH)
        return round(left, 1), round(max(right - left, _LEAST_WIDTH), 1)

    def path(self, buckets: Sequence[Mapping[str, Any]], key: str) -> str:
        """Steps, broken where nothing was measured."""
        drawn, ended_at = [], None
        for bucket in buckets:
            left, width = self.place(bucket)
            height = round(HEIGHT - bucket[key] / self.most * HEIGHT, 1)
            joined = ended_at is not None and left - ended_at < _LEAST_WIDTH
            drawn.append(f"{'L' if joined else 'M'}{left:g} {height:g}H{left + width:g}")
            ended_at = left + width
        return "".join(drawn)


def share(part: float, whole: float) -> float:
    """The width of a bar of 100 for `part` of `whole`."""
    return round(min(100.0, max(0.0, part / whole * 100)), 1) if whole > 0 else 0.0
