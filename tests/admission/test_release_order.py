"""Several processes at once: the order in which they commit is the order in which their operations go on."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event

from app.admission import deferral_store
from app.admission.release_turn import Rooms, serve
from app.infra import db, queue, redis
from app.infra.db import unit_of_work
from app.jobs import Submission, relay, submit_many
from app.limits import keys, wire
from tests.admission.backlog import ACCOUNT, Backlog, backlog
from tests.benchmarks.release import names_in_broker
from tests.fixtures.ledger import Ledger
from tests.fixtures.waiting import until

__all__ = ["backlog"]

PROCESSES, EACH = 5, 60


def child(work: Callable[..., None], *arguments: object) -> BaseProcess:
    """A process of its own, with connections of its own."""
    process = multiprocessing.get_context("fork").Process(target=_fresh, args=(work, *arguments))
    process.start()
    return process


def _fresh(work: Callable[..., None], *arguments: object) -> None:
    db.after_fork(pool_size=2)
    queue.after_fork()
    redis.after_fork()
    wire.close()
    work(*arguments)


def join(backlog: Backlog, number: int, go: Event) -> None:
    go.wait(20)
    for place in range(EACH):
        backlog.defer(f"{number}-{place}")


def release(backlog: Backlog, go: Event) -> None:
    go.wait(20)
    for _ in range(5):
        backlog.release()


def test_who_joins_from_many_processes_goes_on_in_the_order_of_the_commits(backlog: Backlog) -> None:
    backlog.ask("first")
    go = multiprocessing.get_context("fork").Event()
    joining = [child(join, backlog, number, go) for number in range(PROCESSES)]
    go.set()
    for process in joining:
        process.join(60)
        assert process.exitcode == 0
    queued = backlog.waiting()
    assert len(queued) == PROCESSES * EACH
    of_each: dict[str, list[int]] = defaultdict(list)
    for name in queued:
        number, place = name.split("-")
        of_each[number].append(int(place))
    assert all(places == list(range(EACH)) for places in of_each.values()), "as each of them committed"
    state = backlog.queue()
    assert state is not None
    assert state.waiting == [0, 0, PROCESSES * EACH, 0]
    backlog.limits(calls=10_000)
    backlog.release()
    assert backlog.rung() == queued


def test_who_releases_from_many_processes_releases_each_once_and_in_order(backlog: Backlog) -> None:
    accounts = ("instagram/a", "instagram/b", ACCOUNT)
    names = {account: [f"{account} {place}" for place in range(150)] for account in accounts}
    for account, ids in names.items():
        backlog.defer_all([backlog.wanted(name, account=account) for name in ids])
    backlog.limits(calls=10_000)
    backlog.due()
    go = multiprocessing.get_context("fork").Event()
    releasing = [child(release, backlog, go) for _ in range(3)]
    go.set()
    for process in releasing:
        process.join(60)
        assert process.exitcode == 0
    rung = backlog.rung()
    assert len(rung) == len(set(rung)) == 450
    for account, ids in names.items():
        assert [name for name in rung if name.startswith(f"{account} ")] == ids


def die_after_deciding(backlog: Backlog) -> None:
    with unit_of_work() as uow:
        held = deferral_store.lock_due(uow, ACCOUNT, patience=None)
        served = serve(uow, ACCOUNT, held, Rooms({"default": 100}))
        assert served.counts["released"] == 2
        os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_process_had_decided_goes_on_once(backlog: Backlog) -> None:
    backlog.limits(calls=2)
    backlog.defer_all([backlog.wanted(name) for name in ("a", "b", "c")])
    backlog.due()
    dead = child(die_after_deciding, backlog)
    dead.join(30)
    assert dead.exitcode == -signal.SIGKILL
    assert backlog.waiting() == ["a", "b", "c"]
    until(lambda: backlog.release().released == 2, what="the release of what was decided")
    assert backlog.rung() == ["a", "b"]
    backlog.limits(calls=3)
    assert backlog.release().released == 1
    assert backlog.rung() == ["a", "b", "c"]


def test_who_joins_while_others_are_released_keeps_the_order(backlog: Backlog) -> None:
    backlog.limits(calls=10_000)
    backlog.defer_all([backlog.wanted("0 start")])
    redis.client().hset(keys.HOLDS, "operation:call", "0 0 wait pause: so that all of them wait")
    go = multiprocessing.get_context("fork").Event()
    at_work = [child(join, backlog, number, go) for number in range(3)]
    at_work += [child(release, backlog, go) for _ in range(2)]
    go.set()
    until(lambda: len(backlog.waiting()) > EACH, what="the first of them")
    redis.client().delete(keys.HOLDS)
    for process in at_work:
        process.join(60)
        assert process.exitcode == 0
    backlog.release()
    went = list(backlog.states())
    assert set(backlog.states().values()) == {"released"}
    assert backlog.rung() == [name for name in went if name in set(backlog.rung())]
    assert len(backlog.rung()) == len(set(went)) == len(went)


def test_the_relay_rings_in_the_order_of_time(ledger: Ledger) -> None:
    count = 300
    with unit_of_work() as uow:
        start = uow.execute("SELECT now() - interval '1 minute'").scalar_one()
        places = [(place * 37) % count for place in range(count)]
        submit_many(
            uow,
            [
                Submission("tests.record", {"note": f"{place}"}, not_before=start + timedelta(microseconds=place))
                for place in places
            ],
        )
    queue.purge("default")
    ledger.sql("UPDATE jobs SET state = 'scheduled'")
    assert relay.relay().rung == count
    found = {row.id: row.note for row in ledger.sql("SELECT id, kwargs ->> 'note' AS note FROM jobs")}
    assert [found[job] for job in names_in_broker("default")] == [f"{place}" for place in range(count)]
