"""What was accepted becomes episodes, each alert once, whoever drains and whatever else happens."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import pytest

from app import clock
from app.alerts import ingest, posted, store
from app.alerts.fingerprint import fingerprint
from app.alerts.inbox import pack
from app.errors import Transient
from app.infra.db import execute_once
from tests.alerts.pipe import Pipe, pipe

__all__ = ["pipe"]  # the fixture

HOUR = timedelta(hours=1)


def alert(name: str = "Trouble", *, ends: datetime | None = None, starts: datetime | None = None, **labels: str) -> Any:
    made: dict[str, Any] = {"labels": {"alertname": name, **labels}, "annotations": {"summary": "it hurts"}}
    made |= {"startsAt": starts.isoformat()} if starts else {}
    return made | ({"endsAt": ends.isoformat()} if ends else {})


def put(alerts: Sequence[Any], *, source: str = "api", at: datetime | None = None) -> None:
    """What the web process leaves in the inbox."""
    execute_once(
        "INSERT INTO alert_inbox (received_at, source, alerts, body) VALUES (:at, :source, :count, :body)",
        at=at or clock.now(),
        source=source,
        count=len(alerts),
        body=pack(json.dumps(alerts).encode()),
    )


def drain() -> int:
    return ingest.drain(clock.now())


def episodes(where: str = "true") -> list[Any]:
    return execute_once(f"SELECT * FROM alert_episodes WHERE {where} ORDER BY name, opened_at")


def events(episode: uuid.UUID) -> list[str]:
    rows = execute_once("SELECT event FROM alert_history WHERE episode_id = :id ORDER BY id", id=episode)
    return [row.event for row in rows]


def test_a_posted_alert_becomes_a_firing_episode(pipe: Pipe) -> None:
    now = clock.now()
    put([alert(severity="page", team="data", service="shop", starts=now - HOUR, ends=now + HOUR)])
    assert drain() == 1
    (row,) = episodes()
    assert (row.state, row.source, row.routed, row.name) == ("firing", "api", False, "Trouble")
    assert (row.severity, row.team, row.service) == ("critical", "data", "shop")
    assert row.fingerprint == fingerprint(row.labels)
    assert (row.starts_at, row.ends_at, row.due_at, row.ends_explicitly) == (now - HOUR, now + HOUR, now + HOUR, True)
    assert (row.annotations, row.occurrences) == ({"summary": "it hurts"}, 1)
    assert events(row.id) == ["fired"]
    assert execute_once("SELECT FROM alert_inbox") == []


def test_an_alert_without_a_name_has_one_all_the_same(pipe: Pipe) -> None:
    put([{"labels": {"a": "b"}}, {"labels": {"alertname": "x" * 5000}}])
    drain()
    assert [len(row.name) for row in episodes()].count(200) == 1
    assert {row.name for row in episodes()} >= {"alert"}


def test_what_is_not_refreshed_is_over_after_a_while(pipe: Pipe) -> None:
    put([alert()])
    drain()
    assert pipe.run()["grouped"] == 1
    assert pipe.later(minutes=4)["advanced"] == 0
    pipe.later(minutes=2)
    assert [(row.state, row.resolved_by) for row in episodes()] == [("resolved", "timed_out")]


def test_an_alert_that_is_sent_again_stays_one_episode(pipe: Pipe) -> None:
    start = clock.now() - HOUR
    for minute in range(3):
        put([alert(starts=start, ends=start + HOUR + timedelta(minutes=4 + minute))])
        drain()
    (row,) = episodes()
    assert (row.ends_at, row.occurrences) == (start + HOUR + timedelta(minutes=6), 1)
    assert events(row.id) == ["fired"]


def test_the_end_that_was_posted_is_the_end(pipe: Pipe) -> None:
    put([alert(starts=clock.now() - HOUR)])
    drain()
    pipe.run()
    put([alert(starts=clock.now() - HOUR, ends=clock.now())])
    pipe.run()
    (row,) = episodes()
    assert (row.state, row.resolved_by) == ("resolved", "resolved")
    assert pipe.told() == [("first", "ops"), ("resolved", "ops")]


def test_an_end_that_nobody_waits_for_changes_nothing(pipe: Pipe) -> None:
    put([alert(starts=clock.now() - HOUR, ends=clock.now())])
    assert drain() == 1
    assert episodes() == []


def test_the_same_alert_twice_in_a_batch_is_one(pipe: Pipe) -> None:
    now = clock.now()
    put([alert(ends=now + HOUR), alert(ends=now - HOUR, starts=now - 2 * HOUR), alert("Other")])
    put([alert(ends=now + 2 * HOUR)])
    drain()
    assert [(row.name, row.ends_at > now + HOUR) for row in episodes()] == [("Other", False), ("Trouble", True)]


def test_what_ended_and_came_back_within_a_batch_is_the_same_episode(pipe: Pipe) -> None:
    put([alert(starts=clock.now() - HOUR)])
    drain()
    pipe.run()
    put([alert(starts=clock.now() - HOUR, ends=clock.now())])
    put([alert(starts=clock.now())])
    drain()
    (row,) = episodes()
    assert (row.state, row.occurrences) == ("firing", 2)
    assert events(row.id)[-1] == "fired_again"
    pipe.run()
    assert pipe.told() == [("first", "ops")]


def test_a_resolved_episode_does_not_come_back_but_a_new_one_begins(pipe: Pipe) -> None:
    put([alert()])
    drain()
    pipe.later(minutes=6)
    put([alert()])
    drain()
    assert [row.state for row in episodes()] == ["resolved", "firing"]


def test_an_acknowledged_one_stays_acknowledged(pipe: Pipe) -> None:
    put([alert()])
    drain()
    pipe.acknowledge(episodes()[0].id)
    put([alert()])
    drain()
    assert [row.state for row in episodes()] == ["acknowledged"]
    assert episodes()[0].due_at == episodes()[0].ends_at


def test_what_our_signals_raised_is_met_and_not_doubled(pipe: Pipe) -> None:
    raised = pipe.fire("Trouble", severity="warning")
    pipe.sql("UPDATE alert_episodes SET source = 'signal'")
    put([alert(severity="warning")])
    drain()
    (row,) = episodes()
    assert (row.id, row.source, row.ends_at) == (raised, "signal", None)
    put([alert(severity="warning", starts=clock.now() - HOUR, ends=clock.now())])
    drain()
    assert episodes()[0].ends_at is not None


def test_another_alertmanagers_alerts_need_no_refresh_for_a_day(pipe: Pipe) -> None:
    put([alert()], source="webhook")
    drain()
    (row,) = episodes()
    assert row.source == "webhook"
    assert row.ends_at - row.updated_at == timedelta(hours=24)


def test_bad_alerts_among_them_are_left_out(pipe: Pipe) -> None:
    put([{"labels": {}}, alert(), None, 5, {"labels": {"a-b": "c"}}, alert("Other", ends=clock.now() + HOUR)])
    drain()
    assert {row.name for row in episodes()} == {"Trouble", "Other"}


def test_text_that_postgres_refuses_is_stored_as_near_as_can_be(pipe: Pipe) -> None:
    put([{"labels": {"alertname": "\x00\ud800", "path": "C:\\x\n"}, "annotations": {"summary": "a\x00b"}}])
    drain()
    (row,) = episodes()
    assert row.labels == {"alertname": "\ufffd\ufffd", "path": "C:\\x\n"}
    assert row.annotations == {"summary": "a\ufffdb"}


def test_an_alert_that_cannot_be_stored_keeps_no_other_out(pipe: Pipe) -> None:
    pipe.sql("ALTER TABLE alert_episodes ADD CONSTRAINT bad CHECK (name <> 'Poison')")
    put([alert("Poison"), alert("Good"), alert("Better")])
    put([alert("Best")])
    assert drain() == 4
    assert {row.name for row in episodes()} == {"Good", "Better", "Best"}
    (dropped,) = execute_once("SELECT facts FROM alert_history WHERE event = 'dropped'")
    assert dropped.facts["labels"] == {"alertname": "Poison"}
    assert execute_once("SELECT FROM alert_inbox") == []


def test_many_posts_are_taken_in_order_and_in_bounded_batches(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "BATCH_ALERTS", 5)
    start = clock.now() - HOUR
    for minute in range(20):
        put([alert(starts=start, ends=start + HOUR + timedelta(minutes=minute + 1)), alert(f"Other{minute}")])
    assert drain() == 40
    assert len(episodes()) == 21
    assert episodes("name = 'Trouble'")[0].ends_at == start + HOUR + timedelta(minutes=20)


def test_two_drains_at_once_merge_every_alert_once(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "BATCH_ALERTS", 50)
    for number in range(40):
        put([alert(instance=str(place), round=str(number % 4)) for place in range(20)])
    merged: list[int] = []
    threads = [threading.Thread(target=lambda: merged.append(drain())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(merged) == 800
    assert len(episodes()) == 80
    assert all(row.occurrences == 1 for row in episodes())
    assert execute_once("SELECT count(*) AS fired FROM alert_history WHERE event = 'fired'")[0].fired == 80


def test_who_cannot_wait_for_another_drain_says_so(pipe: Pipe, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "WAIT_SECONDS", 1)
    put([alert()])
    other = psycopg2.connect(database)
    other.cursor().execute("SELECT pg_advisory_xact_lock(hashtext('alerts: inbox'))")
    with pytest.raises(Transient):
        drain()
    other.rollback()
    other.close()
    assert drain() == 1


def test_an_episode_that_is_opened_at_the_same_moment_is_met(pipe: Pipe, database: str) -> None:
    """Our own signals open one while the drain has seen none: it waits for them, and merges."""
    other = psycopg2.connect(database)
    labels = {"alertname": "Trouble"}
    other.cursor().execute(
        "INSERT INTO alert_episodes (id, fingerprint, name, severity, labels, annotations, source, state, starts_at)"
        " VALUES (%s, %s, 'Trouble', 'warning', %s, '{}', 'signal', 'firing', now())",
        (str(uuid.uuid4()), fingerprint(labels), json.dumps(labels)),
    )
    put([alert()])
    merged: list[int] = []
    thread = threading.Thread(target=lambda: merged.append(drain()))
    thread.start()
    _until_somebody_waits()
    other.commit()
    thread.join(10)
    other.close()
    assert merged == [1]
    (row,) = episodes()
    assert (row.source, row.annotations) == ("signal", {"summary": "it hurts"})


def _until_somebody_waits() -> None:
    query = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    deadline = time.monotonic() + 10
    while not execute_once(query):
        assert time.monotonic() < deadline, "nobody waited for the other transaction"


def test_what_is_lost_on_the_way_is_still_in_the_inbox(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    put([alert()])

    def killed(*_: object, **__: object) -> None:
        raise Transient("the connection is gone")

    with monkeypatch.context() as broken:
        broken.setattr(store, "life_of", killed)
        broken.setattr(posted, "read", killed)
        with pytest.raises(Transient):
            drain()
    assert episodes() == []
    assert drain() == 1
    assert len(episodes()) == 1


def test_ten_thousand_alerts_are_merged_within_seconds(pipe: Pipe) -> None:
    for first in range(0, 10_000, 500):
        put([alert(instance=f"host-{number}") for number in range(first, first + 500)])
    started = time.monotonic()
    assert drain() == 10_000
    assert time.monotonic() - started < 10
    assert execute_once("SELECT count(*) AS open FROM alert_episodes WHERE state = 'firing'")[0].open == 10_000


def test_the_clock_of_a_post_is_the_one_it_was_received_by(pipe: Pipe) -> None:
    received = datetime(2026, 3, 1, tzinfo=UTC)
    put([alert()], at=received)
    drain()
    (row,) = episodes()
    assert (row.starts_at, row.ends_at) == (received, received + timedelta(minutes=5))
