"""The geometry of the pages' small drawings: latency over time, windows of limits, shares. Pure; templates draw it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from app.catalog import MICRO
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
class WindowChart:
    """Windows of one limit over a span of time. `bars` are (left, top, width, height, tone) in WIDTH by HEIGHT.

    `whole` is where all of the limit is.
    """

    name: str
    title: str
    since: str
    bars: tuple[tuple[float, float, float, float, str], ...]
    whole: float
    said: str


def windows(
    name: str, title: str, given: Sequence[Mapping[str, Any]], span: timedelta, *, now: datetime
) -> WindowChart | None:
    """Of windows with `since`, `until`, `peak`, `limit`, `refused`, `deferred`; None without any."""
    begun = now - span
    drawn = [item for item in given if datetime.fromisoformat(item["until"]) > begun]
    if not drawn:
        return None
    most = max(1.0, *(item["peak"] / item["limit"] for item in drawn)) * _HEADROOM
    full = sum(item["peak"] >= item["limit"] for item in drawn)
    refused, deferred = (sum(item[key] for item in drawn) for key in ("refused", "deferred"))
    return WindowChart(
        name=name,
        title=title,
        since=f"{title} ago",
        bars=tuple(_bar(item, begun, span, most) for item in drawn),
        whole=round(HEIGHT - HEIGHT / most, 1),
        said=f"{len(drawn):,} windows, {full:,} of them full; {refused:,} refused, {deferred:,} deferred",
    )


def _bar(
    item: Mapping[str, Any], begun: datetime, span: timedelta, most: float
) -> tuple[float, float, float, float, str]:
    since, until = (datetime.fromisoformat(item[key]) for key in ("since", "until"))
    left = max(0.0, (since - begun) / span * WIDTH)
    right = min(WIDTH, (until - begun) / span * WIDTH)
    used = item["peak"] / item["limit"]
    height = round(max(used / most * HEIGHT, 1.0), 1)
    tone = "bad" if used >= 1 else "warn" if used >= 0.8 else "ok"
    width = round(max(right - left - 1, _LEAST_WIDTH), 1)
    return round(left, 1), round(HEIGHT - height, 1), width, height, tone


@dataclass(frozen=True, slots=True)
class SpendingChart:
    """Money by hours or days. `bars` are (left, top, width, height, title) in WIDTH by HEIGHT; `now`: where now is."""

    bars: tuple[tuple[float, float, float, float, str], ...]
    most: str
    now: float | None
    since: str
    until: str
    said: str


def spending(
    steps: Sequence[tuple[datetime, int]], since: datetime, until: datetime, now: datetime, *, zone: str
) -> SpendingChart | None:
    """Of (start, micro-dollars) of each hour, or day in a period of more than two; None where nothing was spent."""
    dearest_at, most = max(steps, key=lambda item: item[1], default=(since, 0))
    if not most:
        return None
    place, span = ZoneInfo(zone), until - since
    by_hour = span <= timedelta(days=2)
    step, form = (timedelta(hours=1), "%H:%M") if by_hour else (timedelta(days=1), "%Y-%m-%d")

    def bar(start: datetime, cost: int) -> tuple[float, float, float, float, str]:
        left = (start - since) / span * WIDTH
        width = max(min(step, until - start) / span * WIDTH - 1.5, _LEAST_WIDTH)
        height = max(cost / most / _HEADROOM * HEIGHT, 1.0) if cost else 0.0
        said = f"{start.astimezone(place):{form}}: ${cost / MICRO:,.4f}"
        return round(left, 1), round(HEIGHT - height, 1), round(width, 1), round(height, 1), said

    dearest = f"the dearest {'hour' if by_hour else 'day'} {dearest_at.astimezone(place):{form}}"
    return SpendingChart(
        bars=tuple(bar(start, cost) for start, cost in steps),
        most=f"${most * _HEADROOM / MICRO:,.2f}",
        now=round((now - since) / span * WIDTH, 1) if by_hour and since <= now < until else None,
        since=f"{since.astimezone(place):{form}}",
        until="24:00" if by_hour else "today",
        said=f"{dearest}: ${most / MICRO:,.2f}",
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
