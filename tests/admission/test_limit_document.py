"""What is told of limits: the keys are a contract, and the words follow what the limiter does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.admission import limit_document
from app.admission.limit_document import Queued
from app.catalog import RateLimit
from app.limits.live import Figures, figures_of
from app.limits.windows import bucket_of

NOW = datetime(2026, 3, 2, 12, 40, 0, 250_000, UTC)
FULL_HOUR = datetime(2026, 3, 2, 13, tzinfo=UTC)


def limit(name: str = "instagram_api", **given: Any) -> RateLimit:
    return RateLimit(
        **{"name": name, "platform": "instagram", "capacity": 180, "window": "calendar", "period": "hour", **given}
    )


def counter(used: int, **more: Any) -> dict[str, Any]:
    """A calendar counter of this hour, as the scripts keep it."""
    return {"s": ms(FULL_HOUR - timedelta(hours=1)), "e": ms(FULL_HOUR), "u": used, **more}


def ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def figures(used: int, **more: Any) -> Figures:
    return figures_of(limit(), "account:instagram/acme", counter(used, **more), NOW)


def test_the_limit_document_has_these_keys_and_no_others() -> None:
    waits = [
        Queued("instagram-publish", 3, datetime(2026, 3, 2, 12, 1, tzinfo=UTC)),
        Queued("instagram-analytics", 1, datetime(2026, 3, 2, 12, 39, 0, 5000, UTC)),
    ]
    assert limit_document.document(figures(171), waits, NOW) == {
        "timestamp": "2026-03-02T12:40:00.250Z",
        "limit_type": "instagram_api",
        "current": 171,
        "limit": 180,
        "percentage": 95.0,
        "time_until_reset": 1200,
        "action": "pause_background",
        "queued_operations": [
            "3 instagram-publish (oldest since 2026-03-02T12:01:00.000Z)",
            "1 instagram-analytics (oldest since 2026-03-02T12:39:00.005Z)",
        ],
    }


@pytest.mark.parametrize(
    ("used", "word"),
    [
        (0, "none"),
        (143, "none"),
        (144, "warn"),
        (170, "warn"),
        (171, "pause_background"),
        (179, "pause_background"),
        (180, "wait"),
        (185, "wait"),
    ],
)
def test_the_action_is_what_the_limiter_does(used: int, word: str) -> None:
    assert limit_document.action(figures(used)) == word


def test_a_limit_that_the_platform_blocked_waits_whatever_was_used() -> None:
    until = NOW + timedelta(hours=2)
    found = figures(3, x=ms(until))
    document = limit_document.document(found, [], NOW)
    assert (document["action"], document["current"]) == ("wait", 3)
    assert document["time_until_reset"] == 7200
    assert limit_document.action(figures(3, x=ms(NOW))) == "none"


def test_a_lower_capacity_that_the_platform_told_counts() -> None:
    found = figures(90, c=90)
    assert limit_document.document(found, [], NOW)["limit"] == 90
    assert limit_document.action(found) == "wait"
    assert limit_document.ceiling(found, limit_document.BACKGROUND) == 85


def test_money_is_told_in_dollars_in_the_document_and_in_millionths_in_lists() -> None:
    spend = limit("spend", capacity=2.5, currency="usd", per="tenant", period="day")
    found = figures_of(spend, "tenant:acme", None, NOW)
    assert limit_document.document(found, [], NOW)["limit"] == 2.5
    shown = limit_document.shown(found, NOW)
    assert (shown["limit"], shown["currency"], shown["account"]) == (2_500_000, "micro_usd", "tenant:acme")


def test_a_list_says_everything_of_a_limit() -> None:
    assert limit_document.shown(figures(144, r=2, d=5), NOW) == {
        "name": "instagram_api",
        "description": "",
        "subject": "account:instagram/acme",
        "account": "instagram/acme",
        "used": 144,
        "limit": 180,
        "percentage": 80.0,
        "remaining": 36,
        "currency": "calls",
        "window": "calendar",
        "period": "hour",
        "resets_at": "2026-03-02T13:00:00.000Z",
        "seconds_to_reset": 1200,
        "action": "warn",
        "ceilings": {"critical": 180, "interactive": 180, "normal": 180, "background": 171},
        "blocked_until": None,
        "refused": 2,
        "deferred": 5,
        "as_of": "2026-03-02T12:40:00.250Z",
    }


def test_the_status_has_every_limit_with_zeros_where_nothing_is_used() -> None:
    limits = [limit(), limit("instagram_dm", capacity=190)]
    found = limit_document.status_entries(limits, {"instagram_api": figures(180)}, {"instagram_api": 4})
    assert found == {
        "instagram_api": {
            "used": 180,
            "limit": 180,
            "percentage": 100.0,
            "account": "instagram/acme",
            "resets_at": "2026-03-02T13:00:00.000Z",
            "full": 4,
        },
        "instagram_dm": {
            "used": 0, "limit": 190, "percentage": 0.0, "account": None, "resets_at": None, "full": 0,
        },
    }  # fmt: skip
    assert {name: list(entry) for name, entry in limit_document.unknown_entries(limits).items()} == {
        name: list(entry) for name, entry in found.items()
    }


def test_a_percentage_is_never_rounded_up_to_all() -> None:
    assert limit_document.percentage(99_999, 100_000) == 99.9
    assert limit_document.percentage(0, 0) == 100.0


def test_a_calendar_window_that_is_over_counts_no_more() -> None:
    old = {"s": ms(FULL_HOUR - timedelta(hours=2)), "e": ms(FULL_HOUR - timedelta(hours=1)), "u": 180, "r": 9}
    found = figures_of(limit(), "account:instagram/acme", old, NOW)
    assert (found.used, found.refused, found.resets_at) == (0, 0, FULL_HOUR)


def test_of_a_rolling_window_only_buckets_that_still_count_are_read() -> None:
    rolling = limit("instagram_api_rolling", capacity=200, window="rolling")
    width, buckets = bucket_of(rolling)
    newest = ms(NOW) // width
    kept = {"w": width, "f": newest - buckets, "b": [50, 20, 0, 30]}
    found = figures_of(rolling, "account:instagram/acme", kept, NOW)
    assert found.used == 50
    assert found.room_at is not None
    assert found.resets_at is not None
    assert ms(found.room_at) == (newest - buckets + 1 + buckets) * width
    assert ms(found.resets_at) == (newest - buckets + 3 + buckets) * width
    full = limit_document.document(figures_of(rolling, "a", {**kept, "b": [0, 200, 1]}, NOW), [], NOW)
    assert (full["action"], full["time_until_reset"]) == ("wait", 60), "until the first of it is free again"


def test_what_was_counted_in_another_width_still_counts() -> None:
    rolling = limit("x", capacity=200, window="rolling")
    assert figures_of(rolling, "a", {"w": 1, "f": 1, "b": [5, 6]}, NOW).used == 11
    assert figures_of(rolling, "a", counter(7), NOW).used == 7
