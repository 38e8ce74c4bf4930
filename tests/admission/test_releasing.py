"""What waits goes on once, in order, as soon as it may; one account's queue does not keep another's."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from app import clock
from app.admission import admitting, deferral_store, queues, release_turn, releasing, requests
from app.config import settings
from app.errors import Transient
from app.infra import queue, redis
from app.infra.db import unit_of_work
from app.jobs import relay
from app.jobs.admin import pause_queue
from app.limits import keys, wire
from app.limits.core import Verdict
from tests.admission.backlog import ACCOUNT, Backlog, backlog

__all__ = ["backlog"]


def test_what_waited_goes_on_in_order_when_there_is_room(backlog: Backlog) -> None:
    backlog.ask("first")
    for name in ("a", "b", "c"):
        backlog.defer(name)
    assert backlog.release().released == 0
    backlog.limits(calls=3)
    assert backlog.release().released == 2
    assert backlog.rung() == ["a", "b"]
    assert backlog.states() == {"a": "released", "b": "released", "c": "waiting"}
    backlog.limits(calls=4)
    assert backlog.release().released == 1
    assert backlog.rung() == ["a", "b", "c"]
    assert backlog.queue() is None
    assert backlog.ask("new", "both").verdict is Verdict.WAIT, "all four are used up"


def test_the_more_urgent_class_goes_first_and_then_who_came_first(backlog: Backlog) -> None:
    operations = ("look", "call", "answer", "look", "call", "answer")
    backlog.defer_all([backlog.wanted(f"{name}{place}", name) for place, name in enumerate(operations)])
    backlog.limits(calls=5)
    backlog.release()
    assert backlog.rung() == ["answer2", "answer5", "call1", "call4", "look0"]
    assert backlog.waiting() == ["look3"]


def test_what_has_to_stay_keeps_only_those_who_need_the_same(backlog: Backlog) -> None:
    backlog.ask("first")
    names = [f"call{number}" for number in range(release_turn.CHUNK + 10)]
    backlog.defer_all([*(backlog.wanted(name) for name in names), backlog.wanted("post", "post")])
    backlog.release()
    assert backlog.rung() == ["post"], "far behind in the queue, and it needs none of what the others wait for"
    state = backlog.queue()
    assert state is not None
    assert (state.waiting, state.blocked_by) == ([0, 0, len(names), 0], "room in calls")
    assert backlog.ask("late", "answer").verdict is Verdict.WAIT
    assert backlog.ask("late post", "post").behind is None


def test_a_newcomer_does_not_overtake_and_goes_after(backlog: Backlog) -> None:
    backlog.ask("first")
    backlog.defer("early")
    backlog.limits(calls=3)
    late = backlog.defer("late")
    assert late.position == 2
    backlog.release()
    assert backlog.rung() == ["early", "late"]
    assert backlog.ask("newest").verdict is Verdict.WAIT
    backlog.limits(calls=4)
    assert backlog.ask("next").verdict is Verdict.ALLOW, "nobody waits any more"


def test_accounts_take_turns(backlog: Backlog) -> None:
    backlog.limits(calls=10_000)
    size = release_turn.CHUNK
    backlog.defer_all([backlog.wanted(f"ann{number}") for number in range(3 * size)])
    backlog.defer_all([backlog.wanted(f"bob{number}", account="instagram/bob") for number in range(3)])
    backlog.release()
    order = backlog.ledger.sql("SELECT account FROM deferred_operations ORDER BY ended_at, seq")
    of_bob = [place for place, row in enumerate(order) if row.account == "instagram/bob"]
    assert of_bob[0] <= size, "after one turn of the long queue at the latest"
    assert len(order) == 3 * size + 3
    assert set(backlog.states().values()) == {"released"}


def test_a_limit_that_accounts_share_goes_to_whom_nothing_was_given_for_longest(backlog: Backlog) -> None:
    shared = """
[limits.shared]
capacity = {capacity}
per = "all"
window = "rolling"
period = "month"
reserve = 0

