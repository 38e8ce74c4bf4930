"""Hours and days of availability, rolled up on a real Postgres and checked against plain Python."""

from __future__ import annotations

import threading
from dataclasses import asdict, astuple
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from sqlalchemy import text

from app.health.availability import rollup
from app.health.availability.hours import hours
from app.infra.db import read_only, unit_of_work
from tests.health.histories import (
    HOUR,
    History,
    Incident,
    Result,
    Sums,
    expected,
    write,
    write_incident,
    write_result,
)

NOON = datetime(2026, 3, 31, 12, tzinfo=UTC)
COLUMNS = ", ".join(asdict(Sums()))
STATES = ("up", "up", "up", "degraded", "down")

pytestmark = pytest.mark.usefixtures("database")


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def steady(first: float, last: float, step: float = 1, **more: Any) -> list[Result]:
    """A result each `step` minutes."""
    return [Result(at(first + step * number), **more) for number in range(int((last - first) / step))]


def store(*histories: History) -> None:
    with unit_of_work() as uow:
        write(uow, histories)


def roll(now: datetime) -> None:
    """A pass of the rollup, and its backlog until nothing is left."""
    with unit_of_work() as uow:
        rollup.roll_up(uow, now)
    for _ in range(10):  # a pass is as long as a job may be: on a slow machine the rest is the next one's
        rollup.catch_up(now)
        if not owed():
            return
    assert owed() == []


def rows(query: str, **values: Any) -> list[Any]:
    with read_only() as session:
        return list(session.execute(text(query), values))


def owed() -> list[Any]:
    return rows("SELECT since, until FROM rollup_backlog ORDER BY since")


def stored(moment: datetime) -> dict[str, Sums]:
    """What is stored of an hour, by service."""
    query = f"SELECT service, {COLUMNS} FROM service_hours WHERE hour = :hour"
    return {service: Sums(*sums) for service, *sums in rows(query, hour=moment)}


def minutes(service: str, moment: datetime = NOON) -> tuple[float, ...]:
    """Minutes known, down, degraded, excluded."""
    return tuple(ms / 60_000 for ms in astuple(stored(moment).get(service, Sums()))[:4])


def test_an_hour_of_good_results_is_known_and_up() -> None:
    store(History("web", [Result(at(minute), latency_ms=10.0 + minute) for minute in range(-5, 60)]))
    roll(at(70))
    sums = stored(NOON)["web"]
    assert minutes("web") == (60, 0, 0, 0)
    assert (sums.probes, sums.failed, sums.latency_count) == (60, 0, 60)
    assert (sums.latency_min_ms, sums.latency_max_ms, sums.latency_sum_ms) == (10, 69, sum(range(10, 70)))


def test_a_result_vouches_for_three_intervals_and_a_minute_at_least_and_no_longer() -> None:
    store(History("web", [Result(at(10))]), History("quick", [Result(at(10))], interval=10))
    store(History("daily", [Result(at(-60 * 71))], interval=86_400))
    roll(at(59))
    assert minutes("web") == (3, 0, 0, 0)
    assert minutes("quick") == (1, 0, 0, 0)
    assert minutes("daily") == (59, 0, 0, 0)
    roll(at(130))
    assert minutes("daily", NOON + HOUR) == (0, 0, 0, 0)
    assert "daily" not in stored(NOON + HOUR)


def test_the_present_hour_is_known_until_now_only() -> None:
    store(History("web", steady(-5, 30)))
    roll(at(29.5))
    assert minutes("web") == (29.5, 0, 0, 0)


def test_an_open_incident_lasts_until_now_over_hours_and_days() -> None:
    store(History("web", steady(-5, 60 * 15, ok=False, state="down"), [Incident(at(20), None)]))
    roll(at(15 * 60))
    assert minutes("web") == (60, 40, 0, 0)
    assert minutes("web", NOON + 14 * HOUR) == (60, 60, 0, 0)
    days = rows("SELECT day, down_ms / 60000 FROM service_days WHERE service = 'web'")
    assert [(day.isoformat(), down) for day, down in days] == [("2026-03-31", 700)]


def test_an_incident_vouches_for_itself_when_nobody_probes() -> None:
    store(History("web", [Result(at(0), ok=False)], [Incident(at(0), at(50))]))
    roll(at(60))
    assert minutes("web") == (50, 50, 0, 0)


