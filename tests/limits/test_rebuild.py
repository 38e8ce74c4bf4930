"""A lost Redis: counters go on from what is known, never from zero; nothing is decided before what holds is back."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from app.config import settings
from app.errors import Transient
from app.infra import db, redis
from app.limits import correcting, deciding, keys, lanes, rebuild, snapshots, states
from app.limits.core import Verdict
from app.limits.correcting import Correction
from tests.fixtures.waiting import until
from tests.limits.conftest import Keeper


@pytest.fixture
def callbacks(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """What is called after a loss, for this test."""
    mine: list[Callable[[], None]] = []
    monkeypatch.setattr(rebuild, "_callbacks", mine)
    return mine


@pytest.fixture
def postgres_away(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Call it, and Postgres is away for the rest of the test."""

    def go() -> None:
        monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
        settings.cache_clear()
        db.dispose()

    yield go
    settings.cache_clear()
    db.dispose()


def test_a_first_start_is_whole_without_a_word(keeper: Keeper) -> None:
    assert str(keeper.epoch()).startswith("whole:")
    assert keeper.signals() == []


def test_counters_go_on_from_the_last_snapshot_with_a_margin(keeper: Keeper) -> None:
    keeper.consume("acme", "calls", "rolling", times=60)
    snapshots.take()
    keeper.lose()
    assert keeper.consume("acme", "calls", "rolling").readings[0].used == 60 + 2 + 1
    assert keeper.used("acme", "rolling") == 60 + 2 + 1
    assert str(keeper.epoch()).startswith("filling:")


def test_a_full_window_stays_full(keeper: Keeper) -> None:
    keeper.consume("acme", "calls", cost=100)
    snapshots.take()
    keeper.lose()
    keeper.refused("acme", "calls")


def test_what_a_platform_said_survives(keeper: Keeper) -> None:
    subject = "account:demo/acme"
    keeper.consume("acme", "rolling")
    till = snapshots.server_time() + timedelta(minutes=30)
    correcting.correct(subject, [Correction(keeper.limit("rolling"), 100, 150)])
    correcting.block(subject, [keeper.limit("rolling")], till)
    snapshots.take_of([subject])
    keeper.lose()
    [reading] = keeper.refused("acme", "rolling").readings
    assert reading.used >= 100
    assert reading.capacity == 150
    assert reading.room_at is not None
    assert abs(reading.room_at - till) < timedelta(milliseconds=2)


def test_money_has_no_margin(keeper: Keeper) -> None:
    keeper.consume("tenant:acme", "spend", cost=None, estimate=2_000_000)
    snapshots.take()
    keeper.lose()
    assert keeper.used("tenant:acme", "spend") == 2_000_000


def test_whoever_was_not_known_begins_at_zero_also_while_counters_come_back(keeper: Keeper) -> None:
    keeper.consume("acme", "calls")
    snapshots.take()
    keeper.lose()
    assert keeper.consume("new", "calls").readings[0].used == 1
    assert str(keeper.epoch()).startswith("filling:")


def test_the_background_brings_back_the_rest_and_ends_the_rebuild(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuild, "BATCH", 7)
    monkeypatch.setattr(rebuild, "AT_ONCE", 3)
    for number in range(40):
        keeper.consume(f"a{number}", "calls", times=2)
    snapshots.take()
    keeper.lose()
    keeper.consume("a7", "calls")
    keeper.whole()
    assert str(keeper.epoch()).startswith("whole:")
    used = {f"a{number}": keeper.state(f"a{number}")["l"]["calls"]["u"] for number in range(40)}
    assert used.pop("a7") == 4
    assert set(used.values()) == {3}
    [told] = keeper.signals()
    assert (told.kind, told.subject) == ("limits.rebuilt", "all")
    keeper.whole()
    assert len(keeper.signals()) == 1


def test_the_background_goes_on_where_it_stopped(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild, "BATCH", 2)
    for name in "abcdef":
        keeper.consume(name, "calls")
    snapshots.take()
    keeper.lose()
    monkeypatch.setattr(rebuild, "SECONDS", 0.0)
    assert not rebuild.fill()
    assert redis.client().keys(f"{keys.STATE}*") == []
    monkeypatch.setattr(rebuild, "SECONDS", 3.0)
    redis.client().set(keys.FILLED, f"{keeper.epoch()} account:demo/c")
    assert rebuild.fill()
    assert sorted(key[-1] for key in redis.client().keys(f"{keys.STATE}*")) == ["d", "e", "f"]


def test_a_second_loss_while_counters_come_back_starts_it_over(keeper: Keeper) -> None:
    keeper.consume("acme", "calls", times=10)
    snapshots.take()
    keeper.lose()
    rebuild.begin()
    first = keeper.epoch()
    keeper.lose()
    keeper.whole()
    assert keeper.epoch() not in (None, first)
    assert keeper.state("acme")["l"]["calls"]["u"] == 11
    assert len(keeper.signals("limits.rebuilt")) == 1


def test_windows_that_were_over_come_back_as_they_were(keeper: Keeper) -> None:
    keeper.consume("acme", "short", "calls", times=4)
    snapshots.take()
    ends = keeper.state("acme")["l"]["short"]["e"]
    until(lambda: snapshots.server_time().timestamp() * 1000 > ends)
    keeper.lose()
    keeper.whole()
    assert keeper.state("acme")["l"]["short"]["u"] == 4
    assert keeper.used("acme", "short") == 0


