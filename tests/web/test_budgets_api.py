"""/api/v1/budgets: shown live, changed with an audit, and asked before money is spent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app import clock
from app.infra import ids
from app.limits import spending
from app.limits.spending import Spent, Who
from tests.costs.budgeted import BUDGETS, DOLLAR
from tests.health.catalogs import use

PATH = "/api/v1/budgets"


@pytest.fixture
def budgets(client: TestClient, home: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    use(monkeypatch, home, BUDGETS)
    return client


def spend(dollars: float, **who: str) -> None:
    now = clock.now()
    spending.record([Spent(str(ids.uuid7()), round(dollars * DOLLAR), now.timestamp(), Who(**who))], b"")


def send(client: TestClient, path: str, **body: Any) -> Any:
    return client.post(f"{PATH}/{path}", content=json.dumps({"reason": "agreed", **body}))


def test_budgets_are_listed_and_one_is_shown_live(budgets: TestClient) -> None:
    spend(4, tenant="acme")
    listed = budgets.get(PATH).json()["budgets"]
    assert [one["name"] for one in listed] == ["tenant_month", "house_month"]
    shown = budgets.get(f"{PATH}/tenant_month", params={"subject": "tenant:acme"}).json()
    [acme] = shown["subjects"]
    assert {name: acme[name] for name in ("spent", "amount", "percent", "left", "reached", "live")} == {
        "spent": 4.0,
        "amount": 10.0,
        "percent": 40.0,
        "left": 6.0,
        "reached": [],
        "live": True,
    }
    assert budgets.get(f"{PATH}/tenant_mnth").status_code == 404
    refused = budgets.get(f"{PATH}/tenant_month", params={"subject": "acme"})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "subject")


def test_the_verdict_follows_what_is_spent_and_what_is_set(budgets: TestClient) -> None:
    asked: dict[str, str | float] = {"tenant": "acme", "class": "background", "estimate": 0.02}
    assert budgets.get(f"{PATH}/verdict", params=asked).json()["decision"] == "allow"
    spend(9.99, tenant="acme")
    full = budgets.get(f"{PATH}/verdict", params=asked).json()
    assert (full["decision"], full["budget"], full["class"]) == ("wait", "tenant_month", "background")
    raised = send(budgets, "tenant_month/amount", amount=11, change="raise", subject="tenant:acme", until="period")
    assert (raised.status_code, raised.json()["amount"], raised.json()["set_by"]) == (200, 11.0, "person:admin")
    assert raised.json()["until"] == full["until"]
    assert budgets.get(f"{PATH}/verdict", params=asked).json()["decision"] == "allow"
    refused = budgets.get(f"{PATH}/verdict", params={**asked, "class": "urgent"})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "class")


def test_a_budget_is_made_and_removed_and_all_of_it_is_on_record(budgets: TestClient) -> None:
    definition = {"scope": "skill", "period": "day", "amount": 2}
    body = json.dumps({"reason": "a pilot", "by": "ann", "definition": definition})
    made = budgets.put(f"{PATH}/chat_day", content=body).json()
    assert (made["name"], made["amount"], made["set_by"]) == ("chat_day", 2.0, "people")
    wrong = budgets.put(f"{PATH}/chat_day", content=json.dumps({"reason": "x", "definition": {"scope": "skill"}}))
    assert (wrong.status_code, sorted(one["field"] for one in wrong.json()["errors"])) == (422, ["amount", "period"])
    assert budgets.put(f"{PATH}/house_month", content=body).status_code == 409
    removed = send(budgets, "chat_day/remove").json()
    assert removed["removed"][0]["definition"] == definition
    changes = budgets.get(f"{PATH}/changes", params={"name": "chat_day"}).json()["changes"]
    assert [(one["what"], one["by"], one["reason"]) for one in changes] == [
        ("removed", "person:admin", "agreed"),
        ("defined", "person:ann", "a pilot"),
    ]
    assert (changes[0]["before"]["definition"], changes[0]["after"]) == (definition, None)


def test_what_cannot_be_is_refused_by_field(budgets: TestClient, stranger: TestClient) -> None:
    for body, field in (
        ({"amount": 5, "change": "raise"}, "amount"),
        ({"amount": 5, "until": "tomorrow"}, "until"),
        ({"amount": 5, "reason": ""}, "reason"),
        ({"amount": 5, "colour": "red"}, "colour"),
        ({}, "amount"),
    ):
        refused = send(budgets, "tenant_month/amount", **body)
        assert (refused.status_code, refused.json()["errors"][0]["field"].removeprefix("body.")) == (422, field), body
    assert send(budgets, "tenant_month/remove").status_code == 404
    del stranger.headers["Authorization"]
    assert stranger.get(PATH).status_code == 401
