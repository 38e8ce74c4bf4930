"""Readings of a clock on a wall, as moments."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.alerts import wall

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
