"""/api/v1/pauses: what is held back, and two buttons."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from starlette.testclient import TestClient

from app import clock
from app.admission import pauses
from app.infra import redis
from app.infra.db import unit_of_work
from app.limits import keys

PATH = "/api/v1/pauses"


def pause(client: TestClient, scope: str = "all", **body: Any) -> Any:
    return client.post(PATH, content=json.dumps({"scope": scope, "reason": "an audit", **body}))


def lift(client: TestClient, scope: str = "all", **body: Any) -> Any:
    return client.post(f"{PATH}/lift", json={"scope": scope, **body})


def by_budgets(scope: str = "all") -> None:
    with unit_of_work() as uow:
        pauses.set_pause(uow, scope, by="budgets", reason="the budget is spent", now=clock.now())


def test_nothing_is_paused_at_first(client: TestClient) -> None:
    answer = client.get(PATH)
    assert (answer.status_code, answer.json()) == (200, {"pauses": [], "open": 0})


def test_a_scope_is_paused_shown_and_lifted(client: TestClient) -> None:
    made = pause(client, "account:instagram/a/b")
    assert made.status_code == 200
    document = made.json()
    assert {key: document[key] for key in ("scope", "class", "effect", "holder", "set_by", "reason", "until")} == {
        "scope": "account:instagram/a/b",
        "class": "critical",
        "effect": "wait",
        "holder": "person:",
        "set_by": "person:admin",
        "reason": "an audit",
        "until": None,
    }
    assert client.get(PATH).json() == {"pauses": [document], "open": 1}
    assert redis.client().hkeys(keys.HOLDS) == ["account:instagram/a/b"]
    lifted = lift(client, "account:instagram/a/b", why="done", by="bob")
    assert lifted.json() == {"scope": "account:instagram/a/b", "ended": [document], "held_by": []}
    assert redis.client().hkeys(keys.HOLDS) == []
    assert lift(client, "account:instagram/a/b").status_code == 404


def test_a_pause_of_background_work_for_a_while(client: TestClient) -> None:
    made = pause(client, minutes=30, effect="deny", by="ann", **{"class": "background"}).json()
    assert (made["class"], made["effect"], made["set_by"]) == ("background", "deny", "person:ann")
    lasts = datetime.fromisoformat(made["until"]) - datetime.fromisoformat(made["since"])
    assert abs(lasts.total_seconds() - 1800) < 1


def test_what_others_hold_ends_by_force_only(client: TestClient) -> None:
    by_budgets()
    refused = lift(client)
    assert refused.status_code == 409
    assert "paused by budgets" in refused.json()["detail"]
    pause(client)
    assert lift(client).json()["held_by"] == ["budgets"]
    forced = lift(client, force=True).json()
    assert ([one["holder"] for one in forced["ended"]], forced["held_by"]) == (["budgets"], [])


def test_a_page_of_one_scope_or_of_the_oldest(client: TestClient) -> None:
    for name in "abc":
        pause(client, f"tenant:{name}")
    first = client.get(PATH, params={"limit": 2}).json()
    assert ([one["scope"] for one in first["pauses"]], first["open"]) == (["tenant:a", "tenant:b"], 3)
    found = client.get(PATH, params={"scope": "tenant:c"}).json()
    assert [one["scope"] for one in found["pauses"]] == ["tenant:c"]
    assert client.get(PATH, params={"scope": "tenant:z"}).json()["pauses"] == []
    for nonsense in ("tenant:z\n", "", "nothing"):
        refused = client.get(PATH, params={"scope": nonsense})
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "scope")


def test_who_did_it_is_on_the_timeline(client: TestClient) -> None:
    pause(client, by="ann")
    lift(client, why="done")
    lifted, made = client.get("/api/v1/timeline", params={"kind": "pauses.*"}).json()["signals"]
    assert (made["kind"], made["subject"], made["facts"]["by"]) == ("pauses.set", "all", "person:ann")
    assert (lifted["kind"], lifted["facts"]["by"], lifted["facts"]["why"]) == ("pauses.lifted", "person:admin", "done")


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"scope": "nothing"}, ["scope"]),
        ({"scope": "account:x"}, ["scope"]),
        ({"scope": "tenant:a\nb"}, ["scope"]),
        ({"scope": "tenant:\ud800"}, ["scope"]),
        ({"scope": "x" * 501}, ["scope"]),
        ({"scope": 3}, ["scope"]),
        ({"reason": ""}, ["reason"]),
        ({"reason": " "}, ["reason"]),
        ({"minutes": 0}, ["minutes"]),
        ({"minutes": 1e9}, ["minutes"]),
        ({"class": "backgruond"}, ["class"]),
        ({"effect": "hint"}, ["effect"]),
        ({"by": ""}, ["by"]),
        ({"until": "never"}, ["until"]),
        ({"scope": "nothing", "reason": " "}, ["scope", "reason"]),
    ],
)
def test_what_is_wrong_is_named(client: TestClient, body: dict[str, Any], fields: list[str]) -> None:
    refused = pause(client, **body)
    assert refused.status_code == 422
    assert [error["field"] for error in refused.json()["errors"]] == fields
    assert client.get(PATH).json()["open"] == 0


def test_what_is_wrong_with_a_lift_is_named(client: TestClient) -> None:
    for body, field in (({"scope": "nothing"}, "scope"), ({"force": "perhaps"}, "force"), ({"why": "x" * 501}, "why")):
        refused = lift(client, **body)
        assert refused.status_code == 422
        assert [error["field"] for error in refused.json()["errors"]] == [field]


def test_strangers_are_told_nothing(stranger: TestClient) -> None:
    for method, path in (("GET", ""), ("POST", ""), ("POST", "/lift")):
        assert stranger.request(method, f"{PATH}{path}").status_code == 401


def test_the_bodies_are_in_the_document(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert {"PauseRequest", "LiftRequest"} <= set(document["components"]["schemas"])
    assert "class" in document["components"]["schemas"]["PauseRequest"]["properties"]
