"""The words of an incident's story, made of stored rows."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from app.health.incidents import Incident
from app.recovery import timeline_entries as entries
from app.recovery.core import Effect, StepState, Verdict
from app.recovery.timeline import entries as ordered
from app.recovery.timeline_entries import Entry, Kind
from app.recovery.timeline_facts import Facts
from tests.recovery.runs import T0, at, probe, run_of, step


def incident(**more: Any) -> Incident:
    known: dict[str, Any] = {
        "id": UUID(int=1), "service": "qdrant", "started_at": T0, "detected_at": at(10), "recovered_at": None,
        "outcome": None, "severity": "critical", "error_code": "refused", "error": "connection refused",
        "in_maintenance": False, "failures": 3,
    }  # fmt: skip
    return Incident(**{**known, **more})


def group(event: str, **facts: Any) -> list[Entry]:
    row = SimpleNamespace(id=UUID(int=2), at=T0, episode_id=None, event=event, by="", facts=facts)
    return list(entries.of_alerts([], [row]))


def notification(**more: Any) -> Entry:
    known = {
        "id": UUID(int=3), "recipient": "channel:pager", "channel": "pager", "reason": "first", "event": "firing",
        "state": "delivered", "fact_at": T0, "created_at": at(1), "finished_at": at(2), "attempts": 1, "error": None,
        "source": "engine",
    }  # fmt: skip
    [entry] = entries.of_notifications([SimpleNamespace(**{**known, **more})])
    return entry


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({}, "pager told, 2.0 s after the fact"),
        ({"source": "watchdog"}, "pager told, by the watchdog, 2.0 s after the fact"),
        (
            {"recipient": "person:ann", "reason": "resolved"},
            "person:ann by pager told that it is over, 2.0 s after the fact",
        ),
        ({"reason": "acted-4"}, "pager told what was done, 2.0 s after the fact"),
        ({"state": "failed", "error": "410 gone"}, "pager could not be told: 410 gone"),
    ],
)
def test_a_message_says_whom_it_reached_and_how_soon(more: dict[str, Any], text: str) -> None:
    assert notification(**more).text == text


def test_an_escalation_says_to_whom() -> None:
    [found] = group("told", why="escalated", step=1, to=["person:head by pager"])
    assert (found.kind, found.text) == (Kind.ALERT_ESCALATED, "nobody has answered: escalated to person:head by pager")
    assert group("told", why="first", to=["ops"]) == []
    [held] = group("told", why="first", to=[], **{"not": ["team-on-call stands for nobody"]})
    assert held.text == "not told: team-on-call stands for nobody"
    [moved] = group("failed_over", **{"from": "slack", "to": "email"})
    assert moved.text == "slack does not deliver: told by email instead"


def test_a_long_step_is_told_when_it_begins_and_when_it_ends() -> None:
    long = step(0, state=StepState.DONE, text="restarted it", began_at=at(1), ended_at=at(13))
    short = step(1, effect=Effect.CHANGE, state=StepState.FAILED, text="no such key", began_at=at(14), ended_at=at(14))
    under_way = step(2, began_at=at(15), state=StepState.RUNNING)
    planned = probe(3)
    found = list(entries.of_run(run_of(long, short, under_way, planned)))
    assert [(entry.kind, entry.text) for entry in found] == [
        (Kind.RUN_STARTED, "playbook service-restart begins"),
        (Kind.STEP_BEGAN, "restart_container of step 0: begun"),
        (Kind.STEP, "restarted it"),
        (Kind.STEP, "restart_container of step 1: failed: no such key"),
        (Kind.STEP_BEGAN, "restart_container of step 2: begun"),
    ]


def test_a_run_says_who_started_it_what_it_waits_for_and_how_it_ended() -> None:
    waiting = run_of(started_by="ann", dry_run=True, waits="redis is under repair", waits_since=at(3))
    assert [entry.text for entry in entries.of_run(waiting)] == [
        "playbook service-restart begins as a dry run, started by ann",
        "service-restart waits: redis is under repair",
    ]
    over = run_of(verdict=Verdict.BY_ITSELF, why="the trouble is over", ended_at=at(9))
    last = list(entries.of_run(over))[-1]
    assert last.text == "playbook service-restart: over by itself, the trouble is over"
    assert last.detail["seconds"] == 9


def test_what_happens_at_one_moment_is_told_in_the_order_of_causes() -> None:
    fallen = incident(detected_at=T0)
    other = incident(service="redis", id=UUID(int=9))
    facts = Facts(fallen, (), (), (other,), (), (run_of(),), (), (), (), ())
    assert [entry.kind for entry in ordered(facts)] == [
        Kind.CAUSE, Kind.PROBE_FAILED, Kind.DETECTED, Kind.RUN_STARTED,
    ]  # fmt: skip


def test_a_fall_in_a_maintenance_window_says_so() -> None:
    found = list(entries.of_probes(incident(in_maintenance=True), (), ()))
    assert found[-1].text == "qdrant is down: seen 10.0 s after the first failure, in a maintenance window"


def test_without_its_probes_the_end_is_the_first_good_moment() -> None:
    over = incident(recovered_at=T0 + timedelta(seconds=80), outcome="recovered")
    last = list(entries.of_probes(over, (), ()))[-1]
    assert (last.at, last.text) == (at(80), "qdrant is up again: it was down for 1 min 20 s")
