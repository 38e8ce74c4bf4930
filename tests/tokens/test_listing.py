"""Accounts by what needs attention first, page by page; how many there are of what, also for a scrape."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app import clock
from app.errors import Invalid
from app.infra.db import read_only, unit_of_work
from app.tokens import listing, metrics
from app.tokens.models import AppRow
from tests.health.catalogs import use
from tests.tokens.rows import Kept, keep

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
DAY = timedelta(days=1)


def kept(name: str, days: float | None, platform: str = "instagram", tenant: str = "acme", **token: Any) -> Kept:
    expires_at = None if days is None else NOW + days * DAY
    off = NOW if name == "off" else None
    token = {"expires_at": expires_at, "refresh": b"r", **token}
    return Kept(name, platform=platform, tenant=tenant, name=f"shop of {name}", disabled_at=off, token=token)


ACCOUNTS = [
    kept("fine", 40),
    kept("finer", 50, tenant="other"),
    kept("never ends", None),
    kept("near", 8),
    kept("failing", 9, attempts=1, told=""),
    kept("urgent", 2, attempts=3, told="urgent"),
    kept("over", -1, grant_state="dead", told="expired", paused=True),
    kept("refused", 30, "facebook", grant_state="dead", told="reconnect"),
    kept("quick", 1 / 24, "x"),
    kept("new", None, grant_state="", generation=0),
    kept("off", 2, attempts=3),
]
ORDER = ["over", "refused", "urgent", "near", "failing", "quick", "fine", "finer", "never ends", "new", "off"]


@pytest.fixture
def accounts(database: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, home, '[services.redis]\nkind = "redis"\n')
    keep(*ACCOUNTS)


def names(found: listing.Page) -> list[str]:
    return [one.account.external_id for one in found.items]


def page(**wanted: Any) -> listing.Page:
    with read_only() as session:
        return listing.page(session, **{"now": NOW, **wanted})


def test_what_needs_attention_comes_first(accounts: None) -> None:
    found = page()
    assert names(found) == ORDER
    assert [(one.level, one.step.value) for one in found.items][:5] == [
        ("critical", "expired"),
        ("critical", "last"),
        ("critical", "urgent"),
        ("expiring_soon", ""),
        ("expiring_soon", ""),
    ]
    assert {one.level for one in found.items[5:]} == {"healthy", "unconnected", "disabled"}
    assert found.following is None


def test_pages_are_as_of_one_moment_and_leave_nothing_out(accounts: None) -> None:
    seen, cursor, moment = list[str](), None, NOW
    while True:
        found = page(limit=2, cursor=cursor, now=moment)
        seen += names(found)
        assert found.now == NOW
        if found.following is None:
            break
        cursor, moment = found.following, moment + 9 * DAY  # by then most of them have ended
    assert seen == ORDER


def test_accounts_are_filtered(accounts: None) -> None:
    assert names(page(tenant="other")) == ["finer"]
    assert names(page(platform="facebook")) == ["refused"]
    assert names(page(level="critical")) == ["over", "refused", "urgent"]
    assert names(page(level="critical", platform="instagram", limit=1)) == ["over"]
    assert names(page(search="OF FIN")) == ["fine", "finer"]
    assert names(page(search="%")) == []


FIRST = "00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize(
    "wanted",
    [
        {"level": "good"},
        {"cursor": "x"},
        {"cursor": "2026-01-01|1|2|infinity|x"},
        *(
            {"cursor": f"{now}|1|1|{end}|{FIRST}"}
            for now, end in (
                ("0001-01-01T00:00:00+14:00", "infinity"),
                ("9999-12-31T23:59:59-14:00", "infinity"),
                ("2027-01-01T00:00:00+00:00", "0001-01-01T00:00:00+14:00"),
            )
        ),
    ],
)
def test_what_is_no_filter_is_refused(accounts: None, wanted: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        page(**wanted)


def test_a_place_in_any_notation_of_time_is_read(accounts: None) -> None:
    ends = ("20270101T00+00", "2027-W01-1T00:00:00+00:00", "2027-01-01 00:00:00+00", "infinity")
    for end in ends:
        page(cursor=f"2027-01-01T00:00:00+00:00|1|1|{end}|{FIRST}")


def test_a_scrape_reads_where_tokens_stand(accounts: None) -> None:
    with unit_of_work() as uow:
        uow.session.add(AppRow(name="x", state="refused", held_until=clock.now() + timedelta(hours=1)))
        uow.session.add(AppRow(name="facebook", state="ok"))
        uow.session.add(AppRow(name="key:k9", state="refused"))
    found = {family.name: family for family in metrics.tokens()}
    levels = {
        (one.labels["platform"], one.labels["level"]): one.value
        for one in found["smm_tokens"].samples
        if one.labels["platform"] == "instagram"
    }
    assert levels["instagram", "disabled"] == 1
    assert levels["instagram", "unconnected"] == 1
    assert sum(levels.values()) == 9
    assert {one.labels["platform"] for one in found["smm_token_min_days_remaining"].samples} == {
        "instagram",
        "facebook",
        "x",
    }
    held = {one.labels["app"]: one.value for one in found["smm_token_apps_held"].samples}
    assert held == {"x": 1.0, "facebook": 0.0}
