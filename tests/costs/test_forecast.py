"""Where spending goes: never below what is spent, in cents as in millions, and near what a month then cost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.costs.forecast import Forecast, Period, forecast, period_at, spent_since
from app.costs.outlook import HOUR, burn_rate, last_day, series
from tests.costs.month import CLIENTS, Client, Month, Totals, add_up

NOW = datetime(2026, 3, 25, 12, 20, tzinfo=UTC)
RUNNING = NOW.replace(minute=0)
DOLLAR = 1_000_000

histories = st.lists(st.integers(0, 50_000_000), min_size=1, max_size=400).map(
    lambda costs: {RUNNING - place * HOUR: cost for place, cost in enumerate(costs)}
)
periods = st.sampled_from(["day", "week", "month"])
zones = st.sampled_from(["UTC", "Asia/Kolkata", "America/New_York", "Pacific/Apia"])


@lru_cache(maxsize=1)
def month() -> Totals:
    return add_up(Month(calls_per_day=1000, runaway=None).arrivals())


def steady(hours: int, cost: int = DOLLAR) -> dict[datetime, int]:
    """The same in each of so many hours that are over; of the running one its third."""
    return {RUNNING - place * HOUR: cost for place in range(1, hours + 1)} | {RUNNING: cost // 3}


def of_period(client: Client, now: datetime, period: Period) -> tuple[Forecast, int]:
    """As of `now`, and what the period had cost at its end."""
    hours = month().hourly(tenant=client.name)
    running = now.replace(minute=0)
    known = {hour: cost for hour, cost in hours.items() if hour < running}
    known[running] = round(hours.get(running, 0) * (now - running) / HOUR)
    found = forecast(known, period, client.zone, now)
    return found, spent_since(hours, found.start, found.end - timedelta(seconds=1))


@settings(max_examples=60, deadline=None)
@given(histories, periods, zones, st.integers(1, 10**12))
def test_a_projection_is_never_below_what_is_spent_and_nothing_is_negative(
    hours: dict[datetime, int], period: Period, zone: str, amount: int
) -> None:
    found = forecast(hours, period, zone, NOW, amount=amount)
    assert 0 <= found.spent <= found.low <= found.projected <= found.high
    assert min(found.per_hour, found.last_day, found.today, found.level) >= 0
    if found.exhausted_at is not None:
        assert NOW <= found.exhausted_at <= found.end
        assert found.projected >= amount - 1
    else:
        assert found.projected <= amount + 1


@settings(max_examples=30, deadline=None)
@given(histories, periods, zones, st.integers(2, 1000))
def test_a_forecast_in_cents_is_that_in_dollars(
    hours: dict[datetime, int], period: Period, zone: str, times: int
) -> None:
    one = forecast(hours, period, zone, NOW, amount=10**8)
    many = forecast({hour: cost * times for hour, cost in hours.items()}, period, zone, NOW, amount=10**8 * times)
    for name in ("spent", "projected", "low", "high", "per_hour", "last_day", "today"):
        assert getattr(many, name) == pytest.approx(getattr(one, name) * times, abs=2 * times, rel=1e-6)
    assert many.level == pytest.approx(one.level)


@settings(max_examples=30, deadline=None)
@given(histories, periods, st.integers(0, 50_000_000))
def test_more_spent_now_is_not_less_at_the_end(hours: dict[datetime, int], period: Period, more: int) -> None:
    fewer, higher = (forecast(one, period, "UTC", NOW) for one in (hours, hours | {RUNNING: hours[RUNNING] + more}))
    assert higher.projected >= fewer.projected


def test_steady_spending_goes_on() -> None:
    found = forecast(steady(24 * 28), "month", "UTC", NOW, amount=800 * DOLLAR)
    assert found.projected == pytest.approx(31 * 24 * DOLLAR, rel=0.001)
    assert found.per_hour == pytest.approx(DOLLAR, rel=0.001)
    assert found.last_day == pytest.approx(24 * DOLLAR, rel=0.001)
    assert found.exhausted_at is None
    assert not found.is_rough


def test_says_when_a_budget_is_used_up() -> None:
    found = forecast(steady(24 * 28), "month", "UTC", NOW, amount=round((24 * 24 + 12 + 1 / 3 + 30) * DOLLAR))
    assert found.exhausted_at is not None
    assert abs(found.exhausted_at - (NOW + timedelta(hours=30))) < timedelta(minutes=2)
    assert forecast(steady(24 * 28), "month", "UTC", NOW, amount=5 * DOLLAR).exhausted_at == NOW


def test_the_first_hour_says_something_and_that_it_is_rough() -> None:
    found = forecast({RUNNING: 2 * DOLLAR}, "day", "UTC", NOW)
    assert found.is_rough
    assert found.per_hour == 6 * DOLLAR
    assert found.projected == pytest.approx((2 + 6 * (11 + 2 / 3)) * DOLLAR)
    assert found.low < found.projected < found.high


def test_nothing_spent_is_nothing_foretold() -> None:
    found = forecast({}, "month", "UTC", NOW, amount=DOLLAR)
    assert (found.spent, found.projected, found.high, found.exhausted_at) == (0, 0, 0, None)


def test_a_loop_is_seen_in_the_burn_rate_within_the_hour_and_not_taken_for_tomorrow() -> None:
    usual = forecast(steady(24 * 28), "month", "UTC", NOW)
    loop = forecast(steady(24 * 28) | {RUNNING: 40 * DOLLAR}, "month", "UTC", NOW)
    assert loop.per_hour > 8 * usual.per_hour
    later = steady(24 * 28) | {RUNNING - 30 * HOUR: 40 * DOLLAR}
    after = forecast(later, "month", "UTC", NOW)
    assert after.projected - 39 * DOLLAR == pytest.approx(usual.projected, rel=0.02)


@pytest.mark.parametrize(
    ("zone", "now", "hours"),
    [
        ("America/New_York", datetime(2026, 3, 8, 12, tzinfo=UTC), 23),
        ("America/New_York", datetime(2026, 11, 1, 12, tzinfo=UTC), 25),
        ("Asia/Kolkata", datetime(2026, 3, 8, 12, tzinfo=UTC), 24),
    ],
)
def test_a_day_is_as_long_as_its_clock_says(zone: str, now: datetime, hours: int) -> None:
    start, end = period_at("day", zone, now)
    assert (end - start) / HOUR == hours
    flat = {now - place * HOUR: DOLLAR for place in range(1, 24 * 28)}
    assert forecast(flat, "day", zone, now).projected == pytest.approx(hours * DOLLAR, rel=0.001)


def test_an_hour_amid_which_a_period_begins_counts_by_its_share() -> None:
    start = datetime(2026, 3, 24, 18, 30, tzinfo=UTC)  # midnight of India
    hours = {start.replace(minute=0): 4 * DOLLAR, start.replace(hour=19, minute=0): DOLLAR}
    assert spent_since(hours, start, NOW) == 3 * DOLLAR
    assert spent_since(hours, start, start + timedelta(minutes=10)) == DOLLAR


def test_the_last_day_takes_its_share_of_the_hour_in_which_it_begins() -> None:
    known = series(steady(100), NOW, "UTC")
    assert last_day(known) == pytest.approx(24 * DOLLAR, rel=1e-5)
    assert burn_rate(known) == pytest.approx(DOLLAR, rel=1e-5)


@pytest.mark.parametrize(("period", "error"), [("day", 0.10), ("week", 0.08)])
def test_the_month_comes_out_within_the_band(period: Period, error: float) -> None:
    tried = []
    for client in CLIENTS:
        for day in range(15, 24, 2):
            for hour in (5, 17):
                found, came = of_period(client, datetime(2026, 3, 1 + day, hour, 20, tzinfo=UTC), period)
                if found.end <= Month().end:
                    tried.append((found.low <= came <= found.high, abs(found.projected - came) / came))
    assert len(tried) >= 30
    assert sum(inside for inside, _ in tried) / len(tried) >= 0.75
    assert sum(off for _, off in tried) / len(tried) < error


def test_the_month_s_end_is_told_a_week_before() -> None:
    for client in CLIENTS:
        hours = {hour: cost for hour, cost in month().hourly(tenant=client.name).items() if hour < RUNNING}
        start, end = period_at("month", client.zone, NOW)
        came = spent_since(month().hourly(tenant=client.name), start, min(end, Month().end))
        found = forecast(hours, "month", client.zone, RUNNING)
        assert found.projected == pytest.approx(came, rel=0.08)
