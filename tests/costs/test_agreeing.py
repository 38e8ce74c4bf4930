"""Counters of budgets agree with what is written down, whatever became of Redis; each tenant by its own day."""

from __future__ import annotations

from datetime import datetime, timedelta

from app import clock
from app.catalog import RateLimit
from app.costs import agreeing, in_force
from app.infra import redis
from app.infra.db import read_only
from app.limits import keys, rebuild
from app.limits.windows import window_at
from tests.costs.budgeted import BUDGETS, CENT, House, house
from tests.costs.spent import call, spent

__all__ = ["house"]

DAY = """
[budgets.tenant_day]
scope = "tenant"
period = "day"
amount = 5

[budgets.agent_day]
scope = "agent"
period = "day"
amount = 5

[budgets.chat_month]
scope = "skill"
for = "chat"
period = "month"
amount = 100
"""


def used(house: House) -> dict[str, float]:
    """By budget, what a verdict says is spent."""
    return {one.budget.name: one.spent / 1_000_000 for one in house.verdict().figures}


def day_of(zone: str, now: datetime) -> tuple[datetime, datetime]:
    limit = RateLimit.model_validate(
        {"name": "day", "capacity": 1, "window": "calendar", "period": "day", "timezone": zone}
    )
    window = window_at(limit, now)
    return window.start, window.end


def test_each_subject_is_summed_up_in_its_own_period(house: House) -> None:
    house.catalogue(BUDGETS + DAY)
    now = clock.now()
    starts = {zone: day_of(zone, now)[0] for zone in ("UTC", "Asia/Kolkata")}
    calls = [
        call(start + timedelta(seconds=seconds), tenant=tenant, agent=agent, skill=skill)
        for start in starts.values()
        for seconds in (-1, 1)
        for tenant, agent, skill in (("delhi", "a", "chat"), ("acme", "", "engage"))
    ]
    spent(calls)
    with read_only() as session:
        found = agreeing.committed(session, in_force.of(session), now)
        some = agreeing.committed(session, in_force.of(session), now, frozenset({"tenant:delhi", "agent:a"}))
    for subject, column, name in (("tenant:delhi", "tenant", "delhi"), ("agent:a", "agent", "a")):
        start = starts["Asia/Kolkata" if subject == "tenant:delhi" else "UTC"]
        here = [one for one in calls if one[column] == name and one["at"] >= start]
        counter = "budget_tenant_day" if column == "tenant" else "budget_agent_day"
        assert found[subject][counter] == (start, len(here) * CENT)
    assert found.keys().isdisjoint({"agent:", "skill:engage"})
    assert some == {subject: found[subject] for subject in ("tenant:delhi", "agent:a")}
    assert found[keys.EVERYBODY]["budget_house_month"][1] == sum(
        CENT for one in calls if one["at"] >= found[keys.EVERYBODY]["budget_house_month"][0]
    )


def test_counters_become_what_is_written_down_and_what_waits(house: House) -> None:
    house.spend(0.25)
    now = clock.now()
    spent([call(now, cost_micro_usd=4_000_000)])
    assert agreeing.agree() == 2
    assert used(house) == {"house_month": 4.25, "tenant_month": 4.25}
    assert agreeing.agree() == 0


def test_a_threshold_that_redis_forgot_is_acted_on(house: House) -> None:
    spent([call(clock.now(), cost_micro_usd=9_200_000)])
    redis.client().delete(keys.CROSSINGS)
    agreeing.agree()
    assert house.told() == ["crossed 75", "crossed 80", "crossed 90"]
    agreeing.agree()
    assert len(house.told()) == 3


def test_after_a_loss_of_redis_budgets_are_what_is_written_down(house: House) -> None:
    house.spend(0.25)
    spent([call(clock.now(), cost_micro_usd=4_000_000)])
    redis.client().flushall()
    assert used(house) == {"house_month": 4.0, "tenant_month": 4.0}
    while not rebuild.fill():
        pass
    assert used(house) == {"house_month": 4.0, "tenant_month": 4.0}
