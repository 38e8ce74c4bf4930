"""The auditor: what the pipeline leaves undone is found, and no question takes another one with it."""

from __future__ import annotations

import time
from datetime import timedelta

import psycopg2
import pytest
from sqlalchemy import text

from app import clock
from app.alerts import auditing, metrics, synthetic
from app.alerts.auditing import Audit
from app.infra.db import read_only, unit_of_work
from tests.alerts.pipe import Pipe, pipe

__all__ = ["pipe"]


def audited() -> Audit:
    with read_only() as session:
        return auditing.audit(session, clock.now())


def scraped() -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value for family in metrics.alerts() for sample in family.samples
    }


def test_while_all_goes_its_way_there_is_nothing_to_find(pipe: Pipe):
    pipe.fire()
    pipe.run()
    audit = audited()
    assert (audit.clean, audit.findings) == (True, ())
    assert audit.as_dict()["clean"] is True
    assert audit.as_dict()["tick_age_seconds"] < 10


def test_an_installation_whose_tick_never_ran_is_not_clean(pipe: Pipe):
    assert audited().findings == ("the alert tick has never run",)


def test_a_tick_that_stopped_and_a_notification_that_nobody_tries_are_found(pipe: Pipe):
    pipe.fire()
    pipe.run()
    pipe.age(timedelta(seconds=130))
    first, second = audited().findings
    assert first.startswith("the last alert tick ran 13")
    assert second.startswith("a notification has waited 13")


def test_a_paused_tick_is_found_although_nothing_is_down(pipe: Pipe):
    pipe.run()
    pipe.sql("INSERT INTO schedule (name, paused_at, paused_by) VALUES ('alert-tick', now(), 'ann')")
    assert audited().findings == ("the alert tick is paused by ann: no alert is grouped, sent or escalated",)


def test_a_problem_of_which_nobody_has_heard_is_found(pipe: Pipe):
    pipe.fire()
    pipe.run()
    pipe.sql("UPDATE notifications SET state = 'failed', finished_at = now()")
    assert audited().clean
    pipe.age(timedelta(minutes=6))
    pipe.run()
    assert audited().findings == ("groups of alerts that were told at least 5 min 0 s ago and reached nobody: 1",)
    pipe.sql("UPDATE notifications SET state = 'delivered'")
    assert audited().clean


@pytest.mark.parametrize(
    ("outcome", "minutes", "found"),
    [
        ("delivered in 1 s", 60, None),
        ("waiting", 9, None),
        ("waiting", 11, "nobody has seen whether the test alert of"),
        ("failed: person:ann by slack: answered 404", 1, "the test alert failed: person:ann by slack"),
        ("held back: silence, ann: moving", 60, None),
        ("delivered in 1 s", 125, "the last test alert was sent 2 h 5 min ago"),
    ],
)
def test_what_the_test_alert_says_counts(pipe: Pipe, outcome: str, minutes: float, found: str | None):
    pipe.sql(
        "UPDATE alert_clock SET synthetic_outcome = :outcome, synthetic_at = now() - make_interval(secs => :age)",
        outcome=outcome,
        age=minutes * 60,
    )
    pipe.run()
    audit = audited()
    assert audit.clean if found is None else audit.findings[0].startswith(found)
    pipe.sql(f"INSERT INTO schedule (name, paused_at) VALUES ('{synthetic.ENTRY}', now())")
    assert audited().clean


def test_a_table_that_somebody_locks_costs_its_own_question_only(pipe: Pipe, database: str):
    pipe.run()
    connection = psycopg2.connect(database)
    connection.cursor().execute("LOCK TABLE notifications IN ACCESS EXCLUSIVE MODE")
    started = time.monotonic()
    audit = audited()
    assert time.monotonic() - started < 4
    assert set(audit.findings) == {
        "late alerts could not be counted in time",
        "groups that reached nobody could not be counted in time",
    }
    assert audit.tick.seconds is not None
    connection.close()


def test_the_question_about_unreached_groups_goes_by_the_index_of_open_ones(pipe: Pipe):
    pipe.sql(
        "INSERT INTO alert_groups (id, thread, route, labels, severity, timing, told_at, closed_at)"
        " SELECT gen_random_uuid(), 't' || i, 'r', '{}', 'error', '{}', now() - interval '1 h',"
        " CASE WHEN i % 100 > 0 THEN now() END FROM generate_series(1, 200000) AS i"
    )
    pipe.sql("ANALYZE alert_groups")
    started = time.monotonic()
    assert audited().findings[-1].endswith("reached nobody: 2000")
    assert time.monotonic() - started < 1
    with unit_of_work() as uow:
        plan = "\n".join(uow.session.execute(text(f"EXPLAIN {auditing._UNREACHED}")).scalars())
    assert "Seq Scan on alert_groups" not in plan


def test_the_page_of_metrics_shows_the_tick_what_waits_and_what_is_open(pipe: Pipe):
    assert ("smm_alert_tick_age_seconds",) not in scraped()
    pipe.fire(severity="critical")
    pipe.run()
    pipe.age(timedelta(seconds=42))
    seen = scraped()
    assert 42 <= seen[("smm_alert_tick_age_seconds",)] < 50
    assert 42 <= seen[("smm_notifications_waiting_oldest_seconds",)] < 50
    assert seen[("smm_alert_episodes", "firing", "critical")] == 1
    assert seen[("smm_alerts_overdue_seconds",)] == 0
