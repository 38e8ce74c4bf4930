"""Business hours: is it working time, when will it be, how much of it lies between two moments. Pure; answers in UTC.

It is working time whenever the clock on the wall says so: both times in an hour that is repeated, and not in one that
is skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from app.alerts import wall
from app.catalog import BusinessHours

_NONE = timedelta()


def is_open(hours: BusinessHours, now: datetime) -> bool:
    """Is it working time?"""
    reading = now.astimezone(ZoneInfo(hours.timezone))
    return _is_working_day(hours, reading.date()) and hours.begin <= reading.time() < hours.to


def opens_at(hours: BusinessHours, now: datetime) -> datetime:
    """The first moment of working time from `now` on: `now` itself when it is."""
    return add(hours, now, _NONE)


def add(hours: BusinessHours, start: datetime, working: timedelta) -> datetime:
    """The first moment of working time by which so much of it has passed since `start`: 17:00 is 9:00 tomorrow."""
    left = working
    for begin, end in _spans(hours, start):
        if end - begin > left:
            return begin + max(left, _NONE)
        left -= end - begin
    raise AssertionError("days do not end")


def worked(hours: BusinessHours, start: datetime, end: datetime) -> timedelta:
    """How much working time lies between the two; none when `end` is not after `start`."""
    total = _NONE
    for begin, stop in _spans(hours, start):
        if begin >= end:
            break
        total += min(stop, end) - begin
    return total


def _spans(hours: BusinessHours, start: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Every stretch of working time from `start` on, in order, the first one cut to begin there.

    In order, because since 2011 no zone goes back to a day after another has begun.
    """
    start = start.astimezone(UTC)
    day = start.astimezone(ZoneInfo(hours.timezone)).date()
    while True:
        if _is_working_day(hours, day):
            begin, end = datetime.combine(day, hours.begin), datetime.combine(day, hours.to)
            for first, last in wall.read_between(begin, end, hours.timezone):
                if last > start:
                    yield max(first, start), last
        day += timedelta(days=1)


_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def _is_working_day(hours: BusinessHours, day: date) -> bool:
    return _DAYS[day.weekday()] in hours.days and day not in hours.holidays
