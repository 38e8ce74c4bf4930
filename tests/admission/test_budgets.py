"""Operations that spend money: reserved in every budget before the call, and settled by its record."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from app import clock
from app.admission import admitting, outcomes, pauses, releasing, requests
from app.admission.answers import Answer
from app.costs import verdict
from app.errors import Invalid
from app.infra import ids, redis
from app.infra.db import unit_of_work
from app.limits import budgets, keys, spending
from app.limits.budgets import Changes, Override
from app.limits.spending import Spent, Who
from tests.fixtures.ledger import Ledger
from tests.health.catalogs import use

CATALOG = """
[services.redis]
kind = "redis"

[operations.think]
class = "interactive"
budgets = true

[operations.dream]
class = "background"
budgets = true

[budgets.tenant_day]
scope = "tenant"
period = "day"
amount = 5

[budgets.skill_day]
scope = "skill"
period = "day"
amount = 2

[budgets.turn]
scope = "agent"
period = "interaction"
amount = 0.5
"""
TASK = {"task": "tests.web.echo", "kwargs": {"text": "x"}}


@pytest.fixture(autouse=True)
def ledger_of(ledger: Ledger, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    use(monkeypatch, home, CATALOG)
    importlib.import_module("tasks.celery").compose()
    importlib.import_module("tests.web.tasks_of_tests")
    redis.client().set(keys.EPOCH, "whole:1")
    budgets.configure(Changes)
    yield ledger
    budgets.configure(Changes)


def admit(operation: str, estimate: float, **more: Any) -> Answer:
    body = {"operation": operation, "tenant": "acme", "estimate": estimate, **more}
    return admitting.admit([requests.parse(body, caller="somebody")])[0]


def verdict_of(estimate: float) -> verdict.Verdict:
    return verdict.of(Who("acme"), 3, round(estimate * 1_000_000))


def spent(subject: str, budget: str) -> int:
    raw = redis.client().get(keys.STATE + subject)
    return int(json.loads(raw)["l"].get(f"budget_{budget}", {}).get("u", 0)) if raw else 0


def record(identifier: str, amount: int, **who: str) -> None:
    spending.record([Spent(identifier, amount, clock.now().timestamp(), Who("acme", **who))], b"")


def test_an_estimate_is_reserved_everywhere_and_the_call_settles_it() -> None:
    identifier = str(ids.uuid7())
    answer = admit("think", 0.4, id=identifier, skill="content", agent="writer", interaction="7")
    assert (answer.outcome, answer.reason) == ("allow", "room")
    assert [(one["name"], one["subject"], one["used"]) for one in answer.document()["limits"]] == [
        ("budget_tenant_day", "tenant:acme", 400_000),
        ("budget_skill_day", "skill:content", 400_000),
        ("budget_turn", "interaction:writer/7", 400_000),
    ]
    record(identifier, 150_000, skill="content", agent="writer", interaction="7")
    assert spent("tenant:acme", "tenant_day") == spent("skill:content", "skill_day") == 150_000


def test_the_first_exhausted_budget_decides_and_is_named() -> None:
    record(str(ids.uuid7()), 1_999_000, skill="content")
    answer = admit("dream", 0.1, skill="content", on_wait="deny")
    assert (answer.outcome, answer.reason) == ("deny", "budget")
    assert answer.detail == (
        "the budget skill_day of skill:content: $2.00 of $2.00 for background operations are spent or reserved"
    )
    assert admit("dream", 0.1, skill="intel").outcome == "allow"
    assert admit("think", 0.1, skill="content").outcome == "allow", "interactive work goes on"
    assert spent("tenant:acme", "tenant_day") == 1_999_000 + 200_000, "a denial reserves nothing anywhere"


def test_many_at_once_reserve_no_more_than_there_is() -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: admit("dream", 0.3, skill="content", on_wait="deny"), range(40)))
    assert sum(answer.outcome == "allow" for answer in answers) == 6
    assert spent("skill:content", "skill_day") == 1_800_000


def test_background_work_waits_and_goes_on_when_the_budget_is_raised(ledger_of: Ledger) -> None:
    record(str(ids.uuid7()), 4_999_000)
    waiting = admit("dream", 0.5, task=TASK, user="anna")
    assert (waiting.outcome, waiting.reason) == ("wait", "budget")
    ledger_of.sql("UPDATE deferral_queues SET next_try_at = now()")
    releasing.release_due()
    assert [row.state for row in ledger_of.sql("SELECT state FROM deferred_operations")] == ["waiting"]
    budgets.configure(lambda: Changes("raised", overrides=[Override("tenant_day", "tenant:acme", 10_000_000)]))
    ledger_of.sql("UPDATE deferral_queues SET next_try_at = now()")
    releasing.release_due()
    [row] = ledger_of.sql("SELECT state, who, account FROM deferred_operations")
    assert (row.state, row.who, row.account) == ("released", {"tenant": "acme", "user": "anna"}, "-/acme")
    assert spent("tenant:acme", "tenant_day") == 5_499_000


def test_a_report_of_the_cost_settles_every_budget() -> None:
    identifier = str(ids.uuid7())
    admit("think", 0.4, id=identifier, skill="content")
    body = {"operation": "think", "tenant": "acme", "id": identifier, "cost": 0.1}
    [done] = outcomes.report([outcomes.parse(body)])
    assert done.settled
    assert spent("tenant:acme", "tenant_day") == spent("skill:content", "skill_day") == 100_000
    record(identifier, 110_000, skill="content")
    assert spent("tenant:acme", "tenant_day") == spent("skill:content", "skill_day") == 110_000


def test_what_no_budget_ever_has_is_denied_at_once() -> None:
    answer = admit("dream", 6)
    assert (answer.outcome, answer.reason) == ("deny", "too_large")


def test_an_account_and_a_missing_estimate_are_named() -> None:
    with pytest.raises(Invalid) as error:
        requests.parse({"operation": "think", "tenant": "acme", "account": "x"}, caller="somebody")
    assert [(one.field, one.message) for one in error.value.problems] == [
        ("account", "must be left out: think waits in its tenant's queue"),
        ("estimate", "is required: think spends money"),
    ]


def test_what_is_expected_to_cost_nothing_waits_too_where_nothing_is_left() -> None:
    record(str(ids.uuid7()), 5_000_000)
    assert admit("dream", 0, on_wait="deny").reason == "budget"


def test_one_operation_goes_in_each_throttled_hour_whatever_it_costs() -> None:
    budgets.configure(lambda: Changes("slow", throttled=frozenset([("tenant_day", "tenant:acme")])))
    assert verdict_of(0.05).outcome == "throttle"
    assert admit("dream", 0.05).outcome == "allow", "an hour's part is $0.0208"
    next_one = admit("dream", 0.05)
    assert (next_one.outcome, next_one.reason) == ("wait", "budget")
    assert next_one.detail.startswith("the budget tenant_day of tenant:acme in this hour: $0.05 of $0.02")
    assert verdict_of(0.05).outcome == "wait"


def test_work_waits_behind_those_of_the_same_budget_only(ledger_of: Ledger) -> None:
    record(str(ids.uuid7()), 2_000_000, skill="content")
    record(str(ids.uuid7()), 2_000_000, skill="intel")
    assert admit("dream", 0.1, task=TASK, skill="content").reason == "budget"
    assert admit("dream", 0.1, task=TASK, skill="intel").reason == "budget"
    assert admit("dream", 0.1, skill="engage").outcome == "allow"
    assert admit("dream", 0.1, skill="content").reason == "budget"
    budgets.configure(lambda: Changes("raised", overrides=[Override("skill_day", "skill:intel", 4_000_000)]))
    assert admit("dream", 0.1, skill="intel").reason == "queue", "others of the same budget came before"
    ledger_of.sql("UPDATE deferral_queues SET next_try_at = now()")
    releasing.release_due()
    rows = ledger_of.sql("SELECT who ->> 'skill' AS skill, state FROM deferred_operations ORDER BY seq")
    assert [(row.skill, row.state) for row in rows] == [
        ("content", "waiting"),
        ("intel", "released"),
        ("content", "waiting"),
        ("intel", "released"),
    ]
    [queue] = ledger_of.sql("SELECT next_try_at > now() + interval '1 second' AS later FROM deferral_queues")
    assert queue.later, "and those that stay are not looked at again at once"
    assert admit("dream", 0.1, skill="intel").outcome == "allow"


def test_a_pause_of_one_skill_does_not_hold_up_the_others(ledger_of: Ledger) -> None:
    with unit_of_work() as uow:
        pauses.set_pause(uow, "skill:content", by="budget:skill_day", reason="used up", now=clock.now())
    assert admit("dream", 0.1, task=TASK, skill="content").reason == "pause"
    assert admit("dream", 0.1, skill="intel").outcome == "allow"


def test_an_id_is_the_one_of_its_call_however_its_letters_are_written() -> None:
    identifier = str(ids.uuid7())
    assert admit("think", 0.4, id=identifier.upper()).request.id == identifier
    record(identifier, 150_000)
    assert spent("tenant:acme", "tenant_day") == 150_000
    body = {"operation": "think", "tenant": "acme", "id": identifier.upper(), "cost": 0.1}
    assert outcomes.report([outcomes.parse(body)])[0].settled is False, "its call came before"
