"""Business hours by the clock on the wall: over nights, weekends, holidays and changes of the clocks."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.alerts.hours import add, is_open, opens_at, worked
from app.catalog import BusinessHours

BERLIN = ZoneInfo("Europe/Berlin")
DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def office(**values: Any) -> BusinessHours:
    return BusinessHours.model_validate({"timezone": "Europe/Berlin", **values})


def berlin(text: str, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold).astimezone(UTC)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-03-06T08:59:59", False),  # a Friday
        ("2026-03-06T09:00", True),
        ("2026-03-06T16:59:59.999999", True),
        ("2026-03-06T17:00", False),
        ("2026-03-07T12:00", False),
        ("2026-03-08T12:00", False),
        ("2026-03-09T12:00", False),  # a holiday
        ("2026-03-10T12:00", True),
    ],
)
def test_it_is_working_time_on_working_days_within_the_hours(at: str, expected: bool) -> None:
    assert is_open(office(holidays=[date(2026, 3, 9)]), berlin(at)) is expected


def test_after_work_on_friday_it_opens_on_monday_or_after_the_holiday() -> None:
    friday = berlin("2026-03-06T17:00")
    assert opens_at(office(), friday) == berlin("2026-03-09T09:00")
    assert opens_at(office(holidays=[date(2026, 3, 9)]), friday) == berlin("2026-03-10T09:00")
    assert opens_at(office(), berlin("2026-03-06T05:00")) == berlin("2026-03-06T09:00")


def test_while_it_is_open_it_opens_now() -> None:
    now = berlin("2026-03-06T12:34:56.789")
    assert opens_at(office(), now) == now


def test_two_hours_from_friday_afternoon_end_on_monday() -> None:
    assert add(office(), berlin("2026-03-06T16:00"), 2 * HOUR) == berlin("2026-03-09T10:00")
    assert add(office(), berlin("2026-03-07T16:00"), 2 * HOUR) == berlin("2026-03-09T11:00")
    assert add(office(), berlin("2026-03-06T09:00"), 2 * HOUR) == berlin("2026-03-06T11:00")


def test_what_would_end_at_closing_time_ends_at_the_next_opening() -> None:
    assert add(office(), berlin("2026-03-06T16:00"), HOUR) == berlin("2026-03-09T09:00")
    assert worked(office(), berlin("2026-03-06T16:00"), berlin("2026-03-09T09:00")) == HOUR


def test_a_week_holds_forty_hours_whatever_the_clocks_do() -> None:
    for monday in ("2026-03-23", "2026-06-01", "2026-10-19"):
        start = berlin(f"{monday}T00:00")
        assert worked(office(), start, start + timedelta(days=7)) == 40 * HOUR


def test_nothing_is_worked_backwards() -> None:
    assert worked(office(), berlin("2026-03-06T12:00"), berlin("2026-03-06T10:00")) == timedelta()


def test_a_skipped_hour_is_not_worked_and_a_repeated_one_twice() -> None:
    night = office(days=["sunday"], **{"from": "01:00", "to": "04:00"})
    assert worked(night, berlin("2026-03-29T00:00"), berlin("2026-03-30T00:00")) == 2 * HOUR
    assert worked(night, berlin("2026-03-22T00:00"), berlin("2026-03-23T00:00")) == 3 * HOUR
    assert worked(night, berlin("2026-10-25T00:00"), berlin("2026-10-26T00:00")) == 4 * HOUR
    assert add(night, berlin("2026-03-29T01:30"), HOUR) == berlin("2026-03-29T03:30")
    assert add(night, berlin("2026-10-25T01:30"), 2 * HOUR) == berlin("2026-10-25T02:30", fold=1)


def test_hours_that_begin_in_the_gap_begin_at_its_end_and_hours_within_it_not_at_all() -> None:
    before = berlin("2026-03-29T00:00")
    late = office(days=["sunday"], **{"from": "02:30", "to": "05:00"})
    assert opens_at(late, before) == berlin("2026-03-29T03:00")
    lost = office(days=["sunday"], **{"from": "02:15", "to": "02:45"})
    assert opens_at(lost, before) == berlin("2026-04-05T02:15")


def test_each_zone_has_its_own_hours() -> None:
    noon = datetime(2026, 3, 6, 12, tzinfo=UTC)
    assert is_open(office(timezone="Europe/Berlin"), noon)
    assert not is_open(office(timezone="Asia/Tokyo"), noon)
    assert opens_at(office(timezone="Asia/Tokyo"), noon) == datetime(2026, 3, 9, tzinfo=UTC)
    assert opens_at(office(timezone="Asia/Kolkata"), noon) == datetime(2026, 3, 9, 3, 30, tzinfo=UTC)


@st.composite
def any_hours(draw: st.DrawFn) -> BusinessHours:
    begin, end = sorted(draw(st.sets(st.times(), min_size=2, max_size=2)))
    return BusinessHours.model_validate(
        {
            "days": draw(st.sets(st.sampled_from(DAYS), min_size=1)),
            "from": begin,
            "to": end,
            "timezone": draw(st.sampled_from(sorted(available_timezones() - {"Factory", "localtime"}))),
            "holidays": draw(st.lists(st.dates(date(2025, 1, 1), date(2027, 1, 1)), max_size=3)),
        }
    )


YEARS = (datetime.fromisoformat("2025-01-01"), datetime.fromisoformat("2027-01-01"))
MOMENTS = st.datetimes(*YEARS, timezones=st.just(UTC))
AMOUNTS = st.timedeltas(timedelta(), timedelta(hours=100))


@given(any_hours(), MOMENTS, AMOUNTS)
def test_what_was_added_has_been_worked_and_never_ends_outside(
    hours: BusinessHours, start: datetime, amount: timedelta
) -> None:
    # Hours of a second take years to add up to a hundred.
    length = datetime.combine(date.min, hours.to) - datetime.combine(date.min, hours.begin)
    amount = min(amount, 20 * length)
    end = add(hours, start, amount)
    assert end >= start
    assert is_open(hours, end)
    assert worked(hours, start, end) == amount


@given(any_hours(), MOMENTS, st.lists(st.timedeltas(timedelta(), timedelta(days=9)), min_size=2, max_size=2))
def test_work_of_two_stretches_is_the_work_of_both_together(
    hours: BusinessHours, start: datetime, lengths: list[timedelta]
) -> None:
    middle = start + lengths[0]
    end = middle + lengths[1]
    assert worked(hours, start, middle) + worked(hours, middle, end) == worked(hours, start, end)


@given(any_hours(), MOMENTS)
def test_it_opens_at_the_first_open_moment(hours: BusinessHours, now: datetime) -> None:
    opening = opens_at(hours, now)
    assert (opening == now) == is_open(hours, now)
    assert is_open(hours, opening)
    if opening > now:
        assert not is_open(hours, opening - timedelta(microseconds=1))
        assert not is_open(hours, now + (opening - now) / 2)


@given(st.sets(st.integers(0, 24 * 60 - 1), min_size=2, max_size=2))
def test_hours_are_counted_as_a_clock_shows_them_on_the_day_of_a_change(minutes: set[int]) -> None:
    begin, end = (time(minute // 60, minute % 60) for minute in sorted(minutes))
    hours = office(days=["sunday"], **{"from": begin, "to": end})
    for midnight in (berlin("2026-03-29T00:00"), berlin("2026-10-25T00:00")):
        day = [midnight + timedelta(minutes=minute) for minute in range(25 * 60)]
        assert worked(hours, day[0], day[-1] + timedelta(minutes=1)) == sum(is_open(hours, at) for at in day) * MINUTE
