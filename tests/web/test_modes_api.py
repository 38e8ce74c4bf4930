"""/api/v1/modes: one look for callers, two buttons for people."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app import clock
from tests.health.catalogs import tcp, use

CATALOG = (
    tcp("qdrant") + '[modes.no-vectors]\nwhile_down = ["qdrant"]\nfall_back = ["brand-context"]\nwait = ["publish"]\n'
)


@pytest.fixture
def modes(client: TestClient, home: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """The API under a catalogue with one mode."""
    use(monkeypatch, home, CATALOG)
    return client


def enter(client: TestClient, name: str = "no-vectors", **body: Any) -> Any:
    return client.post(f"/api/v1/modes/{name}", json={"reason": "qdrant moves", **body})


def test_nothing_is_on_at_first(modes: TestClient) -> None:
    answer = modes.get("/api/v1/modes")
    assert answer.status_code == 200
    document = answer.json()
    assert (document["modes"], document["operations"]) == ([], {})
    assert datetime.fromisoformat(document["as_of"]) <= clock.now()


def test_a_mode_of_the_catalogue_is_set_and_left_by_name(modes: TestClient) -> None:
    made = enter(modes)
    assert made.status_code == 200
    assert (made.json()["set_by"], made.json()["until"]) == ("person:admin", None)
    document = modes.get("/api/v1/modes").json()
    assert document["operations"]["publish"] == {
        "effect": "wait",
        "since": made.json()["since"],
        "reason": "qdrant moves",
        "modes": ["no-vectors"],
    }
    assert [mode["name"] for mode in document["modes"]] == ["no-vectors"]
    left = modes.delete("/api/v1/modes/no-vectors")
    assert (left.status_code, left.json()["held_by"], len(left.json()["ended"])) == (200, [], 1)
    assert modes.get("/api/v1/modes").json()["operations"] == {}
    assert modes.delete("/api/v1/modes/no-vectors").status_code == 404


def test_a_caller_asks_of_one_operation(modes: TestClient) -> None:
    enter(modes)
    publish = modes.get("/api/v1/modes/publish").json()
    assert (publish["operation"], publish["effect"], publish["modes"]) == ("publish", "wait", ["no-vectors"])
    other = modes.get("/api/v1/modes/anything-else").json()
    assert (other["effect"], other["since"], other["modes"]) == ("none", None, [])
    assert other["version"] == publish["version"]


def test_a_caller_that_knows_it_already_is_told_so(modes: TestClient) -> None:
    tag = modes.get("/api/v1/modes").headers["ETag"]
    again = modes.get("/api/v1/modes", headers={"If-None-Match": f'"x", {tag}'})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    enter(modes)
    changed = modes.get("/api/v1/modes", headers={"If-None-Match": tag})
    assert (changed.status_code, changed.headers["ETag"] != tag) == (200, True)


def test_a_mode_of_any_name_has_operations_of_its_own_and_a_time(modes: TestClient) -> None:
    made = enter(modes, "playbook:queue-backlog", wait=["analytics"], minutes=30, by="ann").json()
    assert (made["set_by"], made["wait"]) == ("person:ann", ["analytics"])
    lasts = datetime.fromisoformat(made["until"]) - datetime.fromisoformat(made["since"])
    assert abs(lasts.total_seconds() - 1800) < 1
    assert modes.get("/api/v1/modes/analytics").json()["effect"] == "wait"


def test_who_did_it_is_on_the_timeline(modes: TestClient) -> None:
    enter(modes, by="ann")
    modes.delete("/api/v1/modes/no-vectors")
    left, entered = modes.get("/api/v1/timeline", params={"kind": "modes.*"}).json()["signals"]
    assert (entered["kind"], entered["subject"], entered["facts"]["by"]) == (
        "modes.entered",
        "mode:no-vectors",
        "person:ann",
    )
    assert (left["kind"], left["facts"]["by"], left["facts"]["set_by"]) == ("modes.left", "person:admin", "person:ann")


@pytest.mark.parametrize(
    ("name", "body", "field"),
    [
        ("other", {}, "wait"),
        ("Other", {"wait": ["x"]}, "name"),
        ("other", {"wait": ["x"], "fall_back": ["x"]}, "wait.0"),
        ("other", {"wait": ["X"]}, "wait.0"),
        ("other", {"wait": ["x"], "minutes": 0}, "minutes"),
        ("other", {"wait": ["x"], "until": "never"}, "until"),
        ("other", {"wait": ["x"], "reason": ""}, "reason"),
    ],
)
def test_what_is_wrong_is_named(modes: TestClient, name: str, body: dict[str, Any], field: str) -> None:
    refused = enter(modes, name, **body)
    assert refused.status_code == 422
    assert [error["field"] for error in refused.json()["errors"]] == [field]


def test_strangers_are_told_nothing(stranger: TestClient) -> None:
    for method, path in (("GET", ""), ("GET", "/publish"), ("POST", "/no-vectors"), ("DELETE", "/no-vectors")):
        assert stranger.request(method, f"/api/v1/modes{path}").status_code == 401
