"""Calls that are set aside: nothing of them is lost, whatever comes of a replay."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from app import clock
from app.costs import draining, packing, recording, set_aside, turns
from app.costs.packing import Aside
from app.errors import Conflict, Invalid, NotFound
from app.infra import ids
from app.infra.db import read_only
from tests.costs.conftest import Drain, added_up
from tests.costs.sent import body, call
from tests.fixtures.waiting import until


def waiting(**how: Any) -> list[set_aside.Found]:
    with read_only() as session:
        return set_aside.list_all(session, **how)


def put(drain: Drain, sent: dict[str, Any], reason: str = "too_old") -> UUID:
    drain.put("aside", packing.asides([Aside(reason, "", str(sent.get("id", "")), "key:shop", sent)]))
    draining.drain()
    return waiting(limit=1)[0].id


def test_a_call_outside_the_window_is_set_aside_and_counted_only_when_somebody_insists(drain: Drain) -> None:
    old = call(clock.now() - timedelta(days=40), cost=0.25)
    assert recording.record([old], durable=True, source="key:shop").set_aside == ((0, "too_old"),)
    [found] = waiting()
    assert (found.reason, found.event_id, found.source, found.outcome) == ("too_old", old.id, "key:shop", None)
    with pytest.raises(Invalid, match="force"):
        set_aside.replay(found.id, by="ann", now=clock.now())
    assert (drain.count(), len(waiting())) == (0, 1)
    done = set_aside.replay(found.id, by="ann", now=clock.now(), force=True)
    assert (done.outcome, done.replayed_by) == ("replayed", "ann")
    assert (waiting(), len(waiting(waiting=False))) == ([], 1)
    assert drain.rollups() == added_up([old])


def test_what_was_dealt_with_is_neither_replayed_nor_dropped_again(drain: Drain) -> None:
    now = clock.now()
    done = put(drain, body(), "refused")
    set_aside.replay(done, by="ann", now=now)
    dropped = put(drain, body(), "refused")
    assert set_aside.drop(dropped, by="bob", now=now, why=" a test ").outcome == "dropped: a test"
    for identifier, said in ((done, "ann has dealt with it already: replayed"), (dropped, "bob .*: dropped: a test")):
        with pytest.raises(Conflict, match=said):
            set_aside.replay(identifier, by="eve", now=now)
        with pytest.raises(Conflict, match=said):
            set_aside.drop(identifier, by="eve", now=now, why="again")
    assert drain.count() == 1


def test_a_replay_of_a_call_that_is_known_counts_it_once(drain: Drain) -> None:
    sent = body(cost=0.5)
    recording.record(recording.intake.parse_items([sent]).good[0][1:], durable=True, source="x")
    before = drain.rollups()
    set_aside.replay(put(drain, sent, "refused"), by="ann", now=clock.now())
    assert drain.rollups() == before


def test_what_still_cannot_be_recorded_waits_as_it_was(drain: Drain) -> None:
    broken = put(drain, {"row": "text that is no call"}, "refused")
    with pytest.raises(Invalid):
        set_aside.replay(broken, by="ann", now=clock.now())
    refused = put(drain, body(user="x" * 10), "refused")
    drain.sql("ALTER TABLE cost_tracking ADD CONSTRAINT no_x CHECK (user_id NOT LIKE 'x%')")
    set_aside.replay(refused, by="ann", now=clock.now())
    # It went the usual way, and was set aside there once more: whoever looks finds it, whole.
    [again, first] = waiting(reason="refused")
    assert (first.id, again.reason) == (broken, "refused")
    with read_only() as session:
        assert set_aside.get(session, again.id).call["user"] == "x" * 10  # type: ignore[index]
    with pytest.raises(Invalid):
        set_aside.drop(first.id, by="ann", now=clock.now(), why=" ")


def test_a_time_beyond_the_calendar_is_not_replayed_only_to_be_set_aside_again(drain: Drain) -> None:
    far = put(drain, body(id="ffffffff-ffff-7fff-bfff-ffffffffffff"), "from_the_future")
    for force in (False, True):
        with pytest.raises(Invalid):
            set_aside.replay(far, by="ann", now=clock.now(), force=force)
    assert [one.id for one in waiting()] == [far]


def test_nobody_drops_a_call_while_it_is_being_replayed(drain: Drain) -> None:
    one = put(drain, body(), "refused")
    now = clock.now()
    with ThreadPoolExecutor(2) as threads:
        with turns.alone():  # the replay waits for its turn to write
            replayed = threads.submit(set_aside.replay, one, by="ann", now=now)
            waits = "SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = :kind"
            until(lambda: drain.sql(waits, kind="advisory"))
            dropped = threads.submit(set_aside.drop, one, by="bob", now=now, why="a test")
            until(lambda: drain.sql(waits, kind="transactionid"))
        assert replayed.result().outcome == "replayed"
        with pytest.raises(Conflict):
            dropped.result()
    assert drain.count() == 1


def test_they_are_listed_newest_first_by_pages_and_by_reason(drain: Drain) -> None:
    lines = [Aside("too_old" if place % 2 else "from_the_future", "", str(place), "", {}) for place in range(5)]
    drain.put("aside", packing.asides(lines))
    draining.drain()
    first = waiting(limit=3)
    assert [one.id for one in first] == sorted((one.id for one in first), reverse=True)
    rest = waiting(limit=3, before=first[-1].id)
    assert sorted(one.event_id for one in [*first, *rest]) == ["0", "1", "2", "3", "4"]
    assert {one.event_id for one in waiting(reason="too_old")} == {"1", "3"}
    with read_only() as session, pytest.raises(NotFound):
        set_aside.get(session, ids.uuid7())
    assert "call" not in first[0].document()
    assert json.dumps(first[0].document())
