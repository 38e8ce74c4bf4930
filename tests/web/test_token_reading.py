"""Services fetch current tokens: by scope, written down whatever the answer, and never more than they may have."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app import clock
from app.config import settings
from app.infra.db import unit_of_work
from app.tokens import storing
from app.tokens.store import Held
from tests.tokens.platforms.meta import MetaPlatform
from tests.tokens.scene import Scene, scene
from tests.web.test_keys_api import made

__all__ = ["scene"]

READ = {"purpose": "publish post", "at_least_seconds": 60}


@pytest.fixture(scope="module")
def running() -> Iterator[MetaPlatform]:
    with MetaPlatform("instagram") as platform:
        yield platform


@pytest.fixture
def instagram(running: MetaPlatform, scene: Scene) -> MetaPlatform:
    """Of now, for the API asks the clock."""
    scene.now = clock.now()
    scene.catalogue(running)
    return running


@pytest.fixture
def anna(instagram: MetaPlatform, scene: Scene) -> Held:
    """An account of acme's with a good token."""
    return scene.account(instagram, "anna")


@pytest.fixture
def api(scene: Scene, client: TestClient) -> TestClient:
    return client


def read(api: TestClient, held: Held, headers: dict[str, str] | None = None, **more: Any) -> Any:
    return api.post(f"/api/v1/tokens/{held.account.key}/read", json=READ | more, headers=headers)


def reads(api: TestClient, held: Held) -> list[dict[str, Any]]:
    answer = api.get(f"/api/v1/tokens/{held.account.key}/reads")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["reads"]
    return found


def outcomes(api: TestClient, held: Held) -> list[tuple[str, str]]:
    return [(one["by"], one["outcome"]) for one in reads(api, held)]


def change(**columns: Any) -> None:
    """Of the only token there is."""
    sets = ", ".join(f"{name} = :{name}" for name in columns)
    with unit_of_work() as uow:
        uow.execute(f"UPDATE token_status SET {sets}", **columns)


