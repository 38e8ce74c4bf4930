"""What is written down of counters goes when nothing of it counts any more; the log goes by its days."""

from __future__ import annotations

from datetime import timedelta

from app import clock
from app.infra import partitions
from app.jobs import upkeep
from app.limits import closing, retention, snapshots
from tests.limits.conftest import HOUR, Keeper


def test_states_that_expired_are_forgotten_and_others_stay(keeper: Keeper) -> None:
    for name in ("old", "young"):
        keeper.consume(name, "calls")
    snapshots.take()
    keeper.sql("UPDATE limit_states SET expires_at = now() - interval '2 days' WHERE subject = 'account:demo/old'")
    assert retention.drop_old(clock.now())["limit_states"] == 1
    assert keeper.kept("young")


def test_rolling_windows_go_when_they_are_over_each_by_its_own_length(keeper: Keeper) -> None:
    keeper.consume("acme", "brief", "rolling", "calls")
    snapshots.take()
    now = clock.now()
    assert retention.drop_old(now)["limit_windows"] == 0
    assert retention.drop_old(now + timedelta(days=1, minutes=1))["limit_windows"] == 1
    assert [row.limit_name for row in keeper.windows()] == ["calls", "rolling"]
    assert retention.drop_old(now + timedelta(days=2, hours=2))["limit_windows"] == 1
    assert [row.limit_name for row in keeper.windows()] == ["calls"]


def test_windows_of_a_limit_that_is_gone_go_when_none_could_last_so_long(keeper: Keeper) -> None:
    keeper.consume("acme", "rolling")
    snapshots.take()
    keeper.catalogue('[limits.other]\ncapacity = 1\nwindow = "rolling"\nperiod = "day"\n')
    assert retention.drop_old(clock.now() + timedelta(days=60))["limit_windows"] == 0
    assert retention.drop_old(clock.now() + timedelta(days=70))["limit_windows"] == 1


def test_the_log_is_kept_by_days(keeper: Keeper) -> None:
    today = clock.now().replace(minute=0, second=0, microsecond=0)
    long_ago = today - timedelta(days=400)
    partitions.ensure("rate_limit_log", long_ago.date(), days_ahead=0)
    for start in (long_ago, today - timedelta(days=1), HOUR - timedelta(days=1000)):
        keeper.was_open("acme", "calls", start)
    closing.close_due(now=today)
    assert len(keeper.closed()) == 3
    upkeep.drop_old()
    assert [row.start_at for row in keeper.closed()] == [today - timedelta(days=1)]