[operations.shared]
platform = "instagram"
consumes = {{shared = 1}}
"""
    backlog.limits(extra=shared.format(capacity=1))
    backlog.defer_all([backlog.wanted(f"ann{number}", "shared") for number in range(3)])
    backlog.release()
    backlog.defer_all([backlog.wanted(f"bob{number}", "shared", "instagram/bob") for number in range(3)])
    backlog.limits(extra=shared.format(capacity=2))
    backlog.release()
    released = [name for name, state in backlog.states().items() if state == "released"]
    assert released == ["ann0", "bob0"]


def test_what_went_on_at_once_and_waits_as_well_gets_one_job(backlog: Backlog) -> None:
    """Redis was away when it began to wait; its caller asked again while the limiter did not know of that."""
    body = {
        "operation": "call",
        "account": "ann",
        "id": "a",
        "task": {"task": "tests.record", "kwargs": {"note": "a"}},
    }
    backlog.defer_all([backlog.wanted("a", task=body["task"])])
    backlog.lose_redis()
    answer = admitting.admit([requests.parse(body, caller="tests")])[0]
    assert (answer.outcome, answer.job_id is None) == ("allow", False)
    assert backlog.release().released == 1
    assert [str(row.job_id) for row in backlog.ledger.sql("SELECT job_id FROM deferred_operations")] == [
        str(answer.job_id)
    ]
    assert len(backlog.ledger.sql("SELECT id FROM jobs")) == 1


def test_an_operation_without_a_task_is_only_let_go(backlog: Backlog) -> None:
    backlog.defer_all([backlog.wanted("a", task=None)])
    assert backlog.release().released == 1
    assert backlog.states() == {"a": "released"}
    assert backlog.ledger.sql("SELECT id FROM jobs") == []
    again = backlog.ask("a")
    assert again.verdict is Verdict.AGAIN
    assert again.before is not None
    assert not again.before.waits


def test_what_can_never_be_done_is_dropped_with_its_reason_and_the_others_go_on(backlog: Backlog) -> None:
    backlog.limits(calls=10)
    backlog.defer_all(
        [
            backlog.wanted("a"),
            backlog.wanted("gone", "no-such-operation"),
            backlog.wanted("wrong", task={"task": "tests.record", "kwargs": {"no": "such"}}),
            backlog.wanted("secret", task={"task": "tests.marked", "kwargs": {"seconds": 1}}),
            backlog.wanted("b"),
        ]
    )
    done = backlog.release()
    assert (done.released, done.dropped) == (2, 3)
    assert backlog.rung() == ["a", "b"]
    reasons = dict(backlog.ledger.sql("SELECT request_id, reason FROM deferred_operations WHERE state = 'dropped'"))
    assert "no operation is named so" in reasons["gone"]
    assert "kwargs.no" in reasons["wrong"]
    assert "no published task" in reasons["secret"]
    [signal] = backlog.signals("admission.dropped")
    assert signal.subject == f"account:{ACCOUNT}"
    assert signal.facts["operations"] == {"call": 2, "no-such-operation": 1}
    assert len(signal.facts["reasons"]) == 3
    assert backlog.queue() is None


def test_no_more_is_released_than_the_workers_queue_has_room_for(
    backlog: Backlog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMM_DOORBELLS_PER_QUEUE", "3")
    settings.cache_clear()
    backlog.limits(calls=100)
    backlog.defer_all([backlog.wanted(f"{number}") for number in range(5)])
    elsewhere = {"task": "tests.record", "kwargs": {"note": "elsewhere"}, "queue": "high"}
    backlog.defer_all([backlog.wanted("elsewhere", "post", task=elsewhere)])
    assert backlog.release().released == 4
    assert backlog.rung() == ["0", "1", "2"]
    assert backlog.rung("high") == ["elsewhere"]
    assert backlog.release().released == 0
    for row in backlog.ledger.sql("SELECT id FROM jobs WHERE kwargs ->> 'note' IN ('0', '1', '2') ORDER BY not_before"):
        backlog.ledger.run(row.id)
    queue.purge("default")
    assert backlog.release().released == 2
    assert backlog.rung() == ["3", "4"]


def test_nothing_is_released_into_a_queue_that_is_paused(backlog: Backlog) -> None:
    with unit_of_work() as uow:
        pause_queue(uow, "default", who="a test", reason="upkeep")
    backlog.defer_all([backlog.wanted("a")])
    assert backlog.release().released == 0
    backlog.ledger.sql("DELETE FROM queue_pauses")
    assert backlog.release().released == 1


def test_a_pause_keeps_what_waits_and_waking_lets_it_go(backlog: Backlog) -> None:
    redis.client().hset(keys.HOLDS, "account:instagram/ann", "0 0 wait pause: upkeep")
    backlog.defer("a")
    backlog.release()
    state = backlog.queue()
    assert state is not None
    assert state.blocked_by == "pause: upkeep"
    assert timedelta(seconds=30) < state.next_try_at - clock.now() <= timedelta(minutes=1)
    redis.client().delete(keys.HOLDS)
    assert releasing.release_due().released == 0, "nobody said that it may"
    with unit_of_work() as uow:
        queues.wake(uow, "account:instagram/ann")
    assert releasing.release_due().released == 1


@pytest.mark.parametrize(
    "scope", ["all", "platform:instagram", "account:instagram/ann", "tenant:acme", "operation:call", "service:n8n"]
)
def test_the_queues_of_a_scope_are_woken(backlog: Backlog, scope: str) -> None:
    backlog.limits(extra='[operations.hook]\nplatform = "web"\nrequires = ["n8n"]\n')
    if scope == "service:n8n":
        backlog.defer_all([backlog.wanted("a", "hook")])
    else:
        backlog.defer_all([backlog.wanted("a", tenant="acme")])
    backlog.defer_all([backlog.wanted("b", "post", account="web/bob", tenant="other")])
    backlog.ledger.sql("UPDATE deferral_queues SET next_try_at = now() + interval '1 hour'")
    with unit_of_work() as uow:
        queues.wake(uow, "account:nobody/there", scope)
    assert backlog.next_try_at() < clock.now() + timedelta(seconds=1)
    assert (backlog.next_try_at("web/bob") < clock.now() + timedelta(seconds=1)) == (scope == "all")


def test_a_queue_is_looked_at_when_its_window_is_over(backlog: Backlog) -> None:
    backlog.limits(
        extra='[limits.soon]\ncapacity = 1\nwindow = "calendar"\nperiod = 3600\n'
        '[operations.quick]\nplatform = "instagram"\nconsumes = {soon = 1}\n'
    )
    backlog.ask("first", "quick")
    backlog.defer("waits", "quick")
    backlog.release()
    assert backlog.next_try_at() - clock.now() <= timedelta(minutes=1), "so that a missed event heals"
    backlog.limits(
        extra='[limits.soon]\ncapacity = 1\nwindow = "rolling"\nperiod = 6\n'
        '[operations.quick]\nplatform = "instagram"\nconsumes = {soon = 1}\n'
    )
    backlog.release()
    assert backlog.next_try_at() - clock.now() <= timedelta(seconds=7)


def test_while_redis_is_away_nothing_is_lost(backlog: Backlog, monkeypatch: pytest.MonkeyPatch) -> None:
    backlog.defer_all([backlog.wanted("a")])
    good = settings().redis()
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    settings.cache_clear()
    redis.client.cache_clear()
    wire.close()
    with pytest.raises(Transient):
        backlog.release()
    assert backlog.waiting() == ["a"]
    monkeypatch.setenv("REDIS_URL", good)
    settings.cache_clear()
    redis.client.cache_clear()
    wire.close()
    assert backlog.release().released == 1


def test_after_a_loss_of_redis_it_goes_on_once_and_in_order(backlog: Backlog) -> None:
    backlog.limits(calls=2)
    backlog.ask("first")
    backlog.defer_all([backlog.wanted(name) for name in ("a", "b", "c")])
    backlog.release()
    assert backlog.rung() == ["a"]
    backlog.lose_redis()
    queues.mark_all()
    assert backlog.ask("late").behind == "calls", "newcomers wait behind those who waited before the loss"
    backlog.ledger.sql("UPDATE jobs SET rung_at = now() - interval '1 hour' WHERE state = 'rung'")
    relay.relay()
    assert backlog.release().released == 2
    assert backlog.rung() == ["a", "b", "c"]


def test_lanes_of_thousands_of_queues_are_marked_again(backlog: Backlog) -> None:
    backlog.defer_all([backlog.wanted("a", account=f"instagram/{number}") for number in range(2500)])
    backlog.defer_all([backlog.wanted("b", "post", account=f"instagram/{number}") for number in range(2500)])
    backlog.lose_redis()
    started = clock.monotonic()
    queues.mark_all()
    assert clock.monotonic() - started < 5
    for number in (0, 1234, 2499):
        known = f"instagram/{number}"
        assert backlog.ask("late", account=known).behind is not None
        assert backlog.ask("late", "post", account=known).behind is not None
        assert backlog.ask("late", "answer", account=known).verdict is Verdict.ALLOW


def test_a_queue_that_others_hold_is_waited_for_a_moment(backlog: Backlog) -> None:
    backlog.defer_all([backlog.wanted("a")])
    backlog.due()
    with unit_of_work() as uow:
        deferral_store.lock(uow, ACCOUNT)
        assert releasing.release_due() == releasing.Released()
    assert releasing.release_due().released == 1


def test_moments_of_release_rise_also_where_the_clock_does_not(backlog: Backlog) -> None:
    backlog.limits(calls=10)
    backlog.defer_all([backlog.wanted("a"), backlog.wanted("b")])
    ahead = datetime.fromisoformat("2200-01-01T00:00:00+00:00")
    backlog.ledger.sql("UPDATE deferral_queues SET last_release_at = :at", at=ahead)
    backlog.release()
    moments = [row.not_before for row in backlog.ledger.sql("SELECT not_before FROM jobs ORDER BY not_before")]
    assert moments[0] > ahead
    assert moments[1] > moments[0]
