"""The hash of holds follows Postgres: right after a commit, never backwards, and again after Redis lost it."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from app import clock, jobs
from app.admission import holds, operations, pauses
from app.infra import redis
from app.infra.db import read_only, unit_of_work
from app.limits import deciding, keys
from app.limits.core import Counting, Decision, Hold, Verdict
from app.limits.spending import Who
from tests.admission.conftest import NO_VECTORS, SERVICES, Scene
from tests.admission.pausing import lift, mirrored, open_pauses, pause
from tests.admission.test_mirror import use_redis
from tests.health import local

OPERATIONS = """
[limits.calls]
capacity = 1000
window = "rolling"
period = "hour"

[operations.sync]
platform = "instagram"
consumes = {calls = 1}
requires = ["qdrant"]
requires_token = true

[operations.analytics]
platform = "instagram"
class = "background"
consumes = {calls = 1}
"""


@pytest.fixture(autouse=True)
def counting(scene: Scene) -> None:
    """Two operations, and counters that are whole."""
    scene.catalogue(SERVICES + NO_VECTORS + OPERATIONS)
    whole()


def whole() -> None:
    redis.client().set(keys.EPOCH, "whole:1")


def decide(operation: str = "sync", *, account: str = "anna", tenant: str = "acme") -> Decision:
    known = operations.known(operation)
    return deciding.decide(
        operations.ask(known, account=account, who=Who(tenant), request_id="x", counting=Counting.PEEK)
    )


def stopped(operation: str = "sync", **whose: str) -> list[str]:
    """The reasons for which it has to wait."""
    return [hold.reason for hold in decide(operation, **whose).holds]


def minute() -> None:
    """What happens each minute."""
    with unit_of_work() as uow:
        jobs.submit(uow, pauses.KEEP)


@pytest.mark.parametrize(
    "scope", ["all", "platform:instagram", "tenant:acme", "account:instagram/anna", "operation:sync"]
)
def test_a_pause_holds_right_after_its_commit_and_no_longer_after_it_was_lifted(scene: Scene, scope: str) -> None:
    pause(scope, reason="an audit")
    assert mirrored() == {scope: ["0 0 wait pause by person:ann: an audit"]}
    assert stopped() == ["pause by person:ann: an audit"]
    lift(scope)
    assert mirrored() == {}
    assert decide().verdict is Verdict.ALLOW


def test_others_go_on(scene: Scene) -> None:
    for scope in ("platform:tiktok", "tenant:other", "account:instagram/ann", "operation:syn", "account:-/anna"):
        pause(scope)
    assert decide().verdict is Verdict.ALLOW


def test_a_pause_from_a_class_on_lets_more_urgent_work_pass(scene: Scene) -> None:
    pause("all", least=3)
    assert (stopped("sync"), len(stopped("analytics"))) == ([], 1)


def test_a_pause_of_the_token_stops_what_needs_it(scene: Scene) -> None:
    pause("account:instagram/anna", by="tokens", effect="token", reason="the token is dead")
    assert stopped("sync") == ["pause by tokens: the token is dead"]
    assert stopped("analytics") == []


def test_a_pause_that_denies_says_so(scene: Scene) -> None:
    pause("all", effect="deny")
    assert [hold.effect for hold in decide().holds] == ["deny"]


def test_all_holders_of_a_scope_are_there(scene: Scene) -> None:
    pause("all", reason="one")
    pause("all", by="budgets", reason="two", least=3)
    assert mirrored() == {"all": ["0 0 wait pause by person:ann: one", "3 0 wait pause by budgets: two"]}
    lift("all")
    assert mirrored() == {"all": ["3 0 wait pause by budgets: two"]}


def test_the_end_of_a_pause_needs_nobody(scene: Scene) -> None:
    """The script compares it with the server's own clock: a dead engine does not prolong a pause."""
    made = pause("all", until=clock.now() + timedelta(hours=1))
    (line,) = mirrored()["all"]
    until = deciding.hold_of(line).until
    assert until is not None
    assert made.until is not None
    assert timedelta() <= until - made.until < timedelta(milliseconds=1.001)
    assert len(stopped()) == 1
    redis.client().hset(keys.HOLDS, "all", line.replace(line.split()[1], "1000000000000"))
    assert stopped() == []


