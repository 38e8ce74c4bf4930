"""The page about limits: who is full, who waits, what is held back, one account; without Redis, or Postgres."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app import clock
from app.config import settings
from app.infra import adminkey, redis
from app.limits import keys
from tests.admission.limited import CATALOG
from tests.admission.pausing import pause
from tests.fixtures.waiting import until
from tests.health.catalogs import use
from tests.web.test_limits_api import ask, closed, stored
from tests.web.test_pages import shown, words


@pytest.fixture
def api(client: TestClient, home: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """Under a catalogue with limits, with counters that are whole."""
    use(monkeypatch, home, CATALOG)
    redis.client().set(keys.EPOCH, "whole:1")
    return client


def test_nothing_used_is_said(api: TestClient) -> None:
    text = words(api.get("/limits").text)
    assert "Nothing is used of any limit." in text
    assert "Nothing waits." in text
    assert "Held back" not in text


def test_the_fullest_accounts_who_waits_and_what_is_held_back_are_shown(api: TestClient) -> None:
    stored("full & co", "posts", 2, 2)
    stored("full & co", "api", 9, 10)
    stored("half", "api", 5, 10)
    for number in range(3):
        ask(api, "post", account="full & co", id=str(number))
    pause("platform:instagram", reason="moving <house>", least=3)
    page = api.get("/limits").text
    text = words(page)
    assert re.search(r"instagram/full &amp; co posts .*2 of 2 100 % .*what needs it waits .*api .*9 of 10 90 %", text)
    assert text.index("full &amp; co") < text.index("instagram/half")
    assert 'href="/limits?account=instagram/full%20%26%20co"' in page
    assert "Waiting 1 operation " in text
    assert "1 interactive" in text
    assert "platform:instagram moving &lt;house&gt; background work waits" in text
    assert "<script>" not in page
    assert 'style="' not in page


def test_one_account_is_shown_live_with_what_was(api: TestClient) -> None:
    ask(api, "post")
    closed("acme", "posts", 10, hours=2)
    closed("acme", "api", 10, hours=2)
    page = api.get("/limits", params={"account": "instagram/acme"}).text
    text = words(page)
    assert "posts 1 of 2 50 %" in text
    assert "api_rolling 2 of 12 16.6 %" in text
    assert "posts the last 30 d" in text, "the fullest is drawn"
    assert "1 windows, 1 of them full; 1 refused, 2 deferred" in text
    assert '<rect class="bad"' in page
    other = words(api.get("/limits", params={"account": "instagram/acme", "limit": "api"}).text)
    assert "api the last 30 d" in other


@pytest.mark.parametrize("account", ["acme", "instagrm/acme", "/", "instagram/"])
def test_an_account_of_another_form_is_told_so(api: TestClient, account: str) -> None:
    answer = api.get("/limits", params={"account": account})
    assert answer.status_code == 404
    assert "There is no such page" in answer.text


def test_the_status_page_shows_the_fullest_account_of_each_limit(api: TestClient) -> None:
    stored("full", "posts", 2, 2)
    text = words(shown(api, "/", "posts 2 of 2 100 %"))
    assert "instagram/full 1 account at 100 %" in text
    assert "api 0 of 10 0 %" in text


def test_while_redis_is_away_stored_figures_are_shown(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    stored("acme", "posts", 2, 2)
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:9/0")
    settings.cache_clear()
    redis.client.cache_clear()
    text = words(shown(api, "/limits", "Redis does not answer"))
    assert "posts 2 of 2 100 %" in text
    one = words(api.get("/limits", params={"account": "instagram/acme"}).text)
    assert "Redis does not answer" in one
    assert "posts 2 of 2 100 %" in one


def test_counters_that_are_coming_back_are_told_of(api: TestClient) -> None:
    redis.client().set(keys.EPOCH, "filling:2")
    assert "counters are coming back" in words(shown(api, "/limits", "Redis lost its memory"))
    assert "coming back from the last snapshot" in " ".join(api.get("/api/v1/status").json()["notices"])


def test_while_postgres_is_away_one_account_is_shown_live(
    redis_server: str, home: Path, make_app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody:x@127.0.0.1:9/none")
    use(monkeypatch, home, CATALOG)
    redis.client().set(keys.EPOCH, "whole:1")
    with TestClient(make_app()) as api:
        api.headers["Authorization"] = f"Bearer {adminkey.load_or_create(settings())}"
        ask(api, "post")
        text = words(api.get("/limits", params={"account": "instagram/acme"}).text)
        assert "posts 1 of 2 50 %" in text
        assert "Postgres does not answer: who waits is not known" in text
        of_all = api.get("/limits")
        assert of_all.status_code == 200
        assert "Postgres does not answer" in words(of_all.text)


def test_a_window_that_is_over_is_not_shown_as_full(api: TestClient) -> None:
    stored("old", "posts", 2, 2, end=clock.now() - timedelta(seconds=1))
    until(lambda: api.get("/api/v1/status").json()["rate_limits"], what="the limits are known")
    assert "instagram/old" not in api.get("/limits").text
