"""Calls leave the stream for Postgres: once each, together with their roll-ups; a bad one keeps no other from it."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from sqlalchemy.exc import DBAPIError

from app import clock
from app.costs import asides, draining, packing, turns
from app.costs.packing import Aside
from app.errors import Transient
from app.infra.db import unit_of_work
from app.limits import spending
from tests.costs.conftest import Drain, added_up
from tests.costs.sent import call
from tests.fixtures.servers import forget


def test_what_waits_is_written_down_and_leaves_the_stream(drain: Drain) -> None:
    calls = [call(user=f"user {number}", cost=0.25, tags={"a": "\\ b"}) for number in range(30)]
    for start in range(0, 30, 10):
        drain.send(calls[start : start + 10])
    done = draining.drain()
    assert (done.entries, done.calls, done.duplicates, done.set_aside) == (3, 30, 0, {})
    assert spending.backlog().entries == 0
    assert drain.rollups() == added_up(calls)
    assert drain.rollups("days") == added_up(calls, hours=False)
    rows = drain.sql("SELECT * FROM cost_tracking ORDER BY id")
    assert {str(row.id): (row.user_id, row.tags, row.cost_micro_usd, row.priced) for row in rows} == {
        one.id: (one.user, one.tags, 250_000, "given") for one in calls
    }


def test_a_call_that_comes_twice_is_written_and_added_up_once(drain: Drain) -> None:
    calls = [call(cost=0.1) for _ in range(10)]
    drain.send(calls[:6])
    assert draining.drain().calls == 6
    drain.send([*calls, calls[3]])
    done = draining.drain()
    assert (done.calls, done.duplicates) == (4, 6)
    assert drain.count() == 10
    assert drain.rollups() == added_up(calls)


def test_of_calls_with_one_id_the_first_counts_as_it_did_in_budgets(drain: Drain) -> None:
    first = call(cost=1)
    other = first._replace(cost_micro_usd=7, model="another")
    drain.send([first, other])
    drain.send([other])
    assert draining.drain().calls == 1
    assert drain.rollups() == added_up([other, first])


def test_every_sum_of_a_batch_is_kept_however_many_there_are(drain: Drain) -> None:
    calls = [call(tenant=f"client {place % 150}", user=f"user {place}", agent=f"a{place}") for place in range(400)]
    drain.send(calls)
    assert draining.drain().calls == 400
    assert drain.rollups() == added_up(calls)
    assert drain.sql("SELECT count(*) AS n FROM cost_hours WHERE dimension = 'user'")[0].n >= 400


def test_calls_are_told_apart_by_our_ids_and_not_by_a_providers(drain: Drain) -> None:
    calls = [call(cost=0.5, request_id="req_1") for _ in range(2)]
    drain.send(calls)
    assert (draining.drain().calls, drain.count()) == (2, 2)
    assert drain.rollups() == added_up(calls)


def test_an_entry_that_was_committed_and_not_deleted_changes_nothing(drain: Drain) -> None:
    calls = [call(cost=0.1) for _ in range(5)]
    drain.send(calls)
    [entry] = spending.entries(1)
    assert draining.write_directly(entry.kind, entry.payload) == 5
    assert draining.drain().calls == 0
    assert spending.backlog().entries == 0
    assert drain.rollups() == added_up(calls)


def test_a_batch_is_read_in_as_many_entries_as_make_it_full(drain: Drain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draining, "ROWS", 40)
    calls = [call(cost=0.01) for _ in range(100)]
    for one in calls:
        drain.send([one])
    taken = draining._read()
    assert 40 <= len(taken) < 100
    assert draining.drain(seconds=10).entries == 100
    assert drain.rollups() == added_up(calls)


def test_a_pass_whose_time_is_up_leaves_the_rest_to_the_next_one(drain: Drain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draining, "ROWS", 1)
    monkeypatch.setattr(draining, "FIRST", 1)
    for _ in range(3):
        drain.send([call()])
    assert draining.drain(seconds=0).entries == 1
    assert spending.backlog().entries == 2


def test_only_one_drains_and_others_do_not_wait(drain: Drain) -> None:
    drain.send([call()])
    with turns.draining() as connection:
        assert connection is not None
        assert draining.drain().entries == 0
    assert draining.drain().entries == 1


def test_in_durable_mode_the_caller_writes_its_own_entries_whoever_drains(drain: Drain) -> None:
    calls = [call(cost=1) for _ in range(3)]
    drain.send(calls)
    with turns.draining():
        assert draining.drain_entries(spending.entries(10)).calls == 3
    assert spending.backlog().entries == 0
    assert drain.rollups() == added_up(calls)


def test_nobody_writes_while_another_is_alone(drain: Drain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMM_DB_LOCK_TIMEOUT_SECONDS", "0.05")
    forget()
    drain.send([call()])
    with turns.alone(), pytest.raises(Transient):
        draining.drain()
    assert draining.drain().entries == 1


def test_a_bad_row_is_set_aside_whole_and_all_others_are_kept(drain: Drain) -> None:
    good = [call(cost=0.5) for _ in range(40)]
    bad = call(input_tokens=7, tags={"run": "1"})
    rows = packing.rows([*good[:20], bad, *good[20:]]).replace(b"\t7\t0\t0\t", b"\tseven\t0\t0\t")
    entry = drain.put("calls", rows)
    drain.send([call(cost=0.5)])
    done = draining.drain()
    assert (done.entries, done.calls, done.set_aside) == (2, 41, {asides.REFUSED: 1})
    [row] = drain.set_aside()
    assert (row.reason, row.event_id, row.source) == (asides.REFUSED, bad.id, "drain")
    assert "seven" in row.detail
    assert "seven" in row.call["row"]
    [signal] = drain.signals("costs.set_aside")
    assert (signal.subject, signal.facts["count"]) == ("costs", 1)
    assert drain.count() == 41
    assert {key[0] for key in drain.rollups()} == {"model", "agent", "user", "department"}
    assert entry not in {one.id for one in spending.entries(10)}


def test_an_entry_of_bad_rows_is_gone_through_once_however_many_passes_it_takes(drain: Drain) -> None:
    drain.put("calls", packing.rows([call() for _ in range(40)]).replace(b"\n", b"\tmore\n"))
    [entry] = spending.entries(1)

    def transactions() -> int:
        latest = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS n"
        before = drain.sql(latest)[0].n
        with turns.connected() as connection:
            draining._sifted(connection, entry)
        return int(drain.sql(latest)[0].n - before)

    assert transactions() > 40
    assert transactions() < 20
    assert draining.drain().set_aside == {}
    assert (len(drain.set_aside()), spending.backlog().entries) == (40, 0)


def test_a_name_too_long_for_an_index_is_the_rows_fault(drain: Drain) -> None:
    import random

    noise = random.Random(1)
    long = "".join(chr(noise.randrange(0x4E00, 0x9FFF)) for _ in range(4000))
    bad = call()._replace(user=long)
    drain.send([call(), bad])
    done = draining.drain()
    assert (done.calls, done.set_aside) == (1, {asides.REFUSED: 1})
    [row] = drain.set_aside()
    assert row.call["user"] == long
    assert row.call["id"] == bad.id


def test_what_intake_set_aside_is_kept_with_its_reason_and_once(drain: Drain) -> None:
    old = call(clock.now() - timedelta(days=60))
    lines = packing.asides([Aside("too_old", "made long ago", old.id, "key:shop", {"id": old.id, "user": "a\x00b"})])
    drain.put("aside", lines + b"no json\n")
    [entry] = spending.entries(1)
    assert draining.drain_entries([entry]).set_aside == {"too_old": 1, "unreadable": 1}
    assert draining.drain_entries([entry]).set_aside == {}
    told = {row.reason: row for row in drain.set_aside()}
    assert (told["too_old"].event_id, told["too_old"].source) == (old.id, "key:shop")
    assert told["too_old"].call == {"id": old.id, "user": "ab"}
    assert told["unreadable"].call == {"line": "no json"}


def test_an_aside_that_postgres_refuses_is_kept_as_text(drain: Drain) -> None:
    line = json.dumps(Aside("too_old", "", "x", "", {"cost": 1})._asdict()).replace('"cost": 1', '"cost": 1e999999')
    drain.put("aside", line.encode() + b"\n")
    assert draining.drain().set_aside == {"unreadable": 1}
    assert "1e999999" in drain.set_aside()[0].call["line"]


def test_calls_without_a_price_table_at_intake_are_priced_by_the_drain_or_noted(drain: Drain) -> None:
    drain.send([call()._replace(priced="later"), call(model="nobody-knows")._replace(priced="unknown")])
    assert draining.drain().calls == 2
    rows = drain.sql("SELECT priced FROM cost_tracking")
    assert {row.priced for row in rows} == {"unknown"}
    assert {key[3]: sums[1] for key, sums in drain.rollups().items() if key[0] == "model"} == {
        "anthropic/claude-opus-4-6": 1,
        "anthropic/nobody-knows": 1,
    }
    assert {row.model for row in drain.sql("SELECT model FROM cost_models")} == {"claude-opus-4-6", "nobody-knows"}


def test_trouble_that_is_not_the_rows_fault_leaves_everything_in_the_stream(drain: Drain) -> None:
    drain.send([call()])
    drain.sql("ALTER TABLE cost_hours RENAME TO hours_away")
    with pytest.raises(DBAPIError):
        draining.drain()
    drain.sql("ALTER TABLE hours_away RENAME TO cost_hours")
    assert (drain.count(), spending.backlog().entries) == (0, 1)
    assert draining.drain().calls == 1


def test_without_postgres_calls_are_taken_until_the_stream_is_full_and_none_is_lost(
    drain: Drain, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tags = {str(number): "x" * 190 for number in range(10)}
    calls = [call(cost=0.01, tags=tags) for _ in range(600)]
    monkeypatch.setenv("SMM_COST_STREAM_MB", "1")
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/away")
    forget()
    with pytest.raises(spending.Full):
        for accepted in range(0, 600, 50):
            drain.send(calls[accepted : accepted + 50])
    with pytest.raises(Transient):
        draining.drain()
    assert spending.backlog().entries == accepted // 50
    monkeypatch.setenv("DATABASE_URL", database)
    forget()
    assert draining.drain().calls == accepted
    drain.send(calls[accepted:])
    assert draining.drain().calls == 600 - accepted
    assert drain.rollups() == added_up(calls)


def test_a_connection_lost_in_the_middle_is_passing_trouble(drain: Drain) -> None:
    drain.send([call()])
    with turns.connected() as connection, pytest.raises(Transient):
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
        connection.commit()
        drain.sql("SELECT pg_terminate_backend(:pid)", pid=pid)
        with unit_of_work(connection) as uow:
            draining.keep(uow, [packing.rows([call()])[:-1]], (), expect_new=True)
    assert draining.drain().calls == 1
