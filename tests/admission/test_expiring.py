"""What waits too long is dropped, told of once, and forgotten later."""

from __future__ import annotations

from datetime import timedelta

from app import clock
from app.admission import deferral_store, releasing, retention
from app.admission.deferred_reading import by_class
from app.infra.db import read_only, unit_of_work
from app.limits.core import Verdict
from tests.admission.backlog import ACCOUNT, Backlog, backlog

__all__ = ["backlog"]

GONE = clock.now() - timedelta(minutes=1)


def test_what_waits_too_long_is_dropped_before_its_queue_is_due(backlog: Backlog) -> None:
    backlog.ask("first")
    names = {"a": "call", "b": "answer", "c": "call"}
    backlog.defer_all([*(backlog.wanted(name, kind, expires_at=GONE) for name, kind in names.items())])
    backlog.defer_all([backlog.wanted("stays"), backlog.wanted("bob", account="instagram/bob", expires_at=GONE)])
    backlog.ledger.sql("UPDATE deferral_queues SET next_try_at = now() + interval '1 hour'")
    assert releasing.release_due().expired == 4
    assert backlog.waiting() == ["stays"]
    told = {signal.subject: signal.facts for signal in backlog.signals("admission.expired")}
    assert told[f"account:{ACCOUNT}"]["operations"] == {"answer": 1, "call": 2}
    assert told[f"account:{ACCOUNT}"]["count"] == 3
    assert set(told) == {f"account:{ACCOUNT}", "account:instagram/bob"}
    state = backlog.queue()
    assert state is not None
    assert state.waiting == [0, 0, 1, 0]
    assert backlog.queue("instagram/bob") is None
    assert backlog.ask("a").verdict is Verdict.AGAIN, "its id is still known, and its row says what became of it"
    assert releasing.release_due().expired == 0


def test_what_expires_while_its_queue_is_looked_at_does_not_go_on(backlog: Backlog) -> None:
    backlog.defer_all([backlog.wanted("late", expires_at=GONE), backlog.wanted("good")])
    done = backlog.release()
    assert (done.expired, done.released) == (1, 1)
    assert backlog.rung() == ["good"]


def test_newcomers_do_not_wait_behind_what_is_gone(backlog: Backlog) -> None:
    backlog.ask("first")
    backlog.defer("a", expires_at=GONE)
    backlog.limits(calls=2)
    backlog.release()
    assert backlog.ask("late").verdict is Verdict.ALLOW


def test_a_queue_that_somebody_holds_keeps_nobody_else_waiting(backlog: Backlog) -> None:
    backlog.defer_all([backlog.wanted("late", expires_at=GONE), backlog.wanted("bob", account="instagram/bob")])
    backlog.due()
    with unit_of_work() as elsewhere:
        deferral_store.lock(elsewhere, ACCOUNT)
        started = clock.monotonic()
        assert releasing.release_due().released == 1
        assert clock.monotonic() - started < 3
    assert releasing.release_due().expired == 1


def test_what_lost_its_queue_is_found_when_its_time_is_up(backlog: Backlog) -> None:
    backlog.defer_all([backlog.wanted("late", expires_at=GONE)])
    backlog.ledger.sql("DELETE FROM deferral_queues")
    assert releasing.release_due().expired == 1
    assert backlog.states() == {"late": "expired"}
    assert backlog.queue() is None


def test_much_that_expires_at_once_leaves_time_for_what_may_go_on(backlog: Backlog) -> None:
    gone = [backlog.wanted("late", account=f"instagram/gone{number}", expires_at=GONE) for number in range(800)]
    backlog.defer_all([*gone, backlog.wanted("bob", account="instagram/bob")])
    backlog.ledger.sql("UPDATE deferral_queues SET next_try_at = now() + interval '1 hour'")
    backlog.ledger.sql("UPDATE deferral_queues SET next_try_at = now() WHERE account = 'instagram/bob'")
    done = releasing.release_due(seconds=0.2)
    assert done.released == 1
    assert 0 < done.expired < 800


def test_what_ended_long_ago_is_forgotten_and_what_waits_is_not(backlog: Backlog) -> None:
    backlog.defer_all([backlog.wanted("a"), backlog.wanted("b"), backlog.wanted("c")])
    backlog.release()
    backlog.ledger.sql("UPDATE deferred_operations SET ended_at = now() - interval '15 days' WHERE request_id = 'a'")
    backlog.defer_all([backlog.wanted("d")])
    backlog.ledger.sql("UPDATE deferred_operations SET created_at = now() - interval '1 year' WHERE request_id = 'd'")
    assert retention.drop_old(clock.now())["deferred_operations"] == 1
    assert "a" not in backlog.states()
    assert "d" in backlog.waiting()


def test_what_waits_is_counted_by_class_with_the_age_of_the_oldest(backlog: Backlog) -> None:
    backlog.defer_all([backlog.wanted("a"), backlog.wanted("b"), backlog.wanted("c", "look", "instagram/bob")])
    backlog.ledger.sql("UPDATE deferred_operations SET created_at = now() - interval '1 minute' WHERE request_id = 'a'")
    with read_only() as session:
        found = by_class(session)
    assert {name: held.count for name, held in found.items()} == {
        "critical": 0,
        "interactive": 0,
        "normal": 2,
        "background": 1,
    }
    assert 59 < found["normal"].oldest_seconds < 90
    assert found["critical"].oldest_seconds == 0
