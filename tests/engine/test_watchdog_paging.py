"""Paging while the engine is down: the product as it is started, a server of it frozen, a channel that records."""

from __future__ import annotations

import pytest

from tests.engine.watched import Watched
from tests.fixtures.stack import eventually

pytestmark = pytest.mark.slow

TOLD = (
    "SELECT n.* FROM notifications n JOIN alert_groups g ON g.id = n.group_id"
    " WHERE n.channel = 'hook' AND NOT n.message -> 'common_labels' ? 'synthetic' ORDER BY n.created_at"
)


def ledger_of(product: Watched, alert: str, service: str) -> list[tuple[str, str, str, str]]:
    """What the ledger says was told of an alert."""
    alerts = ((row, row.message["alerts"][0]) for row in product.stack.sql(TOLD))
    mine = [row for row, told in alerts if (told["name"], told["labels"].get("service")) == (alert, service)]
    assert len({row.thread for row in mine}) == 1
    return [(row.reason, row.event, row.state, row.source) for row in mine]


def test_a_frozen_redis_is_paged_within_a_minute_once_and_its_end_is_told_by_the_engine(watched: Watched) -> None:
    before, alert = len(watched.messages()), "SMM_RedisConnectionFailure"
    watched.freeze_and_thaw(watched.stack.server("redis"), "redis", alert)
    was_told_once(watched, "redis", alert, before)


def test_a_frozen_postgres_is_paged_the_same_on_the_status_page_meanwhile_and_stored_as_an_incident_afterwards(
    watched: Watched,
) -> None:
    def is_on_the_status_page() -> None:
        document = watched.stack.health()
        assert document["status"] == "unhealthy"
        assert document["alerts"][0]["service"] == "postgres"
        assert watched.stack.command("status", check=False).returncode == 1

    before, alert = len(watched.messages()), "SMM_DatabaseConnectionFailure"
    postgres = watched.stack.server("postgres")
    watched.freeze_and_thaw(postgres, "postgres", alert, meanwhile=is_on_the_status_page)
    was_told_once(watched, "postgres", alert, before)
    # Until the watchdog has stored what it saw, the last that Postgres knows of itself is that it was up.
    eventually(lambda: has_recovered(watched, "postgres"), within=90, what="the incident is stored and over")
    (incident, *_) = watched.smm("incidents", "--service", "postgres")[1]["incidents"]
    assert incident["detection_seconds"] < 45


def was_told_once(product: Watched, service: str, alert: str, before: int) -> None:
    """By the watchdog that it began, by the engine that it ended."""
    assert product.messages()[before:] == [("firing", alert, service), ("resolved", alert, service)]
    assert ledger_of(product, alert, service) == [
        ("first", "firing", "delivered", "watchdog"),
        ("resolved", "resolved", "delivered", "engine"),
    ]


def has_recovered(product: Watched, name: str) -> bool:
    """Is the last incident of a service over?"""
    (last, *_) = product.stack.api("incidents", service=name)["incidents"]
    return bool(last["outcome"] == "recovered")


def test_a_tick_worker_that_hangs_is_one_page_although_beat_and_alerts_stand_still_with_it(watched: Watched) -> None:
    # For a minute after Redis came up nothing is said of what depends on it.
    eventually(lambda: watched.seconds_up("redis") > 65, within=90, what="Redis has been up for a while")
    before, alert = len(watched.messages()), "SMM_ServiceDown"
    watched.freeze_and_thaw(watched.stack.processes("worker-tick")[0], "workers", alert)
    assert watched.messages()[before:] == [("firing", alert, "workers"), ("resolved", alert, "workers")]
    assert [state for *_, state, _ in ledger_of(watched, alert, "workers")] == ["delivered", "delivered"]