def test_maintenance_in_the_middle_of_an_incident_is_in_neither_figure() -> None:
    results = [Result(at(minute), ok=False, state="down", maintenance=20 <= minute < 30) for minute in range(60)]
    store(History("web", results, [Incident(at(10), at(40))]))
    roll(at(60))
    assert minutes("web") == (50, 20, 0, 10)
    spans = rows("SELECT lower(r), upper(r) FROM service_hours, unnest(down_spans) AS r WHERE service = 'web'")
    assert spans == [(at(10), at(20)), (at(30), at(40))]


def test_an_incident_that_began_in_maintenance_counts_once_that_is_over() -> None:
    results = [Result(at(minute), ok=False, state="down", maintenance=minute < 30) for minute in range(60)]
    store(History("web", results, [Incident(at(10), None, maintenance=True)]))
    roll(at(60))
    assert minutes("web") == (30, 30, 0, 30)


def test_the_stack_is_down_while_any_essential_service_is() -> None:
    store(
        History("db", steady(-5, 60), [Incident(at(10), at(20))], essential=True),
        History("broker", steady(-5, 60), [Incident(at(15), at(30))], essential=True),
        History("blog", steady(-5, 60), [Incident(at(40), at(50))]),
    )
    roll(at(60))
    assert minutes("*") == (60, 20, 10, 0)


def test_a_stack_without_essential_services_has_no_figures() -> None:
    store(History("blog", steady(-5, 60)))
    roll(at(60))
    assert set(stored(NOON)) == {"blog"}


def test_a_service_that_was_removed_and_came_back_is_unknown_in_between() -> None:
    store(History("web", [*steady(-5, 10), *steady(40, 60)], [Incident(at(5), at(10))]))
    roll(at(60))
    assert minutes("web") == (10 + 2 + 20, 5, 0, 0)


def test_results_of_a_clock_that_was_set_back_count_once() -> None:
    """The clock said half an hour too much for ten minutes; what it wrote for times to come counts when they come."""
    store(History("web", [*steady(0, 10), *steady(40, 50), *steady(20, 30)]))
    roll(at(30))
    assert minutes("web") == (10 + 2 + 10, 0, 0, 0)
    assert stored(NOON)["web"].probes == 20
    roll(at(60))
    assert minutes("web") == (10 + 2 + 10 + 2 + 10 + 2, 0, 0, 0)


def test_a_pass_repeated_changes_nothing() -> None:
    store(History("web", steady(-300, 60, ok=False, state="down"), [Incident(at(-200), None)], essential=True))
    roll(at(59))
    query = "SELECT hour, service, xmin::text FROM service_hours ORDER BY 1, 2"
    before = rows(query)
    assert len(before) == 12
    roll(at(59))
    assert rows(query) == before


