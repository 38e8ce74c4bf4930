"""Upkeep on a real database: one table's trouble is not another's."""

from __future__ import annotations

from datetime import timedelta

import psycopg2
import pytest

from app import clock
from app.errors import Transient
from app.infra import ids, partitions
from app.jobs import upkeep
from tests.fixtures.ledger import Ledger

KEY = (
    "INSERT INTO idempotency_keys (caller, key, body_hash, job_id, created_at)"
    " VALUES ('c', :key, 'h', :id, now() - make_interval(days => :age))"
)


def keys(ledger: Ledger) -> list[str]:
    return [row.key for row in ledger.sql("SELECT key FROM idempotency_keys ORDER BY key")]


def days_of(ledger: Ledger, table: str) -> int:
    [row] = ledger.sql("SELECT count(*) AS n FROM pg_inherits WHERE inhparent = to_regclass(:t)", t=table)
    return int(row.n) - 1


def old_days(*tables: str) -> None:
    long_ago = clock.now().date() - timedelta(days=900)
    for table in tables:
        partitions.ensure(table, long_ago, days_ahead=0)


def test_every_table_gets_its_days_and_loses_those_past(ledger: Ledger) -> None:
    upkeep.make_partitions()
    old_days(*upkeep.keeping_days())
    dropped = upkeep.drop_old()["partitions"]
    assert isinstance(dropped, list)
    assert len(dropped) == 2 * len(upkeep.keeping_days())
    assert {table: days_of(ledger, table) for table in upkeep.keeping_days()} == dict.fromkeys(upkeep.keeping_days(), 9)


def test_old_idempotency_keys_are_forgotten_in_batches(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "BATCH", 2)
    for number in range(5):
        ledger.sql(KEY, key=f"old-{number}", id=ids.uuid7(), age=400)
    ledger.sql(KEY, key="young", id=ids.uuid7(), age=0)
    assert upkeep.drop_old()["idempotency_keys"] == 5
    assert keys(ledger) == ["young"]


def test_a_table_that_somebody_holds_is_named_and_the_others_are_tidied(ledger: Ledger, database: str) -> None:
    old_days("job_history", "signals")
    ledger.sql(KEY, key="old", id=ids.uuid7(), age=400)
    holder = psycopg2.connect(database)
    try:
        holder.cursor().execute("LOCK TABLE job_history IN ACCESS SHARE MODE")
        with pytest.raises(Transient, match="job_history_p") as failed:
            upkeep.drop_old()
    finally:
        holder.close()
    assert "signals" not in str(failed.value)
    assert (days_of(ledger, "job_history"), days_of(ledger, "signals")) == (2, 0)
    assert keys(ledger) == []


def test_a_table_whose_days_cannot_be_made_does_not_keep_the_others_from_theirs(ledger: Ledger) -> None:
    tomorrow = clock.now().date() + timedelta(days=1)
    ledger.sql(f"CREATE TABLE {partitions.name_of('job_history', tomorrow)} (nothing int)")
    with pytest.raises(Transient, match="job_history"):
        upkeep.make_partitions()
    others = set(upkeep.keeping_days()) - {"job_history"}
    assert days_of(ledger, "job_history") == 8
    assert {table: days_of(ledger, table) for table in others} == dict.fromkeys(others, 9)
