"""Forecasts and anomalies as people and programs read them. JSON-ready; money in dollars.

A tenant's, user's, agent's or department's hours of eight weeks are read. Those of everybody, or of a skill of all
tenants, would be too many: their days are, and are spread over hours as the last day was.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.orm import Session

from app import catalog
from app.catalog import Budget, did_you_mean
from app.clock import iso
from app.costs import in_force, sums, watch_store, watching
from app.costs.forecast import BAND, Forecast, Period, forecast, period_at
from app.costs.sums import dollars
from app.errors import Invalid, NotFound, Problem
from app.limits.budgets import Counted, Effective, subject_of

HISTORY = timedelta(weeks=8)


class Whose(NamedTuple):
    """Whose spending, and of which period on which clock."""

    scope: str
    name: str
    period: Period
    zone: str


def of_budget(session: Session, name: str, subject: str | None, now: datetime) -> dict[str, Any]:
    """The present period of a budget: `subject` such as `tenant:acme`, or only `acme`; may be left out where there is
    one only. Raises NotFound, Invalid."""
    counted = _counted(in_force.of(session), name, subject)
    amount, scope = counted.limit.units, counted.budget.scope
    period, zone = watching.PERIODS[counted.budget.period], counted.limit.timezone
    whose = Whose(scope, counted.subject.partition(":")[2], period, zone)
    found = _read(session, whose, now, amount=amount)
    budget = {"name": name, "scope": scope, "subject": counted.subject, "amount": dollars(amount)}
    shares = {
        "percent": round(100 * found.spent / amount, 1),
        "projected_percent": round(100 * found.projected / amount, 1),
        "exhausted_at": None if found.exhausted_at is None else iso(found.exhausted_at),
    }
    return {"budget": budget, **_document(found, whose), **shares}


def of_spending(session: Session, tenant: str | None, period: Period, now: datetime) -> dict[str, Any]:
    """The present day, week or month of a tenant, on its own clock; or of everybody, in UTC."""
    zone = "UTC" if tenant is None else catalog.current().budgeting.zone_of(tenant)
    whose = Whose("global" if tenant is None else "tenant", tenant or "", period, zone)
    return {"tenant": tenant, **_document(_read(session, whose, now), whose)}


def anomalies(
    session: Session, wanted: Mapping[str, Any], *, limit: int, before: UUID | None = None
) -> tuple[list[dict[str, Any]], str | None]:
    """A page, the newest first, and the cursor of the next one. `wanted`: tenant, model, skill, cause, since."""
    rows = watch_store.anomalies(session, **wanted, limit=limit + 1, before=before)
    page = rows[:limit]
    return [_anomaly(row) for row in page], str(page[-1].id) if len(rows) > limit else None


def _counted(effective: Effective, name: str, subject: str | None) -> Counted:
    budget = effective.budgets.get(name)
    if budget is None:
        raise NotFound(f"no budget is named so{did_you_mean(name, effective.budgets)}")
    if budget.period not in watching.PERIODS:
        raise Invalid([Problem("budget", "is of each interaction, which has no end of its own")], subject="forecast")
    whose = _subject(budget, subject)
    counted = effective.counted(name, whose)
    if counted is None:
        raise NotFound(f"{name} is no budget of {whose}")
    return counted


def _subject(budget: Budget, subject: str | None) -> str:
    if budget.scope == "global":
        return subject_of("global", "")
    whose = budget.only if subject is None else subject.removeprefix(f"{budget.scope}:")
    if not whose:
        problem = Problem("subject", f"must say whose: each {budget.scope} has a budget of its own")
        raise Invalid([problem], subject="forecast")
    return subject_of(budget.scope, whose)


def _read(session: Session, of: Whose, now: datetime, *, amount: int | None = None) -> Forecast:
    start, _ = period_at(of.period, of.zone, now)
    if of.scope in ("global", "skill"):
        hours, week_of = watching.spread_hours(session, (of.scope, of.name), start, now), "UTC"
    else:
        since = (now - HISTORY).replace(minute=0, second=0, microsecond=0)
        hours, week_of = watch_store.hourly(session, of.scope, of.name, since, now), of.zone
    spent = _spent(session, of.scope, of.name, start, now)
    return forecast(hours, of.period, of.zone, now, amount=amount, spent=spent, week_of=week_of)


def _spent(session: Session, scope: str, name: str, start: datetime, now: datetime) -> int:
    """In the period so far, to the call."""
    match scope:
        case "global":
            return sums.total(session, start, now).cost_micro_usd
        case "tenant":
            return sums.total(session, start, now, tenant=name).cost_micro_usd
        case "skill":
            return sums.total(session, start, now, skill=name).cost_micro_usd
        case "agent" | "user" | "department":
            rows = sums.by(session, scope, start, now)
            return sum(row.sums.cost_micro_usd for row in rows if row.name == name)
        case _:
            raise ValueError(f"no budget has the scope {scope}")


def _document(found: Forecast, of: Whose) -> dict[str, Any]:
    return {
        "as_of": iso(found.at),
        "period": of.period,
        "timezone": of.zone,
        "starts_at": iso(found.start),
        "ends_at": iso(found.end),
        "spent": dollars(found.spent),
        "projected": dollars(found.projected),
        "low": dollars(found.low),
        "high": dollars(found.high),
        "band": BAND,
        "rough": found.is_rough,
        "per_hour": dollars(found.per_hour),
        "last_24_hours": dollars(found.last_day),
        "today": dollars(found.today),
        "level": round(found.level, 3),
    }


def _anomaly(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "hour": iso(row.hour),
        "tenant": row.tenant,
        "model": row.model,
        "skill": row.skill,
        "expected": dollars(row.expected_micro_usd),
        "actual": dollars(row.actual_micro_usd),
        "score": row.score,
        "cause": row.cause,
        **{key: row.facts.get(key) for key in ("why", "split", "calls", "usual_calls", "elapsed")},
    }
