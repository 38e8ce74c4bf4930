"""Budgets that burn too fast or run out: told once, and over only when it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.costs.burning import Trend, Watch, allocation, facts, is_so, may_matter
from app.costs.forecast import Forecast, Period

NOW = datetime(2026, 3, 25, 12, tzinfo=UTC)
DOLLAR = 1_000_000


def trend(period: Period, amount: int = 700, **more: Any) -> Trend:
    """A budget of dollars, of which as many are spent as `more` says."""
    length = {"day": 1, "week": 7, "month": 30}[period]
    dollars = {"spent": 300, "projected": 600, "per_hour": 4, "last_day": 90, "today": 95}
    dollars |= {name: value for name, value in more.items() if name in dollars}
    seen = Forecast(
        at=NOW,
        start=NOW - timedelta(days=length / 2),
        end=NOW + timedelta(days=length / 2),
        low=0,
        high=0,
        level=1.0,
        exhausted_at=more.get("exhausted_at"),
        is_rough=more.get("is_rough", False),
        **{name: value * DOLLAR for name, value in dollars.items()},
    )
    return Trend("some", "tenant", "tenant:acme", period, amount * DOLLAR, seen)


def test_a_day_s_allocation_is_a_seventh_of_the_week_s() -> None:
    assert allocation("week", 700) == 100
    assert allocation("month", 3000) == pytest.approx(3000 * 7 / 30 / 7)
    assert allocation("day", 100) is None


@pytest.mark.parametrize("name", ["last_day", "today"])
def test_a_day_above_its_allocation_burns_too_fast(name: str) -> None:
    assert not is_so(Watch.BURN, trend("week"), is_on=False)
    assert is_so(Watch.BURN, trend("week", **{name: 101}), is_on=False)


def test_a_high_burn_is_over_at_nine_tenths() -> None:
    assert is_so(Watch.BURN, trend("week"), is_on=True)
    assert not is_so(Watch.BURN, trend("week", last_day=85, today=89), is_on=True)


def test_a_daily_budget_does_not_burn_too_fast() -> None:
    assert not is_so(Watch.BURN, trend("day", last_day=5000, today=5000), is_on=False)


@pytest.mark.parametrize(("hours", "told"), [(71, True), (73, False)])
def test_a_month_s_end_is_told_three_days_before(hours: int, told: bool) -> None:
    gone = trend("month", projected=800, exhausted_at=NOW + timedelta(hours=hours))
    assert is_so(Watch.EXHAUSTION, gone, is_on=False) is told
    assert is_so(Watch.EXHAUSTION, gone, is_on=True)


def test_a_daily_budget_that_ends_before_the_day_is_told() -> None:
    assert is_so(Watch.EXHAUSTION, trend("day", exhausted_at=NOW + timedelta(hours=5), projected=900), is_on=False)
    assert not is_so(Watch.EXHAUSTION, trend("day"), is_on=False)


def test_a_lively_morning_is_no_trend() -> None:
    early = {"exhausted_at": NOW + timedelta(hours=5), "projected": 900}
    assert not is_so(Watch.EXHAUSTION, trend("day", spent=150, **early), is_on=False)
    assert not is_so(Watch.EXHAUSTION, trend("day", spent=300, is_rough=True, **early), is_on=False)
    assert is_so(Watch.EXHAUSTION, trend("day", spent=400, is_rough=True, **early), is_on=False)


def test_what_is_used_up_is_not_foretold_but_what_was_foretold_lasts() -> None:
    gone = trend("month", spent=700, projected=900, exhausted_at=NOW)
    assert not is_so(Watch.EXHAUSTION, gone, is_on=False)
    assert is_so(Watch.EXHAUSTION, gone, is_on=True)


def test_it_is_averted_when_the_end_is_well_below_the_budget() -> None:
    assert is_so(Watch.EXHAUSTION, trend("month", projected=680), is_on=True)
    assert not is_so(Watch.EXHAUSTION, trend("month", projected=660), is_on=True)


def test_what_cannot_matter_is_not_foretold() -> None:
    quiet = {"spent": 10 * DOLLAR, "last_day": DOLLAR, "per_hour": 0.0, "hours_left": 12.0}
    assert not may_matter("day", 100 * DOLLAR, **quiet)
    assert not may_matter("month", 1000 * DOLLAR, **quiet)
    assert may_matter("day", 100 * DOLLAR, **quiet | {"spent": 30 * DOLLAR, "per_hour": 2.0 * DOLLAR})


def test_facts_hold_the_projected_figure_in_dollars() -> None:
    told = facts(trend("week", exhausted_at=NOW + timedelta(hours=2), projected=900))
    assert told["projected"] == 900.0
    assert told["allocation"] == 100.0
    assert told["times"] == 0.95
    assert told["seconds_left"] == 7200
