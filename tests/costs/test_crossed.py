"""Thresholds: each is told once in a period, the highest of a severity for all; over with the period, or a raise."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from app.costs import crossed
from app.infra import redis
from app.infra.db import unit_of_work
from app.limits import keys
from app.limits.crossings import Crossing
from app.limits.spending import Who
from tests.costs.budgeted import BUDGETS, House, house

__all__ = ["house"]


def test_each_threshold_is_told_once_however_often_it_is_noted(house: House) -> None:
    house.spend(7.6)
    house.spend(0.5)
    assert house.told() == ["crossed 75", "crossed 80"]
    told = house.signals()[1]
    assert told.subject == "budget:tenant_month tenant:acme"
    assert told.labels == {
        "budget": "tenant_month",
        "scope": "tenant",
        "subject": "tenant:acme",
        "tenant": "acme",
        "period": "month",
        "threshold": "80",
        "severity": "warning",
    }
    assert (told.facts["spent"], told.facts["amount"], told.facts["percent"]) == (8.1, 10.0, 81.0)
    assert (told.facts["actions"], told.facts["notify"], told.facts["effects"].keys()) == (["notify"], True, {"notify"})
    with unit_of_work() as uow:  # Redis forgot that it was told of, and notes it again
        again = uow.execute("SELECT * FROM budget_crossings WHERE per_mille = 800").one()
        crossed.on_crossings(uow, [_crossing(again)])
    assert house.told() == ["crossed 75", "crossed 80"]


def _crossing(row: Any) -> Crossing:
    return Crossing(
        subject="tenant:acme",
        limit="budget_tenant_month",
        operation="calls",
        level=2,
        used=8_100_000,
        capacity=10_000_000,
        start=row.start_at,
        end=row.end_at,
        at=row.at,
    )


def test_of_many_that_one_call_reaches_the_highest_of_each_severity_is_told_and_all_are_kept(house: House) -> None:
    house.spend(12)
    assert house.rows() == [(750, True), (800, True), (900, True), (950, True), (1000, True), (1100, True)]
    assert house.told() == ["crossed 75", "crossed 80", "crossed 90", "crossed 110"]
    last = house.signals()[-1]
    assert (last.labels["severity"], last.labels["escalate"]) == ("critical", "now")
    assert last.facts["actions"] == ["notify", "pause", "escalate"]
    assert set(last.facts["effects"]) == {"notify", "pause", "escalate"}


def test_who_is_told_may_differ_by_threshold(house: House) -> None:
    ladder = '[{at = 0.5, team = "business"}, {at = 0.6, actions = "cheaper"}, {at = 0.7}]'
    skill = f'[budgets.skill_month]\nscope = "skill"\nperiod = "month"\namount = 1\nthresholds = {ladder}\n'
    house.catalogue(BUDGETS + skill)
    house.spend(0.9, Who(skill="chat"))
    assert house.told() == ["crossed 50", "crossed 70"]
    assert house.signals()[0].labels["team"] == "business"
    assert house.signals()[1].facts["actions"] == ["cheaper", "notify"]


def test_a_period_that_ended_is_told_once_and_the_next_one_begins_anew(house: House) -> None:
    house.spend(8)
    house.sql("UPDATE budget_crossings SET start_at = start_at - interval '40 days', end_at = now()")
    redis.client().delete(keys.STATE + "tenant:acme")
    house.keep()
    house.keep()
    assert house.told() == ["crossed 75", "crossed 80", "renewed"]
    renewed = house.signals()[-1]
    assert (renewed.facts["why"], renewed.facts["effects"]) == ("its period is over", {})
    house.spend(7.7)
    assert house.told()[-1] == "crossed 75"


def test_what_is_noted_of_a_period_that_is_over_does_nothing(house: House) -> None:
    house.spend(8)
    row = house.sql("SELECT * FROM budget_crossings ORDER BY per_mille DESC LIMIT 1")[0]
    house.sql("DELETE FROM budget_crossings")
    late = _crossing(row)
    before = Crossing(late.subject, late.limit, "calls", 2, 1, 1, late.start, late.at - timedelta(seconds=1), late.at)
    with unit_of_work() as uow:
        crossed.on_crossings(uow, [before])
    assert house.rows() == []


def test_raising_the_budget_ends_what_is_not_reached_any_more_and_tells_the_rest_at_once(house: House) -> None:
    house.spend(10.5)
    told = len(house.told())
    house.set("tenant_month", 13, what="raise", subject="tenant:acme")
    assert house.told()[told:] == ["renewed", "crossed 75", "crossed 80"]
    assert [is_open for _, is_open in house.rows()] == [False] * 5 + [True] * 2
    assert house.signals()[told].facts["why"] == "another amount was set"
    house.spend(1)
    assert house.told()[-1] == "crossed 80"
    house.spend(1)
    assert house.told()[-2:] == ["crossed 90", "crossed 95"]
    house.set("tenant_month", 10, what="lower", subject="tenant:acme")
    assert house.told()[-1] == "crossed 110"


def test_actions_take_effect_when_the_time_of_grace_is_over(house: House) -> None:
    house.spend(1000)
    crossed_at = [row for row in house.signals() if row.labels["scope"] == "global"][-1]
    assert (crossed_at.labels["threshold"], "throttle" in crossed_at.facts["effects"]) == ("100", False)
    assert crossed_at.facts["grace_until"] in crossed_at.facts["grace"]
    assert house.signals()[0].facts["grace"] == ""
    house.keep()
    assert house.signals("costs.budget_in_effect") == []
    house.sql("UPDATE budget_crossings SET waits_until = now() WHERE waits_until IS NOT NULL")
    house.keep()
    house.keep()
    [begun] = house.signals("costs.budget_in_effect")
    assert (begun.subject, begun.facts["actions"]) == ("budget:house_month all", ["notify", "throttle"])
    assert "throttle" in begun.facts["effects"]


def test_an_interaction_that_goes_on_is_told_once_a_day(house: House) -> None:
    house.catalogue(BUDGETS + '[budgets.turn]\nscope = "agent"\nperiod = "interaction"\namount = 0.5\n')
    house.spend(0.6, Who(agent="writer", interaction="t1"))
    house.sql("UPDATE budget_crossings SET end_at = now()")
    for _ in range(3):
        house.keep()
    assert house.told() == ["crossed 100", "renewed", "crossed 100"]


def test_a_budget_that_is_lowered_below_what_is_spent_is_acted_on_though_nothing_was_reached(house: House) -> None:
    house.spend(6)
    house.set("tenant_month", 7, what="lower", subject="tenant:acme")
    assert house.told() == ["crossed 75", "crossed 80"]
