"""Operations wait in the order in which they came; what is asked again is answered again; newcomers wait behind."""

from __future__ import annotations

import json
from datetime import timedelta
from uuid import uuid4

import pytest

from app import clock
from app.admission import deferring, queues
from app.config import settings
from app.errors import Conflict, Invalid, NotFound
from app.infra import redis
from app.infra.db import read_only, unit_of_work
from app.limits import keys
from app.limits.core import Verdict
from tests.admission.backlog import ACCOUNT, Backlog, backlog

__all__ = ["backlog"]


def view(deferred: deferring.Deferred) -> deferring.DeferredView:
    with read_only() as session:
        return deferring.get(session, deferred.id)


def lanes(account: str = ACCOUNT) -> dict[str, int]:
    raw = redis.client().get(f"{keys.STATE}account:{account}")
    found: dict[str, int] = json.loads(raw).get("q", {}) if raw else {}
    return found


def test_positions_count_who_is_as_urgent_or_more(backlog: Backlog) -> None:
    assert backlog.ask("first").verdict is Verdict.ALLOW
    assert [backlog.defer(name).position for name in ("a", "b")] == [1, 2]
    assert backlog.defer("urgent", "answer").position == 1
    assert backlog.defer("idle", "look").position == 4
    with read_only() as session:
        shown = {one.request_id: one.position for one in deferring.list_deferred(session)}
        assert queues.waiting(session, [ACCOUNT]) == {
            ACCOUNT: {"critical": 0, "interactive": 1, "normal": 2, "background": 1}
        }
    assert shown == {"urgent": 1, "a": 2, "b": 3, "idle": 4}


def test_newcomers_of_the_same_wait_behind_and_others_do_not(backlog: Backlog) -> None:
    backlog.ask("first")
    backlog.defer("waits")
    assert lanes() == {"calls": 2}
    backlog.limits(calls=10)
    assert backlog.ask("late").behind == "calls"
    assert backlog.ask("idle", "look").behind == "calls"
    assert backlog.ask("urgent", "answer").verdict is Verdict.ALLOW
    assert backlog.ask("other", "post").verdict is Verdict.ALLOW
    assert backlog.ask("elsewhere", account="instagram/bob").verdict is Verdict.ALLOW


def test_the_same_id_is_answered_as_before(backlog: Backlog) -> None:
    first = backlog.defer_all([backlog.wanted("a"), backlog.wanted("b")])[1]
    again = backlog.defer_all([backlog.wanted("b"), backlog.wanted("c"), backlog.wanted("c")])
    assert isinstance(first, deferring.Deferred)
    assert [one.replayed for one in again if isinstance(one, deferring.Deferred)] == [True, False, True]
    assert isinstance(again[0], deferring.Deferred)
    assert (again[0].id, again[0].position, again[0].state) == (first.id, 2, "waiting")
    assert backlog.waiting() == ["a", "b", "c"]
    assert backlog.queue().waiting == [0, 0, 3, 0]  # type: ignore[union-attr]


def test_an_id_that_waits_is_not_another_operations(backlog: Backlog) -> None:
    backlog.defer_all([backlog.wanted("a")])
    [wrong] = backlog.defer_all([backlog.wanted("a", "post")])
    assert isinstance(wrong, Invalid)
    assert [problem.field for problem in wrong.problems] == ["id"]
    with pytest.raises(Invalid, match="given to call"), unit_of_work() as uow:
        deferring.defer(uow, backlog.wanted("a", "post"), None)
    assert backlog.waiting() == ["a"]


