"""Maintenance windows by the calendar and by the clock on the wall, through the changes of daylight saving time."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.catalog import OneOff, Service, Weekly, in_maintenance

BERLIN = ZoneInfo("Europe/Berlin")
DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


def weekly(days: list[str], begin: str, to: str, zone: str = "Europe/Berlin") -> Weekly:
    return Weekly.model_validate({"days": days, "from": begin, "to": to, "timezone": zone, "reason": "updates"})


def berlin(text: str, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold)


def test_a_one_off_window_includes_its_start_and_not_its_end() -> None:
    window = OneOff.model_validate(
        {"from": "2026-03-01T22:00:00+01:00", "until": "2026-03-02T00:00:00Z", "reason": "move"}
    )
    inside = [datetime(2026, 3, 1, 21, tzinfo=UTC), datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC)]
    outside = [datetime(2026, 3, 1, 20, 59, 59, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)]
    assert [window.contains(now) for now in inside + outside] == [True, True, False, False]


def test_a_weekly_window_is_in_force_on_its_days_only() -> None:
    window = weekly(["friday"], "15:00", "17:00")
    assert window.contains(berlin("2026-11-20T15:00"))
    assert not window.contains(berlin("2026-11-20T17:00"))
    assert not window.contains(berlin("2026-11-21T16:00"))


def test_a_window_over_midnight_belongs_to_the_day_it_begins_on() -> None:
    window = weekly(["friday"], "22:00", "02:00")
    assert window.contains(berlin("2026-11-21T01:59"))
    assert not window.contains(berlin("2026-11-20T01:59"))
    assert not window.contains(berlin("2026-11-21T22:00"))


def test_a_window_that_ends_where_it_begins_lasts_a_day() -> None:
    window = weekly(["sunday"], "00:00", "00:00")
    assert window.contains(berlin("2026-11-22T00:00"))
    assert window.contains(berlin("2026-11-22T23:59"))
    assert not window.contains(berlin("2026-11-23T00:00"))


def test_the_window_follows_the_clock_on_the_wall_in_summer_and_in_winter() -> None:
    window = weekly(["wednesday"], "03:00", "04:00")
    assert window.contains(datetime(2026, 7, 1, 1, 30, tzinfo=UTC))
    assert window.contains(datetime(2026, 12, 2, 2, 30, tzinfo=UTC))
    assert not window.contains(datetime(2026, 12, 2, 1, 30, tzinfo=UTC))


def test_in_the_repeated_hour_of_autumn_both_passes_are_inside() -> None:
    window = weekly(["sunday"], "02:15", "02:45")
    assert window.contains(berlin("2026-10-25T02:30", fold=0))
    assert window.contains(berlin("2026-10-25T02:30", fold=1))
    assert not window.contains(berlin("2026-10-25T02:50", fold=0))


def test_a_window_in_the_skipped_hour_of_spring_happens_an_hour_later() -> None:
    window = weekly(["sunday"], "02:15", "02:45")
    inside = [moment for moment in _minutes("2026-03-29T00:00", 6 * 60) if window.contains(moment)]
    assert inside[0] == berlin("2026-03-29T03:15").astimezone(UTC)
    assert len(inside) == 30


def test_a_window_around_the_skipped_hour_loses_only_that_hour() -> None:
    window = weekly(["sunday"], "01:30", "03:30")
    assert len([moment for moment in _minutes("2026-03-29T00:00", 6 * 60) if window.contains(moment)]) == 60


def _minutes(start: str, count: int) -> list[datetime]:
    first = berlin(start).astimezone(UTC)
    return [first + timedelta(minutes=minute) for minute in range(count)]


@given(
    days=st.lists(st.sampled_from(DAYS), min_size=1, max_size=3, unique=True),
    begin=st.times(),
    to=st.times(),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    now=st.floats(0, 730).map(lambda days: datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=days)),
)
def test_a_clock_that_reads_inside_the_window_is_always_inside(
    days: list[str], begin: time, to: time, zone: str, now: datetime
) -> None:
    local = now.astimezone(ZoneInfo(zone))
    today, yesterday = DAYS[local.weekday()], DAYS[local.weekday() - 1]
    reading = local.time()
    if begin < to:
        expected = today in days and begin <= reading < to
    else:
        expected = (today in days and reading >= begin) or (yesterday in days and reading < to)
    window = weekly(days, begin.isoformat(), to.isoformat(), zone)
    changes = local.utcoffset() != (local - timedelta(hours=24)).utcoffset()
    assert window.contains(now) == expected or (changes and window.contains(now))


def test_the_reason_of_the_first_window_that_holds_is_told() -> None:
    window = {"from": "2026-03-01T00:00:00Z", "until": "2026-03-02T00:00:00Z"}
    service = Service.model_validate(
        {"name": "web", "kind": "http", "maintenance": [window | {"reason": "move"}, window | {"reason": "other"}]}
    )
    assert in_maintenance(service, datetime(2026, 3, 1, 12, tzinfo=UTC)) == "move"
    assert in_maintenance(service, datetime(2026, 3, 2, 12, tzinfo=UTC)) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"from": "2026-03-01T00:00:00", "until": "2026-03-02T00:00:00Z", "reason": "x"},
        {"from": "2026-03-02T00:00:00Z", "until": "2026-03-02T00:00:00Z", "reason": "x"},
        {"days": [], "from": "10:00", "to": "11:00", "reason": "x"},
        {"days": ["fri"], "from": "10:00", "to": "11:00", "reason": "x"},
        {"days": ["friday"], "from": "10:00", "to": "25:00", "reason": "x"},
        {"days": ["friday"], "from": "10:00", "to": "11:00", "timezone": "Mars/Base", "reason": "x"},
        {"days": ["friday"], "from": "10:00", "to": "11:00"},
        {"days": ["friday"], "from": "10:00+01:00", "to": "11:00", "reason": "x"},
        {"reason": "x"},
    ],
)
def test_a_wrong_window_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Service.model_validate({"name": "web", "kind": "http", "maintenance": [wrong]})
