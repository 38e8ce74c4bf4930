"""Hours and days in UTC: where they begin, which there are, and what "24h" or "30d" stands for. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

WINDOWS: dict[str, timedelta] = {"24h": DAY, "7d": 7 * DAY, "30d": 30 * DAY, "90d": 90 * DAY}
"""The windows that availability is told for, by name."""


def hour_of(moment: datetime) -> datetime:
    """The beginning of the hour that `moment` is in."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def day_of(moment: datetime) -> date:
    """The day that `moment` is in."""
    return moment.astimezone(UTC).date()


def midnight(day: date) -> datetime:
    """The first moment of a day."""
    return datetime.combine(day, time(), tzinfo=UTC)


def hours(since: datetime, until: datetime) -> Iterator[datetime]:
    """The hours that begin from `since` on, which is the beginning of one, and before `until`."""
    while since < until:
        yield since
        since += HOUR


def days(since: datetime, until: datetime) -> Iterator[date]:
    """The days that have a moment from `since` until before `until`."""
    day = day_of(since)
    while max(midnight(day), since) < until:
        yield day
        day += DAY


def beginning(window: timedelta, now: datetime) -> datetime:
    """Where a window that ends now begins: it has that many whole hours or days, and the present one so far.

    A day or less counts in hours, more than that in days.
    """
    whole = hour_of(now) if window <= DAY else midnight(day_of(now))
    return whole - window