def test_a_full_queue_takes_no_more_and_others_do(backlog: Backlog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMM_DEFERRED_MOST", "2")
    settings.cache_clear()
    names = [("a", ACCOUNT), ("b", ACCOUNT), ("c", ACCOUNT), ("d", "instagram/bob")]
    done = backlog.defer_all([backlog.wanted(name, account=account) for name, account in names])
    assert [isinstance(one, Invalid) for one in done] == [False, False, True, False]
    assert "account" in str(done[2])
    assert backlog.waiting() == ["a", "b", "d"]
    [replayed] = backlog.defer_all([backlog.wanted("a")])
    assert isinstance(replayed, deferring.Deferred), "who waits already is told so"


def test_a_retry_is_known_to_wait(backlog: Backlog) -> None:
    backlog.ask("first")
    backlog.defer("waits")
    again = backlog.ask("waits")
    assert again.verdict is Verdict.AGAIN
    assert again.before is not None
    assert again.before.waits


def test_what_is_not_committed_holds_nobody_up_for_long(backlog: Backlog) -> None:
    backlog.ask("first")
    decision = backlog.ask("lost")
    with pytest.raises(ZeroDivisionError), unit_of_work() as uow:
        deferring.defer(uow, backlog.wanted("lost"), decision)
        raise ZeroDivisionError
    assert backlog.waiting() == []
    assert lanes() == {"calls": 2}, "newcomers were told before the commit that never came"
    assert backlog.next_try_at() < clock.now() + timedelta(seconds=2)
    backlog.release()
    assert lanes() == {}
    assert backlog.queue() is None


def test_a_cancelled_one_waits_no_more(backlog: Backlog) -> None:
    backlog.ask("first")
    waits, stays = backlog.defer("waits"), backlog.defer("stays")
    with unit_of_work() as uow:
        deferring.cancel(uow, waits.id, "person:ann")
    shown = view(waits)
    assert (shown.state, shown.ended_by, shown.position, shown.until) == ("cancelled", "person:ann", None, None)
    assert view(stays).position == 1
    assert backlog.queue().waiting == [0, 0, 1, 0]  # type: ignore[union-attr]
    assert backlog.ask("waits").verdict is Verdict.AGAIN, "its id is still known, and its row says what became of it"
    with pytest.raises(Conflict, match="cancelled"), unit_of_work() as uow:
        deferring.cancel(uow, waits.id, "person:ann")
    with pytest.raises(NotFound), unit_of_work() as uow:
        deferring.cancel(uow, uuid4(), "person:ann")


def test_a_queue_is_looked_at_when_there_may_be_room(backlog: Backlog) -> None:
    backlog.limits(
        extra='[limits.soon]\ncapacity = 1\nwindow = "rolling"\nperiod = 20\n'
        '[operations.quick]\nplatform = "instagram"\nconsumes = {soon = 1}\n'
    )
    backlog.defer_all([backlog.wanted("waits", "quick")])
    backlog.ledger.sql("UPDATE deferral_queues SET next_try_at = now() + interval '1 hour'")
    backlog.ask("first", "quick")
    backlog.defer("more", "quick")
    assert timedelta(seconds=15) < backlog.next_try_at() - clock.now() < timedelta(seconds=30)


def test_without_redis_it_waits_all_the_same(backlog: Backlog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    settings.cache_clear()
    redis.client.cache_clear()
    from app.limits import wire

    wire.close()
    backlog.defer_all([backlog.wanted("a"), backlog.wanted("b")])
    assert backlog.waiting() == ["a", "b"]
    wire.close()


def test_operations_are_found_by_what_they_are(backlog: Backlog) -> None:
    backlog.defer_all(
        [
            backlog.wanted("a", tenant="acme"),
            backlog.wanted("b", "post"),
            backlog.wanted("c", account="instagram/bob", caller="n8n"),
        ]
    )
    with read_only() as session:

        def found(**wanted: str) -> list[str]:
            return [one.request_id for one in deferring.list_deferred(session, **wanted)]  # type: ignore[arg-type]

        assert set(found()) == {"a", "b", "c"}
        assert found(tenant="acme") == ["a"]
        assert found(operation="post", state="waiting") == ["b"]
        assert found(account="instagram/bob") == ["c"]
        assert found(caller="n8n") == ["c"]
        [first] = deferring.list_deferred(session, limit=1)
        assert [one.request_id for one in deferring.list_deferred(session, before=first.id)] == found()[1:]
        one = deferring.find(session, ACCOUNT, "a")
        assert one is not None
        assert (one.task, one.urgency, one.tenant, one.position) == ("tests.record", "normal", "acme", 1)
        assert deferring.find(session, "instagram/bob", "a") is None
