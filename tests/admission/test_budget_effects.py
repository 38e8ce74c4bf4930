"""A used-up budget lets work wait, or take a cheaper model; it goes on when the budget is raised, or renewed."""

from __future__ import annotations

from app.admission import admitting, requests
from app.infra import redis
from app.infra.db import unit_of_work
from app.limits import keys
from app.limits.budgets import Who
from app.signals import record
from tests.admission.pausing import mirrored, open_pauses
from tests.costs.budgeted import BUDGETS, House, house

__all__ = ["house"]

CHAT = Who(skill="chat")
SKILL = """
[budgets.chat_month]
scope = "skill"
for = "chat"
period = "month"
amount = 10
cheaper = "take openai/gpt-5-mini"
thresholds = [
    {at = 0.5, actions = ["cheaper"]}, {at = 0.8, actions = ["pause"]}, {at = 1.0, actions = ["stop"]}
]
"""


def held() -> list[tuple[str, str, int, str]]:
    return [(one.scope, one.holder, one.least, one.effect) for one in open_pauses()]


def test_background_work_waits_until_the_period_ends_and_goes_on_when_the_budget_is_raised(house: House) -> None:
    house.spend(9)
    house.work()
    assert held() == []
    house.spend(1)
    house.work()
    assert held() == [("tenant:acme", "budget:tenant_month", 3, "wait")]
    [pause] = open_pauses()
    assert pause.reason == "budget tenant_month is used up: $10 of $10"
    assert pause.until == house.sql("SELECT max(end_at) AS at FROM budget_crossings")[0].at
    assert list(mirrored()) == ["tenant:acme"]
    house.set("tenant_month", 11, subject="tenant:acme")
    house.work()
    assert (held(), mirrored()) == ([], {})


def test_a_ladder_says_who_waits_and_who_is_told_what_to_take(house: House) -> None:
    house.catalogue(BUDGETS + SKILL)
    hint, scope = ("skill:chat", "cheaper:chat_month", 0, "hint"), "skill:chat"
    house.spend(5, CHAT)
    house.work()
    assert held() == [hint]
    [line] = mirrored()[scope]
    assert line.split(" ", 3)[3] == "budget chat_month: take openai/gpt-5-mini"
    house.spend(3, CHAT)
    house.work()
    assert held() == [hint, (scope, "budget:chat_month", 3, "wait")]
    house.spend(2, CHAT)
    house.work()
    assert held() == [hint, (scope, "budget:chat_month", 0, "wait")]
    house.set("chat_month", 15)
    house.work()
    assert held() == [hint]
    house.sql("UPDATE budget_crossings SET end_at = now()")
    redis.client().delete(keys.STATE + scope)
    house.keep()
    house.work()
    assert held() == []


def test_an_older_signal_changes_nothing_and_odd_scopes_are_left_alone(house: House) -> None:
    facts = {"effects": {"pause": None}, "spent": 1, "amount": 1}
    with unit_of_work() as uow:
        for subject in ("interaction:a/1", "tenant:" + "x" * 300):
            labels = {"budget": "b", "subject": subject}
            record(uow, "costs.budget_crossed", f"budget:b {subject}", labels=labels, facts=facts)
        for kind, effects in (("crossed", {"pause": None}), ("renewed", {})):
            labels = {"budget": "b", "subject": "all"}
            record(uow, f"costs.budget_{kind}", "budget:b all", labels=labels, facts=facts | {"effects": effects})
    house.sql("UPDATE jobs SET created_at = now() - (created_at - '2020-01-01')")  # the last one comes first
    house.work()
    assert held() == []


def test_operations_wait_or_are_told_what_to_take(house: House) -> None:
    operation = '[operations.think]\nclass = "background"\nbudgets = true\n'
    house.catalogue(BUDGETS + SKILL + operation)
    asked = {"operation": "think", "tenant": "acme", "skill": "chat", "estimate": 0.1, "on_wait": "deny"}
    house.spend(5, CHAT)
    house.work()
    [told] = admitting.admit([requests.parse(asked, caller="the-test")])
    assert (told.outcome, told.fall_back) == ("allow", "budget chat_month: take openai/gpt-5-mini")
    house.spend(3, CHAT)
    house.work()
    [told] = admitting.admit([requests.parse(asked, caller="the-test")])
    assert told.outcome == "deny"
    assert told.reason in ("pause", "limit", "budget")
