"""Budgets, calls that spend of them, and reservations as admission makes them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from app import clock
from app.infra import ids, redis
from app.limits import budgets, deciding, keys, rebuild, spending
from app.limits.budgets import Changes, Counted
from app.limits.core import Ask, Use
from app.limits.plans import Plan
from app.limits.spending import Spent, Who
from tests.limits.conftest import Keeper

BUDGETS = """
[tenants.acme]
timezone = "Asia/Kolkata"

[budgets.tenant_day]
scope = "tenant"
period = "day"
amount = 5

[budgets.house_month]
scope = "global"
period = "month"
amount = 1000

[budgets.turn]
scope = "agent"
period = "interaction"
amount = 0.5
"""
ACME = Who(tenant="acme", agent="writer", interaction="t1", skill="content")


@pytest.fixture
def spender(keeper: Keeper) -> Iterator[Keeper]:
    keeper.catalogue(BUDGETS)
    budgets.configure(Changes)
    yield keeper
    budgets.configure(Changes)
    rebuild._committed = None


def call(amount: int, who: Who = ACME, *, at: datetime | None = None) -> Spent:
    moment = at or clock.now()
    return Spent(str(ids.uuid7(at)), amount, moment.timestamp(), who)


def counter(subject: str, name: str) -> dict[str, Any]:
    raw = redis.client().get(keys.STATE + subject)
    return dict(json.loads(raw)["l"].get(name, {})) if raw else {}


def reserve(one: Spent, estimate: int, rank: int = 1) -> Any:
    """As admission asks: every budget of the call, by its estimate."""
    counted = budgets.effective().of(one.who)
    subjects = list(dict.fromkeys(item.subject for item in counted))
    uses = [Use(item.limit, subjects.index(item.subject), None, item.ceilings[rank], tells=False) for item in counted]
    plan = Plan("think", rank, uses)
    return deciding.decide(
        Ask(
            plan,
            f"-/{one.who.tenant or spending.NOBODY}\x1f{one.id}",
            tuple(subjects),
            estimate=estimate,
            lease_seconds=60,
        )
    )


def counted_of(budget: str, subject: str) -> Counted:
    found = budgets.effective().counted(budget, subject)
    assert found is not None
    return found
