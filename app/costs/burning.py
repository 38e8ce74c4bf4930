"""Does a budget burn too fast, or will it be used up before its time? Decided of its forecast. Pure.

Each has two thresholds, one at which it begins and a lower one at which it is over, so that spending which goes up and
down around one is told once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from app.clock import iso
from app.costs.forecast import Forecast, Period
from app.costs.sums import dollars


class Watch(StrEnum):
    """What is watched of a budget; the kinds of rows in `cost_watch`."""

    BURN = "burn_rate"
    EXHAUSTION = "exhaustion"


DAYS = {"week": 7, "month": 30}
"""A day's allocation is a seventh of a week's budget, or of a month's × 7 / 30."""

BURN_IS_OVER = 0.9
"""Share of the day's allocation below which a high burn rate is over."""

SOON = {"day": timedelta(days=1), "week": timedelta(days=3), "month": timedelta(days=3)}
"""Exhaustion within that time is told, if it comes before the period's end."""

LATER = timedelta(days=1)
"""Beyond that, it is told no more."""

IS_AVERTED = 0.95
"""Share of the budget at the projected end below which exhaustion is averted."""

LEAST_SHARE = {"day": 0.25, "week": 0.2, "month": 0.1}
"""Of the budget must be spent before its end is foretold: a lively morning is no trend."""

LEAST_SHARE_ROUGH = 0.5
"""The same while hardly any history is known."""

_SLACK = 3.0
"""Times the present pace that a forecast can hardly exceed: what cannot matter even so is not forecast."""


@dataclass(frozen=True, slots=True)
class Trend:
    """One subject of a budget: its amount in millionths of a dollar, and where its spending goes."""

    budget: str
    scope: str
    subject: str
    period: Period
    amount: int
    forecast: Forecast

    @property
    def about(self) -> str:
        """The subject of its signals."""
        return about(self.budget, self.subject)

    @property
    def labels(self) -> dict[str, str]:
        """Of its signals."""
        return {"budget": self.budget, "scope": self.scope, "subject": self.subject, "period": self.period}


def about(budget: str, subject: str) -> str:
    """What signals of a budget's subject are about."""
    return f"budget:{budget} {subject}"


def allocation(period: Period, amount: int) -> float | None:
    """Millionths of a dollar that a day may cost; None of a daily budget, whose day is its period."""
    days = DAYS.get(period)
    return None if days is None else amount / days


def may_matter(period: Period, amount: int, *, spent: int, last_day: float, per_hour: float, hours_left: float) -> bool:
    """Is it worth a forecast? Money is millionths of a dollar."""
    pace = max(per_hour, last_day / 24)
    allowed = allocation(period, amount)
    if allowed is not None and max(last_day, 24 * pace) > allowed / _SLACK:
        return True
    hours = min(hours_left, SOON[period] / timedelta(hours=1))
    return spent >= LEAST_SHARE[period] * amount and spent + _SLACK * pace * hours >= amount


def is_so(watch: Watch, trend: Trend, *, is_on: bool) -> bool:
    """Does it begin, or with `is_on`, does it last?"""
    return _is_burning(trend, is_on) if watch is Watch.BURN else _runs_out(trend, is_on)


def _is_burning(trend: Trend, is_on: bool) -> bool:
    allowed = allocation(trend.period, trend.amount)
    if allowed is None:
        return False
    return burn(trend) > allowed * (BURN_IS_OVER if is_on else 1.0)


def _runs_out(trend: Trend, is_on: bool) -> bool:
    seen, amount = trend.forecast, trend.amount
    soon = SOON[trend.period] + (LATER if is_on else timedelta(0))
    if is_on:
        near = seen.projected >= IS_AVERTED * amount
        return near and (seen.exhausted_at is None or seen.exhausted_at < seen.at + soon)
    least = max(LEAST_SHARE[trend.period], LEAST_SHARE_ROUGH if seen.is_rough else 0.0)
    if seen.exhausted_at is None or not least * amount <= seen.spent < amount:
        return False
    return seen.exhausted_at < seen.at + soon


def burn(trend: Trend) -> int:
    """A day's, in millionths of a dollar: the last 24 hours, or the present day at its projected end."""
    return max(trend.forecast.last_day, trend.forecast.today)


def facts(trend: Trend) -> dict[str, Any]:
    """What people are told, JSON-ready; money in dollars."""
    seen, allowed = trend.forecast, allocation(trend.period, trend.amount)
    found = {
        "spent": dollars(seen.spent),
        "amount": dollars(trend.amount),
        "percent": round(100 * seen.spent / trend.amount, 1),
        "projected": dollars(seen.projected),
        "projected_percent": round(100 * seen.projected / trend.amount, 1),
        "per_hour": dollars(seen.per_hour),
        "last_day": dollars(seen.last_day),
        "today": dollars(seen.today),
        "ends_at": iso(seen.end),
        "exhausted_at": None if seen.exhausted_at is None else iso(seen.exhausted_at),
        "rough": seen.is_rough,
    }
    if seen.exhausted_at is not None:
        found["seconds_left"] = round((seen.exhausted_at - seen.at).total_seconds())
    if allowed is not None:
        found |= {"burn": dollars(burn(trend)), "allocation": dollars(round(allowed))}
        found["times"] = round(burn(trend) / allowed, 2)
    return found
