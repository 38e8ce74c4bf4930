"""Reports: made on demand, kept once their day is over, and made anew where calls of that day came later."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from app import catalog, signals
from app.catalog import MICRO
from app.costs import report_document, report_reading, report_text, sums
from app.costs.report_schedule import CATCH_UP_DAYS, EVERYBODY, SETTLE
from app.errors import Invalid, Problem
from app.infra.db import UnitOfWork

MADE = "costs.report_made"
FIRST = date(2020, 1, 1)


def day_of(given: str | None, tenant: str | None, now: datetime) -> date:
    """The day that is meant: 2026-11-20, today, yesterday (also None), where the tenant is. Raises Invalid."""
    today = sums.day_of(now, report_reading.zone_of(tenant))
    match given:
        case None | "yesterday":
            return today - timedelta(days=1)
        case "today":
            return today
    try:
        day = date.fromisoformat(given)
    except ValueError:
        raise _wrong("must be a day such as 2026-11-20, or today, or yesterday") from None
    if not FIRST <= day <= today:
        raise _wrong(f"must be from {FIRST} to today, which is {today} there")
    return day


def show(uow: UnitOfWork, day: date, tenant: str | None, *, fresh: bool = False, now: datetime) -> dict[str, Any]:
    """The report that is kept and still right; else, or `fresh`, made now, and kept if the day is over."""
    kept = None if fresh else _still_right(uow.session, day, tenant)
    return make(uow, day, tenant, now) if kept is None else kept


def look(session: Session, day: date, tenant: str | None, *, now: datetime) -> dict[str, Any]:
    """The same without writing anything."""
    kept = _still_right(session, day, tenant)
    return report_document.document(report_reading.read(session, day, tenant, now)) if kept is None else kept


def make(uow: UnitOfWork, day: date, tenant: str | None, now: datetime) -> dict[str, Any]:
    """Make the report anew. It is kept once late calls are in, and the first time people are told (costs.report_made).

    Nothing is kept for a tenant that nobody knows.
    """
    facts = report_reading.read(uow.session, day, tenant, now)
    document = report_document.document(facts)
    is_known = tenant is None or tenant in catalog.current().budgeting.tenants
    if now >= facts.until + SETTLE and (is_known or facts.total.calls):
        is_first = _keep(uow, day, tenant, document, now)
        if is_first and now < facts.until + timedelta(days=CATCH_UP_DAYS):
            _tell(uow, tenant, document)
    return document


def _still_right(session: Session, day: date, tenant: str | None) -> dict[str, Any] | None:
    """The kept report, unless calls came after it, or costs that were not known then."""
    kept = get(session, day, tenant)
    if kept is None:
        return None
    now = sums.total(session, *sums.period_of(day, report_reading.zone_of(tenant)), tenant=tenant)
    counted = now.calls, now.unpriced, round(now.cost_micro_usd / MICRO, 6)
    return kept if counted == (kept["calls"], kept["unpriced_calls"], kept["total_cost"]) else None


def get(session: Session, day: date, tenant: str | None) -> dict[str, Any] | None:
    """The report as it was kept; None where none is."""
    found: dict[str, Any] | None = session.execute(
        text("SELECT document FROM cost_reports WHERE tenant = :tenant AND day = :day"),
        {"tenant": EVERYBODY if tenant is None else tenant, "day": day},
    ).scalar_one_or_none()
    return found


def list_reports(
    session: Session, *, tenant: str | None = None, before: tuple[date, str] | None = None, limit: int = 50
) -> list[dict[str, Any]]:
    """Kept reports, the latest day first, from after `before` (day, tenant) on. `tenant` "" lists those of all."""
    conditions = ["true"]
    if tenant is not None:
        conditions.append("tenant = :tenant")
    if before is not None:
        conditions.append("(day < :day OR (day = :day AND tenant > :after))")
    day, after = before or (None, None)
    rows = session.execute(
        text(
            "SELECT day, tenant, made_at, document -> 'total_cost' AS total_cost, document -> 'budget' AS budget,"
            " document -> 'percentage_used' AS percentage_used, document -> 'calls' AS calls"
            f" FROM cost_reports WHERE {' AND '.join(conditions)} ORDER BY day DESC, tenant LIMIT :limit"
        ),
        {"tenant": tenant, "day": day, "after": after, "limit": limit},
    )
    return [_row(dict(row._mapping)) for row in rows]


def _row(found: dict[str, Any]) -> dict[str, Any]:
    day, tenant = found.pop("day"), found.pop("tenant")
    return {"date": day.isoformat(), "tenant": None if tenant == EVERYBODY else tenant, **found}


def _keep(uow: UnitOfWork, day: date, tenant: str | None, document: dict[str, Any], now: datetime) -> bool:
    """Is it the first one of this day?"""
    is_first: bool = uow.execute(
        "INSERT INTO cost_reports (tenant, day, made_at, document)"
        " VALUES (:tenant, :day, :now, CAST(:document AS json))"
        " ON CONFLICT (tenant, day) DO UPDATE SET made_at = excluded.made_at, document = excluded.document"
        " RETURNING xmax = 0",
        tenant=EVERYBODY if tenant is None else tenant,
        day=day,
        now=now,
        document=json.dumps(document),
    ).scalar_one()
    return is_first


def _tell(uow: UnitOfWork, tenant: str | None, document: dict[str, Any]) -> None:
    signals.record(
        uow,
        MADE,
        "all" if tenant is None else f"tenant:{tenant}",
        labels={"tenant": tenant or "", "day": document["date"]},
        facts={
            "total": document["total_cost"],
            "budget": document["budget"],
            "percent": document["percentage_used"],
            "text": report_text.brief(document),
        },
    )


def _wrong(message: str) -> Invalid:
    return Invalid([Problem("day", message)], subject="report")
