"""What a scrape reads of the engine, on a real Postgres and Valkey."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator

import psycopg2
import pytest
from prometheus_client.core import Metric
from sqlalchemy import text

import celeryconfig
from app import clock
from app.errors import Transient
from app.infra import db, ids, queue, redis
from app.jobs import counting, metrics, queues, schedule
from app.jobs.core import PRIORITIES

Samples = dict[tuple[str, ...], float]


@pytest.fixture(autouse=True)
def composed() -> Iterator[None]:
    queue.configure(celeryconfig.QUEUES)
    schedule.configure(celeryconfig.BEAT)
    yield
    queue.configure(())
    schedule.configure({})


def samples(families: Iterable[Metric]) -> Samples:
    """Samples by name and label values."""
    return {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}


def add_job(uow: db.UnitOfWork, *, queue: str, state: str, due_seconds_ago: float) -> None:
    uow.execute(
        "INSERT INTO jobs (id, task, queue, state, priority, kwargs, max_attempts, not_before) VALUES"
        " (:id, 'tasks.a', :queue, :state, 3, '{}', 5, now() - make_interval(secs => :ago))",
        id=ids.uuid7(),
        queue=queue,
        state=state,
        ago=due_seconds_ago,
    )


def add_dead_job(uow: db.UnitOfWork, *, queue: str) -> None:
    uow.execute(
        "INSERT INTO job_history (id, task, queue, state, priority, kwargs, attempt, max_attempts, created_at,"
        " not_before) VALUES (:id, 'tasks.a', :queue, 'dead', 3, '{}', 5, 5, now(), now())",
        id=ids.uuid7(),
        queue=queue,
    )


def test_an_idle_engine_shows_zeros_for_every_queue(database: str) -> None:
    found = samples(metrics.ledger())
    for name in celeryconfig.QUEUES:
        assert found["smm_jobs", name, "running"] == 0
        assert found["smm_oldest_due_job_age_seconds", name] == 0
        assert found["smm_dead_jobs", name] == 0
        assert found["smm_queue_paused", name] == 0


def test_jobs_are_counted_by_queue_and_state_and_only_the_due_ones_grow_old(database: str) -> None:
    with db.unit_of_work() as uow:
        add_job(uow, queue="high", state="rung", due_seconds_ago=40)
        add_job(uow, queue="high", state="scheduled", due_seconds_ago=100)
        add_job(uow, queue="high", state="scheduled", due_seconds_ago=-3600)
        add_job(uow, queue="high", state="running", due_seconds_ago=5000)
        add_dead_job(uow, queue="bulk")
        uow.execute("INSERT INTO queue_pauses (queue, paused_by) VALUES ('bulk', 'a test')")
    found = samples(metrics.ledger())
    assert [found["smm_jobs", "high", state] for state in ("scheduled", "rung", "running")] == [2, 1, 1]
    assert found["smm_due_jobs", "high"] == 2
    assert found["smm_oldest_due_job_age_seconds", "high"] == pytest.approx(100, abs=5)
    assert found["smm_dead_jobs", "bulk"] == 1
    assert found["smm_queue_paused", "bulk"] == 1


def test_counting_ends_at_its_bound_and_still_finds_the_job_that_waits_longest(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "COUNTED_MOST", 3)
    with db.unit_of_work() as uow:
        for age in (10, 90, 20, 30, -50):
            add_job(uow, queue="high", state="scheduled", due_seconds_ago=age)
            add_job(uow, queue="bulk", state="running", due_seconds_ago=age)
            add_dead_job(uow, queue="bulk")
    found = samples(metrics.ledger())
    assert found["smm_jobs", "high", "scheduled"] == 3
    assert found["smm_jobs", "bulk", "running"] == 3
    assert found["smm_due_jobs", "high"] == 3
    assert found["smm_dead_jobs", "bulk"] == 3
    assert found["smm_oldest_due_job_age_seconds", "high"] == pytest.approx(90, abs=5)


def test_a_queue_among_many_jobs_is_counted_without_a_look_at_the_others(database: str) -> None:
    with db.unit_of_work() as uow:
        for state in ("scheduled", "rung"):
            uow.execute(
                "INSERT INTO jobs (id, task, queue, state, priority, kwargs, max_attempts, rung_at) SELECT"
                " gen_random_uuid(), 'tasks.a', 'bulk', :state, 3, '{}', 5, now() FROM generate_series(1, 15000)",
                state=state,
            )
        uow.execute("ANALYZE jobs")
    with db.unit_of_work() as uow:
        held = queues.ledger(uow.session)
        shown = {row["name"]: row for row in queues.document(held, queues.Messages())["queues"]}
        assert shown["bulk"]["jobs"] == {"scheduled": 10_000, "rung": 10_000, "running": 0}
        assert shown["bulk"]["capped"] == ["scheduled", "rung"]
        assert shown["high"]["capped"] == []
        assert queues.waiting_jobs(uow.session, "bulk") == "20,000+"
        assert queues.waiting_jobs(uow.session, "high") == "0"
        for statement in (counting._COUNTS, counting._DUE):
            wanted = {"queues": list(queue.names()), "priorities": PRIORITIES, "most": 10_000}
            plan = "\n".join(uow.session.execute(text(f"EXPLAIN {statement}"), wanted).scalars())
            assert "Seq Scan on jobs" not in plan, plan


def test_entries_of_the_timetable_grow_late_unless_paused(database: str) -> None:
    with db.unit_of_work() as uow:
        schedule.sync(uow, clock.now())
        uow.execute(
            "UPDATE schedule SET last_run_at = now() - interval '61 s' WHERE name IN ('job-relay', 'timetable')"
        )
        uow.execute("UPDATE schedule SET next_due_at = now() - interval '30 s' WHERE name = 'partitions'")
        schedule.pause(uow, "timetable", who="a test")
    found = samples(metrics.ledger())
    assert found["smm_schedule_overdue_seconds", "job-relay"] == pytest.approx(60, abs=5)
    assert found["smm_schedule_overdue_seconds", "partitions"] == pytest.approx(30, abs=5)
    assert found["smm_schedule_overdue_seconds", "retention"] == 0
    assert found["smm_schedule_overdue_seconds", "timetable"] == 0
    assert found["smm_schedule_paused", "timetable"] == 1
    assert ("smm_schedule_overdue_seconds", "health-checks") not in found


def test_messages_are_counted_over_all_priorities(database: str, redis_server: str) -> None:
    for priority in (0, 3, 9):
        assert queue.ring([queue.Doorbell(str(ids.uuid7()), "tasks.a", "bulk", priority)]) == 1
    oldest = json.loads(redis.client().lindex(queue.list_keys("bulk")[-1], -1))
    oldest["headers"][queue.SENT_AT] -= 50
    redis.client().lset(queue.list_keys("bulk")[-1], -1, json.dumps(oldest))
    redis.client().hset(f"{redis.PREFIX}unacked", "a-tag", "[]")
    found = samples(metrics.wire())
    assert found["smm_queue_messages", "bulk"] == 3
    assert found["smm_queue_messages", "tick"] == 0
    assert found["smm_queue_oldest_message_age_seconds", "bulk"] == pytest.approx(50, abs=5)
    assert found["smm_queue_oldest_message_age_seconds", "tick"] == 0
    assert found[("smm_unacked_messages",)] == 1


def test_a_worker_that_fell_silent_or_makes_no_sense_is_not_counted() -> None:
    present = {
        "high@one": json.dumps({"at": 995.0, "queues": ["high", "intake"], "concurrency": 1}),
        "high@two": json.dumps({"at": 999.0, "queues": ["high"], "concurrency": 4}),
        "bulk@one": json.dumps({"at": 900.0, "queues": ["bulk"], "concurrency": 1}),
        "broken@one": "{",
        "strange@one": json.dumps(["another", "shape"]),
    }
    found = samples(metrics.workers(present, now=1000.0))
    assert found["smm_workers", "high"] == 2
    assert found["smm_worker_children", "high"] == 5
    assert found["smm_workers", "intake"] == 1
    assert found["smm_workers", "bulk"] == 0
    assert found["smm_worker_heard_age_seconds", "bulk@one"] == 100


def test_a_locked_database_ends_the_reading_within_its_bound(database: str) -> None:
    with psycopg2.connect(database) as connection:
        connection.cursor().execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
        started = time.monotonic()
        with pytest.raises(Transient):
            list(metrics.ledger())
        assert time.monotonic() - started < metrics.STATEMENT_MS / 1000 + 1
        connection.rollback()
