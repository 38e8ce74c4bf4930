"""The figures: from rows that a person can count, the numbers that this person would write down."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from app.alerts import figures
from app.errors import Invalid
from app.infra import ids
from app.infra.db import read_only, unit_of_work

pytestmark = pytest.mark.usefixtures("database")

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
NONE = {"median": None, "p95": None, "mean": None, "count": 0}


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def sql(statement: str, **parameters: Any) -> None:
    with unit_of_work() as uow:
        uow.execute(statement, **parameters)


def episode(
    name: str = "Trouble",
    *,
    starts: float = 0,
    fired: float | None = 0,
    resolved: float | None = None,
    by: str | None = None,
    told: float | None = None,
    verdict: str | None = None,
    maintenance: bool = False,
    labels: dict[str, str] | None = None,
) -> UUID:
    """An alert by the seconds after NOW at which things happened."""
    key = ids.uuid7(at(starts))
    sql(
        "INSERT INTO alert_episodes (id, fingerprint, name, severity, labels, annotations, source, state, starts_at,"
        " opened_at, fired_at, resolved_at, resolved_by, told_at, verdict, muted) VALUES (:id, :print, :name, 'error',"
        " CAST(:labels AS jsonb), '{}', 'test', :state, :starts, :starts, :fired, :resolved, :by, :told, :verdict,"
        " CAST(:muted AS jsonb))",
        id=key,
        print=str(key),
        name=name,
        labels=json.dumps(labels or {}),
        state="firing" if resolved is None else "resolved",
        starts=at(starts),
        fired=None if fired is None else at(fired),
        resolved=None if resolved is None else at(resolved),
        by=by,
        told=None if told is None else at(told),
        verdict=verdict,
        muted=json.dumps([{"by": "maintenance", "reason": "move"}]) if maintenance else None,
    )
    return key


def group(*members: UUID) -> UUID:
    key = ids.uuid7()
    sql(
        "INSERT INTO alert_groups (id, thread, route, labels, severity, timing, closed_at)"
        " VALUES (:id, :id, 'routing', '{}', 'error', '{}', now())",
        id=key,
    )
    for member in members:
        sql("INSERT INTO alert_group_members (group_id, episode_id) VALUES (:g, :e)", g=key, e=member)
    return key


def notification(
    group_id: UUID | None = None,
    *,
    fact: float = 0,
    finished: float | None = 1,
    state: str = "delivered",
    channel: str = "ops",
    event: str = "firing",
    latency_ms: float = 100,
) -> None:
    key = ids.uuid7(at(fact))
    sql(
        "INSERT INTO notifications (id, group_id, thread, step, recipient, channel, reason, event, severity, state,"
        " message, fact_at, created_at, finished_at, latency_ms) VALUES (:id, :group, 't', 0, 'x', :channel, :reason,"
        " :event, 'error', :state, '{}', :fact, :fact, :finished, :latency)",
        id=key,
        group=group_id,
        channel=channel,
        reason=str(key),
        event=event,
        state=state,
        fact=at(fact),
        finished=None if finished is None else at(finished),
        latency=latency_ms,
    )


def happened(key: UUID, event: str, seconds: float, by: str = "ann") -> None:
    sql(
        "INSERT INTO alert_history (id, at, episode_id, event, by) VALUES (:id, :at, :episode, :event, :by)",
        id=ids.uuid7(at(seconds)),
        at=at(seconds),
        episode=key,
        event=event,
        by=by,
    )


def found(since: float = -3600, until: float = 7200) -> dict[str, Any]:
    with read_only() as session:
        return figures.figures(session, at(since), at(until))


def test_without_alerts_there_is_nothing_to_speak_of() -> None:
    empty = found()
    assert (empty["episodes"], empty["pages"], empty["false_alert_percent"]) == (0, 0, None)
    assert empty["detect_seconds"] == empty["answer_seconds"] == empty["resolve_seconds"] == NONE
    assert empty["notifications"]["delivered_percent"] is None
    assert (empty["noisiest"], empty["channels"]) == ([], [])
    json.dumps(empty, allow_nan=False)


def test_detection_is_from_the_beginning_of_the_trouble_to_the_alert() -> None:
    for seconds in (10, 20, 90):
        episode(fired=seconds)
    episode(fired=None)
    assert found()["detect_seconds"] == {"median": 20, "p95": 83, "mean": 40, "count": 3}


def test_an_answer_is_from_the_first_delivered_message_to_the_first_acknowledgement() -> None:
    slow, before, alone = episode(), episode(), episode()
    where = group(slow, before)
    notification(where, finished=10)
    notification(where, finished=40)
    notification(where, finished=5, state="failed")
    happened(slow, "acknowledged", 70)
    happened(slow, "acknowledged", 500)
    happened(before, "acknowledged", 2)
    happened(alone, "acknowledged", 30)
    assert found()["answer_seconds"] == {"median": 60, "p95": 60, "mean": 60, "count": 1}


def test_an_end_counts_from_the_beginning_of_the_trouble() -> None:
    episode(resolved=60)
    episode(resolved=120)
    episode()
    assert found()["resolve_seconds"] == {"median": 90, "p95": 117, "mean": 90, "count": 2}


def test_maintenance_and_test_alerts_do_not_count() -> None:
    episode(fired=1000, resolved=2000, maintenance=True)
    episode(fired=1000, resolved=2000, told=1000, labels={"synthetic": "true"})
    episode(fired=10)
    counted = found()
    assert counted["detect_seconds"]["mean"] == 10
    assert counted["resolve_seconds"] == NONE
    assert (counted["episodes"], counted["pages"]) == (2, 0)


def test_false_is_what_was_judged_so_or_ended_before_anybody_acted() -> None:
    episode(told=1, verdict="not_needed")
    episode(told=1, resolved=60, by="resolved")
    episode(told=1, resolved=60, by="resolved", verdict="needed")
    answered = episode(told=1, resolved=60, by="resolved")
    happened(answered, "acknowledged", 30)
    closed = episode(told=1, resolved=60, by="ann")
    happened(closed, "closed", 60)
    episode(told=1)
    episode(resolved=60, by="resolved")
    counted = found()
    assert (counted["pages"], counted["false_alerts"], counted["judged"]) == (6, 2, 2)
    assert counted["false_alert_percent"] == 33.33


def test_delivery_is_of_what_ended_and_from_the_fact_on() -> None:
    notification(finished=2)
    notification(finished=4)
    notification(finished=9, state="failed")
    notification(finished=1, state="skipped")
    notification(finished=None, state="waiting")
    notification(event="test", finished=500)
    told = found()["notifications"]
    assert (told["delivered"], told["failed"], told["skipped"], told["open"]) == (2, 1, 1, 1)
    assert told["delivered_percent"] == 66.67
    assert told["delivery_seconds"] == {"median": 3, "p95": 3.9, "mean": 3, "count": 2}


def test_channels_are_told_apart() -> None:
    notification(channel="ops", latency_ms=100)
    notification(channel="pager", latency_ms=300)
    notification(channel="pager", state="failed")
    assert [(row["channel"], row["delivered_percent"], row["latency_p95_ms"]) for row in found()["channels"]] == [
        ("ops", 100, 100),
        ("pager", 50, 300),
    ]


def test_the_noisiest_alerts_are_those_that_were_told_most_often() -> None:
    loud = [episode("Loud") for _ in range(3)]
    quiet = [episode("Quiet") for _ in range(5)]
    both = group(loud[0], loud[1], quiet[0])
    alone = group(loud[2])
    for _ in range(2):
        notification(both)
        notification(alone)
    notification(alone, state="failed")
    assert found()["noisiest"] == [
        {"name": "Loud", "episodes": 3, "notifications": 4},
        {"name": "Quiet", "episodes": 5, "notifications": 2},
    ]


def test_only_the_asked_time_counts() -> None:
    episode(starts=-10, fired=-5)
    episode(starts=10, fired=15)
    notification(fact=-10)
    counted = found(since=0, until=5)
    assert (counted["episodes"], counted["notifications"]["delivered"]) == (0, 0)
    assert found(since=-20, until=0)["episodes"] == 1
    with pytest.raises(Invalid):
        found(since=5, until=5)


def test_a_storm_of_ten_thousand_alerts_is_counted_in_a_moment() -> None:
    sql(
        "INSERT INTO alert_groups (id, thread, route, labels, severity, timing) VALUES"
        " ('00000000-0000-7000-8000-000000000001', 't', 'routing', '{}', 'error', '{}')"
    )
    first = ids.floor(at(0)).int
    with unit_of_work() as uow:
        uow.execute(
            "INSERT INTO alert_episodes (id, fingerprint, name, severity, labels, annotations, source, state,"
            " starts_at, fired_at, resolved_at, told_at)"
            " SELECT i::uuid, i, 'Storm', 'error', '{}', '{}', 'test', 'resolved', :now, :now, :now, :now"
            " FROM unnest(CAST(:ids AS text[])) AS i",
            ids=[str(UUID(int=first + number)) for number in range(10_000)],
            now=NOW,
        )
        uow.execute(
            "INSERT INTO alert_group_members (group_id, episode_id)"
            " SELECT '00000000-0000-7000-8000-000000000001', id FROM alert_episodes"
        )
        uow.execute(
            "INSERT INTO alert_history (id, episode_id, event, by) SELECT id, id, 'acknowledged', 'ann'"
            " FROM alert_episodes"
        )
    for _ in range(20):
        notification(UUID("00000000-0000-7000-8000-000000000001"))
    started = time.perf_counter()
    counted = found()
    assert time.perf_counter() - started < 2
    assert counted["episodes"] == 10_000
    assert counted["noisiest"] == [{"name": "Storm", "episodes": 10_000, "notifications": 20}]
