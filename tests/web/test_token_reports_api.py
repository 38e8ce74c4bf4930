"""/api/v1/tokens/report, /success and /{platform}/{account}/history."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app import clock
from tests.health.catalogs import use
from tests.tokens.rows import Kept, happened, keep, remember
from tests.web.test_keys_api import made

PATH = "/api/v1/tokens"


@pytest.fixture
def tokens(client: TestClient, home: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    use(monkeypatch, home, '[services.redis]\nkind = "redis"\n')
    now = clock.now()
    shop = Kept("1784", token={"expires_at": now + timedelta(days=50)})
    keep(shop)
    remember([happened(shop, "failed", now, "no_answer", duration_ms=9, attempt=1)])
    remember(happened(shop, "refreshed", now + timedelta(milliseconds=one), duration_ms=9) for one in range(1, 4))
    return client


def test_the_report_is_json_and_text(tokens: TestClient) -> None:
    answer = tokens.get(f"{PATH}/report")
    found = answer.json()
    assert list(found)[:4] == ["date", "tokens_checked", "status", "actions"]
    assert found["status"] == {"healthy": 1, "expiring_soon": 0, "critical": 0}
    assert [item["action"] for item in found["actions"]] == ["retry", "refreshed"]
    told = [
        tokens.get(f"{PATH}/report", params={"format": "text", "tenant": "acme"}),
        tokens.get(f"{PATH}/report", params={"tenant": "acme"}, headers={"Accept": "text/plain"}),
    ]
    for one in told:
        assert one.headers["content-type"].startswith("text/plain")
        assert one.text.startswith(f"Tokens of acme on {found['date']} (UTC)\n")
    assert tokens.get(f"{PATH}/report", params={"date": "yesterday"}).json()["tokens_checked"] is None


def test_a_report_of_no_day_is_refused(tokens: TestClient) -> None:
    answer = tokens.get(f"{PATH}/report", params={"date": "tomorrow"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "date"


def test_success_is_filtered(tokens: TestClient) -> None:
    found = tokens.get(f"{PATH}/success").json()
    assert (found["tries"], found["succeeded"], found["share"], found["days"]) == (4, 3, 0.75, 7)
    assert found["by_reason"] == [{"reason": "no_answer", "outcome": "failed", "tries": 1}]
    assert len(found["by_day"]) == 7
    assert tokens.get(f"{PATH}/success", params={"platform": "x", "days": 90}).json()["tries"] == 0
    assert tokens.get(f"{PATH}/success", params={"days": 0}).status_code == 422


def test_history_is_read_page_by_page(tokens: TestClient) -> None:
    path, kinds, cursor = f"{PATH}/instagram/1784/history", list[str](), None
    while True:
        page = tokens.get(path, params={"limit": 3} | ({"cursor": cursor} if cursor else {})).json()
        kinds += [entry["kind"] for entry in page["history"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert kinds == ["refreshed", "refreshed", "refreshed", "failed"]
    assert [page[name] for name in ("platform", "account", "key")] == ["instagram", "1784", "instagram/1784"]
    assert page["history"][0]["facts"] == {"attempt": 1, "duration_ms": 9}
    assert tokens.get(f"{PATH}/instagram/nobody/history").status_code == 404


def test_a_removed_accounts_history_is_read_by_those_whose_it_was(tokens: TestClient) -> None:
    gone = Kept("99", tenant="zeta")
    remember([happened(gone, "removed", clock.now(), by="person:ann", why="the client left")])
    zeta, acme = (made(tokens, name, f"tokens:list:tenant={name}") for name in ("zeta", "acme"))
    page = tokens.get(f"{PATH}/instagram/99/history", headers=zeta).json()
    assert ([entry["kind"] for entry in page["history"]], page["key"]) == (["removed"], "instagram/99")
    assert {name: page["removed"][name] for name in ("by", "reason")} == {
        "by": "person:ann",
        "reason": "the client left",
    }
    assert tokens.get(f"{PATH}/instagram/99/history", headers=acme).status_code == 403
    assert tokens.get(f"{PATH}/instagram/1784/history").json()["removed"] is None


def test_a_service_sees_reports_of_those_that_its_scopes_select(tokens: TestClient) -> None:
    other = Kept("77", tenant="zeta", token={"expires_at": clock.now() + timedelta(days=50)})
    keep(other)
    remember([happened(other, "failed", clock.now(), "no_answer", duration_ms=9, attempt=1)])
    acme, insta, one = (
        made(tokens, name, f"tokens:list:{selector}")
        for name, selector in (("acme", "tenant=acme"), ("insta", "instagram"), ("one", "instagram/1784"))
    )
    for params in ({}, {"tenant": "acme"}):
        found = tokens.get(f"{PATH}/report", params=params, headers=acme).json()
        assert (found["tenant"], found["tokens_checked"]) == ("acme", 1)
        assert {item["tenant"] for item in found["actions"]} == {"acme"}
        assert tokens.get(f"{PATH}/success", params=params, headers=acme).json()["tries"] == 4
    for path in ("report", "success"):
        refused = tokens.get(f"{PATH}/{path}", params={"tenant": "zeta"}, headers=acme)
        assert (refused.status_code, refused.json()["detail"]) == (
            403,
            "this key lacks the scope tokens:list:tenant=zeta",
        )
        assert tokens.get(f"{PATH}/{path}", headers=one).status_code == 403
    assert tokens.get(f"{PATH}/success", params={"platform": "instagram"}, headers=insta).json()["tries"] == 5
    assert tokens.get(f"{PATH}/success", headers=insta).status_code == 403
    for headers, seen in ((acme, (200, 403)), (insta, (200, 200)), (one, (200, 403))):
        answers = (tokens.get(f"{PATH}/instagram/{id_}/history", headers=headers) for id_ in ("1784", "77"))
        assert tuple(answer.status_code for answer in answers) == seen


def test_strangers_see_nothing(stranger: TestClient) -> None:
    for path in ("report", "success", "instagram/1784/history"):
        assert stranger.get(f"{PATH}/{path}").status_code == 401