def test_two_passes_at_once_make_one_truth() -> None:
    store(History("web", steady(-300, 60), [Incident(at(-200), at(-100))], essential=True))
    threads = [threading.Thread(target=roll_quietly, args=(at(59),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    roll(at(59))
    assert sum(down for (down,) in rows("SELECT down_ms / 60000 FROM service_hours WHERE service = 'web'")) == 100


def roll_quietly(now: datetime) -> None:
    with unit_of_work() as uow:
        rollup.roll_up(uow, now)
    rollup.catch_up(now)


def test_days_are_the_sum_of_their_hours_also_at_the_end_of_a_month() -> None:
    latencies = [Result(at(number * 5), latency_ms=number % 700) for number in range(-200, 300)]
    store(History("web", latencies, [Incident(at(650), at(800))], interval=300, essential=True))
    roll(at(1500))
    found = rows("SELECT day, service, known_ms, down_ms, probes, latency_buckets FROM service_days ORDER BY 1, 2")
    assert sorted({row.day.isoformat() for row in found}) == ["2026-03-30", "2026-03-31"]
    for row in found:
        parts = rows(
            "SELECT known_ms, down_ms, probes, latency_buckets FROM service_hours"
            " WHERE service = :service AND hour >= :day AND hour < :day + interval '1 day'",
            service=row.service,
            day=datetime.combine(row.day, datetime.min.time(), UTC),
        )
        assert row[2:5] == tuple(sum(part[place] for part in parts) for place in range(3))
        if row.service == "web":
            assert row.latency_buckets == [
                sum(column) for column in zip(*(part.latency_buckets for part in parts), strict=True)
            ]
    assert rows("SELECT down_ms / 60000 FROM service_days WHERE service = 'web' AND day = '2026-03-31'") == [(70,)]
    assert rows("SELECT days_until::text FROM rollup_clock") == [("2026-04-01",)]


def test_what_was_stored_late_is_made_good() -> None:
    store(History("web", steady(0, 60)))
    roll(at(300))
    assert minutes("web", NOON + HOUR) == (2, 0, 0, 0)
    with unit_of_work() as uow:
        for result in steady(60, 120, ok=False, state="down"):
            write_result(uow, "web", result)
        write_incident(uow, "web", Incident(at(30), at(120)))
        rollup.note_late(uow, [at(100), at(30)], at(300))
    assert owed() == [(NOON, NOON + 4 * HOUR)]
    roll(at(301))
    assert minutes("web") == (60, 30, 0, 0)
    assert minutes("web", NOON + HOUR) == (60, 60, 0, 0)


def test_what_is_no_longer_so_does_not_stay() -> None:
    """An incident was open while nobody probed; it turns out to have ended long ago."""
    store(History("web", steady(0, 10), [Incident(at(9), None)]))
    roll(at(300))
    assert minutes("web", NOON + 3 * HOUR) == (60, 60, 0, 0)
    with unit_of_work() as uow:
        uow.execute("UPDATE incidents SET recovered_at = :at", at=at(12))
        rollup.note_late(uow, [at(12)], at(300))
    roll(at(301))
    assert minutes("web") == (12, 3, 0, 0)
    assert stored(NOON + 3 * HOUR) == {}


def test_what_is_stored_in_time_is_not_noted() -> None:
    with unit_of_work() as uow:
        for minute in (59.9, 55, 1, 0):
            rollup.note_late(uow, [at(minute)], at(60))
        rollup.note_late(uow, [], at(60))
    assert owed() == []
    with unit_of_work() as uow:
        rollup.note_late(uow, [at(59)], at(69))
    assert owed() == [(NOON, NOON + HOUR)]


def test_after_a_long_absence_the_present_comes_first_and_the_rest_in_steps() -> None:
    store(History("web", steady(-60 * 40, 60, 2, latency_ms=5)))
    with unit_of_work() as uow:
        assert not rollup.roll_up(uow, at(59))
    assert minutes("web") == (59, 0, 0, 0)
    assert owed() == [(at(-60 * 40), NOON)]
    assert rollup.catch_up(at(59)) == 40
    assert owed() == []
    assert rows("SELECT count(*), min(known_ms), sum(probes) FROM service_hours") == [(41, 59 * 60_000, 20 * 60 + 30)]
    with unit_of_work() as uow:
        assert rollup.roll_up(uow, at(59.5))
    roll(at(60 * 30))
    assert rows("SELECT rolled_at FROM rollup_clock") == [(at(60 * 30),)]
    assert rows("SELECT day::text, probes FROM service_days ORDER BY 1") == [
        ("2026-03-29", 4 * 30),
        ("2026-03-30", 24 * 30),
        ("2026-03-31", 13 * 30),
    ]


def test_hours_whose_results_are_forgotten_stay_as_they_were_made() -> None:
    store(History("web", steady(0, 60)))
    roll(at(100))
    later = NOON + timedelta(days=89, hours=1)
    with unit_of_work() as uow:
        uow.execute("DELETE FROM system_health_log")
        rollup.note_late(uow, [at(0)], later)
    roll(later)
    assert minutes("web") == (60, 0, 0, 0)


@pytest.mark.parametrize("seed", range(12))
def test_random_histories_come_out_as_in_plain_python(seed: int) -> None:
    random = Random(seed)
    histories = [a_history(random, name) for name in ("db", "broker", "blog", "shop", "idle")]
    now = at(240) - timedelta(seconds=random.randrange(3600))
    store(*histories)
    roll(now)
    for hour in hours(at(-120), now):
        assert stored(hour) == expected(histories, hour, now), hour


def a_history(random: Random, name: str) -> History:
    """Results every so often with holes, incidents anywhere, both without regard to one another."""
    interval = random.choice((10, 60, 300, 3600))
    second = random.randrange(-7200, 0)
    results = []
    while name != "idle" and second < 14_400:
        if random.random() < 0.9:
            latency = random.choice((None, 0.25, 0.5, 3.0, 42.0, 449.5, 120_000.0, 130_000.0))
            moment = NOON + timedelta(seconds=second)
            results.append(Result(moment, random.choice(STATES), random.random() < 0.8, random.random() < 0.2, latency))
        second += random.randint(1, 2 * interval) if random.random() < 0.95 else 5 * interval
    incidents = []
    for number in range(random.randrange(4)):
        begin = NOON + timedelta(seconds=random.randrange(-7200, 14_400))
        open_one = number == 0 and random.random() < 0.3
        end = None if open_one else begin + timedelta(seconds=random.choice((0, 7, 400, 9000)))
        incidents.append(Incident(begin, end, random.random() < 0.3))
    return History(name, results, incidents, interval, essential=name in ("db", "broker"))
