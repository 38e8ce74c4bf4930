"""Where windows begin and end: time zones, changes of the clock, and time tiled without gap or overlap."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.limits.plans import Plan
from app.limits.windows import bucket_of, window_at
from tests.limits.asked import limit, plan

ZONES = sorted(available_timezones() - {"localtime", "Factory"})
PERIODS = ("minute", "hour", "day", "week", "month", 1, 7, 90, 3600, 86_400, 2_678_400)


def at(text: str, zone: str = "UTC") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def bounds(period: str, zone: str, moment: datetime) -> tuple[str, str]:
    """The window's start and end on the wall of the zone."""
    window = window_at(limit(period=period, timezone=zone), moment)
    return tuple(f"{edge.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}" for edge in (window.start, window.end))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("period", "zone", "wall", "start", "end"),
    [
        ("minute", "UTC", "2026-03-02T10:11:12", "2026-03-02 10:11", "2026-03-02 10:12"),
        ("hour", "UTC", "2026-12-31T23:59:59", "2026-12-31 23:00", "2027-01-01 00:00"),
        ("hour", "Asia/Kolkata", "2026-03-02T10:45:00", "2026-03-02 10:00", "2026-03-02 11:00"),
        ("hour", "Asia/Kathmandu", "2026-03-02T10:00:00", "2026-03-02 10:00", "2026-03-02 11:00"),
        ("day", "Australia/Eucla", "2026-03-02T00:00:00", "2026-03-02 00:00", "2026-03-03 00:00"),
        ("day", "Europe/Berlin", "2026-03-29T12:00:00", "2026-03-29 00:00", "2026-03-30 00:00"),
        ("day", "Europe/Berlin", "2026-10-25T12:00:00", "2026-10-25 00:00", "2026-10-26 00:00"),
        ("week", "America/New_York", "2026-03-08T12:00:00", "2026-03-02 00:00", "2026-03-09 00:00"),
        ("week", "UTC", "2026-01-01T00:00:00", "2025-12-29 00:00", "2026-01-05 00:00"),
        ("month", "UTC", "2028-02-29T23:59:59", "2028-02-01 00:00", "2028-03-01 00:00"),
        ("month", "Pacific/Auckland", "2026-12-31T23:00:00", "2026-12-01 00:00", "2027-01-01 00:00"),
        # Midnights that are skipped: the day begins at what the clock is put forward to.
        ("day", "Africa/Cairo", "2024-04-26T05:00:00", "2024-04-26 01:00", "2024-04-27 00:00"),
        ("day", "Africa/Cairo", "2024-04-25T23:30:00", "2024-04-25 00:00", "2024-04-26 01:00"),
        ("day", "America/Asuncion", "2023-10-01T12:00:00", "2023-10-01 01:00", "2023-10-02 00:00"),
        ("day", "America/Santiago", "2025-09-07T12:00:00", "2025-09-07 01:00", "2025-09-08 00:00"),
        ("month", "America/Asuncion", "2023-10-15T12:00:00", "2023-10-01 01:00", "2023-11-01 00:00"),
        # Midnights that come twice: the day begins at the first.
        ("day", "America/Havana", "2026-11-01T12:00:00", "2026-11-01 00:00", "2026-11-02 00:00"),
        # The clock is put back by half an hour.
        ("hour", "Australia/Lord_Howe", "2023-04-02T01:10:00", "2023-04-02 01:00", "2023-04-02 02:00"),
        # A day that was left out altogether.
        ("day", "Pacific/Apia", "2011-12-29T12:00:00", "2011-12-29 00:00", "2011-12-31 00:00"),
    ],
)
def test_windows_begin_and_end_on_the_zones_wall(period: str, zone: str, wall: str, start: str, end: str) -> None:
    assert bounds(period, zone, at(wall, zone)) == (start, end)


def test_a_days_window_is_as_long_as_the_day() -> None:
    lengths = {}
    for day in ("2026-03-29", "2026-10-25", "2026-06-01"):
        window = window_at(limit(timezone="Europe/Berlin"), at(f"{day}T12:00:00", "Europe/Berlin"))
        lengths[day] = (window.end - window.start) / timedelta(hours=1)
    assert lengths == {"2026-03-29": 23, "2026-10-25": 25, "2026-06-01": 24}


def test_an_hour_that_is_repeated_counts_twice() -> None:
    first, second = at("2026-10-25T00:30:00"), at("2026-10-25T01:30:00")  # both 02:30 in Berlin
    hourly = limit(period="hour", timezone="Europe/Berlin")
    assert window_at(hourly, first).end == window_at(hourly, second).start


@settings(max_examples=300, deadline=None)
@given(
    period=st.sampled_from(PERIODS),
    zone=st.sampled_from(ZONES),
    moment=st.integers(946_684_800_000_000, 2_208_988_800_000_000).map(
        lambda micros: datetime.fromtimestamp(0, UTC) + timedelta(microseconds=micros)
    ),
)
def test_windows_tile_time(period: str | int, zone: str, moment: datetime) -> None:
    one = limit(period=period, timezone=zone)
    window = window_at(one, moment)
    assert window.start <= moment < window.end < window.next_end
    following = window_at(one, window.end)
    assert (following.start, following.end) == (window.end, window.next_end)
    assert window_at(one, window.end - timedelta(microseconds=1)) == window
    assert window_at(one, window.start) == window


@pytest.mark.parametrize("zone", ["Africa/Cairo", "America/Asuncion", "America/Santiago", "Australia/Lord_Howe"])
def test_windows_tile_whole_years_of_a_zone(zone: str) -> None:
    for period in ("hour", "day", "week", "month"):
        one = limit(period=period, timezone=zone)
        window = window_at(one, at("2023-01-01T00:00:00", zone))
        while window.start < at("2025-01-01T00:00:00"):
            following = window_at(one, window.end)
            assert (following.start, following.end) == (window.end, window.next_end)
            window = following


@given(seconds=st.integers(1, 2_678_400), after=st.integers(0, 10**7))
def test_a_rolling_window_never_forgets_early_nor_much_too_late(seconds: int, after: int) -> None:
    width, buckets = bucket_of(limit(window="rolling", period=seconds))
    called = 1_800_000_000_000 + after
    forgotten = (called // width + buckets) * width
    assert forgotten - called >= seconds * 1000 + width - 60
    assert forgotten - called <= seconds * 1000 * 62 / 60 + 62 + width


def test_a_plans_text_is_written_anew_when_a_window_is_over_or_the_clock_is_another() -> None:
    planned: Plan = plan(limit(period="hour"))
    noon = at("2026-03-02T12:30:00").timestamp()
    text = planned.text(noon)
    assert planned.text(noon + 60) is text
    assert planned.text(noon + 3600) != text
    assert planned.text(noon) == text
    assert planned.text(noon - 86_400) != text


def test_a_plan_knows_the_end_of_any_window() -> None:
    planned = plan(limit(period="hour"), limit("rolling", window="rolling"))
    noon = at("2026-03-02T12:30:00")
    assert planned.ends_at(0, noon) == at("2026-03-02T13:00:00")
    planned.text(noon.timestamp() + 7200)
    assert planned.ends_at(0, noon) == at("2026-03-02T13:00:00")
    assert planned.ends_at(0, noon + timedelta(hours=3)) == at("2026-03-02T16:00:00")
    assert planned.ends_at(1, noon) is None
