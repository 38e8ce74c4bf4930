"""Reservations that nobody settled are given back when their lease is over, by the server's clock, once."""

from __future__ import annotations

import json
from uuid import uuid4

from app.infra import redis
from app.limits import keys, leases, settling
from tests.fixtures.waiting import until
from tests.limits.conftest import Keeper

SUBJECT = "tenant:acme"
DOLLAR = 1_000_000


def reserve(keeper: Keeper, seconds: float) -> str:
    key = f"{SUBJECT} {uuid4()}"
    keeper.consume(SUBJECT, "spend", cost=None, estimate=DOLLAR, lease_seconds=seconds, key=key)
    return key


def waiting() -> int:
    found: int = redis.client().zcard(keys.LEASES)
    return found


def test_money_comes_back_when_the_lease_is_over_and_not_before(keeper: Keeper) -> None:
    reserve(keeper, 0.3)
    reserve(keeper, 60)
    assert leases.sweep() == 0
    assert keeper.used(SUBJECT, "spend") == 2 * DOLLAR
    until(leases.sweep, what="the end of the lease")
    assert (keeper.used(SUBJECT, "spend"), waiting()) == (DOLLAR, 1)
    assert leases.sweep() == 0
    assert keeper.used(SUBJECT, "spend") == DOLLAR


def test_what_was_settled_stays_spent(keeper: Keeper) -> None:
    key = reserve(keeper, 0.05)
    settling.settle(key, [SUBJECT], 300_000)
    redis.client().zadd(keys.LEASES, {keys.RECORD + key: 1})
    assert leases.sweep() == 0
    assert (keeper.used(SUBJECT, "spend"), waiting()) == (300_000, 0)


def test_one_whose_record_is_gone_or_cannot_be_read_is_forgotten(keeper: Keeper) -> None:
    client = redis.client()
    client.set(keys.RECORD + "odd", b"\xff")
    client.zadd(keys.LEASES, {keys.RECORD + "gone": 1, keys.RECORD + "odd": 2, b"\xff\x00": 3})
    assert leases.sweep() == 0
    assert waiting() == 0


def test_a_pass_gives_back_all_that_is_due(keeper: Keeper) -> None:
    keeper.consume(SUBJECT, "spend", cost=None, estimate=1)
    names = [f"{keys.RECORD}{SUBJECT} {number}" for number in range(2 * leases.BATCH + 1)]
    reserved = json.dumps({"o": "call", "e": 1, "s": [SUBJECT], "t": [], "m": []})
    redis.client().mset(dict.fromkeys(names, reserved))
    redis.client().zadd(keys.LEASES, dict.fromkeys(names, 1))
    assert (leases.sweep(), waiting()) == (len(names), 0)


def test_many_are_given_back_in_several_passes(keeper: Keeper) -> None:
    for _ in range(3):
        reserve(keeper, 0.01)
    until(lambda: leases.sweep() or keeper.used(SUBJECT, "spend") == 0)
    until(lambda: waiting() == 0 or leases.sweep())
    assert keeper.used(SUBJECT, "spend") == 0