def test_what_is_over_leaves_redis_within_a_minute(scene: Scene) -> None:
    pause("all", until=clock.now() + timedelta(hours=1))
    scene.ledger.sql("UPDATE pauses SET until = now() - interval '1 s'")
    minute()
    scene.work()
    assert mirrored() == {}
    assert [row.facts["by"] for row in scene.signals("pauses.lifted")] == ["clock"]


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("two\nlines\r\n0 0 deny all", "two lines 0 0 deny all"),
        ("a\u2028b\u0085c\x1b[31md\te", "a b c [31md e"),
        ("  wide   apart ", "wide apart"),
        ("x" * 500, None),
        ("ünïcode ✓ 日本", "ünïcode ✓ 日本"),
        ("%d %s {} '\"\\", "%d %s {} '\"\\"),
    ],
)
def test_a_reason_is_one_bounded_line_whatever_was_written(scene: Scene, reason: str, shown: str | None) -> None:
    pause("all", reason=reason)
    (line,) = mirrored()["all"]
    (hold,) = decide().holds
    assert deciding.hold_of(line) == hold
    assert hold.effect == "wait"
    assert len(hold.reason) <= holds.LONGEST_REASON
    if shown is not None:
        assert hold == Hold(0, None, "wait", f"pause by person:ann: {shown}")


@pytest.mark.parametrize("name", ["floor", "newest", "a b", "'; DEL *", "ünï✓", "x" * 200, "a/b:c", "{anna}", "-1"])
def test_an_account_of_any_name_is_held_and_no_other(scene: Scene, name: str) -> None:
    pause(f"account:instagram/{name}")
    assert len(stopped(account=name)) == 1
    assert stopped(account="anna") == []
    holds.write_all()
    assert len(stopped(account=name)) == 1
    lift(f"account:instagram/{name}")
    assert stopped(account=name) == []


def test_a_mode_that_waits_holds_its_operation_and_one_that_falls_back_is_a_hint(scene: Scene) -> None:
    scene.enter("by-hand", wait=["sync"], fall_back=["analytics"], reason="qdrant moves")
    assert stopped("sync") == ["mode by-hand: qdrant moves"]
    analytics = decide("analytics")
    assert analytics.verdict is Verdict.ALLOW
    assert mirrored()["operation:analytics"] == ["0 0 hint mode by-hand: qdrant moves"]
    scene.enter("by-hand", wait=["analytics"], reason="changed")
    assert (stopped("sync"), stopped("analytics")) == ([], ["mode by-hand: changed"])
    scene.leave("by-hand")
    assert mirrored() == {}


def test_a_service_that_is_down_holds_what_requires_it_until_it_is_up(scene: Scene) -> None:
    scene.fall("qdrant")
    scene.fall("n8n")
    scene.work()
    assert stopped("sync") == ["service qdrant is down"]
    assert "service:n8n" not in mirrored(), "no operation requires it"
    assert mirrored()["operation:brand-context"][0].startswith("0 0 hint mode no-vectors: ")
    scene.rise("qdrant")
    scene.work()
    assert stopped("sync") == []
    assert mirrored() == {}


def test_a_service_that_is_required_since_a_moment_ago_holds_within_a_minute(scene: Scene) -> None:
    scene.fall("n8n")
    scene.work()
    assert mirrored() == {}
    scene.catalogue(SERVICES + OPERATIONS.replace('["qdrant"]', '["n8n"]'))
    minute()
    scene.work()
    assert stopped("sync") == ["service n8n is down"]


def test_an_older_writer_never_replaces_a_newer_one(scene: Scene) -> None:
    pause("all", reason="one")
    older = holds.read(["all"])
    pause("all", reason="two")
    assert holds.write(older, ["all"]) == []
    assert stopped() == ["pause by person:ann: two"]
    lift("all")
    assert holds.write(older, ["all"]) == []
    assert mirrored() == {}, "what was lifted does not come back"
    holds.write_all()
    assert holds.write(older, ["all"]) == []
    assert mirrored() == {}, "not even after what was lifted is forgotten"


