"""Where a period's spending goes: its projected end with a band, and when a budget will be used up. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from statistics import quantiles
from typing import Literal

from app.catalog import RateLimit
from app.costs.outlook import HOUR, WEEK, Outlook, Series, burn_rate, last_day, outlook, series, spending
from app.limits.windows import window_at

Period = Literal["day", "week", "month"]

BAND = 0.8
"""The share of periods that end within the band."""

ORIGINS = 21
"""Days back from each of which the present forecast is tried against what came."""

LONGEST_TRIED = WEEK
"""Hours ahead that a try looks at most: the error of a month's end is taken from that of weeks."""

KNOWN_HOURS = WEEK
"""Hours of history below which a forecast is rough."""

_FIRST_ORIGIN = 72
_TRIES = 5
_ROUGH = (0.4, 2.5)
"""The band, in parts of what lies ahead, while past errors are too few to be one."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """A period from `start` up to `end` as it stands at `at`. Money is millionths of a dollar.

    `spent` so far; `projected`, `low` and `high` at the period's end; `per_hour`: the burn rate of the last hours;
    `last_day`: of the 24 hours before; `today`: of the zone's present day at its end. `level`: how much is spent beside
    what is usual. `exhausted_at`: when the budget's amount is reached; None where that is not within the period, or
    there is no amount. `is_rough`: less than a week is known, so the band is a guess.
    """

    at: datetime
    start: datetime
    end: datetime
    spent: int
    projected: int
    low: int
    high: int
    per_hour: int
    last_day: int
    today: int
    level: float
    exhausted_at: datetime | None
    is_rough: bool


def period_at(period: Period, zone: str, now: datetime) -> tuple[datetime, datetime]:
    """The first and last moment of the day, week (from Monday) or month of `zone` that `now` is in, in UTC."""
    window = window_at(_limit(period, zone), now)
    return window.start, window.end


@lru_cache(maxsize=512)
def _limit(period: Period, zone: str) -> RateLimit:
    return RateLimit(name="period", capacity=1, window="calendar", period=period, timezone=zone)


def forecast(
    hours: Mapping[datetime, int],
    period: Period,
    zone: str,
    now: datetime,
    *,
    amount: int | None = None,
    spent: int | None = None,
    week_of: str | None = None,
    origins: int = ORIGINS,
) -> Forecast:
    """Of sums by full hour (UTC) in millionths of a dollar, best of the last eight weeks.

    `amount`: the budget's. `spent`: in the period so far, where that is known better than by whole hours. `week_of`:
    on which zone's clock hours of the week are told apart, else on the period's. `origins` 0: without a band.
    """
    week_of = week_of or zone
    known = series(hours, now, week_of)
    start, end = period_at(period, zone, now)
    day_start, day_end = period_at("day", zone, now)
    so_far = spent_since(hours, start, now) if spent is None else max(0, spent)
    seen = outlook(known)
    rest = ahead(seen, now, end, week_of)
    low, high = _band(known, (end - now) / HOUR, origins)
    return Forecast(
        at=now,
        start=start,
        end=end,
        spent=so_far,
        projected=so_far + round(rest),
        low=so_far + round(rest * low),
        high=so_far + round(rest * high),
        per_hour=round(burn_rate(known)),
        last_day=round(last_day(known)),
        today=spent_since(hours, day_start, now) + round(ahead(seen, now, day_end, week_of)),
        level=seen.level,
        exhausted_at=None if amount is None else reached_at(seen, now, end, week_of, amount - so_far),
        is_rough=known.whole < KNOWN_HOURS,
    )


def ahead(seen: Outlook, now: datetime, until: datetime, zone: str) -> float:
    """Millionths of a dollar from now on."""
    return sum(cost for _, _, cost in spending(seen, now, until, zone))


def spent_since(hours: Mapping[datetime, int], start: datetime, now: datetime) -> int:
    """What the hours from `start` on add up to; of the hour that a period begins amid, its share."""
    first = start.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    whole = sum(max(0, cost) for hour, cost in hours.items() if first < hour <= now)
    share = 1 - (start - first) / HOUR
    # The running hour may be the one that the period begins in.
    length = min(HOUR, max(now - first, timedelta(minutes=1))) / HOUR
    share = max(0.0, length - (1 - share)) / length
    return whole + round(share * max(0, hours.get(first, 0)))


def reached_at(seen: Outlook, now: datetime, until: datetime, zone: str, left: float) -> datetime | None:
    """When so much more will have been spent: now where nothing is left; None where not before `until`."""
    if left <= 0:
        return now
    for begin, length, cost in spending(seen, now, until, zone):
        if cost >= left:
            return begin + HOUR * (length * left / cost)
        left -= cost
    return None


def _band(known: Series, hours_left: float, origins: int) -> tuple[float, float]:
    """The lower and upper end in parts of what lies ahead."""
    tried = _tries(known, max(1, min(round(hours_left), LONGEST_TRIED)), origins)
    if len(tried) < _TRIES:
        return _ROUGH
    cuts = quantiles(tried, n=10)  # 80 % lie between the first and the last
    low, high = max(cuts[0], 0.0, min(tried) / 2), min(cuts[-1], 2 * max(tried))
    if known.whole < KNOWN_HOURS:
        low, high = min(low, _ROUGH[0]), max(high, _ROUGH[1])
    return min(low, 1.0), max(high, 1.0)


def _tries(known: Series, hours: int, origins: int) -> list[float]:
    """What came in so many hours, in parts of what would have been forecast, at this time of each of the last days."""
    found: list[float] = []
    place = known.whole - hours
    while place >= _FIRST_ORIGIN and len(found) < origins:
        seen = outlook(known, place)
        said = sum(seen.hour(slot, ahead) for ahead, slot in enumerate(known.slots[place : place + hours]))
        if said > 0:
            found.append(sum(known.costs[place : place + hours]) / said)
        place -= 24
    return found
