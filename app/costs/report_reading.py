"""Reads what a report is made of: sums, budgets, single calls, prices, anomalies and the forecast of a day."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from app import catalog
from app.costs import in_force, opportunities, price_table, report_calls, report_projection, sums
from app.costs.opportunities import Price
from app.costs.pricing import Tokens
from app.costs.report_document import BudgetUsed, Facts
from app.costs.sums import Row
from app.limits.budgets import Counted, Effective, Who, subject_of
from app.limits.windows import window_at

_MOMENT = timedelta(milliseconds=1)
_ANOMALIES = 20


def zone_of(tenant: str | None) -> str:
    """Where a tenant's days begin at midnight; those of all begin in UTC."""
    return catalog.current().budgeting.zone_of(tenant) if tenant is not None else "UTC"


def read(session: Session, day: date, tenant: str | None, now: datetime) -> Facts:
    """Everything about a tenant's day, or everybody's; of a day that is not over, what is known by `now`."""
    zone = zone_of(tenant)
    since, until = sums.period_of(day, zone)
    effective = in_force.of(session)
    calls = report_calls.read(session, since, until, tenant)

    def by(dimension: sums.Dimension) -> list[Row]:
        return sums.by(session, dimension, since, until, tenant=tenant)

    tenants = by("tenant") if tenant is None else []
    return Facts(
        day=day,
        tenant=tenant,
        timezone=zone,
        since=since,
        until=until,
        made_at=now,
        total=sums.total(session, since, until, tenant=tenant),
        budget=_daily_budget(effective, tenant, [row.name for row in tenants]),
        models=by("model"),
        skills=by("skill"),
        users=by("user"),
        agents=by("agent"),
        departments=by("department"),
        tenants=tenants,
        hours=sums.by(session, "total", since, until, tenant=tenant, step="hour"),
        budgets=_budgets(session, effective, tenant, until),
        calls=calls,
        opportunities=opportunities.find(calls.groups, calls.repeats, _prices(session, tenant, until - _MOMENT)),
        anomalies=_anomalies(session, since, until, tenant),
        projection=report_projection.read(session, tenant, zone, min(now, until)),
    )


def _prices(session: Session, tenant: str | None, at: datetime) -> Price:
    """Prices as they were at the end of the day."""
    table = price_table.current() or price_table.read(session)

    def price(provider: str, model: str, tokens: Tokens) -> int | None:
        return table.cost(tenant or "", provider, model, at, tokens).micro

    return price


def _daily_budget(effective: Effective, tenant: str | None, spenders: Iterable[str]) -> int | None:
    """The tightest of a tenant's daily budgets. Of all: the global one, else the sum of the tenants' own."""
    if tenant is not None:
        return _tightest(effective.of(Who(tenant=tenant)), "tenant")
    found = _tightest(effective.of(Who()), "global")
    if found is not None:
        return found
    names = {*effective.budgeting.tenants, *spenders} - {""}
    each = [_tightest(effective.of(Who(tenant=name)), "tenant") for name in names]
    known = [amount for amount in each if amount is not None]
    return sum(known) if known else None


def _tightest(counted: Iterable[Counted], scope: str) -> int | None:
    daily = [one.limit.units for one in counted if one.budget.scope == scope and _is_own(one, "day")]
    return min(daily, default=None)


def _is_own(one: Counted, period: str | None = None) -> bool:
    """Is it a budget of a calendar period, rather than the hour of one that is throttled?"""
    return not one.is_throttle and one.budget.period != "interaction" and period in (None, one.budget.period)


def _budgets(session: Session, effective: Effective, tenant: str | None, until: datetime) -> list[BudgetUsed]:
    if tenant is not None:
        counted = [one for one in effective.of(Who(tenant=tenant)) if one.budget.scope == "tenant"]
    else:
        counted = [*effective.of(Who()), *_named(effective)]
    return [_used(session, one, until) for one in counted if _is_own(one)]


def _named(effective: Effective) -> list[Counted]:
    """The budgets that are for one department, user, agent or skill; a tenant's are in its own report."""
    found = [
        effective.counted(budget.name, subject_of(budget.scope, budget.only))
        for budget in effective.budgets.values()
        if budget.only is not None and budget.scope != "tenant" and budget.period != "interaction"
    ]
    return [one for one in found if one is not None]


def _used(session: Session, one: Counted, until: datetime) -> BudgetUsed:
    """Of the period that the day's last moment is in."""
    window = window_at(one.limit, until - _MOMENT)
    return BudgetUsed(
        name=one.budget.name,
        scope=one.budget.scope,
        subject=one.subject,
        period=one.budget.period,
        amount=one.limit.units,
        spent=_spent(session, one, window.start, until),
        start_at=window.start,
        end_at=window.end,
    )


def _spent(session: Session, one: Counted, since: datetime, until: datetime) -> int:
    name = one.subject.partition(":")[2]
    match one.budget.scope:
        case "global":
            return sums.total(session, since, until).cost_micro_usd
        case "tenant":
            return sums.total(session, since, until, tenant=name).cost_micro_usd
        case "skill":
            return sums.total(session, since, until, skill=name).cost_micro_usd
        case scope:
            rows = sums.by(session, scope, since, until)
            return next((row.sums.cost_micro_usd for row in rows if row.name == name), 0)


def _anomalies(session: Session, since: datetime, until: datetime, tenant: str | None) -> Sequence[dict[str, Any]]:
    whose = "" if tenant is None else " AND tenant = :tenant"
    rows = session.execute(
        text(
            "SELECT hour, tenant, model, skill, expected_micro_usd, actual_micro_usd, cause FROM cost_anomalies"
            f" WHERE hour >= :since AND hour < :until{whose}"
            " ORDER BY actual_micro_usd - expected_micro_usd DESC LIMIT :most"
        ),
        {"since": since, "until": until, "tenant": tenant, "most": _ANOMALIES},
    )
    return [dict(row._mapping) for row in rows]
