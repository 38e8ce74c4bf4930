"""Crossings of thresholds become signals, each once, whatever dies on the way."""

from __future__ import annotations

import json
import threading

import pytest

from app.config import settings
from app.errors import Transient
from app.infra import db, redis
from app.limits import closing, correcting, crossings, keys, snapshots
from app.limits.correcting import Correction
from tests.fixtures.waiting import until
from tests.limits.conftest import Keeper


def test_each_threshold_is_told_once(keeper: Keeper) -> None:
    keeper.consume("acme", "calls", times=100)
    assert crossings.tell()
    assert crossings.tell()
    assert keeper.told() == [("calls", "80"), ("calls", "95"), ("calls", "100")]
    [first, *_] = keeper.signals()
    assert first.subject == "account:demo/acme"
    assert first.labels == {"limit": "calls", "platform": "demo", "level": "80"}
    assert (first.facts["used"], first.facts["capacity"], first.facts["percent"]) == (80, 100, 80.0)
    assert first.facts["operation"] == "call"
    assert first.facts["resets_at"].endswith("Z")
    assert redis.client().llen(keys.CROSSINGS) == 0


def test_several_thresholds_at_one_stroke_are_one_crossing_the_highest(keeper: Keeper) -> None:
    keeper.consume("acme", "rolling", cost=200)
    crossings.tell()
    assert keeper.told() == [("rolling", "100")]
    assert keeper.signals()[0].facts["resets_at"] is None


def test_what_a_platform_says_crosses_a_threshold_too(keeper: Keeper) -> None:
    correcting.correct("account:demo/acme", [Correction(keeper.limit("rolling"), 190)])
    crossings.tell()
    assert keeper.told() == [("rolling", "95")]


def test_a_death_between_the_commit_and_the_list_tells_nothing_twice(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper.consume("acme", "calls", cost=80)
    keeper.consume("other", "rolling", cost=190)
    with monkeypatch.context() as dying:
        dying.setattr(crossings, "_TRIM", Dies())
        with pytest.raises(Transient):
            crossings.tell()
    assert redis.client().llen(keys.CROSSINGS) == 2
    keeper.consume("acme", "calls", cost=15)
    assert crossings.tell()
    assert keeper.told() == [("calls", "80"), ("rolling", "95"), ("calls", "95")]


class Dies:
    """A script whose caller dies before it is called."""

    def call(self, *_: object) -> None:
        raise Transient("dead")


def test_nor_does_one_before_the_window_is_closed(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper.consume("acme", "short", cost=10)
    with monkeypatch.context() as dying:
        dying.setattr(crossings, "_TRIM", Dies())
        with pytest.raises(Transient):
            crossings.tell()
    until(closing.close_due, what="the closing of the window")
    crossings.tell()
    assert keeper.told() == [("short", "100")]


def test_without_postgres_they_wait(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper.consume("acme", "calls", cost=80)
    with monkeypatch.context() as away:
        away.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
        settings.cache_clear()
        db.dispose()
        with pytest.raises(Transient):
            crossings.tell()
    settings.cache_clear()
    db.dispose()
    crossings.tell()
    assert keeper.told() == [("calls", "80")]


def test_tellers_beside_one_another_tell_each_once(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crossings, "BATCH", 7)
    for number in range(60):
        keeper.consume(f"a{number}", "calls", cost=80)
    tellers = [threading.Thread(target=lambda: crossings.tell(wait=True)) for _ in range(4)]
    for teller in tellers:
        teller.start()
    for teller in tellers:
        teller.join()
    assert keeper.told() == [("calls", "80")] * 60
    assert redis.client().llen(keys.CROSSINGS) == 0


def test_a_list_whose_head_was_dropped_meanwhile_loses_nothing_that_was_not_read(keeper: Keeper) -> None:
    client = redis.client()
    client.rpush(keys.CROSSINGS, "one", "two", "three", "four")
    client.lpop(keys.CROSSINGS)
    assert crossings._TRIM.call([keys.CROSSINGS], ["three"]) == 2
    assert client.lrange(keys.CROSSINGS, 0, -1) == ["four"]
    assert crossings._TRIM.call([keys.CROSSINGS], ["three"]) == 0


def test_what_cannot_be_read_does_not_stop_the_others(keeper: Keeper) -> None:
    redis.client().rpush(keys.CROSSINGS, b"\xff", "no json", "{}", json.dumps({"subject": "\x00", "limit": "calls"}))
    keeper.consume("acme", "calls", cost=80)
    assert crossings.tell()
    assert keeper.told() == [("calls", "80")]


def test_a_limit_that_is_gone_is_told_by_its_figures(keeper: Keeper) -> None:
    keeper.consume("acme", "calls", cost=85)
    keeper.catalogue('[limits.other]\ncapacity = 1\nwindow = "rolling"\nperiod = "day"\n')
    crossings.tell()
    [told] = keeper.signals()
    assert told.labels == {"limit": "calls", "level": "85"}


def test_a_snapshot_keeps_what_was_told(keeper: Keeper) -> None:
    keeper.consume("acme", "calls", cost=80)
    crossings.tell()
    snapshots.take()
    [row] = keeper.windows("acme")
    assert (row.told_level, row.used) == (1, 80)
    assert row.told_at is not None


def test_a_rolling_window_tells_anew_after_it_fell_and_its_fall_is_told(keeper: Keeper) -> None:
    keeper.consume("acme", "brief", cost=20)
    crossings.tell()
    until(lambda: closing.close_due() or keeper.signals("limits.reset"), what="the fall")
    [fell] = keeper.signals("limits.reset")
    assert (fell.labels["limit"], fell.facts["used"]) == ("brief", 0)
    keeper.consume("acme", "brief")
    keeper.consume("acme", "brief", cost=19)
    crossings.tell()
    assert keeper.told() == [("brief", "100"), ("brief", "100")]
