"""Of an operation that is done one at a time, the next one of an account starts when the one before is done."""

from __future__ import annotations

from datetime import timedelta

from app import clock
from app.limits.core import Verdict
from tests.admission.backlog import Backlog, backlog

__all__ = ["backlog"]


def finish(backlog: Backlog, note: str) -> None:
    [row] = backlog.ledger.sql("SELECT id FROM jobs WHERE kwargs ->> 'note' = :note", note=note)
    assert backlog.ledger.run(row.id) is None


def test_the_next_one_starts_when_the_one_before_is_done(backlog: Backlog) -> None:
    backlog.limits(calls=10)
    backlog.defer_all([backlog.wanted(name, "serial") for name in ("a", "b", "c")])
    assert backlog.release().released == 1
    assert backlog.rung() == ["a"]
    assert backlog.release().released == 0
    assert backlog.next_try_at() - clock.now() < timedelta(seconds=2)
    finish(backlog, "a")
    assert backlog.release().released == 1
    finish(backlog, "b")
    assert backlog.release().released == 1
    finish(backlog, "c")
    assert [note for _, note in backlog.ledger.effects()] == ["a", "b", "c"]
    backlog.release()
    assert backlog.queue() is None


def test_another_account_and_other_operations_do_not_wait_for_it(backlog: Backlog) -> None:
    backlog.limits(calls=10)
    backlog.defer_all([backlog.wanted("a", "serial"), backlog.wanted("b", "serial")])
    backlog.release()
    backlog.defer_all([backlog.wanted("else", "call"), backlog.wanted("bob", "serial", "instagram/bob")])
    assert backlog.release().released == 2
    assert sorted(backlog.rung()) == ["a", "bob", "else"]
    assert backlog.ask("late").verdict is Verdict.ALLOW, "what waits for its turn holds nobody else up"
    assert backlog.ask("serial", "serial").behind == "serial"


def test_it_is_remembered_while_nobody_waits(backlog: Backlog) -> None:
    backlog.limits(calls=10)
    backlog.defer_all([backlog.wanted("a", "serial")])
    backlog.release()
    backlog.release()
    state = backlog.queue()
    assert state is not None
    assert (state.in_flight is None, sum(state.waiting)) == (False, 0)
    backlog.defer_all([backlog.wanted("b", "serial")])
    assert backlog.release().released == 0
    finish(backlog, "a")
    assert backlog.release().released == 1


def test_without_a_job_there_is_nothing_to_wait_for(backlog: Backlog) -> None:
    backlog.limits(calls=10)
    backlog.defer_all([backlog.wanted(name, "serial", task=None) for name in ("a", "b")])
    assert backlog.release().released == 2


def test_the_one_that_has_no_room_does_not_count_as_at_work(backlog: Backlog) -> None:
    backlog.ask("first")
    backlog.defer_all([backlog.wanted("a", "serial"), backlog.wanted("b", "serial")])
    backlog.release()
    state = backlog.queue()
    assert state is not None
    assert (state.in_flight, state.blocked_by) == (None, "room in calls")
    backlog.limits(calls=2)
    backlog.release()
    assert backlog.rung() == ["a"]


def test_one_without_room_does_not_keep_another_kind(backlog: Backlog) -> None:
    other = '[operations.other]\nplatform = "instagram"\nconsumes = {posts = 1}\none_at_a_time = true\n'
    backlog.limits(extra=other)
    backlog.ask("first")
    backlog.defer_all([backlog.wanted("a", "serial"), backlog.wanted("b", "other"), backlog.wanted("c", "other")])
    assert backlog.release().released == 1
    assert backlog.rung() == ["b"]
    state = backlog.queue()
    assert state is not None
    assert state.waiting == [0, 0, 2, 0]