def test_a_state_that_has_expired_does_not_come_back(keeper: Keeper) -> None:
    keeper.consume("acme", "calls")
    snapshots.take()
    keeper.sql("UPDATE limit_states SET expires_at = now() - interval '1 second'")
    keeper.lose()
    keeper.whole()
    assert keeper.state("acme") == {}


def test_what_holds_is_written_before_anything_is_decided(keeper: Keeper, callbacks: list[Callable[[], None]]) -> None:
    seen: list[str | None] = []
    callbacks.append(lambda: seen.append(keeper.epoch()))
    keeper.lose()
    keeper.consume("acme", "calls")
    assert seen == [None]


@pytest.mark.parametrize("error", [Transient("Postgres is away"), KeyError("a mistake")])
def test_while_what_holds_cannot_be_written_nothing_is_decided(
    keeper: Keeper, callbacks: list[Callable[[], None]], error: Exception
) -> None:
    def fails() -> None:
        raise error

    callbacks.append(fails)
    keeper.lose()
    with pytest.raises(Transient):
        deciding.decide(keeper.ask("acme", "calls"))
    assert keeper.epoch() is None
    callbacks.clear()
    keeper.consume("acme", "calls")


def test_lanes_come_back_with_the_counters_they_stand_in(keeper: Keeper, callbacks: list[Callable[[], None]]) -> None:
    subject = "account:demo/acme"
    keeper.consume("acme", "calls", times=5)
    lanes.mark(subject, {"calls": 1}, whole=True)
    snapshots.take()
    callbacks.append(lambda: lanes.mark(subject, {"rolling": 2}, whole=True))
    keeper.lose()
    made = deciding.decide(keeper.ask("acme", "rolling", rank=2))
    assert made.behind == "rolling"
    assert keeper.consume("acme", "calls").readings[0].used == 5 + 1 + 1


def test_a_lane_that_is_empty_by_now_does_not_come_back(keeper: Keeper) -> None:
    keeper.consume("acme", "calls")
    lanes.mark("account:demo/acme", {"calls": 0}, whole=True)
    snapshots.take()
    keeper.lose()
    keeper.consume("acme", "calls")


def test_without_postgres_nothing_is_decided(keeper: Keeper, postgres_away: Callable[[], None]) -> None:
    keeper.consume("acme", "calls")
    snapshots.take()
    keeper.lose()
    rebuild.begin()
    postgres_away()
    with pytest.raises(Transient):
        deciding.decide(keeper.ask("acme", "calls"))
    with pytest.raises(Transient):
        rebuild.fill()
    assert str(keeper.epoch()).startswith("filling:")


def test_of_many_who_notice_one_begins(keeper: Keeper, callbacks: list[Callable[[], None]]) -> None:
    calls: list[int] = []

    def slowly() -> None:
        time.sleep(0.2)
        calls.append(1)

    callbacks.append(slowly)
    keeper.consume("acme", "calls", times=10)
    snapshots.take()
    keeper.lose()
    made: list[Verdict] = []
    deciders = [
        threading.Thread(target=lambda: made.append(deciding.decide(keeper.ask("acme", "calls")).verdict))
        for _ in range(8)
    ]
    for decider in deciders:
        decider.start()
    for decider in deciders:
        decider.join()
    assert calls == [1]
    assert made == [Verdict.ALLOW] * 8
    assert keeper.used("acme", "calls") == 10 + 1 + 8


def test_processes_that_find_nothing_agree_on_one_epoch(keeper: Keeper) -> None:
    keeper.consume("acme", "calls", times=10)
    snapshots.take()
    keeper.lose()
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        epochs = pool.map(notice, range(6), chunksize=1)
    assert len(set(epochs)) == 1
    keeper.whole()
    assert keeper.used("acme", "calls") == 11


def notice(_: int) -> str | None:
    """Of another process."""
    rebuild.begin()
    rebuild.restore(["account:demo/acme"])
    found: str | None = redis.client().get(keys.EPOCH)
    return found


def test_one_that_died_while_it_began_does_not_keep_others_from_it_for_long(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper.lose()
    redis.client().set(keys.BEGINNING, "somebody", px=300)
    monkeypatch.setattr(rebuild, "WAIT_SECONDS", 0.1)
    with pytest.raises(Transient):
        rebuild.begin()
    until(lambda: not redis.client().exists(keys.BEGINNING))
    rebuild.begin()
    assert keeper.epoch()


@pytest.mark.parametrize(("used", "more"), [(0, 0), (1, 1), (49, 1), (50, 1), (51, 2), (180, 4), (10**6, 1000)])
def test_the_margin_is_a_fiftieth_one_at_least_and_a_thousand_at_most(used: int, more: int) -> None:
    assert states.margin(used) == more


def test_an_account_loses_what_it_consumed_after_its_last_snapshot_less_the_margin(keeper: Keeper) -> None:
    keeper.consume("acme", "calls", times=50)
    snapshots.take()
    keeper.consume("acme", "calls", times=10)
    keeper.lose()
    made = 0
    while deciding.decide(keeper.ask("acme", "calls")).verdict is Verdict.ALLOW:
        made += 1
    assert 60 + made == 100 + 10 - states.margin(50)
