"""Recorded calls are priced, counted once and on their way to Postgres; what cannot go there is set aside."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from app import clock
from app.config import settings
from app.costs import calls, draining, packing, price_table, recording
from app.costs.calls import Call
from app.costs.recording import Outcome
from app.errors import Invalid, Transient
from app.infra import dbwait, redis
from app.limits import budgets, spending
from tasks import costs as tasks
from tests.costs.sent import body, call
from tests.fixtures.ledger import Ledger
from tests.fixtures.servers import forget
from tests.health.catalogs import use

BUDGETS = """
[services.redis]
kind = "redis"

[budgets.tenant]
scope = "tenant"
period = "month"
amount = 5
"""


@pytest.fixture
def house(ledger: Ledger, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """Counters that are whole, a budget for each tenant, an empty stream, and no prices."""
    use(monkeypatch, home, BUDGETS)
    redis.client().set("smm:limits:epoch", "whole:1")
    yield ledger
    budgets.configure(budgets.Changes)
    price_table.outdate()


def record(*given: Call, durable: bool = False) -> Outcome:
    return recording.record(given, durable=durable, source="a-test")


def stored(house: Ledger) -> dict[str, Any]:
    return {str(row.id): row for row in house.sql("SELECT * FROM cost_tracking")}


def price(house: Ledger, *, since: str = "1970-01-01", until: str | None = None, rate: int = 1_000_000) -> str:
    """A price of the model, in millionths of a dollar for a million tokens."""
    identifier = str(uuid4())
    house.sql(
        "INSERT INTO cost_prices (id, provider, model, matches, effective_from, effective_to, input_micro_usd,"
        " output_micro_usd, source, set_by) VALUES (:id, 'anthropic', 'claude-opus-4-6', '{}', :since, :until, :rate,"
        " :rate, 'a-test', 'person:ann')",
        id=identifier,
        since=since,
        until=until,
        rate=rate,
    )
    price_table.outdate()
    return identifier


def test_calls_are_in_the_stream_once(house: Ledger) -> None:
    one, two = call(cost=0.5), call(cost=0.25)
    assert record(one, two, one) == Outcome(2, 1, ())
    assert record(two) == Outcome(0, 1, ())
    [entry] = spending.entries(10)
    assert entry.kind == "calls"
    assert packing.calls_of(entry.payload) == [one, two, one]


def test_more_than_five_hundred_calls_are_several_entries(house: Ledger) -> None:
    given = [call(cost=0.001) for _ in range(1100)]
    assert record(*given) == Outcome(1100, 0, ())
    found = [packing.calls_of(entry.payload) for entry in spending.entries(10)]
    assert [len(part) for part in found] == [500, 500, 100]
    assert [one for part in found for one in part] == given


def test_a_call_is_priced_by_the_version_of_its_time(house: Ledger) -> None:
    now = clock.now()
    changed = now - timedelta(minutes=30)
    before = price(house, until=changed.isoformat())
    after = price(house, since=changed.isoformat(), rate=2_000_000)
    given = [call(changed - timedelta(seconds=1)), call(changed + timedelta(seconds=1)), call(now, cost=7)]
    priced = recording.priced([*given, call(now, model="nobody-knows-it")])
    assert [
        (one.cost_micro_usd, one.priced, None if one.price_id is None else str(one.price_id)) for one in priced
    ] == [
        (1200, "table", before),
        (2400, "table", after),
        (7_000_000, "given", None),
        (None, "unknown", None),
    ]
    assert record(*given).accepted == 3
    assert packing.calls_of(spending.entries(1)[0].payload) == priced[:3]


def test_without_any_price_calls_are_priced_later(house: Ledger) -> None:
    record(call())
    assert packing.calls_of(spending.entries(1)[0].payload)[0].priced == "later"


def test_ids_of_another_time_are_set_aside_without_postgres(house: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    now, minute = clock.now(), timedelta(minutes=1)
    edges = [now - timedelta(days=30) + minute, now + timedelta(hours=1) - minute]
    beyond = [now - timedelta(days=30) - minute, now + timedelta(hours=1) + minute]
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    forget()
    last = calls.parse_items([body(id="ffffffff-ffff-7fff-bfff-ffffffffffff")]).good[0][1]
    given = [call(at, tags={"a": "\\ ü"}) for at in (beyond[0], edges[0], beyond[1], edges[1])]
    assert record(*given, last) == Outcome(2, 0, ((0, "too_old"), (2, "from_the_future"), (4, "from_the_future")))
    kept, aside = spending.entries(10)
    assert packing.calls_of(kept.payload) == [given[1], given[3]]
    assert aside.kind == "aside"
    told = packing.asides_of(aside.payload)
    assert [(one.reason, one.event_id, one.source) for one in told] == [
        ("too_old", given[0].id, "a-test"),
        ("from_the_future", given[2].id, "a-test"),
        ("from_the_future", last.id, "a-test"),
    ]
    assert told[0].call == calls.body_of(given[0])


def test_durable_calls_are_in_postgres_when_that_is_said(house: Ledger) -> None:
    waiting, old = call(cost=0.1), call(clock.now() - timedelta(days=40))
    record(waiting)
    assert stored(house) == {}
    one = call(cost=0.5)
    assert record(one, old, durable=True) == Outcome(1, 0, ((1, "too_old"),))
    assert set(stored(house)) == {one.id}
    assert [row.event_id for row in house.sql("SELECT event_id FROM cost_set_aside")] == [old.id]
    assert len(spending.entries(10)) == 1
    assert record(waiting, durable=True) == Outcome(0, 1, ())
    assert set(stored(house)) == {one.id, waiting.id}
    assert house.sql("SELECT sum(cost_micro_usd) AS sum FROM cost_hours WHERE dimension = 'model'")[0].sum == 600_000


def test_durable_calls_are_written_down_where_waits_are_bounded_as_in_the_web_process(house: Ledger) -> None:
    odd = call(cost=0.5, skill="a\\N", tags={"a\\b": "\\"}, latency_ms=None)
    other = call(cost=0.25)
    dbwait.bound_waits(10)
    try:
        assert record(odd, other, durable=True) == Outcome(2, 0, ())
        assert record(odd, call(cost=1.0), durable=True) == Outcome(1, 1, ())
    finally:
        dbwait.unbound_waits()
    rows = house.sql("SELECT skill, tags, cost_micro_usd FROM cost_tracking ORDER BY cost_micro_usd DESC")
    assert [(row.skill, row.tags) for row in rows[1:2]] == [("a\\N", {"a\\b": "\\"})]
    assert [row.cost_micro_usd for row in rows] == [1_000_000, 500_000, 250_000]
    [summed] = house.sql("SELECT sum(cost_micro_usd) AS cost FROM cost_hours WHERE dimension = 'model'")
    assert summed.cost == 1_750_000


def test_durable_calls_that_postgres_cannot_take_are_not_accepted(
    house: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    forget()
    with pytest.raises(Transient):
        record(call(cost=0.5), durable=True)


def test_without_redis_durable_calls_go_straight_to_postgres_and_others_are_not_accepted(
    house: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, one = call(cost=0.25), call(cost=0.5)
    record(known, durable=True)
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    forget()
    with pytest.raises(Transient):
        record(one)
    old = call(clock.now() - timedelta(days=40))
    assert record(known, one, old, durable=True) == Outcome(1, 1, ((2, "too_old"),))
    assert set(stored(house)) == {known.id, one.id}
    assert [row.event_id for row in house.sql("SELECT event_id FROM cost_set_aside")] == [old.id]


def test_a_full_stream_takes_nothing_durable_or_not(house: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings(), "cost_stream_mb", 0)
    for durable in (False, True):
        with pytest.raises(spending.Full):
            record(call(cost=0.5), durable=durable)
    assert stored(house) == {}
    assert spending.entries(10) == []


def test_a_threshold_that_a_call_reaches_is_told_before_its_answer(house: Ledger) -> None:
    query = "SELECT labels->>'threshold' AS share FROM signals WHERE kind = 'costs.budget_crossed' ORDER BY id"
    record(call(cost=3.0))
    assert house.sql(query) == []
    record(call(cost=1.1))
    assert "80" in [row.share for row in house.sql(query)]


def test_a_threshold_is_reached_while_postgres_is_away(house: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    forget()
    assert record(call(cost=6.0)).accepted == 1


def test_an_entry_that_somebody_has_drained_is_not_looked_for(house: Ledger) -> None:
    record(call(cost=0.1))
    [entry] = spending.entries(1)
    assert recording._entry(entry.id) == [entry]
    draining.drain()
    record(call(cost=0.1))
    assert recording._entry(entry.id) == []


def test_what_was_set_aside_is_replayed_when_its_time_has_come_or_somebody_insists(house: Ledger) -> None:
    old = body(clock.now() - timedelta(days=40), cost=0.5)
    assert recording.replay(old).set_aside == ((0, "too_old"),)
    assert recording.replay(old, force=True) == Outcome(1, 0, ())
    assert set(stored(house)) == {old["id"]}
    with pytest.raises(Invalid):
        recording.replay({**old, "model": ""}, force=True)
    with pytest.raises(Invalid):
        recording.replay({**old, "id": "ffffffff-ffff-7fff-bfff-ffffffffffff"}, force=True)


def test_a_message_keeps_its_good_calls_and_tells_of_the_others(house: Ledger) -> None:
    message = SimpleNamespace(request=SimpleNamespace(id="a-message"))
    good = body(cost=0.5)
    with pytest.raises(Invalid):
        tasks.record(message, calls=[body(id="x", cost=-1), good, 7])
    assert set(stored(house)) == {good["id"]}
    [told] = house.sql("SELECT facts FROM signals WHERE kind = 'intake.rejected'")
    assert told.facts["message"] == "a-message"
    assert [problem.partition(": ")[0] for problem in told.facts["problems"]] == [
        "calls.0.id",
        "calls.0.cost",
        "calls.2.body",
    ]
    tasks.record(message, **good)
    tasks.record(message, calls=[body(cost=0.25)])
    assert sum(row.cost_micro_usd for row in stored(house).values()) == 750_000
