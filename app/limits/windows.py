"""Where calendar windows begin and end, in the limit's own time zone. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from app.catalog import RateLimit

BUCKETS = 60
"""Parts that a rolling window is counted in: what was used is forgotten between 1/60 and 2/60 of the window late."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Window:
    """From `start` up to, and without, `end`; `next_end` is where the window after it ends. Aware, UTC."""

    start: datetime
    end: datetime
    next_end: datetime


def window_at(limit: RateLimit, now: datetime) -> Window:
    """The calendar window of `limit` that `now` is in.

    Hours begin on the full hour of the zone's clock; one that a change of the clock repeats counts twice, and where it
    changes by half an hour, that belongs to the hour before. A day begins at its first moment, which is not 00:00 where
    the clock is put forward at midnight.
    """
    follows = _follows(limit)
    start = _start(limit, now)
    end = follows(start)
    return Window(start, end, follows(end))


def bucket_of(limit: RateLimit) -> tuple[int, int]:
    """A rolling window's width of a bucket in milliseconds, and their number.

    One bucket more than the window holds, because the oldest is only partly past; and one more, because a call is made
    a moment after it was allowed, and is counted by the platform then.
    """
    return -(-round(limit.seconds * 1000) // BUCKETS), BUCKETS + 2


def _start(limit: RateLimit, now: datetime) -> datetime:
    zone = ZoneInfo(limit.timezone)
    local = now.astimezone(zone)
    match limit.period:
        case "minute":
            return now.astimezone(UTC).replace(second=0, microsecond=0)
        case "hour":
            return _full_hour(local, zone)
        case "day":
            return _midnight(local, zone)
        case "week":
            return _midnight(local - timedelta(days=local.weekday()), zone)
        case "month":
            return _midnight(local.replace(day=1), zone)
        case seconds:
            length = timedelta(seconds=float(seconds))
            return now - (now - _EPOCH) % length


def _follows(limit: RateLimit) -> Callable[[datetime], datetime]:
    zone = ZoneInfo(limit.timezone)
    match limit.period:
        case "minute":
            return lambda start: start + timedelta(minutes=1)
        case "hour":
            return lambda start: _hour_after(start, zone)
        case "day":
            return lambda start: _midnight(_noon(start, zone) + timedelta(days=1), zone)
        case "week":
            return lambda start: _midnight(_noon(start, zone) + timedelta(days=7), zone)
        case "month":
            return lambda start: _midnight(_noon(start, zone).replace(day=1) + timedelta(days=32), zone, day=1)
        case seconds:
            return lambda start: start + timedelta(seconds=float(seconds))


def _full_hour(local: datetime, zone: ZoneInfo) -> datetime:
    past = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
    now = local.astimezone(UTC)
    start = now - past
    if start.astimezone(zone).utcoffset() == local.utcoffset():
        return start
    start = _hour_after(start - 3 * _HOUR, zone)
    while (following := _hour_after(start, zone)) <= now:
        start = following
    return start


def _hour_after(start: datetime, zone: ZoneInfo) -> datetime:
    """The full hour on the wall that is an hour away, or the next one where none is."""
    end = start + _HOUR
    return end + timedelta(minutes=-end.astimezone(zone).minute % 60)


def _noon(moment: datetime, zone: ZoneInfo) -> datetime:
    """The day's noon on the wall, far from any change of the clock."""
    return moment.astimezone(zone).replace(hour=12, minute=0, second=0, microsecond=0, tzinfo=None)


def _midnight(local: datetime, zone: ZoneInfo, day: int | None = None) -> datetime:
    """The first moment of the day: where 00:00 is skipped by the clock, what it is put forward to."""
    return datetime(local.year, local.month, day or local.day, tzinfo=zone).astimezone(UTC)
