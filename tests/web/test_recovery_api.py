"""Recovery over HTTP: runs read and paged, started, aborted; everything stopped and resumed."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from starlette.testclient import TestClient

from app.recovery import control
from tests.fixtures.waiting import until
from tests.recovery.field import PLAYBOOK, Field, play, service_of

__all__ = ["play"]

RUNS = "/api/v1/recovery/runs"


@pytest.fixture
def field(client: TestClient, play: Any) -> Field:
    """Two services with containers, both watched."""
    found: Field = play.begin(service_of("qdrant") + service_of("shop") + PLAYBOOK)
    return found


def test_runs_are_listed_filtered_and_paged(client: TestClient, field: Field) -> None:
    for service in ("qdrant", "shop"):
        field.fall(service)
    field.work()
    first = client.get(RUNS, params={"limit": 1}).json()
    rest = client.get(RUNS, params={"limit": 1, "cursor": first["next"]}).json()
    assert (len(first["runs"]), len(rest["runs"]), rest["next"]) == (1, 1, None)
    assert {first["runs"][0]["service"], rest["runs"][0]["service"]} == {"qdrant", "shop"}
    [one] = client.get(RUNS, params={"service": "qdrant"}).json()["runs"]
    assert (one["verdict"], one["playbook"], len(one["steps"])) == ("escalated", "restart", 2)
    assert client.get(RUNS, params={"incident": one["incident_id"]}).json()["runs"] == [one]
    assert client.get(RUNS, params={"open": "true"}).json()["runs"] == []
    assert client.get(RUNS, params={"playbook": "other"}).json()["runs"] == []


def test_one_run_says_what_started_it_and_what_each_step_found(client: TestClient, field: Field) -> None:
    field.fall("qdrant")
    field.work()
    [listed] = client.get(RUNS).json()["runs"]
    whole = client.get(f"{RUNS}/{listed['id']}").json()
    assert whole["trigger"]["facts"]["error"]["code"] == "refused"
    assert whole["steps"][0]["options"] == {"word": "{service.container}"}
    assert client.get(f"{RUNS}/{uuid4()}").status_code == 404


def test_a_person_starts_a_run_once_at_a_time(client: TestClient, field: Field) -> None:
    made = client.post(RUNS, json={"playbook": "restart", "service": "shop", "by": "ann"})
    assert made.status_code == 201
    run = made.json()
    assert made.headers["location"] == f"{RUNS}/{run['id']}"
    assert (run["started_by"], run["state"], run["dry_run"]) == ("ann", "waiting", False)
    again = client.post(RUNS, json={"playbook": "restart", "service": "shop"})
    assert again.status_code == 409
    assert run["id"] in again.json()["detail"]
    assert again.headers["content-type"] == "application/problem+json"


def test_the_caller_is_who_starts_and_a_dry_run_does_nothing(client: TestClient, field: Field) -> None:
    run = client.post(RUNS, json={"playbook": "restart", "service": "shop", "dry_run": True}).json()
    field.work()
    found = client.get(f"{RUNS}/{run['id']}").json()
    assert (found["started_by"], found["verdict"]) == ("admin", "simulated")
    assert field.poke.asked == []


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"playbook": "restrat", "service": "shop"}, 404, "did you mean"),
        ({"playbook": "restart", "service": "shp"}, 404, "did you mean"),
        ({"playbook": "restart", "service": "no such"}, 422, "service"),
        ({"playbook": "restart"}, 422, "service"),
        ({"playbook": "restart", "service": "shop", "force": True}, 422, "force"),
        ({"playbook": "restart", "service": "shop", "by": ""}, 422, "by"),
    ],
)
def test_what_cannot_be_started_is_said(
    client: TestClient, field: Field, body: dict[str, Any], status: int, said: str
) -> None:
    answer = client.post(RUNS, json=body)
    assert answer.status_code == status
    assert said in answer.text


def test_a_run_is_aborted_before_its_next_step(client: TestClient, field: Field) -> None:
    run = client.post(RUNS, json={"playbook": "restart", "service": "shop"}).json()
    asked = client.post(f"{RUNS}/{run['id']}/abort", json={"by": "bob"}).json()
    assert asked["abort_by"] == "bob"
    field.work()
    assert client.get(f"{RUNS}/{run['id']}").json()["verdict"] == "aborted"
    late = client.post(f"{RUNS}/{run['id']}/abort")
    assert late.status_code == 409
    assert client.post(f"{RUNS}/{uuid4()}/abort").status_code == 404


def test_everything_is_stopped_until_it_is_resumed(client: TestClient, field: Field) -> None:
    stopped = client.post("/api/v1/recovery/stop", json={"reason": "moving\u0000 house"}).json()["stopped"]
    assert (stopped["by"], stopped["reason"]) == ("admin", "moving house")
    assert control.kept(control.stop_file()) is not None
    field.fall("qdrant")
    field.work()
    assert client.get(RUNS).json()["runs"] == []
    assert client.post("/api/v1/recovery/resume").json()["stopped"] is None
    assert control.kept(control.stop_file()) is None
    field.look()
    assert len(client.get(RUNS).json()["runs"]) == 1


def test_a_stop_in_haste_needs_no_body(client: TestClient, field: Field) -> None:
    assert client.post("/api/v1/recovery/stop").json()["stopped"]["reason"] == ""


def test_guards_and_playbooks_are_shown(client: TestClient, field: Field) -> None:
    field.fall("qdrant")
    field.work()
    guards = client.get("/api/v1/recovery/guards").json()
    assert (guards["restarts_last_hour"], guards["restarts_last_hour_in_all"]) == ({"qdrant": 1}, 1)
    assert guards["stopped"] is None
    [playbook] = client.get("/api/v1/recovery/playbooks").json()["playbooks"]
    assert playbook["name"] == "restart"
    assert playbook["steps"][0] == {
        "do": "poke", "after": 0, "on_failure": "escalate", "last": False, "word": "{service.container}",
    }  # fmt: skip


def test_recovery_asks_for_a_key(stranger: TestClient) -> None:
    assert stranger.get(RUNS).status_code == 401
    assert stranger.post("/api/v1/recovery/stop").status_code == 401


def test_the_reference_describes_the_bodies(stranger: TestClient) -> None:
    document = stranger.get("/openapi.json").json()
    assert {"RunRequest", "StopRequest", "By"} <= document["components"]["schemas"].keys()
    assert document["paths"]["/api/v1/recovery/runs"]["post"]["summary"] == "Start a playbook"


def test_the_status_says_what_was_done_and_that_it_is_stopped(client: TestClient, field: Field) -> None:
    field.fall("qdrant")
    field.work()
    client.post("/api/v1/recovery/stop", json={"reason": "moving house"})
    client.post("/api/v1/modes/thin", json={"reason": "no vectors", "wait": ["draft"]})

    def told() -> dict[str, Any] | None:
        document: dict[str, Any] = client.get("/health").json()
        return document if document.get("modes") else None

    document = until(told, what="the status is read again")
    assert document is not None
    assert document["action_taken"].startswith("qdrant: ")
    assert "poked it" in document["action_taken"]
    assert "recovery is stopped by admin since" in " ".join(document["notices"])
    assert [(mode["name"], mode["set_by"]) for mode in document["modes"]] == [("thin", "person:admin")]
