"""The pages about tokens: who needs attention, how many refreshes succeed, one account; without a key or a secret."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from starlette.testclient import TestClient

from app import clock
from app.infra import ids, redis
from app.infra.db import unit_of_work
from app.limits import keys
from app.tokens.models import AppRow, MessageRow, ReadRow
from tests.admission.limited import CATALOG
from tests.health.catalogs import use
from tests.tokens.rows import Kept, happened, keep, remember
from tests.web.test_limits_api import ask
from tests.web.test_pages import shown, words

DAY = timedelta(days=1)
SEALED = b"ciphertext of nobody's business"


def kept(name: str, days: float, now: datetime, platform: str = "instagram", **token: Any) -> Kept:
    given: dict[str, Any] = {"expires_at": now + days * DAY, "next_at": now + timedelta(hours=5)}
    given |= dict.fromkeys(("issued_at", "refreshed_at"), now - 50 * DAY) | dict.fromkeys(("access", "refresh"), SEALED)
    return Kept(name, platform=platform, name=f"shop <{name}>", token=given | token)


@pytest.fixture
def now() -> datetime:
    return clock.now()


@pytest.fixture
def page(stranger: TestClient, home: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """Nobody needs a key to look."""
    use(monkeypatch, home, CATALOG)
    redis.client().set(keys.EPOCH, "whole:1")
    return stranger


def test_without_accounts_it_says_how_to_add_one(page: TestClient) -> None:
    assert "There are no accounts yet" in words(shown(page, "/tokens", "Tokens"))


def test_accounts_in_trouble_come_first_below_what_concerns_many(page: TestClient, now: datetime) -> None:
    failing: dict[str, Any] = {"attempts": 3, "reason": "no_answer", "told": "urgent", "failing_since": now - DAY}
    late, fine = kept("late", 2.5, now, **failing), kept("fine", 55, now)
    keep(
        late,
        fine,
        kept(
            "gone",
            -1,
            now,
            "facebook",
            grant_state="dead",
            reason="password_changed",
            paused=True,
            detail="code 190, subcode 460",
        ),
    )
    remember([happened(late, "failed", now, "no_answer", duration_ms=9)])
    remember(happened(fine, "refreshed", now, duration_ms=9) for _ in range(3))
    with unit_of_work() as uow:
        uow.session.add(AppRow(name="facebook", state="refused", reason="bad_secret", held_until=now + DAY))
        uow.session.add(AppRow(name="key:k9", state="refused", reason="key_missing"))
    html = shown(page, "/tokens", "shop")
    text = words(html)
    assert "App facebook: its platform refuses the app (bad secret); its tokens wait" in text
    assert "Tokens under the key k9 cannot be opened: the encryption key is missing." in text
    assert text.index("shop &lt;gone&gt;") < text.index("shop &lt;late&gt;") < text.index("shop &lt;fine&gt;")
    assert "operations are paused; the owner changed the password <small>code 190, subcode 460</small>" in html
    assert "ended 24 h ago" in text
    assert 'data-label="left"><span class="num">ended' not in html
    assert "3 of 3" in text
    assert "75 % in 7 days, it should be 95 %" in text
    assert "instagram 75 % 3 of 4 the platform did not answer 1" in text
    assert 'href="/tokens/instagram/late"' in html
    assert "<script>" not in html
    assert 'style="' not in html
    critical = words(page.get("/tokens", params={"level": "critical", "platform": "instagram"}).text)
    assert "shop &lt;late&gt;" in critical
    assert "shop &lt;fine&gt;" not in critical
    assert "critical 2" in text
    assert "critical 0" in words(page.get("/tokens", params={"search": "fine"}).text), "of what was searched for"
    assert page.get("/tokens", params={"level": "good"}).status_code == 404


def test_more_accounts_than_a_page_holds_are_on_the_next(page: TestClient, now: datetime) -> None:
    keep(*(kept(f"a{number:02}", 20 + number / 10, now) for number in range(55)))
    html = shown(page, "/tokens", "The next ones")
    assert "shop &lt;a50&gt;" not in html
    link = html.partition('<p class="empty"><a href="')[2].partition('"')[0].replace("&amp;", "&")
    rest = words(page.get(link).text)
    assert "shop &lt;a54&gt;" in rest
    assert "shop &lt;a49&gt;" not in rest


def test_one_account_shows_its_ladder_its_story_its_readers_and_its_limits(
    page: TestClient, client: TestClient, now: datetime
) -> None:
    token: dict[str, Any] = {
        "attempts": 3,
        "reason": "no_answer",
        "told": "urgent",
        "climb": 1,
        "scopes": ["read", "write"],
    }
    late = kept("acme", 2.5, now, **token)
    keep(late)
    remember(
        [
            happened(late, "connected", now - 57 * DAY, by="person:ann", expires_at=now + 3 * DAY),
            happened(
                late,
                "failed",
                now - DAY,
                "no_answer",
                attempt=3,
                of=3,
                duration_ms=120,
                trouble="transient",
                expires_at=now,
            ),
            happened(late, "told", now - DAY, step=""),
            happened(late, "dead", now - DAY, "app_removed", attempt=0, of=3),
        ]
    )
    told = {"account_id": late.id, "climb": 1, "step": "urgent", "tries": 1, "created_at": now, "sent_at": now}
    mail = {"channel": "mail", "recipient": "ann@example.com", "state": "sent"}
    chat = {"channel": "chat", "recipient": "1234567890", "state": "failed", "error": "blocked"}
    read = {"account_id": late.id, "tenant": "acme", "platform": "instagram", "external_id": "acme", "at": now}
    read |= {"by": "poster", "outcome": "given", "purpose": "to <post>", "address": "::1"}
    with unit_of_work() as uow:
        uow.session.add_all([MessageRow(id=uuid4(), **told, **one) for one in (mail, chat)])
        uow.session.add(ReadRow(id=ids.uuid7(), **read))
    ask(client, "post")
    html = shown(page, "/tokens/instagram/acme", "could not be refreshed")
    text = words(html)
    assert "instagram/acme of acme: the platform did not answer" in text
    assert "try again 3 of 3 tries failed" in text
    assert 'aria-current="step"> <strong>urgent</strong>' in " ".join(html.split())
    assert "pause operations are paused, and staff is told in 35 h" in text
    assert "urgent mail a…@example.com" in text
    assert "urgent chat …7890 blocked" in text
    assert "poster to &lt;post&gt; given" in text
    assert "posts 1 of 2 50 %" in text
    assert "failed: the platform did not answer attempt 3 of 3, expires at" in text
    assert "connected" in text
    assert "attempt 0" not in text
    assert "? told" not in text
    assert "step" not in text.partition("History")[2]
    assert "dead: the owner removed the app" in text
    assert "ann@example.com" not in html
    assert "::1" not in html
    assert SEALED.decode() not in html


def test_what_cannot_be_shown_is_said(page: TestClient, now: datetime) -> None:
    keep(kept("a", 20, now, "x"), Kept("b", token={"grant_state": "", "generation": 0, "access": None}))
    elsewhere = words(shown(page, "/tokens/x/a", "is fine"))
    assert "no operation is done on this platform" in elsewhere
    assert "Nothing has happened to it." in elsewhere
    unconnected = words(page.get("/tokens/instagram/b").text)
    assert "was never connected" in unconnected
    assert "?" not in unconnected
    missing = page.get("/tokens/instagram/NoBody")
    assert (missing.status_code, "There is no account instagram/NoBody." in words(missing.text)) == (404, True)
