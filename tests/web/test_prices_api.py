"""/api/v1/costs/prices: what models cost, and prices set by hand."""

from __future__ import annotations

from typing import Any

from starlette.testclient import TestClient

PATH = "/api/v1/costs/prices"
KIMI = {"provider": "moonshotai", "model": "kimi/k2.5", "input": 0.6, "output": 3, "cached": 0.1}


def put(client: TestClient, **body: Any) -> Any:
    return client.post(PATH, json={**KIMI, **body})


def test_a_price_is_set_listed_and_shown_as_of_a_time(client: TestClient) -> None:
    assert client.get(PATH).json() == {"prices": [], "total": 0}
    first = put(client, note="the list price")
    assert first.status_code == 200
    document = first.json()
    assert {key: document[key] for key in ("effective_from", "effective_to", "set_by", "note", "cache_write")} == {
        "effective_from": None,
        "effective_to": None,
        "set_by": "admin",
        "note": "the list price",
        "cache_write": None,
    }
    assert client.get(PATH, params={"search": "KIMI"}).json() == {"prices": [document], "total": 1}
    coming = put(client, input="0.55", by="ann", **{"from": "2999-01-01T00:00:00Z"}).json()
    one = f"{PATH}/moonshotai/kimi/k2.5"
    assert client.get(one).json()["price"]["id"] == document["id"]
    later = client.get(one, params={"at": "2999-06-01T00:00:00+02:00"}).json()
    assert (later["price"]["id"], later["price"]["set_by"]) == (coming["id"], "ann")
    assert [version["id"] for version in later["versions"]] == [coming["id"], document["id"]]
    own = put(client, tenant="acme", cache_write=1).json()
    assert client.get(one, params={"tenant": "acme"}).json()["price"]["id"] == own["id"]
    assert client.get(PATH, params={"tenant": "acme"}).json()["total"] == 1


def test_what_is_wrong_is_named(client: TestClient) -> None:
    put(client)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"input": -1}, "input"),
        ({"output": None}, "output"),
        ({"cached": "much"}, "cached"),
        ({"model": ""}, "model"),
        ({"tenant": "a\nb"}, "tenant"),
        ({"from": "2001-01-01T00:00:00Z"}, "from"),
        ({"to": "soon"}, "to"),
        ({"price": 1}, "price"),
    ]
    for body, field in cases:
        refused = put(client, **body)
        assert refused.status_code == 422, body
        assert [error["field"].rpartition(".")[2] for error in refused.json()["errors"]] == [field]
    assert client.get(f"{PATH}/moonshotai/none").status_code == 404
    assert client.get(PATH, params={"at": "noon"}).status_code == 422


def test_strangers_see_nothing(stranger: TestClient) -> None:
    assert stranger.get(PATH).status_code == stranger.post(PATH, json=KIMI).status_code == 401
