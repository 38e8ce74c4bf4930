"""The report of a day: its keys are a contract; counts of the looks, actions of the history, each tenant's own day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.errors import Invalid
from app.infra.db import read_only, unit_of_work
from app.tokens import report, report_text
from app.tokens.models import DayRow
from tests.health.catalogs import use
from tests.tokens.rows import Kept, happened, keep, remember

NOW = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)
DAY = timedelta(days=1)
CATALOG = """
[services.redis]
kind = "redis"
[tenants.acme]
[tenants.tokyo]
timezone = "Asia/Tokyo"
"""
SHOP = Kept("1784", name="shop", token={"expires_at": NOW + 59 * DAY})
DARK = Kept("1785", tenant="tokyo", token={"grant_state": "dead", "expires_at": NOW + 2 * DAY, "generation": 1})


@pytest.fixture
def accounts(database: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, home, CATALOG)
    keep(SHOP, DARK)


def looked(day: date, **tenants: tuple[int, int, int]) -> None:
    with unit_of_work() as uow:
        for tenant, (healthy, soon, critical) in tenants.items():
            checked = healthy + soon + critical
            levels = {"healthy": healthy, "expiring_soon": soon, "critical": critical}
            uow.session.add(DayRow(day=day, tenant=tenant, checked=checked, **levels))


def shown(given: str | None = None, tenant: str | None = None, now: datetime = NOW) -> dict[str, Any]:
    with read_only() as session:
        return report.report(session, report.day_of(given, tenant, now), tenant, now=now)


def test_the_keys_are_those_of_the_contract(accounts: None) -> None:
    looked(NOW.date(), acme=(230, 7, 3))
    at = NOW - timedelta(hours=6)
    remember(
        [
            happened(SHOP, "refreshed", at, before_expires_at=NOW + 9 * DAY, expires_at=at + 60 * DAY, duration_ms=90),
            happened(SHOP, "failed", at - timedelta(hours=1), "no_answer", expires_at=NOW + 9 * DAY, attempt=1),
            happened(SHOP, "told", at - timedelta(minutes=1), step="urgent", channels=["telegram"]),
        ]
    )
    found = shown(tenant="acme")
    assert list(found)[:4] == ["date", "tokens_checked", "status", "actions"]
    assert {name: found[name] for name in list(found)[:3]} == {
        "date": "2026-11-20",
        "tokens_checked": 240,
        "status": {"healthy": 230, "expiring_soon": 7, "critical": 3},
    }
    told, failed, refreshed = found["actions"]
    assert list(refreshed)[:5] == ["client", "token_expires", "days_remaining", "action", "new_expiry"]
    assert {name: refreshed[name] for name in list(refreshed)[:5]} == {
        "client": "acme (instagram/1784)",
        "token_expires": "2026-11-29T15:30:00.000Z",
        "days_remaining": 9,
        "action": "refreshed",
        "new_expiry": "2027-01-19T09:30:00.000Z",
    }
    assert {name: told[name] for name in list(told)[:5]} == {
        "client": "acme (instagram/1784)",
        "token_expires": "2027-01-18T15:30:00.000Z",
        "days_remaining": 59,
        "action": "alert client",
        "alert": "urgent",
    }
    assert (failed["action"], failed["days_remaining"], failed["reason"]) == ("retry", 9, "no_answer")
    assert "new_expiry" not in failed
    assert "alert" not in failed


def test_a_tenants_day_is_of_its_own_zone_also_among_all(accounts: None) -> None:
    midnight = datetime(2026, 11, 20, 15, tzinfo=UTC)  # in Tokyo the 21st begins
    remember(
        [
            happened(DARK, "dead", midnight - timedelta(minutes=1), "password_changed", expires_at=NOW + 2 * DAY),
            happened(DARK, "paused", midnight, expires_at=NOW + 2 * DAY),
            happened(SHOP, "failed", midnight - timedelta(minutes=1), "no_answer"),
            happened(SHOP, "failed", midnight + timedelta(minutes=1), "no_answer"),
        ]
    )
    of_all = [(item["tenant"], item["action"], item["times"]) for item in shown("2026-11-20")["actions"]]
    assert of_all == [("tokyo", "login needed", 1), ("acme", "retry", 2)]
    assert [item["action"] for item in shown("2026-11-20", "tokyo")["actions"]] == ["login needed"]
    tomorrow = shown(tenant="tokyo")
    assert (tomorrow["date"], tomorrow["timezone"]) == ("2026-11-21", "Asia/Tokyo")
    assert [item["action"] for item in tomorrow["actions"]] == ["paused"]


def test_before_the_look_of_today_tokens_are_counted_as_they_stand_now(accounts: None) -> None:
    found = shown()
    assert (found["tokens_checked"], found["note"]) == (2, report.AS_OF_NOW)
    assert found["status"] == {"healthy": 1, "expiring_soon": 0, "critical": 1}
    looked(NOW.date(), tokyo=(5, 0, 0))
    found = shown()
    assert (found["tokens_checked"], found["note"]) == (6, report.YET_TO_COME)
    looked(NOW.date(), acme=(1, 0, 0))
    assert (shown()["tokens_checked"], shown()["note"]) == (6, "")


def test_where_nobody_looked_it_is_said(accounts: None) -> None:
    found = shown("yesterday")
    assert found["tokens_checked"] is None
    assert found["status"] == {"healthy": None, "expiring_soon": None, "critical": None}
    assert found["note"] == report.NO_LOOK
    assert report_text.text(found).splitlines()[-3:] == [
        "No look was recorded.",
        "",
        "Nothing was done about any token.",
    ]


def test_the_gravest_come_first_and_what_is_left_out_is_counted(accounts: None) -> None:
    remember(happened(SHOP, kind, NOW - timedelta(hours=1)) for kind in ("refreshed", "lost", "connected", "failed"))
    with read_only() as session:
        found = report.report(session, NOW.date(), None, now=NOW, most=2)
    assert [item["kind"] for item in found["actions"]] == ["lost", "failed"]
    assert found["more_actions"] == 2


def test_what_did_not_work_is_not_called_done(accounts: None) -> None:
    at = NOW - timedelta(hours=1)
    remember(
        [
            happened(SHOP, "told", at, "failed", step="urgent", channel="telegram", error="blocked by the user"),
            happened(SHOP, "told", at, "failed", step="restored", channel="telegram", error="blocked by the user"),
            happened(SHOP, "refreshed", at, "not_extended", before_expires_at=NOW + 9 * DAY, expires_at=NOW + 9 * DAY),
        ]
    )
    found = shown(tenant="acme")
    assert sorted((one["action"], one.get("alert"), one["detail"]) for one in found["actions"]) == [
        ("alert failed", "restored", "blocked by the user"),
        ("alert failed", "urgent", "blocked by the user"),
        ("retry", None, ""),
    ]
    said = report_text.text(found)
    assert "Done" not in said
    assert "9 days left, not extended" in said


def test_what_outlived_its_account_is_still_told(accounts: None) -> None:
    gone = Kept("9", name="gone")
    remember([happened(gone, "removed", NOW)])
    item = shown()["actions"][0]
    assert (item["client"], item["token_expires"], item["days_remaining"]) == ("acme (instagram/9)", None, None)


def test_people_read_the_same(accounts: None) -> None:
    looked(NOW.date(), acme=(230, 7, 3))
    at = NOW - timedelta(hours=6)
    remember(
        [
            happened(SHOP, "refreshed", at, before_expires_at=NOW + 9 * DAY, expires_at=at + 60 * DAY),
            happened(SHOP, "told", at, step="urgent"),
            *(happened(SHOP, "failed", at, "no_answer", expires_at=NOW + DAY + timedelta(hours=1)) for _ in range(3)),
        ]
    )
    assert report_text.text(shown(tenant="acme")) == (
        "Tokens of acme on 2026-11-20 (UTC)\n"
        "==================================\n"
        "Checked        240\n"
        "Healthy        230\n"
        "Expiring soon  7\n"
        "Critical       3\n"
        "\n"
        "Trouble\n"
        "  09:30  acme (instagram/1784)  alert client: urgent  59 days left\n"
        "  09:30  acme (instagram/1784)  retry (3 times)       1 day left, no answer\n"
        "\n"
        "Done\n"
        "  09:30  acme (instagram/1784)  refreshed  good until 2027-01-19\n"
    )


@pytest.mark.parametrize("given", ["soon", "2026-13-01", "2019-12-31", "2026-11-21"])
def test_a_day_that_is_none_or_not_yet_is_refused(accounts: None, given: str) -> None:
    with pytest.raises(Invalid, match="date"):
        report.day_of(given, None, NOW)
