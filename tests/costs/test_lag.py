"""Whether the drain keeps up: told once when it does not and once when it does again, and on /metrics all the time."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app import clock
from app.config import settings
from app.costs import asides, draining, lag, metrics, packing, retention
from app.costs.packing import Aside
from app.infra import redis
from app.infra.db import unit_of_work
from app.limits import keys
from tests.costs.conftest import Drain
from tests.costs.sent import call


def read() -> dict[str, float]:
    return {
        sample.name: sample.value for found in (*metrics.waiting(), *metrics.set_aside()) for sample in found.samples
    }


def put_back(drain: Drain, entry: str, age: timedelta) -> None:
    """Let the one entry of the stream be older than it is."""
    client = redis.client()
    [(_, fields)] = client.execute_command("XRANGE", keys.CALLS, entry, entry, NEVER_DECODE=True)
    pairs = fields.items() if isinstance(fields, dict) else zip(fields[::2], fields[1::2], strict=True)
    client.delete(keys.CALLS)
    then = int((clock.now() - age).timestamp() * 1000)
    client.execute_command("XADD", keys.CALLS, f"{then}-0", *(part for pair in pairs for part in pair))


def test_calls_that_wait_too_long_are_told_once_until_they_are_written_down(drain: Drain) -> None:
    def told() -> list[str]:
        lag.watch(clock.now())
        rows = drain.sql("SELECT kind FROM signals WHERE kind LIKE 'costs.lag%' ORDER BY id")
        return [row.kind for row in rows]

    assert told() == []
    entry = drain.send([call()])
    assert told() == []
    put_back(drain, entry, timedelta(seconds=61))
    assert told() == told() == [lag.BEGAN]
    assert 60 < read()["smm_cost_ingest_lag_seconds"] < 90
    draining.drain()
    assert told() == told() == [lag.BEGAN, lag.ENDED]


def test_what_waits_and_what_is_set_aside_is_on_metrics(drain: Drain) -> None:
    assert set(read().values()) == {0}
    payload = packing.rows([call()])
    drain.put("calls", payload)
    drain.put("aside", packing.asides([Aside("too_old", "", "x", "", {})]))
    found = read()
    assert found["smm_cost_stream_entries"] == 2
    assert found["smm_cost_stream_bytes"] > len(payload)
    assert found["smm_cost_set_aside_open"] == 0
    draining.drain()
    assert {name: value for name, value in read().items() if value} == {"smm_cost_set_aside_open": 1}


@pytest.mark.usefixtures("drain")
def test_old_rollups_go_and_what_is_set_aside_stays_until_it_was_dealt_with(drain: Drain) -> None:
    now, config = clock.now(), settings()
    drain.write([call(cost=1)])
    for days in (config.cost_hour_days + 2, config.cost_sum_days + 2):
        for level in ("hours", "days"):
            drain.sql(
                f"INSERT INTO cost_{level} SELECT dimension, date_trunc('day', :then, 'UTC'), tenant, name, skill"
                f" FROM cost_{level} WHERE dimension = 'agent' AND start_at > now() - interval '2 days'",
                then=now - timedelta(days=days),
            )
    with unit_of_work() as uow:
        rows = [asides.refused("1-1", packing.rows([call()])[:-1], "") for _ in range(3)]
        asides.insert(uow, rows)
    for row, days in zip(rows[:2], (89, 91), strict=True):
        drain.sql(
            "UPDATE cost_set_aside SET replayed_at = :at WHERE id = :id", at=now - timedelta(days=days), id=row.id
        )
    dropped = retention.drop_old(now)
    assert {table: count for table, count in dropped.items() if count} == {
        "cost_hours": 2,
        "cost_days": 1,
        "cost_set_aside": 1,
    }
    assert (drain.count("cost_hours"), drain.count("cost_days"), drain.count("cost_set_aside")) == (4, 5, 2)
