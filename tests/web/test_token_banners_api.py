"""/api/v1/tokens/banners: what a client sees on a dashboard while an account needs its login, and no longer."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from starlette.testclient import TestClient

from app import clock
from app.config import settings
from app.tokens import connect_links, wording
from tests.health.catalogs import tcp, use
from tests.tokens.rows import Kept, keep

PATH = "/api/v1/tokens/banners"
CATALOG = tcp("shop") + '[tenants.acme]\ntimezone = "Europe/Berlin"\n'


@pytest.fixture
def dashboard(client: TestClient, home: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    use(monkeypatch, home, CATALOG)
    return client


def account(name: str, told: str = "", **given: Any) -> Kept:
    now = clock.now()
    tenant = given.pop("tenant", "acme")
    platform = given.pop("platform", "instagram")
    disabled_at = given.pop("disabled_at", None)
    failing = {"attempts": 3, "climb": 1, "failing_since": now - timedelta(hours=2)} if told else {}
    token = {"expires_at": now + timedelta(days=8), "told": told, **failing, **given}
    return Kept(name, tenant, platform, name.title(), disabled_at=disabled_at, token=token)


def test_a_client_sees_its_accounts_in_trouble_the_worst_first_and_nobody_elses(dashboard: TestClient) -> None:
    now = clock.now()
    worst = account("gone", "expired", expires_at=now - timedelta(days=1), paused=True)
    near = account("near", "reconnect")
    keep(
        account("fine"), near, worst, account("zetas", "urgent", tenant="zeta"),
        account("off", "urgent", disabled_at=now),
    )  # fmt: skip
    found = dashboard.get(PATH, params={"tenant": "acme"}).json()["banners"]
    assert [(one["account"], one["step"]) for one in found] == [("gone", "expired"), ("near", "reconnect")]
    [_, shown] = found
    assert shown["title"] == "Please log in to Instagram again for Near"
    assert shown["text"].startswith("For us to go on working for your Instagram account Near, you need to log in")
    assert "Berlin time" in shown["text"]
    assert (shown["name"], shown["button"]) == ("Near", "Log in to Instagram again")
    assert shown["since"] < clock.iso(now) < shown["until"]
    link = connect_links.read(settings(), shown["link"].rpartition("/")[2], now=now + timedelta(seconds=5))
    assert (link.account_id, link.generation) == (near.id, 1)
    assert {one["tenant"] for one in dashboard.get(PATH).json()["banners"]} == {"acme", "zeta"}


def test_a_client_is_told_when_its_operations_stop_which_is_before_the_end(dashboard: TestClient) -> None:
    end, refused_at = clock.now() + timedelta(days=8), clock.now() - timedelta(hours=3)
    given = {"grant_state": "dead", "reason": "app_removed", "tried_at": refused_at}
    keep(
        account("near", "reconnect", expires_at=end),
        account("short", "reconnect", platform="reddit", expires_at=end, refresh=b"x"),
        account("ended", "expired", expires_at=refused_at, paused=True),
        account("removed", "last", paused=True, expires_at=end, **given),
    )
    found = {one["account"]: one for one in dashboard.get(PATH).json()["banners"]}
    pauses_at = end - timedelta(days=1)
    assert found["near"]["until"] == clock.iso(pauses_at)
    assert wording.when(pauses_at.astimezone(ZoneInfo("Europe/Berlin"))) in found["near"]["text"]
    assert found["short"]["until"] == clock.iso(end), "of tokens that live for an hour nothing is paused before"
    assert found["ended"]["until"] == found["removed"]["until"] == clock.iso(refused_at)


def test_trouble_that_no_owner_can_help_with_is_not_shown_to_them(dashboard: TestClient) -> None:
    keep(account("held", "reconnect", attempts=0, failing_since=None))
    assert dashboard.get(PATH, params={"tenant": "acme"}).json()["banners"] == []


def test_a_clients_own_key_sees_its_own_accounts_only(dashboard: TestClient) -> None:
    keep(account("ours", "urgent"), account("zetas", "urgent", tenant="zeta"))
    body = {"name": "dash", "role": "service", "scopes": ["tokens:list:tenant=acme"]}
    made = dashboard.post("/api/v1/keys", json=body)
    assert made.status_code == 201, made.text
    with_key = {"Authorization": f"Bearer {made.json()['key']}"}
    found = dashboard.get(PATH, headers=with_key).json()["banners"]
    assert [one["account"] for one in found] == ["ours"]
    assert dashboard.get(PATH, params={"tenant": "zeta"}, headers=with_key).json()["banners"] == []


def test_without_a_key_there_is_nothing_to_see(stranger: TestClient) -> None:
    assert stranger.get(PATH).status_code == 401
