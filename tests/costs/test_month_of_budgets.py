"""A month of calls, each asked about first: budgets stop and resume at the very calls that plain Python says."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app import catalog
from app.infra import redis
from app.limits import deciding, keys, spending
from app.limits.asking import read
from app.limits.budgets import Effective
from app.limits.core import Ask, Use
from app.limits.plans import Plan
from app.limits.spending import Spent, Who
from tests.costs.month import CLIENTS, Call, Month
from tests.limits import clocked

BACKGROUND, INTERACTIVE = 3, 1
ESTIMATE = 30_000
DAY, MONTH, SKILL = 1_500_000, 40_000_000, 3_000_000
BUDGETS = f"""
[services.redis]
kind = "redis"

[budgets.tenant_day]
scope = "tenant"
period = "day"
amount = {DAY / 1e6}

[budgets.house_month]
scope = "global"
period = "month"
amount = {MONTH / 1e6}
thresholds = [{{at = 0.5}}, {{at = 1.0, actions = ["pause"]}}]

[budgets.skill_week]
scope = "skill"
for = "intel"
period = "week"
amount = {SKILL / 1e6}
thresholds = [{{at = 0.8}}, {{at = 1.0, actions = ["stop"]}}]
""" + "".join(f'[tenants.{client.name}]\ntimezone = "{client.zone}"\n' for client in CLIENTS)


class House:
    """The budgets in plain Python: what was spent of each in each period, and what was told."""

    def __init__(self) -> None:
        self.spent: dict[tuple[str, str, str], int] = defaultdict(int)
        self.told: list[tuple[str, str, int]] = []
        self._amounts = {"tenant_day": DAY, "house_month": MONTH, "skill_week": SKILL}
        self._shares = {
            "tenant_day": (750, 800, 900, 950, 1000, 1100),
            "house_month": (500, 1000),
            "skill_week": (800, 1000),
        }
        self._zones = {client.name: ZoneInfo(client.zone) for client in CLIENTS}

    def _periods(self, call: Call) -> Iterator[tuple[str, str, str]]:
        day = call.at.astimezone(self._zones[call.tenant]).date()
        yield "house_month", "all", f"{call.at:%Y-%m}"
        yield "tenant_day", f"tenant:{call.tenant}", str(day)
        if call.skill == "intel":
            yield "skill_week", "skill:intel", str(call.at.date() - timedelta(days=call.at.weekday()))

    def allows(self, call: Call, rank: int) -> bool:
        for period in self._periods(call):
            stops = period[0] == "skill_week" or rank == BACKGROUND
            if stops and self.spent[period] + ESTIMATE > self._amounts[period[0]]:
                return False
        return True

    def makes(self, call: Call) -> None:
        for period in self._periods(call):
            amount, before = self._amounts[period[0]], self.spent[period]
            after = self.spent[period] = before + call.cost_micro_usd
            levels = [-(-amount * share // 1000) for share in self._shares[period[0]]]
            reached = sum(after >= level for level in levels)
            if reached > sum(before >= level for level in levels):
                self.told.append((period[0], period[1], reached))


class Limiter:
    """The product's side, by a clock that the test sets."""

    def __init__(self) -> None:
        clocked.begin()
        self.effective = Effective(catalog.parse(BUDGETS).budgeting)
        self._decide, self._spend = clocked.clocked("decide"), clocked.clocked("spend")
        self._sheet = spending._Sheet(self.effective)
        self._plans: dict[Any, Plan] = {}

    def ask(self, call: Call, rank: int) -> Ask:
        counted = self.effective.of(_who(call))
        kinds = tuple((one.subject, one.limit.name) for one in counted)
        subjects = tuple(dict.fromkeys(one.subject for one in counted))
        if (kinds, rank) not in self._plans:
            uses = [
                Use(one.limit, subjects.index(one.subject), None, one.ceilings[rank], tells=False) for one in counted
            ]
            self._plans[kinds, rank] = Plan("think", rank, uses)
        key = f"-/{call.tenant}\x1f{call.id}"
        return Ask(self._plans[kinds, rank], key, subjects, estimate=ESTIMATE, lease_seconds=60)

    def allows(self, call: Call, rank: int) -> bool:
        clocked.set_clock(round(call.at.timestamp() * 1000))
        answer = read(self._decide.call(*deciding.call_of(self.ask(call, rank), call.at.timestamp())))
        return bool(answer["v"] == "allow")

    def makes(self, call: Call) -> None:
        now = call.at.timestamp()
        spent = Spent(str(call.id), call.cost_micro_usd, now, _who(call))
        answer = read(self._spend.call(*self._sheet.call([spent], b"", kind="calls", always=False, now=now)))
        assert (answer["v"], answer["f"]) == ("done", 1)

    def told(self) -> list[tuple[str, str, int]]:
        found = [json.loads(raw) for raw in redis.client().lrange(keys.CROSSINGS, 0, -1)]
        return [(one["limit"].removeprefix("budget_"), one["subject"], one["level"]) for one in found]


def _who(call: Call) -> Who:
    return Who(tenant=call.tenant, skill=call.skill, agent=call.agent, user=call.user)


@pytest.fixture
def limiter(redis_server: str) -> Limiter:
    return Limiter()


def test_a_month_of_budgets_stops_and_resumes_at_the_right_calls(limiter: Limiter) -> None:
    house, stopped, resumed = House(), 0, 0
    was_stopped: dict[str, bool] = {}
    month = Month(calls_per_day=110)
    for place, call in enumerate(month.calls()):
        rank = BACKGROUND if place % 2 else INTERACTIVE
        allowed = house.allows(call, rank)
        assert limiter.allows(call, rank) is allowed, (call.at, call.tenant, call.skill, rank)
        if rank == BACKGROUND:
            stopped += not allowed
            resumed += allowed and was_stopped.get(call.tenant, False)
            was_stopped[call.tenant] = not allowed
        if allowed:
            house.makes(call)
            limiter.makes(call)
    assert stopped > 50
    assert resumed > 10
    assert {name for name, _, _ in house.told} == {"tenant_day", "house_month", "skill_week"}
    assert limiter.told() == house.told