def test_each_scope_has_a_newest_writer_of_its_own(scene: Scene) -> None:
    pause("tenant:a", reason="one")
    older = holds.read(["tenant:a"])
    redis.client().hdel(keys.HOLDS, "tenant:a")
    redis.client().hdel(holds.MOMENTS, "tenant:a")
    pause("tenant:b")
    assert holds.write(older, ["tenant:a"]) == []
    assert set(mirrored()) == {"tenant:a", "tenant:b"}


def test_moments_are_in_order_also_when_the_older_transaction_ends_last(scene: Scene) -> None:
    moments = []
    with unit_of_work() as slow:
        pauses.set_pause(slow, "tenant:slow", by="person:ann", reason="x", now=clock.now())
        moments.append(holds.read().moment)
        pause("tenant:quick")
        seen = holds.read()
        moments.append(seen.moment)
        assert set(seen.lines) == {"tenant:quick"}
    last = holds.read()
    assert set(last.lines) == {"tenant:quick", "tenant:slow"}
    assert moments[0] < moments[1] < last.moment
    assert holds.read().moment >= last.moment


def test_whatever_writers_do_at_once_redis_ends_as_postgres_is(scene: Scene) -> None:
    scopes = [f"tenant:{name}" for name in "abc"]

    def come_and_go(name: str) -> None:
        for turn in range(8):
            for scope in scopes:
                pause(scope, by=name, reason=f"{turn}")
            for scope in scopes[turn % 3 :]:
                lift(scope, by=name)
            if turn % 4 == 3:
                holds.write_all()

    threads = [threading.Thread(target=come_and_go, args=(f"part-{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert mirrored() == {scope: text.split("\n") for scope, text in holds.read().lines.items()}
    assert {one.scope for one in open_pauses()} == set(mirrored())


def test_a_redis_that_was_emptied_is_told_everything_by_the_next_writer(scene: Scene) -> None:
    pause("tenant:a")
    scene.enter("by-hand", wait=["sync"])
    before = mirrored()
    redis.client().flushall()
    pause("tenant:b")
    assert set(mirrored()) == {*before, "tenant:b"}


def test_a_redis_that_was_emptied_is_told_everything_by_whoever_rebuilds_it(scene: Scene) -> None:
    pause("tenant:a")
    scene.fall("qdrant")
    scene.work()
    before = mirrored()
    older = holds.read(["tenant:a"])
    lift("tenant:a")
    redis.client().flushall()
    holds.write_all()
    assert mirrored() == {scope: lines for scope, lines in before.items() if scope != "tenant:a"}
    assert holds.write(older, ["tenant:a"]) == [], "a writer from before the loss"
    assert "tenant:a" not in mirrored()


def test_what_somebody_else_wrote_or_removed_is_put_right_within_a_minute(scene: Scene) -> None:
    pause("tenant:a")
    before = mirrored()
    redis.client().hset(keys.HOLDS, mapping={"tenant:a": "nonsense", "tenant:z": "0 0 deny made up"})
    holds.write_all()
    assert mirrored() == before
    redis.client().delete(keys.HOLDS)
    holds.write_all()
    assert mirrored() == before


def test_what_left_is_forgotten_by_the_next_whole_writing(scene: Scene) -> None:
    for name in "abc":
        pause(f"tenant:{name}")
        lift(f"tenant:{name}")
    holds.write_all()
    assert set(redis.client().hkeys(holds.MOMENTS)) == {"floor", "newest"}


def test_while_redis_is_away_the_rows_are_right_and_redis_follows(
    scene: Scene, redis_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause("tenant:before")
    use_redis(monkeypatch, f"redis://127.0.0.1:{local.closed_port()}/0")
    pause("all")
    lift("tenant:before")
    assert [one.scope for one in open_pauses()] == ["all"]
    use_redis(monkeypatch, redis_server)
    assert set(mirrored()) == {"tenant:before"}
    minute()
    scene.work()
    assert set(mirrored()) == {"all"}


def test_a_process_that_dies_right_after_its_commit_is_made_up_for_within_a_minute(scene: Scene) -> None:
    with read_only() as session:  # the same transaction without what follows it
        from app.infra.db import UnitOfWork

        pauses.set_pause(UnitOfWork(session), "all", by="person:ann", reason="x", now=clock.now())
        session.commit()
    assert mirrored() == {}
    minute()
    scene.work()
    assert set(mirrored()) == {"all"}


def test_after_a_backup_was_restored_redis_follows_again(scene: Scene) -> None:
    """Its moments are of the future then: waiting for Postgres to get there could take for ever."""
    pause("tenant:a")
    future = "9" * 28
    redis.client().hset(holds.MOMENTS, mapping={"tenant:a": future, "tenant:b": future, "newest": future})
    redis.client().hset(keys.HOLDS, "tenant:b", "0 0 wait of the future")
    lift("tenant:a")
    assert set(mirrored()) == {"tenant:a", "tenant:b"}
    holds.write_all()
    assert mirrored() == {}
    pause("tenant:c")
    assert set(mirrored()) == {"tenant:c"}


def test_thousands_of_pauses_are_written_in_parts(scene: Scene) -> None:
    with unit_of_work() as uow:
        uow.execute(
            "INSERT INTO pauses (id, scope, least, effect, holder, set_by, reason, since)"
            " SELECT gen_random_uuid(), 'tenant:' || n, 0, 'wait', 'tokens', 'tokens', 'x', now()"
            " FROM generate_series(1, 1234) AS n"
        )
    holds.write_all()
    assert len(mirrored()) == 1234
    holds.follow(["tenant:1"])
    assert len(mirrored()) == 1234


def test_a_mode_whose_time_is_up_holds_no_longer(scene: Scene) -> None:
    scene.enter("by-hand", wait=["sync"], until=clock.now() + timedelta(hours=1))
    scene.ledger.sql("UPDATE operation_modes SET until = now() - interval '1 s'")
    scene.reconcile()
    assert mirrored() == {}


@pytest.mark.parametrize("scope", ["all", "tenant:acme", "account:instagram/anna", "operation:sync"])
def test_queues_that_may_have_waited_for_it_are_looked_at_once_it_is_gone_from_redis(scene: Scene, scope: str) -> None:
    waits(scene)
    pause(scope)
    assert not is_due(scene)
    lift(scope)
    assert is_due(scene)


def test_a_queue_is_looked_at_when_a_mode_or_a_service_lets_it_go(scene: Scene) -> None:
    waits(scene)
    scene.enter("by-hand", wait=["sync"])
    assert not is_due(scene)
    scene.leave("by-hand")
    assert is_due(scene)
    waits(scene)
    scene.fall("qdrant")
    scene.work()
    assert not is_due(scene)
    scene.rise("qdrant")
    scene.work()
    assert is_due(scene)


def test_a_queue_is_looked_at_also_when_the_lifting_process_died(scene: Scene) -> None:
    waits(scene)
    pause("all")
    scene.ledger.sql("UPDATE pauses SET ended_at = now()")
    minute()
    scene.work()
    assert mirrored() == {}
    assert is_due(scene)


def test_whoever_writes_after_a_loss_takes_no_lock(scene: Scene) -> None:
    waits(scene)
    pause("all")
    scene.ledger.sql("UPDATE pauses SET ended_at = now()")
    with unit_of_work() as uow:
        uow.execute("SELECT 1 FROM deferral_queues FOR UPDATE")
        holds.write_all()
    assert mirrored() == {}


def waits(scene: Scene) -> None:
    """An operation of an account's queue, which is looked at in an hour."""
    scene.ledger.sql("DELETE FROM deferred_operations")
    scene.ledger.sql(
        "INSERT INTO deferral_queues (account, next_try_at) VALUES ('instagram/anna', now() + interval '1 hour')"
        " ON CONFLICT (account) DO UPDATE SET next_try_at = excluded.next_try_at"
    )
    scene.ledger.sql(
        "INSERT INTO deferred_operations (id, account, tenant, operation, rank, request_id, caller, reason, expires_at)"
        " VALUES (gen_random_uuid(), 'instagram/anna', 'acme', 'sync', 2, 'x', 'test', 'pause', now() + interval '1 d')"
    )


def is_due(scene: Scene) -> bool:
    return bool(scene.ledger.sql("SELECT next_try_at <= now() AS due FROM deferral_queues")[0].due)
