"""Percentages, budgets and percentiles: pure, and as close as they say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.health.availability import histogram
from app.health.availability.budgets import Budget, Uptime
from app.health.availability.hours import DAY, HOUR, WINDOWS, beginning, days, hours

latencies = st.lists(st.floats(0, 200_000, width=32), min_size=1, max_size=60)
moments = st.integers(0, 200_000_000).map(lambda second: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=second))


def test_only_what_was_never_down_is_at_a_hundred_percent() -> None:
    assert Uptime(known_seconds=7_776_000).percent == 100
    assert Uptime(known_seconds=7_776_000, down_seconds=1).percent == 99.999
    assert Uptime(known_seconds=1000, down_seconds=5).percent == 99.5
    assert Uptime(known_seconds=1000, down_seconds=1000).percent == 0


def test_nothing_known_has_no_percentage() -> None:
    assert (Uptime(window_seconds=60).percent, Uptime(window_seconds=60).coverage_percent) == (None, 0)
    assert Uptime().coverage_percent is None


def test_maintenance_is_covered_and_not_known() -> None:
    uptime = Uptime(window_seconds=100, known_seconds=40, down_seconds=10, excluded_seconds=50)
    assert (uptime.percent, uptime.coverage_percent) == (75, 90)


def test_a_budget_is_the_objectives_share_of_thirty_days() -> None:
    half = Budget(99.5, used_seconds=6480)
    assert half.total_seconds == pytest.approx(3.6 * 3600)
    assert half.left_ratio == pytest.approx(0.5)
    overdrawn = Budget(99.9, used_seconds=2 * 2592).as_dict()
    assert (overdrawn["left_percent"], overdrawn["used_percent"], overdrawn["left_seconds"]) == (-100, 200, -2592)


@given(latencies, st.integers(1, 100))
def test_a_percentile_lies_in_the_bucket_of_the_true_one(values: list[float], percent: int) -> None:
    counts = [0] * histogram.SIZE
    for value in values:
        counts[histogram.bucket_of(value)] += 1
    found = histogram.percentile(counts, percent, least=min(values), most=max(values))
    true = sorted(values)[-(-len(values) * percent // 100) - 1]
    place = histogram.bucket_of(true)
    low = histogram.BOUNDS_MS[place - 1] if place else 0
    high = histogram.BOUNDS_MS[place] if place < len(histogram.BOUNDS_MS) else max(values)
    assert found is not None
    assert max(low, min(values)) <= found <= min(high, max(values))


@given(st.lists(latencies, min_size=1, max_size=5))
def test_merged_histograms_are_those_of_all_values_together(parts: list[list[float]]) -> None:
    def counted(values: list[float]) -> list[int]:
        return [sum(histogram.bucket_of(value) == place for value in values) for place in range(histogram.SIZE)]

    together = [value for part in parts for value in part]
    assert histogram.merged([None, *map(counted, parts)]) == counted(together)


def test_no_latency_has_no_percentile() -> None:
    assert histogram.percentile(histogram.merged([]), 95, least=0, most=0) is None


def test_buckets_are_in_order_and_begin_at_their_bound() -> None:
    assert list(histogram.BOUNDS_MS) == sorted(set(histogram.BOUNDS_MS))
    assert [histogram.bucket_of(value) for value in (0.49, 0.5, 1, 119_999, 120_000)] == [0, 1, 2, 29, 30]


@given(moments)
def test_a_window_is_whole_hours_or_days_and_the_present_one(now: datetime) -> None:
    for length in WINDOWS.values():
        since = beginning(length, now)
        unit = HOUR if length == DAY else DAY
        assert timedelta() <= now - since - length < unit
        assert (since.minute, since.second, since.microsecond) == (0, 0, 0)
        assert length == DAY or since.hour == 0


@given(moments, st.integers(0, 60))
def test_days_and_hours_are_those_of_utc_without_gaps(now: datetime, length: int) -> None:
    since = beginning(DAY, now)
    until = since + length * HOUR
    assert list(hours(since, until)) == [since + number * HOUR for number in range(length)]
    assert list(days(since, until)) == sorted({(since + number * HOUR).date() for number in range(length)})
