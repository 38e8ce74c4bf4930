"""One decision for all that may stop an operation; the same answer however often, and after whatever, it is asked."""

from __future__ import annotations

import importlib
import math
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest

from app import clock
from app.admission import admitting, deferring, expiring, requests
from app.admission.answers import Answer
from app.errors import Transient
from app.infra import db, redis
from app.limits import keys, wire
from tests.admission.limited import CATALOG
from tests.fixtures.ledger import Ledger
from tests.fixtures.servers import Servers
from tests.fixtures.waiting import until
from tests.health.catalogs import use

ACCOUNT = "17841400000000001"


@pytest.fixture(autouse=True)
def ledger_of(ledger: Ledger, home: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    use(monkeypatch, home, CATALOG)
    importlib.import_module("tasks.celery").compose()
    importlib.import_module("tests.web.tasks_of_tests")
    redis.client().set(keys.EPOCH, "whole:1")
    return ledger


def asked(operation: str = "reply", **more: Any) -> requests.Request:
    return requests.parse({"operation": operation, "account": ACCOUNT, **more}, caller="somebody")


def admit(operation: str = "reply", **more: Any) -> Answer:
    return admitting.admit([asked(operation, **more)])[0]


def said(answer: Answer) -> tuple[str, str]:
    return str(answer.outcome), str(answer.reason)


def fill(operation: str = "reply", times: int = 10) -> None:
    for _ in range(times):
        assert said(admit(operation, on_wait="deny")) == ("allow", "room")


def rows(ledger: Ledger) -> list[Any]:
    return list(ledger.sql("SELECT * FROM deferred_operations ORDER BY seq"))


def jobs(ledger: Ledger) -> int:
    return int(ledger.sql("SELECT count(*) AS found FROM jobs WHERE task = 'tests.web.echo'")[0].found)


TASK = {"task": "tests.web.echo", "kwargs": {"text": "x"}}


def test_what_has_room_goes_on_and_every_limit_is_told() -> None:
    answer = admit(id="one").document()
    assert (answer["decision"], answer["reason"], answer["id"]) == ("allow", "room", "one")
    assert [(limit["name"], limit["used"], limit["capacity"]) for limit in answer["limits"]] == [
        ("api", 1, 10),
        ("api_rolling", 1, 12),
    ]
    assert answer["limits"][0]["resets_at"].endswith("Z")


def test_all_of_it_is_consumed_or_nothing(ledger_of: Ledger) -> None:
    fill("post", 2)
    refused = admit("post", on_wait="deny")
    assert said(refused) == ("deny", "limit")
    assert [(reading.limit.name, reading.used) for reading in refused.readings] == [
        ("api", 4),
        ("api_rolling", 4),
        ("posts", 2),
    ]
    assert rows(ledger_of) == []


def test_the_same_id_consumes_once() -> None:
    assert said(admit(id="mine")) == ("allow", "room")
    again = admit(id="mine")
    assert (*said(again), again.replayed) == ("allow", "known", True)
    assert admit().readings[0].used == 2


def test_an_id_of_another_operation_is_no_repeat() -> None:
    admit(id="mine")
    assert said(admit("statistics", id="mine")) == ("deny", "known")


def test_the_same_id_of_another_account_is_another_one() -> None:
    admit(id="mine")
    other = requests.parse({"operation": "reply", "account": "another", "id": "mine"}, caller="somebody")
    assert said(admitting.admit([other])[0]) == ("allow", "room")


def test_what_must_wait_is_a_row_with_its_place(ledger_of: Ledger) -> None:
    fill()
    first, second = admit(id="a"), admit(id="b")
    assert [said(answer) for answer in (first, second)] == [("wait", "limit")] * 2
    assert (first.position, second.position) == (1, 2)
    assert [(row.id, row.request_id) for row in rows(ledger_of)] == [
        (first.deferred_id, "a"),
        (second.deferred_id, "b"),
    ]
    assert first.fall_back == "answer by hand"


def test_asked_again_what_waits_waits_once(ledger_of: Ledger) -> None:
    fill()
    first, again = admit(id="a"), admit(id="a")
    assert (again.deferred_id, again.replayed, again.position) == (first.deferred_id, True, 1)
    assert len(rows(ledger_of)) == 1


def test_background_work_stops_before_the_last_calls() -> None:
    fill("statistics", 9)
    assert said(admit("statistics", on_wait="deny")) == ("deny", "limit")
    assert said(admit("reply")) == ("allow", "room")


def test_what_can_never_fit_is_denied_for_good(ledger_of: Ledger) -> None:
    answer = admit("draft", tenant="acme", estimate=5.01)
    assert said(answer) == ("deny", "too_large")
    assert rows(ledger_of) == []


def test_money_is_reserved_for_a_tenant() -> None:
    assert said(admit("draft", tenant="acme", estimate=3)) == ("allow", "room")
    assert said(admit("draft", tenant="acme", estimate=3, on_wait="deny")) == ("deny", "limit")
    assert said(admit("draft", tenant="other", estimate=3)) == ("allow", "room")


def test_a_task_is_submitted_at_once_and_once(ledger_of: Ledger) -> None:
    first, again = admit(id="a", task=TASK), admit(id="a", task=TASK)
    assert first.job_id is not None
    assert first.job_id == again.job_id
    assert jobs(ledger_of) == 1


def test_a_retry_by_another_way_submits_no_second_job(ledger_of: Ledger) -> None:
    first = admit(id="a", task=TASK)
    body = {"operation": "reply", "account": ACCOUNT, "id": "a", "task": TASK}
    again = admitting.admit([requests.parse(body, caller="celery")])[0]
    assert (again.job_id, jobs(ledger_of)) == (first.job_id, 1)


def test_a_crash_between_decision_and_job_is_repaired_by_asking_again(ledger_of: Ledger) -> None:
    request = asked(id="a", task=TASK)
    admitting.deciding.decide(admitting.ask(request))  # and then the process died
    answer = admit(id="a", task=TASK)
    assert (said(answer), jobs(ledger_of)) == (("allow", "known"), 1)
    assert admit().readings[0].used == 2


def test_a_crash_before_the_row_of_what_waits_is_repaired_by_asking_again(ledger_of: Ledger) -> None:
    fill()
    request = asked(id="a")
    admitting.lanes.note_waiting(admitting.ask(request).key, "reply", 60_000)  # and then the process died
    assert said(admit(id="a"))[0] == "wait"
    assert len(rows(ledger_of)) == 1


def cancel(answer: Answer) -> None:
    assert answer.deferred_id is not None
    with db.unit_of_work() as uow:
        deferring.cancel(uow, answer.deferred_id, "person:ann")


@pytest.mark.parametrize("on_wait", ["defer", "deny"])
@pytest.mark.parametrize("room", [True, False])
def test_what_was_cancelled_has_ended_however_it_is_asked_again(on_wait: str, room: bool) -> None:
    fill()
    cancel(admit(id="a"))
    if room:
        redis.client().delete(keys.STATE + keys.account("instagram", ACCOUNT))
    again = admit(id="a", on_wait=on_wait)
    assert (*said(again), again.position, again.replayed) == ("deny", "ended", None, True)


def test_what_expired_has_ended_whoever_asks_again_a_moment_later() -> None:
    fill()
    admit(id="a", expires_at=(clock.now() + timedelta(seconds=1.2)).isoformat())
    until(lambda: expiring.expire_due(until=math.inf), what="the end of what waits")
    again = admit(id="a", on_wait="deny")
    assert (*said(again), again.position) == ("deny", "ended", None)


@pytest.mark.parametrize(("ended", "expected"), [(False, ("wait", "known")), (True, ("deny", "ended"))])
@pytest.mark.parametrize("on_wait", ["defer", "deny"])
def test_after_a_loss_of_redis_an_id_is_found_by_its_row(on_wait: str, ended: bool, expected: tuple[str, str]) -> None:
    fill()
    waits = admit(id="a")
    if ended:
        cancel(waits)
    redis.client().delete(keys.RECORD + admitting.ask(asked(id="a")).key)
    again = admit(id="a", on_wait=on_wait)
    assert (said(again), again.deferred_id) == (expected, waits.deferred_id)
    assert again.position == (None if ended else 1)


def test_while_the_counters_are_away_nobody_is_denied_what_waits(
    ledger_of: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill()
    waits = admit(id="a")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    from app.config import settings

    settings.cache_clear()
    redis.after_fork()
    again = admit(id="a", on_wait="deny")
    assert (said(again), again.deferred_id) == (("wait", "known"), waits.deferred_id)


def test_one_at_a_time_always_goes_through_the_queue(ledger_of: Ledger) -> None:
    answer = admit("serial", task=TASK)
    assert said(answer) == ("wait", "order")
    assert len(rows(ledger_of)) == 1


def test_many_are_decided_in_order(ledger_of: Ledger) -> None:
    found = admitting.admit([asked(id=f"{place}") for place in range(13)])
    assert [str(answer.outcome) for answer in found] == ["allow"] * 10 + ["wait"] * 3
    assert [answer.position for answer in found[10:]] == [1, 2, 3]


@contextmanager
def frozen(server: psutil.Process) -> Iterator[None]:
    server.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.send_signal(signal.SIGCONT)


@pytest.fixture
def no_redis(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing listens where Redis should be."""
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    from app.config import settings

    settings.cache_clear()
    redis.after_fork()
    wire.close()
    yield
    redis.after_fork()
    wire.close()


@pytest.mark.usefixtures("no_redis")
def test_without_counters_each_operation_says_what_happens(ledger_of: Ledger) -> None:
    assert said(admit("careless")) == ("allow", "unreachable")
    assert said(admit("reply", on_wait="deny")) == ("deny", "unreachable")
    assert said(admit("reply", id="later")) == ("wait", "unreachable")
    assert [row.request_id for row in rows(ledger_of)] == ["later"]


def test_without_postgres_what_has_room_goes_on_and_what_must_wait_is_not_lost_silently(
    servers: Servers, database: str
) -> None:
    fill(times=9)
    db.dispose()
    name = database.rsplit("/", 1)[1]
    servers.sql(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    servers.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    try:
        assert said(admit()) == ("allow", "room")
        with pytest.raises((Transient, psycopg2.Error)):
            admit(id="waits")
    finally:
        servers.sql(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    assert said(admit(id="waits"))[0] == "wait"


def test_what_was_consumed_under_an_id_that_nobody_knows_is_given_back(servers: Servers, database: str) -> None:
    db.dispose()
    name = database.rsplit("/", 1)[1]
    servers.sql(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    servers.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    try:
        with pytest.raises(Transient):
            admit(task=TASK)
    finally:
        servers.sql(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    assert admit().readings[0].used == 1


def test_what_was_consumed_is_given_back_also_where_another_of_the_batch_cannot_be_answered(
    servers: Servers, database: str
) -> None:
    fill(times=2)
    admit(id="known")
    db.dispose()
    name = database.rsplit("/", 1)[1]
    servers.sql(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    servers.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    try:
        with pytest.raises(Transient):
            admitting.admit([asked(), asked(id="known"), asked(id="new")])
    finally:
        servers.sql(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    assert admit().readings[0].used == 5, "what its caller knows by its id stays consumed"


def test_an_id_that_comes_twice_with_two_tasks_spoils_no_batch(ledger_of: Ledger) -> None:
    other = {"task": "tests.web.echo", "kwargs": {"text": "y"}}
    batch = [asked(id="a", task=TASK), asked(id="a", task=other), asked(id="a", task=TASK), asked(id="b", task=TASK)]
    first, second, third, fourth = admitting.admit(batch)
    assert [said(answer) for answer in (first, second, third, fourth)] == [
        ("allow", "room"),
        ("deny", "known"),
        ("allow", "known"),
        ("allow", "room"),
    ]
    assert (second.job_id, third.job_id) == (None, first.job_id)
    assert jobs(ledger_of) == 2


def test_no_two_accounts_share_an_id_by_how_they_are_written() -> None:
    def one(account: str, name: str) -> Answer:
        request = requests.parse({"operation": "reply", "account": account, "id": name}, caller="somebody")
        return admitting.admit([request])[0]

    assert [said(one("a b", "c")), said(one("a", "b c"))] == [("allow", "room")] * 2
