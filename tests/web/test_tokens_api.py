"""/api/v1/tokens: accounts come in and are shown, and no answer ever has a token."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.tokens import rewrapping, sweeping
from tests.fixtures.answering import Reply, answering
from tests.health.catalogs import use
from tests.tokens.keeping import CANARY, CATALOGUE, NEW, OLD, given, held, use_keys, with_token

PATH = "/api/v1/tokens"
ONE = f"{PATH}/instagram/1"


class Accounts:
    """The API about accounts; every answer is searched for the canary."""

    def __init__(self, client: TestClient) -> None:
        self.client = client

    def send(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        if body is not None:
            more["content"] = body if isinstance(body, str | bytes) else json.dumps(body)
        answer = self.client.request(method, path, **more)
        assert CANARY not in answer.text
        return answer


@pytest.fixture
def api(client: TestClient, home: Path, monkeypatch: pytest.MonkeyPatch) -> Accounts:
    use(monkeypatch, home, CATALOGUE)
    use_keys(monkeypatch, OLD)
    return Accounts(client)


def fields(answer: Any) -> list[str]:
    return [one["field"] for one in answer.json()["errors"]]


def test_an_account_is_added_shown_changed_left_alone_and_removed(api: Accounts) -> None:
    made = api.send("POST", PATH, with_token("1", name="Acme", scopes=["basic"]))
    assert made.status_code == 201
    body = made.json()
    assert {name: body[name] for name in ("platform", "account", "tenant", "name", "state", "level", "generation")} == {
        "platform": "instagram",
        "account": "1",
        "tenant": "acme",
        "name": "Acme",
        "state": "good",
        "level": "healthy",
        "generation": 1,
    }
    assert body["scopes"] == ["basic"]
    assert 57 < body["days_remaining"] < 58
    assert api.send("POST", PATH, with_token("1")).status_code == 409
    shown = api.send("GET", ONE).json()
    assert shown["limits"] is None, "no operation is done on this platform here"
    assert api.send("PATCH", ONE, {"app": "instagram-eu", "name": ""}).json()["app"] == "instagram-eu"
    assert fields(api.send("PATCH", ONE, {"tenant": "b"})) == ["tenant"]
    left = api.send("POST", f"{ONE}/disable", {"reason": "over"}).json()
    assert (left["state"], left["disabled"]["reason"], left["next_at"]) == ("disabled", "over", None)
    assert api.send("POST", f"{ONE}/enable").json()["state"] == "good"
    assert api.send("PUT", f"{ONE}/token", {"access_token": CANARY, "expires_in": 60}).json()["generation"] == 2
    assert api.send("DELETE", ONE, params={"reason": "over"}).json() == {"removed": "instagram/1"}
    assert api.send("GET", ONE).status_code == 404


def test_what_is_wrong_is_told_by_field_without_a_value(api: Accounts) -> None:
    wrong = api.send("POST", PATH, given(platform="instagramm", access_token=CANARY, refresh_token=f"a {CANARY}"))
    assert (wrong.status_code, fields(wrong)) == (422, ["platform", "refresh_token"])
    assert fields(api.send("POST", PATH, [1])) == ["body"]
    assert fields(api.send("POST", f"{ONE}/disable", {})) == ["reason"]
    assert api.send("POST", PATH, f'{{"access_token": "{CANARY}').status_code == 422
    for method, path in (("PUT", "x/9/token"), ("PATCH", "x/9"), ("POST", "x/9/check"), ("GET", "x/%00%ff")):
        assert api.send(method, f"{PATH}/{path}", {"access_token": CANARY}).status_code == 404
    api.send("POST", PATH, given())
    assert fields(api.send("PUT", f"{ONE}/token", {"access_token": 5})) == ["access_token"]


def test_accounts_are_listed_by_page_and_filter(api: Accounts) -> None:
    for account, more in (("1", {}), ("2", {"expires_in": 3600}), ("3", {"tenant": "other"})):
        api.send("POST", PATH, with_token(account, **more))
    api.send("POST", PATH, given("4", platform="x"))
    first = api.send("GET", PATH, params={"limit": 3}).json()
    assert first["tokens"][0]["account"] == "2"
    second = api.send("GET", PATH, params={"limit": 3, "cursor": first["next"]}).json()
    assert ([one["state"] for one in second["tokens"]], second["next"]) == (["unconnected"], None)
    for params, expected in (
        ({"tenant": "other"}, {"3"}),
        ({"platform": "x"}, {"4"}),
        ({"level": "healthy"}, {"1", "3"}),
        ({"search": "4"}, {"4"}),
        ({"search": ""}, {"1", "2", "3", "4"}),
    ):
        found = api.send("GET", PATH, params=params).json()["tokens"]
        assert {one["account"] for one in found} == expected, params
    assert fields(api.send("GET", PATH, params={"level": "good"})) == ["level"]


def test_a_file_is_imported_over_http(api: Accounts) -> None:
    rows = [with_token("1"), with_token("2", expires_in="soon")]
    kind = {"Content-Type": "application/json"}
    tried = api.send("POST", f"{PATH}/import", rows, headers=kind, params={"dry_run": "true"})
    assert (tried.json()["added"], tried.json()["dry_run"]) == (1, True)
    done = api.send("POST", f"{PATH}/import", rows, headers=kind)
    assert (done.status_code, done.json()["added"]) == (200, 1)
    assert done.json()["rejected"][0]["row"] == 2
    assert done.json()["rejected"][0]["errors"][0]["field"] == "expires_in"
    table = f"tenant,platform,account,access_token,expires_in\nacme,instagram,1,{CANARY}-1,5000000\n"
    again = api.send("POST", f"{PATH}/import", table, headers={"Content-Type": "text/csv"})
    assert again.json()["unchanged"] == 1
    none = api.send("POST", f"{PATH}/import", rows[1:], headers=kind)
    assert none.status_code == 422
    assert fields(api.send("POST", f"{PATH}/import", rows)) == ["content-type"]


def test_a_token_is_refreshed_by_a_job_or_in_the_request(
    api: Accounts, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.send("POST", PATH, with_token("1", issued_at="2020-01-01T00:00:00Z", expires_in=300_000_000))
    asked = api.send("POST", f"{ONE}/refresh")
    assert asked.status_code == 202
    job = api.send("GET", f"/api/v1/jobs/{asked.json()['job']}").json()
    assert (job["task"], job["kwargs"]["force"]) == (sweeping.ATTEND, True)
    answer = Reply(body={"access_token": f"{CANARY}-new", "token_type": "bearer", "expires_in": 5_183_944})
    whose = Reply(body={"user_id": "1", "id": "1", "username": "acme"})
    with answering({"GET /refresh_access_token": answer, "GET /me": whose}) as platform:
        use(monkeypatch, home, f'{CATALOGUE}\n[apps.instagram]\nbase_url = "{platform.url}"\n')
        done = api.send("POST", f"{ONE}/refresh", params={"wait": "true"}).json()
    assert (done["outcome"], done["generation"], done["token"]["generation"]) == ("refreshed", 2, 2)


def test_keys_are_shown_by_their_ids_and_all_is_sealed_anew_by_a_job(
    api: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.send("POST", PATH, with_token("1"))
    use_keys(monkeypatch, NEW, OLD)
    shown = api.send("GET", f"{PATH}/keys").json()["keys"]
    assert [(one["id"], one["present"], one["seals"], one["may_go"]) for one in shown] == [
        ("k2", 0, True, False),
        ("k1", 1, False, False),
    ]
    job = api.send("POST", f"{PATH}/rewrap")
    assert job.status_code == 202
    assert api.send("GET", f"/api/v1/jobs/{job.json()['job']}").json()["task"] == rewrapping.REWRAP


def test_a_link_is_made_for_the_owner_and_a_stranger_gets_nothing(api: Accounts, stranger: TestClient) -> None:
    api.send("POST", PATH, given("4", platform="x"))
    link = api.send("POST", f"{PATH}/x/4/link").json()
    assert "/connect/" in link["url"]
    assert held("4", "x").status.generation == 0
    del stranger.headers["Authorization"]
    for method, path in (("GET", PATH), ("POST", f"{PATH}/import"), ("GET", ONE), ("DELETE", ONE)):
        assert stranger.request(method, path).status_code == 401
