"""May money be spent? The first budget that has no room says no, as soon as the call is recorded that crosses it."""

from __future__ import annotations

from app import clock
from app.costs import in_force, verdict
from app.infra.db import read_only
from app.limits import budgets
from app.limits.budgets import Who
from tests.costs.budgeted import BUDGETS, CENT, CRITICAL, NORMAL, House, house

__all__ = ["house"]

OTHER = Who(tenant="other")
TURN = """
[budgets.turn]
scope = "agent"
period = "interaction"
amount = 0.5

[budgets.agent_day]
scope = "agent"
period = "month"
amount = 1
cheaper = "openai/gpt-5-mini"
thresholds = [{at = 0.5, actions = "cheaper"}, {at = 1.0, actions = ["notify", "stop"]}]
"""


def test_background_work_waits_for_what_is_used_up_and_the_rest_goes_on(house: House) -> None:
    assert house.verdict().document()["decision"] == "allow"
    house.spend(9.99)
    assert house.verdict(estimate=CENT).outcome is verdict.Outcome.ALLOW
    refused = house.verdict(estimate=2 * CENT)
    assert refused.outcome is verdict.Outcome.WAIT
    began = clock.monotonic()
    house.spend(0.02)
    full = house.verdict().document()
    assert clock.monotonic() - began < 2
    assert (full["decision"], full["budget"], full["subject"]) == ("wait", "tenant_month", "tenant:acme")
    assert full["detail"] == "tenant_month of tenant:acme is used up: $10.01 of $10"
    assert full["until"] == full["budgets"][1]["ends_at"]
    assert [(one["budget"], one["spent"], one["percent"]) for one in full["budgets"]] == [
        ("house_month", 10.01, 1.0),
        ("tenant_month", 10.01, 100.1),
    ]
    assert house.verdict(rank=NORMAL).outcome is verdict.Outcome.ALLOW
    assert house.verdict(OTHER).outcome is verdict.Outcome.ALLOW
    house.set("tenant_month", 20)
    assert house.verdict().outcome is verdict.Outcome.ALLOW


def test_budgets_stack_and_the_first_without_room_decides(house: House) -> None:
    house.catalogue(BUDGETS + TURN)
    first = Who(tenant="acme", agent="writer", interaction="t1")
    second = first._replace(interaction="t2")
    house.spend(0.6, first)
    said = house.verdict(first, CRITICAL)
    assert (said.outcome, said.decided_by and said.decided_by.budget.name) == (verdict.Outcome.WAIT, "turn")
    assert dict(said.cheaper) == {"agent_day": "openai/gpt-5-mini"}
    assert house.verdict(second, CRITICAL).outcome is verdict.Outcome.ALLOW
    house.spend(0.4, second)
    said = house.verdict(first, CRITICAL)
    assert said.decided_by is not None
    assert (said.decided_by.budget.name, said.document()["cheaper"]) == (
        "agent_day",
        [{"budget": "agent_day", "hint": "openai/gpt-5-mini"}],
    )


def test_a_throttled_budget_allows_a_part_of_an_even_hour(house: House) -> None:
    house.spend(1001)
    assert house.verdict(OTHER).outcome is verdict.Outcome.ALLOW
    house.sql("UPDATE budget_crossings SET waits_until = now() WHERE budget = 'house_month'")
    house.keep()
    with read_only() as session:
        assert in_force.changes(session).throttled == {("house_month", "all")}
    budgets.look_again()
    slow = house.verdict(OTHER)
    assert slow.outcome is verdict.Outcome.THROTTLE
    assert slow.detail == "house_month of all is throttled to $0.138889 an hour"
    assert house.verdict(OTHER, CRITICAL).outcome is verdict.Outcome.ALLOW
    house.spend(0.2, OTHER)
    said = house.verdict(OTHER, NORMAL)
    assert (said.outcome, said.detail.partition(":")[0]) == (
        verdict.Outcome.WAIT,
        "house_month of all may spend no more in this hour",
    )
