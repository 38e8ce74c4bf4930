"""Readings of a clock on a wall, as moments."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.alerts import wall
from app.catalog import OneOff, Weekly

DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
ZONES = st.sampled_from(sorted(available_timezones() - {"Factory", "localtime"}))
READINGS = st.datetimes(datetime.fromisoformat("2012-01-01"), datetime.fromisoformat("2036-01-01"))


@pytest.mark.parametrize(
    ("reading", "zone", "expected"),
    [
        ("2026-07-01T09:00", "Europe/Berlin", "2026-07-01T07:00Z"),
        ("2026-12-01T09:00", "Europe/Berlin", "2026-12-01T08:00Z"),
        ("2026-03-29T02:30", "Europe/Berlin", "2026-03-29T01:00Z"),  # skipped: the end of the gap
        ("2026-03-29T03:00", "Europe/Berlin", "2026-03-29T01:00Z"),
        ("2026-10-25T02:30", "Europe/Berlin", "2026-10-25T00:30Z"),  # repeated: the first time
        ("2026-10-04T02:10:00.5", "Australia/Lord_Howe", "2026-10-03T15:30Z"),  # a gap of half an hour
        ("2011-12-30T12:00", "Pacific/Apia", "2011-12-30T10:00Z"),  # a day that never was
    ],
)
def test_a_reading_is_a_moment(reading: str, zone: str, expected: str) -> None:
    found = wall.moment(datetime.fromisoformat(reading), zone)
    assert found == datetime.fromisoformat(expected)
    assert found.tzinfo is UTC


@given(READINGS, ZONES)
def test_the_clock_reads_it_then_or_never(reading: datetime, zone: str) -> None:
    found = wall.moment(reading, zone)
    read = found.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    before = (found - timedelta(microseconds=1)).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    assert read == reading or before < reading < read


@given(st.dates(date(2012, 1, 1), date(2036, 1, 1)), ZONES, st.times(), st.times())
def test_stretches_are_where_the_clock_reads_so(day: date, zone: str, one: time, other: time) -> None:
    begin, end = sorted(datetime.combine(day, reading) for reading in (one, other))
    stretches = list(wall.read_between(begin, end, zone))
    place = ZoneInfo(zone)
    first = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=16)
    for minute in range(0, 56 * 60, 15):
        at = first + timedelta(minutes=minute)
        inside = begin <= at.astimezone(place).replace(tzinfo=None) < end
        assert inside == any(start <= at < stop for start, stop in stretches)


def test_an_hour_that_is_repeated_is_two_stretches() -> None:
    day = datetime.fromisoformat("2026-10-25")
    stretches = wall.read_between(day.replace(hour=2, minute=15), day.replace(hour=2, minute=45), "Europe/Berlin")
    minutes = [(start.strftime("%H:%M"), stop.strftime("%H:%M")) for start, stop in stretches]
    assert minutes == [("00:15", "00:45"), ("01:15", "01:45")]


def weekly(days: Iterable[str], begin: time | str, to: time | str, zone: str) -> Weekly:
    return Weekly.model_validate({"days": list(days), "from": begin, "to": to, "timezone": zone, "reason": "x"})


@pytest.mark.parametrize(
    ("begin", "to", "now", "expected"),
    [
        ("22:00", "02:00", "2026-03-27T22:30Z", "2026-03-28T01:00Z"),
        ("22:00", "22:00", "2026-03-27T21:30Z", "2026-03-28T21:00Z"),
        ("01:30", "02:30", "2026-03-28T00:45Z", "2026-03-28T01:30Z"),
        ("01:30", "02:30", "2026-03-29T00:45Z", "2026-03-29T01:00Z"),  # its end is skipped
        ("02:15", "02:45", "2026-03-29T01:20Z", "2026-03-29T01:45Z"),  # all of it is skipped: an hour later
        ("02:30", "04:00", "2026-10-25T00:40Z", "2026-10-25T01:00Z"),  # the clock goes back before its beginning
        ("02:30", "04:00", "2026-10-25T01:40Z", "2026-10-25T03:00Z"),
    ],
)
def test_a_window_closes_when_the_clock_says_so(begin: str, to: str, now: str, expected: str) -> None:
    window = weekly(["friday", "saturday", "sunday"], begin, to, "Europe/Berlin")
    moment = datetime.fromisoformat(now)
    assert window.contains(moment)
    if begin == to:
        window = weekly(["friday"], begin, to, "Europe/Berlin")
    assert wall.ends_at(window, moment) == datetime.fromisoformat(expected)


def test_a_window_between_two_moments_closes_at_the_second() -> None:
    window = OneOff.model_validate({"from": "2026-03-01T22:00Z", "until": "2026-03-02T02:00+01:00", "reason": "x"})
    assert wall.ends_at(window, window.begin) == datetime(2026, 3, 2, 1, tzinfo=UTC)


def test_windows_that_follow_one_another_for_ever_have_no_end() -> None:
    window = weekly(DAYS, "12:00", "12:00", "Europe/Berlin")
    assert wall.ends_at(window, datetime(2026, 3, 6, 12, tzinfo=UTC)) is None
    week = weekly(DAYS[:5], "12:00", "12:00", "UTC")
    assert wall.ends_at(week, datetime(2026, 3, 2, 12, tzinfo=UTC)) == datetime(2026, 3, 7, 12, tzinfo=UTC)


@given(READINGS, ZONES, st.sets(st.sampled_from(DAYS), min_size=1), st.times(), st.times())
def test_a_window_is_open_until_its_end_and_not_then(
    reading: datetime, zone: str, days: set[str], begin: time, to: time
) -> None:
    window, now = weekly(days, begin, to, zone), reading.replace(tzinfo=UTC)
    end = wall.ends_at(window, now) if window.contains(now) else None
    if end is not None:
        assert not window.contains(end)
        assert all(window.contains(now + (end - now) * part / 50) for part in range(50))
        assert window.contains(end - timedelta(microseconds=1))