def test_a_service_reads_the_token_that_its_scope_names(api: TestClient, anna: Held) -> None:
    headers = made(api, "publisher", f"tokens:read:{anna.account.key}")
    answer = read(api, anna, headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json()
    assert told.pop("access_token") == storing.reveal(anna).access.reveal()
    assert 57 * 86400 < told.pop("expires_in") < 58 * 86400
    assert told == {
        "platform": "instagram",
        "account": anna.account.external_id,
        "token_type": "bearer",
        "scopes": [],
        "expires_at": clock.iso(anna.status.expires_at),
        "generation": 1,
    }
    [kept] = reads(api, anna)
    assert kept.pop("id")
    assert clock.now() - datetime.fromisoformat(kept.pop("at")) < timedelta(minutes=1)
    assert kept == {
        "by": "publisher",
        "outcome": "given",
        "purpose": "publish post",
        "address": "testclient",
        "generation": 1,
    }


@pytest.mark.parametrize("scope", ["tokens:read", "tokens:read:instagram", "tokens:read:tenant=acme"])
def test_a_scope_may_name_a_platform_or_a_tenant(api: TestClient, anna: Held, scope: str) -> None:
    assert read(api, anna, made(api, "publisher", scope)).status_code == 200


@pytest.mark.parametrize(
    "scope", ["tokens:read:x", "tokens:read:instagram/1", "tokens:read:tenant=zeta", "tokens:list"]
)
def test_who_may_not_read_an_account_is_written_down_and_learns_nothing(
    api: TestClient, anna: Held, scope: str
) -> None:
    headers = made(api, "publisher", scope)
    answer = read(api, anna, headers)
    assert answer.status_code == 403
    nowhere = api.post(f"/api/v1/tokens/{anna.account.platform}/99/read", json=READ, headers=headers)
    assert nowhere.status_code == 403
    if scope == "tokens:list":
        assert reads(api, anna) == []
        return
    assert answer.json()["detail"] == f"this key lacks the scope tokens:read:{anna.account.key}"
    assert nowhere.json()["detail"] == "this key lacks the scope tokens:read:instagram/99"
    assert outcomes(api, anna) == [("publisher", "not_allowed")]


def test_the_key_of_the_installation_may_read_and_is_written_down_too(api: TestClient, anna: Held) -> None:
    assert read(api, anna).status_code == 200
    assert outcomes(api, anna) == [("admin", "given")]
    assert api.post("/api/v1/tokens/instagram/99/read", json=READ).status_code == 404
    assert api.get(f"/api/v1/tokens/{anna.account.key}/reads", headers=made(api, "p", "tokens:read")).status_code == 403


def test_what_it_is_for_must_be_said(api: TestClient, anna: Held) -> None:
    answer = api.post(f"/api/v1/tokens/{anna.account.key}/read", json={"at_least_seconds": -1})
    assert [error["field"] for error in answer.json()["errors"]] == ["purpose", "at_least_seconds"]
    assert reads(api, anna) == []


SOON = timedelta(seconds=30)


@pytest.mark.parametrize(
    ("columns", "state", "has_time"),
    [
        ({"grant_state": "", "access": None}, "unconnected", False),
        ({"grant_state": "dead", "reason": "password_changed"}, "dead", False),
        ({"expires_at": -SOON, "next_at": SOON}, "expired", True),
        ({"expires_at": -SOON, "next_at": None}, "expired", False),
        ({"expires_at": SOON, "next_at": -SOON}, "short", True),
    ],
)
def test_a_token_that_is_no_use_is_refused_with_its_state(
    api: TestClient, anna: Held, columns: dict[str, Any], state: str, has_time: bool
) -> None:
    now = clock.now()
    change(**{name: now + one if isinstance(one, timedelta) else one for name, one in columns.items()})
    answer = read(api, anna)
    assert answer.status_code == 409, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert (told["state"], told["reason"]) == (state, columns.get("reason", ""))
    assert ("retry-after" in answer.headers) is has_time
    assert outcomes(api, anna) == [("admin", state)]


def test_a_disabled_account_gives_nothing(api: TestClient, anna: Held) -> None:
    with unit_of_work() as uow:
        uow.execute("UPDATE accounts SET disabled_at = now(), disabled_reason = 'left us'")
    answer = read(api, anna)
    assert (answer.status_code, answer.json()["state"], answer.json()["reason"]) == (409, "disabled", "left us")
    assert answer.json()["since"]


def test_a_lost_refresh_token_leaves_the_access_token_of_use(api: TestClient, anna: Held) -> None:
    change(grant_state="lost")
    assert read(api, anna).status_code == 200


def test_a_missing_key_is_named_and_told_to_staff(
    api: TestClient, scene: Scene, anna: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMM_TOKEN_KEYS", "other:" + base64.b64encode(bytes(32)).decode())
    settings.cache_clear()
    answer = read(api, anna)
    assert (answer.status_code, answer.json()["state"]) == (503, "key_missing")
    assert answer.json()["detail"] == 'its encryption key "test" is missing here'
    assert [told.facts["reason"] for told in scene.signals("tokens.key_missing")] == ["key_missing"]
    assert outcomes(api, anna) == [("admin", "key_missing")]


def test_a_token_of_another_row_is_damaged_and_not_given(
    api: TestClient, scene: Scene, instagram: MetaPlatform, anna: Held
) -> None:
    scene.account(instagram, "bert")
    with unit_of_work() as uow:
        uow.execute("UPDATE token_status SET access = (SELECT access FROM token_status WHERE account_id <> :id)"
                    " WHERE account_id = :id", id=anna.account.id)  # fmt: skip
    answer = read(api, anna)
    assert (answer.status_code, answer.json()["state"]) == (503, "damaged")
    assert outcomes(api, anna) == [("admin", "damaged")]


def test_who_follows_the_timeline_learns_of_a_new_generation(
    api: TestClient, scene: Scene, instagram: MetaPlatform, anna: Held
) -> None:
    headers = made(api, "publisher", "tokens:read", "timeline:read:tokens")
    assert scene.attend(anna, force=True).outcome == "refreshed"
    asked = {"kind": "tokens.refreshed", "since": "2026-01-01T00:00:00Z"}
    [told] = api.get("/api/v1/timeline", params=asked, headers=headers).json()["signals"]
    assert (told["labels"]["account"], told["facts"]["generation"]) == (anna.account.external_id, 2)
    assert read(api, anna, headers).json()["generation"] == 2
    assert api.get("/api/v1/timeline", headers=headers).status_code == 403


def test_a_service_sees_how_the_accounts_of_its_scopes_stand(
    api: TestClient, scene: Scene, instagram: MetaPlatform, anna: Held
) -> None:
    bert = scene.account(instagram, "bert", tenant="zeta")
    for selector in ("tenant=zeta", bert.account.key):
        name = "one" if selector == bert.account.key else "other"
        headers = made(api, name, f"tokens:list:{selector}")
        listed = api.get("/api/v1/tokens", headers=headers).json()["tokens"]
        assert [one["account"] for one in listed] == [bert.account.external_id]
        assert api.get(f"/api/v1/tokens/{bert.account.key}", headers=headers).status_code == 200
        for other in (anna.account.key, "instagram/99"):
            assert api.get(f"/api/v1/tokens/{other}", headers=headers).status_code == 403
    assert len(api.get("/api/v1/tokens").json()["tokens"]) == 2


def test_the_example_on_the_page_keeps_a_token_until_there_is_a_newer_one(
    api: TestClient, scene: Scene, anna: Held
) -> None:
    page = Path(__file__).parent.parent.parent / "docs" / "token-reading.md"
    names: dict[str, Any] = {}
    exec(page.read_text().split("```python\n")[1].split("```")[0], names)
    tokens = names["Tokens"]("http://testserver", "a key")
    api.headers |= made(api, "publisher", "tokens:read", "timeline:read:tokens")
    tokens._http = api
    first = tokens.get(anna.account.key, "publish post")
    assert tokens.get(anna.account.key, "publish post") == first
    assert scene.attend(anna, force=True).outcome == "refreshed"
    seen = tokens.follow("2026-01-01T00:00:00Z")
    assert tokens.get(anna.account.key, "publish post") != first
    assert tokens.follow(seen) == seen
    with unit_of_work() as uow:
        assert uow.execute("SELECT count(*) FROM token_reads").scalar_one() == 2
