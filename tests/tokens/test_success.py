"""How many refreshes succeed: counted once, whatever is added up when; told of once when too few do."""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.catalog import Tokens
from app.infra.db import read_only
from app.tokens import success, success_watch, tallying
from app.tokens.models import HistoryRow
from app.tokens.success import Share
from app.tokens.success_watch import Watched
from tests.fixtures.ledger import Ledger
from tests.tokens.rows import Kept, happened, remember

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
ACME, OTHER, X = Kept("a"), Kept("b", tenant="other"), Kept("c", tenant="other", platform="x")


def tried(account: Kept, kind: str, at: datetime, reason: str = "") -> HistoryRow:
    return happened(account, kind, at, reason, duration_ms=120)


def shown(**wanted: Any) -> dict[str, Any]:
    with read_only() as session:
        return success.document(session, now=NOW, **wanted)


def test_tries_are_shown_by_day_platform_and_reason(ledger: Ledger) -> None:
    remember(
        [
            tried(ACME, "refreshed", NOW - 30 * HOUR),
            tried(ACME, "failed", NOW - 2 * HOUR, "no_answer"),
            tried(OTHER, "failed", NOW - HOUR, "no_answer"),
            tried(OTHER, "refreshed", NOW - HOUR),
            tried(OTHER, "refreshed", NOW - HOUR, "not_extended"),
            tried(X, "dead", NOW, "refresh_token_invalid"),
            happened(X, "lost", NOW, "lost_in_crash"),
            happened(ACME, "dead", NOW, "expired"),
            happened(ACME, "waiting", NOW, "app_held"),
            happened(ACME, "connected", NOW),
            tried(ACME, "refreshed", NOW - 200 * HOUR),
        ]
    )
    found = shown(days=3)
    assert (found["tries"], found["succeeded"], found["share"]) == (7, 2, 0.2857)
    assert found["by_outcome"] == {"refreshed": 2, "failed": 3, "dead": 1, "lost": 1}
    assert found["by_reason"][0] == {"reason": "no_answer", "outcome": "failed", "tries": 2}
    assert {one["reason"] for one in found["by_reason"]} == {
        "no_answer",
        "not_extended",
        "refresh_token_invalid",
        "lost_in_crash",
    }
    assert [(one["platform"], one["tries"], one["share"]) for one in found["by_platform"]] == [
        ("instagram", 5, 0.4),
        ("x", 2, 0.0),
    ]
    assert [(one["date"], one["tries"]) for one in found["by_day"]] == [
        ("2026-11-18", 0),
        ("2026-11-19", 1),
        ("2026-11-20", 6),
    ]
    assert shown(days=3, tenant="other", platform="instagram")["tries"] == 3
    nothing = shown(tenant="nobody")
    assert (nothing["share"], nothing["days"], nothing["target"]) == (None, 7, 0.95)


def test_each_try_counts_once_however_often_they_are_added_up(ledger: Ledger) -> None:
    chance, expected = random.Random(3), Counter[tuple[str, str]]()
    start = NOW - 60 * HOUR
    for step in range(11):
        now = start + step * 6 * HOUR
        rows = []
        for _ in range(20):
            account, kind = chance.choice((ACME, OTHER, X)), chance.choice(("refreshed", "failed"))
            # What was begun within the lag is written down after others were added up.
            rows.append(tried(account, kind, now - chance.random() * tallying.LAG / 2))
            expected[account.tenant, kind] += 1
        remember(rows)
        tallying.tally(now)
        tallying.tally(now + chance.random() * HOUR)
    assert tallying.tally(NOW) <= 1
    for tenant in ("acme", "other", None):
        found = shown(days=4, tenant=tenant)["by_outcome"]
        for kind in ("refreshed", "failed"):
            assert found[kind] == sum(expected[name, kind] for name in ("acme", "other") if tenant in (None, name))
    assert ledger.sql("SELECT sum(tries) AS n FROM token_tries WHERE tenant = ''")[0].n > 150


def test_sums_that_are_old_are_read_without_their_history(ledger: Ledger) -> None:
    remember([tried(ACME, "refreshed", NOW - 50 * HOUR), tried(ACME, "refreshed", NOW - timedelta(minutes=5))])
    assert tallying.tally(NOW) == 8, "six hours at a time, up to what may still be written"
    ledger.sql("DELETE FROM token_history WHERE at < :bound", bound=NOW - HOUR)
    assert shown()["tries"] == 2


def told(ledger: Ledger) -> list[tuple[str, str, int]]:
    rows = ledger.sql("SELECT kind, subject, labels, facts FROM signals WHERE kind LIKE 'tokens.success%' ORDER BY id")
    return [(row.kind, row.subject, row.facts["tries"]) for row in rows]


def test_a_platform_whose_refreshes_fail_is_told_of_once_and_once_more_when_they_succeed(ledger: Ledger) -> None:
    remember([tried(ACME, "failed", NOW - HOUR, "no_answer") for _ in range(2)])
    remember([tried(ACME, "refreshed", NOW - HOUR) for _ in range(17)])
    assert success_watch.watch(NOW) == {"low": 0, "back": 0}, "too few to judge by"
    remember([tried(ACME, "refreshed", NOW - HOUR)])
    assert success_watch.watch(NOW) == {"low": 1, "back": 0}
    assert success_watch.watch(NOW) == {"low": 0, "back": 0}
    remember([tried(ACME, "refreshed", NOW - HOUR) for _ in range(25)])
    assert success_watch.watch(NOW) == {"low": 0, "back": 0}, "0.9555 is not clearly better than 0.95"
    remember([tried(ACME, "refreshed", NOW - HOUR) for _ in range(10)])
    assert success_watch.watch(NOW) == {"low": 0, "back": 1}
    assert told(ledger) == [
        ("tokens.success_low", "platform:instagram", 20),
        ("tokens.success_back", "platform:instagram", 55),
    ]
    first = ledger.sql("SELECT labels, facts FROM signals WHERE kind = 'tokens.success_low'")[0]
    assert first.labels == {"platform": "instagram"}
    assert first.facts["share"] == 0.9
    assert first.facts["by_reason"] == [{"reason": "no_answer", "outcome": "failed", "tries": 2}]


def test_nothing_is_low_for_ever_where_nothing_is_tried_any_more(ledger: Ledger) -> None:
    remember([tried(X, "failed", NOW - HOUR) for _ in range(30)])
    assert success_watch.watch(NOW)["low"] == 1
    assert success_watch.watch(NOW + timedelta(days=8)) == {"low": 0, "back": 1}


@pytest.mark.parametrize(
    ("share", "is_on", "is_low"),
    [
        (Share(0, 0), False, False),
        (Share(19, 0), False, False),
        (Share(20, 19), False, False),
        (Share(20, 18), False, True),
        (Share(100, 95), True, True),
        (Share(100, 96), True, False),
        (Share(10, 0), True, True),
        (Share(9, 0), True, False),
    ],
)
def test_a_share_is_judged(share: Share, is_on: bool, is_low: bool) -> None:
    assert Watched("x", share, ()).is_low(Tokens(), is_on=is_on) is is_low


def test_a_share_is_never_rounded_up() -> None:
    assert Share(100_000, 94_999).share == 0.9499
    assert Share(3, 3).share == 1.0


def test_two_who_add_up_at_once_take_turns(ledger: Ledger) -> None:
    remember([tried(ACME, "refreshed", NOW - hours * HOUR) for hours in range(2, 40)])
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(tallying.tally, (NOW, NOW)))
    assert shown()["tries"] == 38
