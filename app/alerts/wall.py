"""What a clock on a wall reads, as moments: through skipped and repeated hours. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from app.catalog import OneOff, Window

_FARTHEST = timedelta(hours=16)
"""No zone was ever farther from UTC."""
_DAYS_AHEAD = 9
_PROBE_EVERY = timedelta(hours=6)
_SECOND = timedelta(seconds=1)


def moment(reading: datetime, zone: str) -> datetime:
    """When the clock first reads this, in UTC; the end of the gap when a change of the clocks skips it."""
    place = ZoneInfo(zone)
    before = reading.replace(tzinfo=place, fold=0).astimezone(UTC)
    after = reading.replace(tzinfo=place, fold=1).astimezone(UTC)
    if after >= before:
        return before
    return _change(place, after, before)


def read_between(begin: datetime, end: datetime, zone: str) -> Iterator[tuple[datetime, datetime]]:
    """The stretches, in UTC, in which the clock reads at or after `begin` and before `end`, both of one day.

    One, as a rule; two or none where the clocks change.
    """
    for first, last, offset in offsets(begin.date(), zone):
        start, stop = max(first, _at(begin, offset)), min(last, _at(end, offset))
        if start < stop:
            yield start, stop


def ends_at(window: Window, now: datetime) -> datetime | None:
    """When the window that `now` is in is over, in UTC; None when weekly ones follow one another without an end, and
    when that is after all times."""
    if isinstance(window, OneOff):
        try:
            return window.until.astimezone(UTC)
        except OverflowError:
            return None
    today = now.astimezone(ZoneInfo(window.timezone)).date()
    edges: set[datetime] = set()
    for ahead in range(_DAYS_AHEAD):
        day = today + timedelta(days=ahead)
        end = datetime.combine(day, window.to)
        edges.add(moment(end, window.timezone))
        for first, last, offset in offsets(day, window.timezone):
            edges |= {first, last, _at(end, offset)}
    return next((edge for edge in sorted(edges) if edge > now and not window.contains(edge)), None)


@lru_cache(maxsize=4096)
def offsets(day: date, zone: str) -> tuple[tuple[datetime, datetime, timedelta], ...]:
    """(from, until, offset from UTC) of stretches that together hold every moment that is this day there."""
    place = ZoneInfo(zone)
    at = datetime(day.year, day.month, day.day, tzinfo=UTC) - _FARTHEST
    end = at + timedelta(days=1) + 2 * _FARTHEST
    stretches: list[tuple[datetime, datetime, timedelta]] = []
    begun = at
    while at < end:
        following = at + _PROBE_EVERY
        if _offset(at, place) != _offset(following, place):
            changed = _change(place, at, following)
            stretches.append((begun, changed, _offset(at, place)))
            begun = changed
        at = following
    return (*stretches, (begun, end, _offset(begun, place)))


def _change(place: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """The second at which the offset changes, once between these two."""
    old = _offset(before, place)
    while after - before > _SECOND:
        middle = before + timedelta(seconds=int((after - before).total_seconds()) // 2)
        before, after = (middle, after) if _offset(middle, place) == old else (before, middle)
    return after.replace(microsecond=0)


def _offset(at: datetime, place: ZoneInfo) -> timedelta:
    return at.astimezone(place).utcoffset() or timedelta()


def _at(reading: datetime, offset: timedelta) -> datetime:
    return reading.replace(tzinfo=UTC) - offset
