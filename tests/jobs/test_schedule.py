from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

import celeryconfig
from app.errors import NotFound
from app.infra.db import read_only, unit_of_work
from app.jobs import schedule
from app.jobs.schedule import Dated, Every, next_due
from tests.fixtures.ledger import Ledger

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@given(
    after=st.datetimes(datetime(2026, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    hour=st.integers(0, 23),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]),
)
def test_a_daily_entry_is_due_once_a_day_also_when_clocks_change(after: datetime, hour: int, zone: str) -> None:
    entry = Dated("t", at=f"{hour:02}:30", timezone=zone)
    due = next_due(entry, after)
    assert after < due <= after + timedelta(hours=25)
    following = next_due(entry, due)
    assert timedelta(hours=22) < following - due < timedelta(hours=26)


def test_a_time_that_the_clock_change_skips_falls_due_after_the_gap() -> None:
    entry = Dated("t", at="02:30", timezone="Europe/Berlin")
    due = next_due(entry, datetime(2026, 3, 29, 0, 0, tzinfo=UTC))
    assert due == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    assert due.astimezone(ZoneInfo("Europe/Berlin")).hour == 3


@pytest.fixture
def timetable(ledger: Ledger) -> Ledger:
    schedule.configure(
        {"daily": Dated("tests.record", at="09:00"), "often": Dated("tests.record", seconds=60), "beat": Every(1, "t")}
    )
    with unit_of_work() as uow:
        schedule.sync(uow, NOON)
    yield ledger
    schedule.configure(celeryconfig.BEAT)


def submit_due(now: datetime) -> list[str]:
    with unit_of_work() as uow:
        return schedule.submit_due(uow, now)


def test_an_interval_entry_is_due_at_once_and_a_daily_one_at_its_time(timetable: Ledger) -> None:
    assert submit_due(NOON) == ["often"]
    assert submit_due(NOON) == []
    assert submit_due(NOON + timedelta(hours=21)) == ["daily", "often"]


def test_missed_times_are_made_up_once(timetable: Ledger) -> None:
    week_later = NOON + timedelta(days=7)
    assert submit_due(week_later) == ["daily", "often"]
    assert submit_due(week_later) == []
    rows = {row.name: row.next_due_at for row in timetable.sql("SELECT name, next_due_at FROM schedule")}
    assert rows["daily"] == datetime(2026, 11, 29, 9, tzinfo=UTC)
    assert rows["often"] == week_later + timedelta(seconds=60)


def test_two_beats_submit_one_job(timetable: Ledger) -> None:
    with unit_of_work() as one, unit_of_work() as two:
        assert schedule.submit_due(one, NOON) == ["often"]
        assert schedule.submit_due(two, NOON) == []
    [row] = timetable.sql("SELECT count(*) AS n FROM jobs")
    assert row.n == 1


def test_a_paused_entry_waits_and_then_runs_once(timetable: Ledger) -> None:
    with unit_of_work() as uow:
        schedule.pause(uow, "often", who="a test", reason="upkeep")
    assert submit_due(NOON + timedelta(hours=1)) == []
    with read_only() as session:
        [shown] = [entry for entry in schedule.overview(session) if entry["name"] == "often"]
    assert (shown["paused_by"], shown["pause_reason"]) == ("a test", "upkeep")
    with unit_of_work() as uow:
        schedule.resume(uow, "often")
    assert submit_due(NOON + timedelta(hours=1)) == ["often"]


def test_a_new_timing_replaces_the_old_due_time(timetable: Ledger) -> None:
    submit_due(NOON)
    schedule.configure({"often": Dated("tests.record", seconds=10)})
    assert submit_due(NOON + timedelta(seconds=1)) == ["often"]


def test_an_entry_that_left_the_timetable_is_forgotten(timetable: Ledger) -> None:
    schedule.configure({"beat": Every(1, "t")})
    assert submit_due(NOON) == []
    assert timetable.sql("SELECT name FROM schedule WHERE name = 'often'") == []


def test_an_unknown_entry_is_named(timetable: Ledger) -> None:
    with pytest.raises(NotFound, match="no entry nightly; it has beat, daily, often"), unit_of_work() as uow:
        schedule.pause(uow, "nightly", who="x")


def test_a_run_that_is_recorded_before_the_entry_has_a_row_does_not_keep_it_from_falling_due(timetable: Ledger) -> None:
    timetable.sql("DELETE FROM schedule")
    schedule.ran("often", outcome="succeeded", duration_ms=5)
    assert submit_due(NOON) == ["often"]


def test_a_dated_entry_without_a_due_time_gets_one(timetable: Ledger) -> None:
    timetable.sql("UPDATE schedule SET next_due_at = NULL")
    assert submit_due(NOON) == ["often"]
    rows = {row.name: row.next_due_at for row in timetable.sql("SELECT name, next_due_at FROM schedule")}
    assert rows["daily"] == datetime(2026, 11, 22, 9, tzinfo=UTC)
    assert rows["beat"] is None


def runs(ledger: Ledger) -> list[str]:
    return [row.name for row in ledger.sql("SELECT name FROM schedule WHERE last_run_at IS NOT NULL")]


def test_a_run_counts_for_the_entry_whose_job_the_timetable_submitted(timetable: Ledger) -> None:
    submit_due(NOON)
    [job] = timetable.sql("SELECT key, caller FROM jobs")
    schedule.job_ran(job.key, "somebody", outcome="dead", duration_ms=5)
    schedule.job_ran(job.key, None, outcome="dead", duration_ms=5)
    assert runs(timetable) == []
    schedule.job_ran(job.key, job.caller, outcome="succeeded", duration_ms=5)
    assert runs(timetable) == ["often"]


def test_a_run_out_of_turn_counts_and_says_who_asked(timetable: Ledger) -> None:
    with unit_of_work() as uow:
        schedule.run_now(uow, "daily", who="cli:ann")
    [job] = timetable.sql("SELECT key, caller FROM jobs")
    assert job.caller == "schedule:cli:ann"
    schedule.job_ran(job.key, job.caller, outcome="succeeded", duration_ms=5)
    assert runs(timetable) == ["daily"]
