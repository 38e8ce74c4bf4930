"""The story of an incident: probes, causes, repairs, alerts, modes, its end; what retention took away is missing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from app import admission, clock, health
from app.alerts import acting, pipeline
from app.alerts.acting import Target
from app.errors import NotFound
from app.health import incidents
from app.health.results import ProbeError, ProbeResult
from app.infra.db import read_only, unit_of_work
from app.recovery import timeline
from app.recovery.core import Done
from app.recovery.timeline_facts import dependents
from tests.recovery.field import PLAYBOOK, Field, service_of

ALERTS = """
[alerting]
hold_after_start = 0

[channels.ops]
kind = "webhook"
url = "http://127.0.0.1:9/ops"

[receivers.everybody]
notify = ["channel:ops"]

[routing]
receiver = "everybody"
group_wait = 0

[alerts.ServiceDown]
on = "health.down"
until = ["health.up", "health.removed"]
summary = "{subject} is down"
"""


def see(service: str, *marks: str) -> None:
    """Results of a service, a few milliseconds apart and decided about when they ended."""
    results = []
    for number, mark in enumerate(marks):
        at = clock.now() + timedelta(milliseconds=2 * number)
        error = None if mark == "u" else ProbeError("refused", "connection refused")
        results.append((service, ProbeResult(ok=mark == "u", started_at=at, finished_at=at, error=error)))
    with unit_of_work() as uow:
        health.record(uow, results, source="engine", in_maintenance=lambda *_: False)


def fall(service: str) -> None:
    see(service, "d", "d", "d")


def rise(service: str) -> None:
    see(service, "u", "u")


def story(service: str = "qdrant") -> dict[str, Any]:
    """The newest incident of a service."""
    with read_only() as session:
        [found] = incidents.list_incidents(session, service=service, limit=1)
        return timeline.incident(session, found.id, clock.now())


def kinds(found: dict[str, Any]) -> list[str]:
    return [entry["kind"] for entry in found["timeline"]]


def texts(found: dict[str, Any], kind: str) -> list[str]:
    return [entry["text"] for entry in found["timeline"] if entry["kind"] == kind]


@pytest.fixture
def field(play: Any) -> Field:
    """A vector store that the shop needs."""
    found: Field = play.begin(service_of("qdrant") + service_of("shop", depends_on='["qdrant"]') + PLAYBOOK + ALERTS)
    return found


def test_a_fall_that_was_repaired_is_told_from_its_first_failure_to_its_end(field: Field) -> None:
    field.stare.result = lambda work: Done("it answers", healthy=True)
    fall("qdrant")
    field.work()
    rise("qdrant")
    found = story()
    assert kinds(found) == [
        "probe.failed", "probe.failed", "probe.failed", "incident.detected",
        "run.started", "run.step", "run.step", "run.ended",
        "probe.passed", "probe.passed", "incident.recovered",
    ]  # fmt: skip
    assert texts(found, "probe.failed")[:2] == [
        "the first failure: connection refused",
        "failure 2 in a row: connection refused",
    ]
    assert texts(found, "run.step") == ["poked it", "stare: it answers"]
    assert texts(found, "run.ended") == ["playbook restart: recovered, its probe passes"]
    assert found["recovery_seconds"] > 0
    assert found["complete"] is True
    assert [run["verdict"] for run in found["runs"]] == ["recovered"]


def test_entries_are_in_order_and_point_at_what_they_are_about(field: Field) -> None:
    fall("qdrant")
    field.work()
    found = story()
    moments = [entry["at"] for entry in found["timeline"]]
    assert moments == sorted(moments)
    started = next(entry for entry in found["timeline"] if entry["kind"] == "run.started")
    assert started["detail"] == {"run": found["runs"][0]["id"], "playbook": "restart"}
    assert found["open"] is True
    assert "incident.recovered" not in kinds(found)


def test_a_cause_and_what_it_brought_down_are_named_from_both_sides(field: Field) -> None:
    fall("qdrant")
    fall("shop")
    assert texts(story("qdrant"), "incident.affected") == ["shop, which depends on it, is down, too"]
    symptom = story("shop")
    assert texts(symptom, "incident.cause") == ["qdrant, on which it depends, fails first"]
    assert [cause["service"] for cause in symptom["causes"]] == ["qdrant"]


def test_its_alert_is_in_it_with_who_was_told_and_who_answered(field: Field) -> None:
    fall("qdrant")
    field.work(only="tasks.alerts.on_signal")
    pipeline.run()
    field.sql("UPDATE notifications SET state = 'delivered', finished_at = now() WHERE channel = 'ops'")
    [alert] = story()["alerts"]
    with unit_of_work() as uow:
        acting.acknowledge(uow, Target("episode", UUID(alert["id"])), by="ann", now=clock.now(), comment="looking")
    found = story()
    assert texts(found, "alert.opened") == ["alert ServiceDown (warning) begins"]
    assert texts(found, "alert.told")[0].startswith("ops told, ")
    assert texts(found, "alert.acknowledged") == ["ann is at it: looking"]
    assert found["alerts"][0]["acknowledged_by"] == "ann"
    rise("qdrant")
    field.work(only="tasks.alerts.on_signal")
    pipeline.run()
    assert texts(story(), "alert.resolved") == ["alert ServiceDown is over"]


def test_modes_that_people_set_meanwhile_belong_to_it_and_those_of_others_do_not(field: Field) -> None:
    fall("qdrant")
    with unit_of_work() as uow:
        now = clock.now()
        admission.enter(uow, "thin", by="person:ann", reason="no vectors", now=now, wait=["draft"])
        admission.enter(uow, "other", by="health-like", reason="x", now=now, wait=["draft"], cause=["mail"])
    with unit_of_work() as uow:
        admission.leave(uow, "thin", by="person:ann", now=clock.now(), why="enough")
    found = story()
    assert texts(found, "mode.entered") == ["mode thin is on: no vectors"]
    assert texts(found, "mode.left") == ["mode thin is off: enough"]


def test_an_old_incident_tells_what_is_still_kept(field: Field) -> None:
    fall("qdrant")
    field.work()
    rise("qdrant")
    field.sql("DELETE FROM system_health_log")
    found = story()
    assert found["complete"] is False
    assert texts(found, "probe.failed") == ["the first failure: connection refused"]
    assert "incident.recovered" in kinds(found)
    assert found["runs"]


def test_a_service_that_left_the_catalogue_ends_its_incident(field: Field) -> None:
    fall("qdrant")
    field.sql("UPDATE incidents SET recovered_at = now(), outcome = 'removed'")
    found = story()
    assert texts(found, "incident.removed") == ["qdrant left the catalogue"]
    assert found["recovery_seconds"] is None


def test_there_is_no_story_of_what_never_was(field: Field) -> None:
    with read_only() as session, pytest.raises(NotFound):
        timeline.incident(session, uuid4(), clock.now())


def test_dependents_are_found_near_and_far_and_in_circles() -> None:
    needs = {"a": (), "b": ("a",), "c": ("b", "gone"), "d": ("c", "b"), "x": ("y",), "y": ("x",)}
    assert dependents("a", needs) == ("b", "c", "d")
    assert dependents("x", needs) == ("y",)
    assert dependents("d", needs) == ()
