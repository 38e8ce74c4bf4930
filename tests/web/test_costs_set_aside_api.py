"""/api/v1/costs/set-aside: calls that could not be kept are listed, shown, replayed and dropped."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from app.costs import asides
from app.infra import ids, redis
from app.infra.db import unit_of_work
from app.limits import keys
from tests.costs.sent import body

PATH = "/api/v1/costs/set-aside"


@pytest.fixture
def kept(client: TestClient) -> list[str]:
    """Three of them, the oldest first."""
    redis.client().set(keys.EPOCH, "whole:1")
    made = [asides.SetAside(ids.uuid7(), "refused", "why", "", "drain", body(user=name)) for name in ("a", "b", "c")]
    with unit_of_work() as uow:
        asides.insert(uow, made)
    return [str(one.id) for one in made]


def test_they_are_listed_shown_replayed_and_dropped(client: TestClient, kept: list[str]) -> None:
    page: dict[str, Any] = client.get(PATH, params={"limit": 2}).json()
    assert [one["id"] for one in page["set_aside"]] == [kept[2], kept[1]]
    rest = client.get(PATH, params={"cursor": page["next"]}).json()
    assert ([one["id"] for one in rest["set_aside"]], rest["next"]) == ([kept[0]], None)
    assert client.get(f"{PATH}/{kept[0]}").json()["call"]["user"] == "a"
    replayed = client.post(f"{PATH}/{kept[0]}/replay")
    assert (replayed.status_code, replayed.json()["outcome"], replayed.json()["replayed_by"]) == (
        200,
        "replayed",
        "admin",
    )
    assert client.post(f"{PATH}/{kept[0]}/replay").status_code == 409
    assert client.post(f"{PATH}/{kept[1]}/drop", json={}).json()["errors"][0]["field"] == "reason"
    assert client.post(f"{PATH}/{kept[1]}/drop", json={"reason": "a test", "by": "ann"}).json()["outcome"] == (
        "dropped: a test"
    )
    assert client.get(f"{PATH}/{ids.uuid7()}").status_code == 404
    assert len(client.get(PATH, params={"waiting": False}).json()["set_aside"]) == 3
