"""Roll-ups made anew from the calls differ by nothing; where they do, they are repaired, and a trace is kept."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from app import clock
from app.costs import recomputing, turns
from app.costs.recomputing import DIFFERED
from app.errors import Invalid, Transient
from tests.costs.conftest import Drain, added_up
from tests.costs.sent import call
from tests.fixtures.servers import forget

NOW = datetime(2026, 11, 21, 2, 20, tzinfo=UTC)
DAY = date(2026, 11, 20)
NOON = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)


def touched(drain: Drain) -> list[tuple[date, bool]]:
    rows = drain.sql("SELECT start_at, looking FROM cost_touched_days ORDER BY 1, 2")
    return [(row.start_at.date(), row.looking) for row in rows]


def test_what_the_drain_adds_up_differs_by_nothing(drain: Drain) -> None:
    calls = [call(NOON + timedelta(minutes=20 * number), user=f"u{number % 3}", cost=0.01) for number in range(36)]
    for start in range(0, 36, 6):
        drain.write(calls[start : start + 9])
    assert recomputing.recompute(DAY, NOW) == recomputing.recompute(DAY + timedelta(days=1), NOW) == 0
    assert (drain.count("cost_repairs"), drain.signals(DIFFERED)) == (0, [])
    assert drain.rollups() == added_up(calls)


def test_what_differs_is_repaired_with_a_trace_and_told(drain: Drain) -> None:
    calls = [call(NOON, user=name, cost=0.5) for name in ("ann", "bob", "")]
    drain.write(calls)
    drain.sql("UPDATE cost_hours SET cost_micro_usd = 7 WHERE dimension = 'user' AND name = 'ann'")
    drain.sql("DELETE FROM cost_hours WHERE dimension = 'user' AND name = 'bob'")
    drain.sql("INSERT INTO cost_hours SELECT dimension, start_at, tenant, 'zoe', skill FROM cost_hours WHERE name = ''")
    drain.sql("UPDATE cost_days SET calls = calls + 1 WHERE dimension = 'model'")
    wrong = 2 + drain.sql("SELECT count(*) AS n FROM cost_hours WHERE name = 'zoe'")[0].n
    assert recomputing.recompute(DAY, NOW) == wrong + 1
    assert drain.rollups() == added_up(calls)
    assert drain.rollups("days") == added_up(calls, hours=False)
    kept = {(row.level, row.name): row for row in drain.sql("SELECT * FROM cost_repairs")}
    assert (kept["hours", "ann"].before["cost_micro_usd"], kept["hours", "ann"].after["cost_micro_usd"]) == (7, 500_000)
    assert (kept["hours", "bob"].before, kept["hours", "bob"].after["calls"]) == ({}, 1)
    assert (kept["hours", "zoe"].before["calls"], kept["hours", "zoe"].after) == (0, {})
    [signal] = drain.signals(DIFFERED)
    assert signal.facts == {"day": str(DAY), "rows": wrong + 1}
    assert recomputing.recompute(DAY, NOW) == 0


def test_only_a_repair_waits_for_those_who_write(drain: Drain, monkeypatch: pytest.MonkeyPatch) -> None:
    drain.write([call(NOON)])
    monkeypatch.setenv("SMM_DB_LOCK_TIMEOUT_SECONDS", "0.05")
    forget()
    with turns.connected() as connection, turns.writing(connection):
        assert recomputing.recompute(DAY, NOW) == 0
        drain.sql("UPDATE cost_hours SET calls = 9")
        with pytest.raises(Transient):
            recomputing.recompute(DAY, NOW)


def test_each_night_yesterday_is_compared_and_every_day_that_calls_came_for(drain: Drain) -> None:
    late = NOON - timedelta(days=9)
    drain.write([call(late, cost=1), call(NOW, cost=1)])
    drain.sql("UPDATE cost_hours SET calls = 5 WHERE start_at < :noon", noon=NOON)
    done = recomputing.recompute_touched(NOW)
    assert (done.days, done.left) == ([late.date(), DAY], 0)
    assert done.repaired == 4, "the hour in each dimension; the day itself was right"
    assert touched(drain) == [(NOW.date(), False)]
    assert recomputing.recompute_touched(NOW).days == [DAY]


def test_a_job_whose_time_is_up_leaves_days_to_the_next_one(drain: Drain) -> None:
    drain.write([call(NOON - timedelta(days=days)) for days in (2, 3)])
    done = recomputing.recompute_touched(NOW, seconds=0)
    assert (done.days, done.left) == ([DAY - timedelta(days=3)], 2)
    assert recomputing.recompute_touched(NOW, seconds=0).days == [DAY - timedelta(days=2)]


def test_calls_that_come_while_a_day_is_compared_let_it_be_compared_again(drain: Drain) -> None:
    drain.write([call(NOON)])
    recomputing._begin(DAY)
    assert touched(drain) == [(DAY, True)]
    drain.write([call(NOON)])
    recomputing._end(DAY)
    assert touched(drain) == [(DAY, False)]


def test_a_comparison_that_was_killed_is_made_the_next_time(drain: Drain) -> None:
    drain.write([call(NOON - timedelta(days=5))])
    recomputing._begin(DAY - timedelta(days=5))
    assert recomputing.recompute_touched(NOW).days == [DAY - timedelta(days=5), DAY]
    assert touched(drain) == []


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("days", [-2, 400])
def test_a_day_without_all_its_calls_is_refused(days: int) -> None:
    now = clock.now()
    with pytest.raises(Invalid) as caught:
        recomputing.recompute(now.date() - timedelta(days=days), now)
    assert [problem.field for problem in caught.value.problems] == ["day"]
