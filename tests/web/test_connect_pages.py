"""The pages on which an owner logs in again: looking does nothing, a press leads to the platform and back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app import clock
from app.config import settings
from app.infra import adminkey, crypto, db
from app.infra.db import unit_of_work
from app.tokens import connecting, storing
from tests.fixtures.browser import browser
from tests.health.catalogs import use
from tests.tokens.owner import Owner, consented, query_of, table
from tests.tokens.platforms.meta import MetaPlatform
from tests.tokens.platforms.serving import CANARY, Fault
from tests.web.assembled import served

ORIGIN = "http://testserver"


@pytest.fixture
def platform() -> Iterator[MetaPlatform]:
    with MetaPlatform() as serving:
        serving.visitor = "17841400000000001"
        yield serving


@pytest.fixture
def owner(stranger: TestClient, platform: MetaPlatform, home: Path, monkeypatch: pytest.MonkeyPatch) -> Owner:
    monkeypatch.setenv("SMM_PUBLIC_URL", ORIGIN)
    monkeypatch.setenv("SMM_TOKEN_KEYS", crypto.new_key("k1"))
    use(monkeypatch, home, table(platform, "instagram", scopes=""))
    return Owner("instagram", name="Cafe <b>Blau</b>", linked_at=clock.now() - timedelta(hours=1))


def path_of(owner: Owner, **given: Any) -> str:
    return owner.url(**given).removeprefix(ORIGIN)


def sql(statement: str) -> list[Any]:
    with unit_of_work() as uow:
        result = uow.execute(statement)
        return list(result.all()) if result.returns_rows else []


def pressed(stranger: TestClient, path: str) -> dict[str, str]:
    """The button is pressed, and the owner consents: what the platform sends them back with."""
    answer = stranger.post(path, follow_redirects=False)
    assert answer.status_code == 303, answer.text
    return consented(answer.headers["location"])


def test_a_scanner_that_follows_every_link_changes_nothing(stranger: TestClient, owner: Owner) -> None:
    path = path_of(owner)
    for method in ("GET", "HEAD", "GET", "OPTIONS", "PUT"):
        stranger.request(method, path)
    assert sql("SELECT * FROM token_connects") == []
    assert stranger.head(path).status_code == 200
    assert not stranger.cookies


def test_the_page_says_who_asks_for_what(stranger: TestClient, owner: Owner) -> None:
    owner.holds(at=owner.linked_at)
    page = stranger.get(path_of(owner))
    assert page.status_code == 200
    assert "Log in to Instagram again" in page.text
    assert "Cafe &lt;b&gt;Blau&lt;/b&gt;" in page.text
    assert "see the profile and its posts" in page.text
    assert "testserver" in page.text
    assert page.text.count("<button") == 1
    assert "<script" not in page.text
    assert "style=" not in page.text


def test_a_press_leads_to_the_platform_and_back_to_thanks(
    stranger: TestClient, owner: Owner, platform: MetaPlatform
) -> None:
    answer = stranger.post(path_of(owner), follow_redirects=False)
    target = answer.headers["location"]
    assert (answer.status_code, target.partition("?")[0]) == (303, f"{platform.url}/oauth/authorize")
    assert query_of(target)["redirect_uri"] == f"{ORIGIN}/connect/callback"
    cookie = answer.headers["set-cookie"]
    assert re.search(r"HttpOnly; Max-Age=900; Path=/connect; SameSite=lax$", cookie)
    done = stranger.get("/connect/callback", params=consented(target))
    assert done.status_code == 200
    assert "Thank you, it is connected" in done.text
    assert "<form" not in done.text
    assert platform.is_good(storing.reveal(owner.held).access)
    again = stranger.get(path_of(owner, now=owner.linked_at))
    assert again.status_code == 200


def test_a_page_that_is_loaded_again_does_not_frighten_anybody(stranger: TestClient, owner: Owner) -> None:
    path = path_of(owner)
    came = pressed(stranger, path)
    for title in ("Thank you, it is connected", "It is connected already"):
        page = stranger.get("/connect/callback", params=came)
        assert (page.status_code, title in page.text) == (200, True)
    late = stranger.get(path)
    assert "connected after this link was made" in late.text
    assert "<form" not in late.text
    assert stranger.post(path, follow_redirects=False).status_code == 200
    assert owner.held.status.generation == 1


@pytest.mark.parametrize("public_url", ["https://ops.example.com", "https://ops.example.com/smm/"])
def test_over_https_the_cookie_is_for_https_alone_and_for_these_pages(
    stranger: TestClient, owner: Owner, monkeypatch: pytest.MonkeyPatch, public_url: str
) -> None:
    monkeypatch.setenv("SMM_PUBLIC_URL", public_url)
    settings.cache_clear()
    path = "/connect/" + owner.url().rpartition("/")[2]
    cookie = stranger.post(path, follow_redirects=False).headers["set-cookie"]
    prefix = "/smm" if "smm" in public_url else ""
    assert cookie.endswith(f"HttpOnly; Max-Age=900; Path={prefix}/connect; SameSite=lax; Secure")
    policy = stranger.get(path).headers["content-security-policy"]
    assert "form-action 'self' https:;" in policy, "a login page sends phones on to hosts that nobody lists"


def test_somebody_elses_browser_gets_nothing(stranger: TestClient, owner: Owner) -> None:
    came = pressed(stranger, path_of(owner))
    stranger.cookies.clear()
    page = stranger.get("/connect/callback", params=came)
    assert page.status_code == 403
    assert "Another browser began this login" in page.text
    assert "<form" not in page.text
    assert owner.held.status.generation == 0


def test_the_wrong_account_is_named_beside_the_right_one(
    stranger: TestClient, owner: Owner, platform: MetaPlatform
) -> None:
    platform.visitor = "17841499999999999"
    page = stranger.get("/connect/callback", params=pressed(stranger, path_of(owner)))
    assert page.status_code == 409
    assert "user.17841499999999999" in page.text
    assert "Cafe &lt;b&gt;Blau&lt;/b&gt; (17841400000000001)" in page.text


@pytest.mark.parametrize(
    ("trouble", "title"),
    [("cancel", "You stopped the login"), ("left out", "publish posts"), ("500", "does not answer")],
)
def test_trying_again_is_one_press(
    stranger: TestClient, owner: Owner, platform: MetaPlatform, *, trouble: str, title: str
) -> None:
    path = path_of(owner)
    match trouble:
        case "cancel":
            platform.consents = False
        case "left out":
            platform.left_out = frozenset({"instagram_business_content_publish"})
        case "500":
            platform.fail(Fault.ERROR_500)
    page = stranger.get("/connect/callback", params=pressed(stranger, path))
    assert title in page.text
    [action] = re.findall(r'action="([^"]*)"', page.text)
    assert f"/connect/{action}" == path, "relative to /connect/callback"
    platform.consents, platform.left_out = True, frozenset()
    platform.heal()
    done = stranger.get("/connect/callback", params=pressed(stranger, f"/connect/{action}"))
    assert "Thank you, it is connected" in done.text


def test_what_is_not_set_up_is_said_and_told(
    stranger: TestClient, owner: Owner, platform: MetaPlatform, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, home, table(platform, "instagram", client_id=""))
    page = stranger.post(path_of(owner), follow_redirects=False)
    assert page.status_code == 503
    assert "We have been told" in page.text
    assert "client_id" not in page.text
    [row] = sql(f"SELECT facts FROM signals WHERE kind = '{connecting.FAILED}'")
    assert row.facts["reason"] == "no_client_id"


def test_an_expired_link_says_so(stranger: TestClient, owner: Owner) -> None:
    path = path_of(owner, now=clock.now() - timedelta(days=7))
    for answer in (stranger.get(path), stranger.post(path)):
        assert answer.status_code == 410
        assert "has expired" in answer.text
        assert "Blau" not in answer.text


def test_a_damaged_link_is_a_plain_page_that_repeats_nothing(stranger: TestClient, owner: Owner) -> None:
    for token in ("x", "a.b", "A" * 60 + "." + "B" * 43, "A" * 5000, "%3Cscript%3E", "..%2f..%2fetc"):
        for answer in (stranger.get(f"/connect/{token}"), stranger.post(f"/connect/{token}")):
            assert answer.status_code == 404, token
            assert token[:20] not in answer.text or len(token) < 4
            assert "<script>" not in answer.text


def test_a_callback_of_nobodys_login_asks_nobody(stranger: TestClient, owner: Owner, platform: MetaPlatform) -> None:
    for query in ("", "?state=", "?state=%00x", "?state=" + "A" * 43, "?code=x&state=a&state=b", "?error=x"):
        assert stranger.get(f"/connect/callback{query}").status_code in (404, 422), query
        assert stranger.post(f"/connect/callback{query}").status_code in (404, 422), query
    assert not platform.calls


def test_an_account_that_rests_or_is_gone_says_so(stranger: TestClient, owner: Owner) -> None:
    path = path_of(owner)
    sql("UPDATE accounts SET disabled_at = now()")
    assert (stranger.get(path).status_code, stranger.post(path).status_code) == (409, 409)
    sql("DELETE FROM accounts")
    assert (stranger.get(path).status_code, stranger.post(path).status_code) == (404, 404)


def test_nothing_of_a_login_is_logged_or_passed_on(
    stranger: TestClient, owner: Owner, platform: MetaPlatform, caplog: pytest.LogCaptureFixture
) -> None:
    path = path_of(owner)
    platform.visitor = "5"
    with caplog.at_level("DEBUG"):
        page = stranger.get(path)
        stranger.get(path.replace("/connect/", "/%63onnect/"))
        came = pressed(stranger, path)
        ended = stranger.get("/connect/callback", params=came)
        stranger.get("/connect/callback", params={"state": "canary-state", "code": "canary-code"})
    logged = "\n".join(f"{record.msg} {record.args}" for record in caplog.records if record.name.startswith("app"))
    assert "/connect/***" in logged
    for secret in (path.rpartition("/")[2], came["state"], came["code"], CANARY, *stranger.cookies.values()):
        assert secret not in logged
    for answer in (page, ended):
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert CANARY not in answer.text
        for address in re.findall(r'(?:href|src)="([^"]*)"', answer.text):
            assert address.startswith("/assets/")
            assert stranger.get(address).status_code == 200


def test_trouble_of_ours_blames_no_link(
    stranger: TestClient, owner: Owner, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = path_of(owner)
    key = adminkey.path(settings())
    kept = key.read_text()
    key.write_text("")
    unsigned = stranger.get(path)
    key.write_text(kept)
    db.dispose()
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    settings.cache_clear()
    away = [stranger.get(path), stranger.post(path), stranger.get("/connect/callback?state=x&code=y")]
    assert {answer.status_code for answer in (unsigned, *away)} == {503}
    assert "not set up on our side" in unsigned.text
    for answer in away:
        assert "Try again in a minute" in answer.text
        assert "127.0.0.1" not in answer.text


@pytest.mark.chromium
def test_a_real_browser_walks_from_the_link_to_the_thanks(
    owner: Owner, platform: MetaPlatform, make_app: Callable[[], FastAPI], monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    """Browsers hold the redirect to the platform against the page's own policy, and judge cookies by themselves."""
    with served(make_app()) as port:
        monkeypatch.setenv("SMM_PUBLIC_URL", f"http://127.0.0.1:{port}")
        settings.cache_clear()
        with browser(tmp_path / "profile") as tab:
            tab.go(owner.url())
            tab.press("button")
            tab.wait_for("document.body.innerText.includes('Thank you, it is connected')")
            assert tab.problems == []
    assert platform.is_good(storing.reveal(owner.held).access)
