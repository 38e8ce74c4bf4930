"""What was spent today, and what the tenants may spend in a day: two figures of the status document."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from app import catalog
from app.catalog import Budgeting
from app.costs import in_force, sums
from app.costs.sums import dollars
from app.errors import Invalid
from app.limits.budgets import Effective, Who

UNKNOWN: dict[str, Any] = {"cost_today": None, "cost_limit": None}


def figures(session: Session, now: datetime, *, tenant: str | None = None) -> dict[str, Any]:
    """`cost_today` and `cost_limit` in dollars, of a tenant or of all; no limit where nobody has a daily budget.

    A tenant's day is that of its own zone: those of all add up what each spent on its own day. Nothing is known while
    there is no usable catalogue.
    """
    try:
        budgeting, effective = catalog.current().budgeting, in_force.of(session)
    except Invalid:
        return UNKNOWN
    spent = _spent_by_all(session, now, budgeting) if tenant is None else _spent(session, now, budgeting, tenant)
    names = {*spent, *(budgeting.tenants if tenant is None else ())} - {""}
    limit = daily_limit(effective, names)
    return {"cost_today": dollars(sum(spent.values())), "cost_limit": None if limit is None else dollars(limit)}


def daily_limit(effective: Effective, tenants: Iterable[str]) -> int | None:
    """What these tenants may spend in a day, in millionths of a dollar: of each the tightest budget of its own."""
    found = [amount for amount in (_own(effective, name) for name in tenants) if amount is not None]
    return sum(found) if found else None


def _own(effective: Effective, tenant: str) -> int | None:
    counted = effective.of(Who(tenant=tenant))
    daily = (one for one in counted if one.budget.scope == "tenant" and one.budget.period == "day")
    return min((one.limit.units for one in daily if not one.is_throttle), default=None)


def _spent(session: Session, now: datetime, budgeting: Budgeting, tenant: str) -> dict[str, int]:
    return {tenant: sums.total(session, *_today(now, budgeting.zone_of(tenant)), tenant=tenant).cost_micro_usd}


def _spent_by_all(session: Session, now: datetime, budgeting: Budgeting) -> dict[str, int]:
    found: dict[str, int] = {}
    for zone in sorted({"UTC", *(tenant.timezone for tenant in budgeting.tenants.values())}):
        rows = sums.by(session, "tenant", *_today(now, zone))
        found |= {row.name: row.sums.cost_micro_usd for row in rows if budgeting.zone_of(row.name) == zone}
    return found


def _today(now: datetime, zone: str) -> tuple[datetime, datetime]:
    return sums.period_of(sums.day_of(now, zone), zone)
