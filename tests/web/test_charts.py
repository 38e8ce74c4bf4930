"""Latency drawn as steps, shares as bars, readings with their limits: pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.web.console import charts, figures, service_view

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def bucket(minutes_ago: float, p50: float | None = 10.0, failed: int = 0) -> dict[str, Any]:
    p95 = None if p50 is None else p50 * 2
    since = (NOW - timedelta(minutes=minutes_ago)).isoformat()
    return {"since": since, "probes": 5, "failed": failed, "p50_ms": p50, "p95_ms": p95, "max_ms": p95}


def drawn(*buckets: dict[str, Any]) -> charts.Chart:
    found = charts.latency("1 h", "1 h ago", {"step_seconds": 300, "buckets": list(buckets)}, HOUR, NOW)
    assert found is not None
    return found


def test_steps_that_follow_one_another_are_joined_and_gaps_are_not() -> None:
    chart = drawn(bucket(60), bucket(55), bucket(30))
    assert chart.median_path == "M0 54.5H50L50 54.5H100M300 54.5H350"
    assert chart.most == "22 ms"


def test_a_failed_probe_is_to_be_seen_whatever_the_span() -> None:
    wide = charts.latency("90 d", "", {"step_seconds": 300, "buckets": [bucket(0, None, 5)]}, 90 * 24 * HOUR, NOW)
    assert wide is not None
    assert wide.failures == ((598.5, 1.5),)
    assert wide.median_path == ""
    assert wide.said == "5 of 5 probes failed"


def test_what_began_before_the_span_is_cut_to_it() -> None:
    assert drawn(bucket(63)).median_path.startswith("M0 ")


def test_nothing_is_drawn_of_nothing() -> None:
    assert charts.latency("1 h", "", {"step_seconds": 300, "buckets": []}, HOUR, NOW) is None


@pytest.mark.parametrize(("part", "whole", "width"), [(1, 4, 25.0), (-3, 4, 0.0), (9, 4, 100.0), (1, 0, 0.0)])
def test_a_bar_stays_within_its_field(part: float, whole: float, width: float) -> None:
    assert charts.share(part, whole) == width


@pytest.mark.parametrize(("value", "text"), [(None, "-"), (100.0, "100 %"), (99.95, "99.95 %"), (99.999, "99.999 %")])
def test_percents_are_short_and_never_rounded_up(value: float | None, text: str) -> None:
    assert figures.percent(value) == text


def test_readings_carry_their_limits_and_the_level_they_are_at() -> None:
    entry = {"status": "up", "kind": "postgres", "latency_ms": 60.0, "longest_query_s": 3, "tables": ["a"]}
    found = {
        "levels": {"latency_ms": "warning"},
        "thresholds": {
            "latency_ms": {"warning": 50, "degraded": 450, "below": False},
            "longest_query_s": {"warning": None, "degraded": 2, "below": True},
        },
    }
    first, second = service_view._readings(entry, found, ())
    assert (first.name, first.value, first.tone, first.limits) == (
        "latency", "60 ms", "warn", "warning from 50 ms, degraded from 450 ms",
    )  # fmt: skip
    assert (second.name, second.value, second.level, second.limits) == (
        "longest query", "3 s", "", "degraded at or under 2 s",
    )  # fmt: skip


def test_an_overdrawn_budget_is_bad_and_its_bar_empty() -> None:
    budget = {"left_seconds": -60.0, "total_seconds": 600.0, "left_percent": -10.0}
    burning = [{"speed": "fast", "severity": "critical", "since": NOW.isoformat()}]
    found = service_view._budget({"objective": 99.5, "budget": budget, "burning": burning}, NOW)
    assert found is not None
    assert (found.left, found.tone, found.width, found.left_percent) == ("overdrawn by 1 min 0 s", "bad", 0.0, "0 %")
    assert found.burning == ("burns fast since 0 s ago",)
