"""Is anybody told? The probe of the alert pipeline, on a real database, small and large."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg2
import pytest

from app import clock
from app.health import alerting
from app.health.probes import celery
from app.health.probing import CannotTell, Outcome, Target
from app.infra.db import unit_of_work

MANY = 200_000


def target(url: str, timeout: float = 5, **more: object) -> Target:
    return Target(name="alerting", timeout_seconds=timeout, home=Path("/"), database_url=url, **more)


def asked(url: str, **more: object) -> Outcome | CannotTell:
    return celery.probe(target(url, **more), celery.Options(part="alerts"))


def sql(statement: str, **values: object) -> None:
    with unit_of_work() as uow:
        uow.execute(statement, **values)


def passed(seconds_ago: float) -> None:
    sql("UPDATE alert_clock SET passed_at = now() - make_interval(secs => :age)", age=seconds_ago)


def group(due_seconds_ago: float, *, closed: bool = False) -> None:
    sql(
        "INSERT INTO alert_groups (id, thread, route, labels, severity, timing, due_at, closed_at) VALUES"
        " (gen_random_uuid(), gen_random_uuid()::text, 'routing', '{}', 'error', '{}',"
        " now() - make_interval(secs => :age), CASE WHEN :closed THEN now() END)",
        age=due_seconds_ago,
        closed=closed,
    )


def notification(age: float, *, state: str = "waiting", tried: bool = False) -> None:
    sql(
        "INSERT INTO notifications (id, thread, step, recipient, channel, reason, event, severity, message, fact_at,"
        " state, created_at, sent_at) VALUES (gen_random_uuid(), 't', 0, 'channel:x', 'x', gen_random_uuid()::text,"
        " 'firing', 'error', '{}', now(), :state, now() - make_interval(secs => :age),"
        " CASE WHEN :tried THEN now() END)",
        age=age,
        state=state,
        tried=tried,
    )


def test_while_the_tick_passes_and_nothing_is_late_all_is_well(database: str):
    passed(2)
    group(-30)
    group(500, closed=True)
    notification(60)
    notification(500, state="delivered")
    notification(500, tried=True)
    outcome = asked(database)
    assert (outcome.error, outcome.degraded) == (None, None)
    assert 2 <= outcome.readings["last_tick_seconds"] < 5
    assert outcome.readings["overdue_seconds"] == 0
    assert 60 <= outcome.readings["waiting_seconds"] < 65


def test_a_tick_older_than_half_a_minute_is_a_failure(database: str):
    passed(29)
    assert asked(database).error is None
    passed(31)
    assert (asked(database).error.code, asked(database).error.text) == ("silent", "the last alert tick ran 31 s ago")


def test_before_its_first_tick_a_new_installation_may_be_starting(database: str):
    assert asked(database).error.text == "the alert tick has never run"
    assert isinstance(asked(database, watched_since=clock.now()), CannotTell)
    assert isinstance(asked(database, watched_since=clock.now() - timedelta(seconds=61)), Outcome)


def test_before_the_migration_that_brings_alerts_nothing_is_claimed(database: str):
    sql("ALTER TABLE alert_clock RENAME TO not_yet")
    assert isinstance(asked(database), CannotTell)


@pytest.mark.parametrize(
    ("late", "code"),
    [
        ("group", "overdue"),
        ("episode", "overdue"),
        ("batch", "overdue"),
        ("notification", "unsent"),
    ],
)
def test_work_that_a_passing_tick_leaves_undone_is_a_failure(database: str, late: str, code: str):
    passed(1)
    match late:
        case "group":
            group(61)
        case "episode":
            sql(
                "INSERT INTO alert_episodes (id, fingerprint, name, severity, labels, annotations, source, state,"
                " starts_at, due_at) VALUES (gen_random_uuid(), 'f', 'A', 'error', '{}', '{}', 'api', 'firing', now(),"
                " now() - interval '61 s')"
            )
        case "batch":
            sql(
                "INSERT INTO alert_inbox (source, alerts, body, received_at)"
                " VALUES ('api', 0, '', now() - interval '61 s')"
            )
        case "notification":
            notification(121)
    assert asked(database).error.code == code


def test_a_paused_entry_is_not_down_but_degraded_and_says_who_paused_it(database: str):
    passed(4000)
    group(3900)
    sql(f"INSERT INTO schedule (name, paused_at, paused_by) VALUES ('{alerting.ENTRY}', now(), 'ann')")
    outcome = asked(database)
    assert outcome.error is None
    assert outcome.degraded == "paused by ann: no alert is grouped, sent or escalated"
    assert outcome.degraded.split(" ")[0] in celery.ADVICE


@contextmanager
def locked(url: str, table: str) -> Iterator[None]:
    connection = psycopg2.connect(url)
    connection.cursor().execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
    try:
        yield
    finally:
        connection.close()


def test_when_late_work_cannot_be_counted_in_time_the_tick_is_judged_and_that_is_said(database: str):
    passed(1)
    with locked(database, "notifications"):
        started = time.monotonic()
        outcome = asked(database, timeout=1.0)
        assert time.monotonic() - started < 1
        assert outcome.error is None
        assert outcome.degraded.startswith("uncounted")
        passed(31)
        assert asked(database, timeout=1.0).error.code == "silent"


@pytest.fixture
def large(database: str) -> str:
    """What a year leaves behind, and a storm on top: 200,000 rows of each kind, of which few are open and due."""
    connection = psycopg2.connect(database)
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute(
        "INSERT INTO alert_groups (id, thread, route, labels, severity, timing, due_at, closed_at)"
        " SELECT gen_random_uuid(), 't' || i, 'r', '{}', 'error', '{}', now() - i * interval '1 s',"
        f" CASE WHEN i % 4 > 0 THEN now() END FROM generate_series(1, {MANY}) AS i"
    )
    cursor.execute(
        "INSERT INTO alert_episodes (id, fingerprint, name, severity, labels, annotations, source, state, starts_at,"
        " due_at) SELECT gen_random_uuid(), 'f' || i, 'A', 'error', '{}', '{}', 'api',"
        " CASE WHEN i % 4 > 0 THEN 'resolved' ELSE 'firing' END, now(), now() - i * interval '1 s'"
        f" FROM generate_series(1, {MANY}) AS i"
    )
    cursor.execute(
        "INSERT INTO notifications (id, thread, step, recipient, channel, reason, event, severity, message, fact_at,"
        " state, created_at, sent_at) SELECT gen_random_uuid(), 't', 0, 'channel:x', 'x', i::text, 'firing', 'error',"
        " '{}', now(), CASE WHEN i % 4 = 0 THEN 'waiting' ELSE 'delivered' END, now() - i * interval '1 s', now()"
        f" FROM generate_series(1, {MANY}) AS i"
    )
    for table in ("alert_groups", "alert_episodes", "notifications"):
        cursor.execute(f"VACUUM ANALYZE {table}")
    cursor.execute("UPDATE alert_clock SET passed_at = now()")
    connection.close()
    return database


def scans(plan: dict) -> Iterator[tuple[str, str, int]]:
    if "Relation Name" in plan:
        yield plan["Node Type"], plan["Relation Name"], plan.get("Actual Rows", 0)
    for inner in plan.get("Plans", []):
        yield from scans(inner)


@pytest.mark.slow
def test_of_two_hundred_thousand_rows_it_reads_what_is_open_by_index_and_is_quick(large: str):
    connection = psycopg2.connect(large)
    cursor = connection.cursor()
    cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {alerting.WORK}")
    plan = cursor.fetchone()[0]
    connection.close()
    plan = plan if isinstance(plan, list) else json.loads(plan)
    seen = list(scans(plan[0]["Plan"]))
    assert {relation for _, relation, _ in seen} == {"alert_groups", "alert_episodes", "alert_inbox", "notifications"}
    large_ones = [(node, relation) for node, relation, _ in seen if relation != "alert_inbox"]
    assert all("Index" in node for node, relation in large_ones), seen
    assert plan[0]["Execution Time"] < 250
    started = time.monotonic()
    outcome = asked(large)
    assert outcome.error.code == "overdue"
    assert time.monotonic() - started < 1


def test_many_probes_at_once_do_not_hold_up_one_another(database: str):
    passed(1)
    seen: list[object] = []
    threads = [threading.Thread(target=lambda: seen.append(asked(database).error)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert seen == [None] * 8
