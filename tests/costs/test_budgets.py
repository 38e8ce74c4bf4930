"""What people change about budgets: who, what, why; what may not be; and that it counts at once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from app import clock
from app.costs import budget_reading, budget_store, budgets, in_force
from app.errors import Conflict, Invalid, NotFound
from app.infra.db import read_only, unit_of_work
from app.limits import budgets as counted
from app.limits.budgets import Who
from tests.costs.budgeted import House, house
from tests.costs.spent import call, spent

__all__ = ["house"]

SKILL_DAY = {"scope": "skill", "period": "day", "amount": 2, "for": "chat"}


def amount(subject: str, name: str = "tenant_month") -> float:
    """What counts now for this process."""
    one = counted.effective().counted(name, subject)
    assert one is not None
    return one.limit.capacity


def define(name: str, **definition: Any) -> None:
    with unit_of_work() as uow:
        budgets.define(uow, name, definition, by="person:ann", reason="a pilot")


def remove(name: str, subject: str = "") -> None:
    with unit_of_work() as uow:
        budgets.remove(uow, name, by="person:ann", reason="over", subject=subject)


def history() -> list[tuple[str, str, str]]:
    with read_only() as session:
        return [(one["name"], one["subject"], one["what"]) for one in budget_store.history(session, limit=100)]


def fields(refused: pytest.ExceptionInfo[Invalid]) -> list[str]:
    return [problem.field for problem in refused.value.problems]


def test_an_amount_counts_at_once_for_all_or_for_one_until_it_is_removed(house: House) -> None:
    assert amount("tenant:acme") == 10
    house.set("tenant_month", 12)
    house.set("tenant_month", 20, what="raise", subject="tenant:acme", by="person:bob")
    assert (amount("tenant:acme"), amount("tenant:other")) == (20, 12)
    remove("tenant_month", "tenant:acme")
    assert amount("tenant:acme") == 12
    remove("tenant_month")
    assert amount("tenant:acme") == 10
    assert history() == [
        ("tenant_month", "", "removed"),
        ("tenant_month", "tenant:acme", "removed"),
        ("tenant_month", "tenant:acme", "raised"),
        ("tenant_month", "", "set"),
    ]
    with read_only() as session:
        raised = budget_store.history(session, name="tenant_month", limit=100)[2]
    assert (raised["by"], raised["reason"], raised["before"]) == ("person:bob", "agreed with finance", None)
    assert raised["after"]["amount"] == 20.0
    with pytest.raises(NotFound):
        remove("tenant_month")


def test_an_amount_may_last_until_a_time_or_the_end_of_the_period(house: House) -> None:
    house.set("tenant_month", 20, subject="tenant:delhi", until="period")
    house.set("tenant_month", 30, subject="tenant:acme", until=clock.now() + timedelta(hours=1))
    ends_at = house.sql("SELECT until FROM budgets WHERE subject = 'tenant:delhi'")[0].until
    assert (ends_at.hour, ends_at.minute) == (18, 30)  # midnight in Delhi
    house.sql("UPDATE budgets SET until = now() WHERE subject = 'tenant:acme'")
    with read_only() as session:
        assert in_force.of(session).changes.overrides[0].subject == "tenant:delhi"
    house.keep()
    house.keep()
    assert history()[0] == ("tenant_month", "tenant:acme", "ended")
    assert len(history()) == 3
    assert amount("tenant:acme") == 10


def test_a_budget_that_the_file_has_not_is_made_changed_and_gone(house: House) -> None:
    define("chat_day", **SKILL_DAY)
    assert amount("skill:chat", "chat_day") == 2
    house.set("chat_day", 3)
    assert amount("skill:chat", "chat_day") == 3
    with pytest.raises(Invalid) as refused:
        house.set("chat_day", 3, subject="skill:content")
    assert fields(refused) == ["subject"]
    remove("chat_day")
    assert counted.effective().counted("chat_day", "skill:chat") is None
    with pytest.raises(Conflict):
        define("tenant_month", **SKILL_DAY)


def test_every_wrong_field_is_named(house: House) -> None:
    with pytest.raises(Invalid) as refused:
        define("chat_day", scope="galaxy", period="day", amount=-1, colour="red")
    assert sorted(fields(refused)) == ["amount", "colour", "scope"]
    for more, field in (
        ({"amount": 0}, "amount"),
        ({"amount": float("nan")}, "amount"),
        ({"amount": 9, "what": "raise"}, "amount"),
        ({"amount": 11, "what": "lower"}, "amount"),
        ({"amount": 11, "subject": "acme"}, "subject"),
        ({"amount": 11, "subject": "user:ann"}, "subject"),
        ({"amount": 11, "subject": "tenant:a\nb"}, "subject"),
        ({"amount": 11, "until": clock.now()}, "until"),
        ({"amount": 11, "reason": " "}, "reason"),
        ({"amount": 11, "by": ""}, "by"),
    ):
        with pytest.raises(Invalid) as refused:
            house.set("tenant_month", **more)
        assert fields(refused) == [field], more
    for written in ("tomorrow", "2026-01-01T00:00:00"):
        with pytest.raises(Invalid) as refused:
            budgets.moment_of(written)
        assert fields(refused) == ["until"]
    with pytest.raises(NotFound, match="tenant_month"):
        house.set("tenant_mont", 5)
    assert history() == []


def test_a_budget_is_shown_with_those_who_have_used_most_of_it(house: House) -> None:
    now = clock.now()
    spent([call(now, tenant=name, cost_micro_usd=cents * 10_000) for name, cents in (("acme", 1), ("big", 900))])
    house.spend(9.1, Who(tenant="big"))
    house.set("tenant_month", 20, subject="tenant:acme")
    with read_only() as session:
        listed = budget_reading.listed(session, now, most=1)
        shown = budget_reading.show(session, "tenant_month", now, subject="tenant:acme", most=1)
    tenants, whole = listed["budgets"]
    assert (tenants["name"], whole["name"], tenants["set_by"]) == ("tenant_month", "house_month", "catalogue")
    [big] = tenants["subjects"]
    assert (big["subject"], big["spent"], big["percent"], big["live"]) == ("tenant:big", 9.1, 91.0, True)
    assert big["reached"] == [75.0, 80.0, 90.0]
    assert [one["amount"] for one in shown["subjects"]] == [20.0]
    assert [(one["subject"], one["amount"]) for one in shown["changes"]] == [("tenant:acme", 20.0)]
    assert shown["thresholds"][4] == {
        "percent": 100.0,
        "severity": "critical",
        "actions": ("notify", "pause"),
        "team": None,
    }
