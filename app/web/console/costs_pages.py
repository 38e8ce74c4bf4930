"""`/costs`: what was spent today, in 7 days or 30, by all or by `?tenant=NAME`; budgets, and where it is going."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import text
from sqlalchemy.orm import Session

from app import catalog, clock
from app.admission import budget_effects, pause_store
from app.costs import budget_reading, forecasting, reports, sums
from app.costs.periods import zone_of
from app.costs.sums import Dimension
from app.errors import Invalid, Transient
from app.infra import ids
from app.web.console import costs_view, rendering
from app.web.console.costs_view import SHOWN, Facts, Span
from app.web.overview import HealthSource

router = APIRouter(include_in_schema=False)

SPANS = {"today": 1, "7d": 7, "30d": 30}
"""Days on the wall, today's included."""

SUBJECTS = 3
REPORTS = 5
ANOMALIES = 8
MODELS = 10
PAUSES = 1000

_OF_BUDGETS = (budget_effects.BUDGET, budget_effects.CHEAPER)
_EVER = "SELECT EXISTS (SELECT 1 FROM cost_days WHERE dimension = 'model')"
_UNKNOWN = "SELECT provider, model, first_seen_at FROM cost_models ORDER BY first_seen_at DESC LIMIT :most"


@router.get("/costs", response_class=HTMLResponse)
async def costs_page(
    request: Request,
    source: HealthSource,
    span: Literal["today", "7d", "30d"] = "today",
    tenant: Annotated[str | None, Query(max_length=200)] = None,
) -> HTMLResponse:
    """Sums and shares, budgets and what they hold back, the forecast, hours that cost too much, unknown prices."""
    try:
        zone = zone_of(tenant)
    except Invalid:
        said = "There is no usable catalogue, which says whose days begin when. The status page says why."
        return rendering.shown("problem.html", request, status=503, headline="Not known now", text=said)
    named = tenant or None
    found, foreseen, waiting = await asyncio.gather(
        source.stored(lambda session, now: _facts(session, now, span, named, zone)),
        source.stored(lambda session, now: _forecast(session, now, span, named)),
        source.waiting_costs(),
    )
    if found is None:
        return rendering.away(request)
    page = costs_view.costs_page(found, foreseen, waiting, clock.now())
    return rendering.shown("costs.html", request, page=page, base_url=str(request.base_url), fresh_id=ids.uuid7())


def _facts(session: Session, now: datetime, span: Span, tenant: str | None, zone: str) -> Facts:
    today = sums.day_of(now, zone)
    since, _ = sums.period_of(today - timedelta(days=SPANS[span] - 1), zone)
    until = sums.period_of(today, zone)[1]

    def by(dimension: Dimension) -> list[sums.Row]:
        return sums.by(session, dimension, since, until, tenant=tenant, limit=SHOWN + 1)

    step: sums.Step = "hour" if span == "today" else "day"
    return Facts(
        span=span,
        tenant=tenant,
        zone=zone,
        since=since,
        until=until,
        total=sums.total(session, since, until, tenant=tenant),
        steps=sums.by(session, "total", since, until, tenant=tenant, step=step, zone=zone),
        tables={dimension: by(dimension) for dimension in costs_view.TABLES if dimension != "tenant" or tenant is None},
        budgets=_budgets(session, now, tenant),
        holds=_holds(session, tenant),
        anomalies=forecasting.anomalies(session, {"tenant": tenant, "since": since}, limit=ANOMALIES)[0],
        unknown=[(f"{row[0]}/{row[1]}", row[2]) for row in session.execute(text(_UNKNOWN), {"most": MODELS})],
        reports=reports.list_reports(session, tenant=tenant or "", limit=REPORTS),
        yesterday=today - timedelta(days=1),
        is_ever=bool(session.execute(text(_EVER)).scalar()),
    )


def _budgets(session: Session, now: datetime, tenant: str | None) -> list[dict[str, Any]]:
    """Every budget with who has used most of it; of a tenant its own ones."""
    if tenant is None:
        found: list[dict[str, Any]] = budget_reading.listed(session, now, most=SUBJECTS)["budgets"]
        return found
    budgets = catalog.current().budgeting.budgets.values()
    names = [one.name for one in budgets if one.scope == "tenant" and one.only in (None, tenant)]
    subject = f"tenant:{tenant}"
    return [budget_reading.show(session, name, now, subject=subject, most=1) for name in names]


def _holds(session: Session, tenant: str | None) -> list[dict[str, Any]]:
    """What budgets hold back at present."""
    found = pause_store.read(session, scopes=None if tenant is None else [f"tenant:{tenant}"], limit=PAUSES)
    return [pause.document() for pause in found if pause.holder.startswith(_OF_BUDGETS)]


def _forecast(session: Session, now: datetime, span: Span, tenant: str | None) -> dict[str, Any] | None:
    """Of the day, or of the month. None: it took too long, which is no reason to show nothing."""
    try:
        return forecasting.of_spending(session, tenant, "day" if span == "today" else "month", now)
    except Transient:
        return None
