"""Snapshots on real servers: all that changed is written down, nothing twice, and nothing is lost on the way."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta

import psycopg2
import pytest

from app.config import settings
from app.errors import Transient
from app.infra import db, redis
from app.infra.db import unit_of_work
from app.limits import closing, correcting, deciding, keys, snapshots, states, store
from app.limits.correcting import Correction
from tests.fixtures.waiting import until
from tests.limits.conftest import Keeper


def test_what_changed_is_written_down_with_the_figures_of_its_windows(keeper: Keeper) -> None:
    keeper.consume("acme", "calls", "rolling", times=3)
    assert snapshots.take()
    assert keeper.kept("acme") == keeper.state("acme")
    calls, rolling = keeper.windows("acme")
    assert (calls.limit_name, calls.used, calls.peak, calls.capacity, calls.share) == ("calls", 3, 3, 100, 0.03)
    assert calls.end_at - calls.start_at >= timedelta(days=28)
    assert (rolling.limit_name, rolling.used, rolling.start_at, rolling.end_at) == (
        "rolling", 3, states.ROLLING_SINCE, None,
    )  # fmt: skip
    assert redis.client().exists(keys.CHANGED, keys.TAKING) == 0


def test_what_was_refused_is_there_too(keeper: Keeper) -> None:
    keeper.consume("acme", "calls", cost=100)
    keeper.refused("acme", "calls")
    keeper.refused("acme", "calls", counting="defer")
    snapshots.take()
    [row] = keeper.windows("acme")
    assert (row.used, row.refused, row.deferred, row.share) == (100, 1, 1, 1.0)


def test_a_state_that_did_not_change_is_not_written_again(keeper: Keeper) -> None:
    keeper.consume("acme", "calls")
    snapshots.take()
    keeper.sql("UPDATE limit_states SET state = 'as it was'")
    snapshots.take()
    assert keeper.sql("SELECT state FROM limit_states")[0].state == "as it was"


def test_an_older_reading_never_replaces_a_newer_one(keeper: Keeper) -> None:
    now = snapshots.server_time()
    rows = [
        store.StateRow("s", text, version, now + timedelta(seconds=seconds), now + timedelta(hours=1))
        for text, version, seconds in (("newer", 5, 2), ("older", 4, 1))
    ]
    for row in rows:
        with unit_of_work() as uow:
            store.write_states(uow, [row])
    assert keeper.sql("SELECT state FROM limit_states")[0].state == "newer"
    after_a_loss = store.StateRow("s", "revisions begin anew", 1, now + timedelta(seconds=3), now)
    with unit_of_work() as uow:
        store.write_states(uow, [after_a_loss])
    assert keeper.sql("SELECT state FROM limit_states")[0].state == "revisions begin anew"


def test_what_changes_while_a_snapshot_is_taken_is_in_the_next_one(keeper: Keeper, database: str) -> None:
    keeper.consume("acme", "calls")
    holder = psycopg2.connect(database)
    holder.cursor().execute("LOCK TABLE limit_states IN EXCLUSIVE MODE")
    taking = threading.Thread(target=snapshots.take)
    taking.start()
    until(lambda: redis.client().exists(keys.TAKING), what="the set that is put aside")
    keeper.consume("acme", "calls")
    keeper.consume("other", "calls")
    holder.rollback()
    taking.join()
    holder.close()
    snapshots.take()
    assert [keeper.kept(name)["l"]["calls"]["u"] for name in ("acme", "other")] == [2, 1]


def test_a_snapshot_that_died_is_finished_by_the_next_one(keeper: Keeper) -> None:
    keeper.consume("acme", "calls")
    redis.client().rename(keys.CHANGED, keys.TAKING)
    keeper.consume("other", "calls")
    assert snapshots.take()
    assert keeper.kept("acme")
    assert keeper.kept("other")


def test_without_postgres_nothing_is_forgotten(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper.consume("acme", "calls")
    with monkeypatch.context() as away:
        away.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
        settings.cache_clear()
        db.dispose()
        with pytest.raises(Transient):
            snapshots.take()
    settings.cache_clear()
    db.dispose()
    snapshots.take()
    assert keeper.kept("acme")


def test_one_snapshot_at_a_time_and_a_second_waits_where_it_is_told_to(keeper: Keeper) -> None:
    keeper.consume("acme", "calls")
    with store.turn("snapshots"):
        assert not snapshots.take()
        waiting = threading.Thread(target=lambda: snapshots.take(wait=True))
        waiting.start()
    waiting.join()
    assert keeper.kept("acme")


def test_many_at_once_come_in_batches(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "BATCH", 50)
    for number in range(400):
        keeper.consume(f"a{number}", "calls")
    assert snapshots.take()
    assert keeper.sql("SELECT count(*) AS n FROM limit_states")[0].n == 400


def test_a_limit_that_the_catalogue_has_not_any_more_is_kept_in_the_state_only(keeper: Keeper) -> None:
    asked = keeper.ask("acme", "calls")
    keeper.catalogue('[limits.other]\ncapacity = 1\nwindow = "rolling"\nperiod = "day"\n')
    deciding.decide(asked)
    snapshots.take()
    assert keeper.windows() == []
    assert keeper.kept("acme")["l"]["calls"]["u"] == 1


def test_a_name_that_is_no_text_and_counters_that_are_none_keep_nothing_else_from_being_kept(keeper: Keeper) -> None:
    keeper.consume("acme", "calls")
    client = redis.client()
    hostile = {b"\xff\xfe": b"{}", b"nul\x00": b'{"v":1,"l":{}}', b"account:demo/odd": b'{"v":1,"l":{"calls":{"s":1}}}'}
    for name, state in hostile.items():
        client.set(keys.STATE.encode() + name, state)
        client.sadd(keys.CHANGED, name)
    client.sadd(keys.CHANGED, "gone")
    assert snapshots.take()
    assert [row.subject for row in keeper.sql("SELECT subject FROM limit_states")] == ["account:demo/acme"]


def test_a_platforms_lower_capacity_is_what_the_share_is_of(keeper: Keeper) -> None:
    keeper.consume("acme", "rolling", times=10)
    correcting.correct("account:demo/acme", [Correction(keeper.limit("rolling"), 25, 50)])
    snapshots.take_of(["account:demo/acme"])
    [row] = keeper.windows("acme")
    assert (row.used, row.capacity, row.share) == (25, 50, 0.5)


def test_a_counter_outlives_a_shorter_one_that_was_used_last(keeper: Keeper) -> None:
    keeper.consume("acme", "calls")
    keeper.consume("acme", "short")
    lives = redis.client().pttl(keys.STATE + "account:demo/acme")
    [calls] = [row for row in taken(keeper) if row.limit_name == "calls"]
    now = snapshots.server_time()
    assert now + timedelta(milliseconds=lives) >= calls.end_at
    [row] = keeper.sql("SELECT expires_at FROM limit_states")
    assert abs(row.expires_at - now - timedelta(milliseconds=lives)) < timedelta(seconds=1)


def taken(keeper: Keeper) -> list[object]:
    snapshots.take()
    return keeper.windows("acme")


def test_the_window_before_is_written_with_its_last_figures(keeper: Keeper) -> None:
    start_of_second()
    keeper.consume("acme", "short", times=2)
    snapshots.take()
    keeper.consume("acme", "short")
    first = keeper.state("acme")["l"]["short"]["s"]
    until(lambda: snapshots.server_time().timestamp() * 1000 >= first + 1000)
    keeper.consume("acme", "short")
    snapshots.take()
    assert [row.used for row in keeper.windows("acme")] == [3, 1]


def test_a_window_that_was_closed_is_not_opened_again_by_what_the_state_remembers(keeper: Keeper) -> None:
    start_of_second()
    keeper.consume("acme", "short", times=2)
    until(closing.close_due, what="the closing of the window")
    keeper.consume("acme", "calls")
    keeper.consume("acme", "short")
    snapshots.take()
    assert [(row.limit_name, row.used) for row in keeper.windows("acme")] == [("calls", 1), ("short", 1)]
    assert keeper.state("acme")["l"]["short"]["o"]["u"] == 2


def test_the_time_of_the_last_snapshot_is_known(keeper: Keeper) -> None:
    before = snapshots.server_time()
    snapshots.take()
    told = datetime.fromtimestamp(int(redis.client().get(keys.SNAPSHOT_AT)) / 1000, before.tzinfo)
    assert before <= told <= snapshots.server_time()


def start_of_second() -> None:
    """Decisions after this are within one window of a second."""
    until(lambda: snapshots.server_time().microsecond < 200_000 or time.sleep(0.01))
