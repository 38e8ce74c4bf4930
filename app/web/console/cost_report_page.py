"""`/costs/reports/DAY`: the report of a day, of `?tenant=NAME` or of all; it is read, and never kept from here."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from app.costs import reports
from app.errors import Invalid, Transient
from app.web.api import cost_reports
from app.web.console import rendering
from app.web.overview import HealthSource

router = APIRouter(include_in_schema=False)


@router.get("/costs/reports/{day}", response_class=HTMLResponse)
async def report_page(
    request: Request,
    source: HealthSource,
    day: str,
    tenant: Annotated[str | None, Query(max_length=cost_reports.LONGEST_NAME)] = None,
) -> HTMLResponse:
    """A page by itself, to be printed or sent on."""

    def read(session: Session, now: datetime) -> dict[str, Any]:
        return reports.look(session, reports.day_of(day, tenant or None, now), tenant or None, now=now)

    try:
        document = await source.read(read)
    except Invalid as error:
        return rendering.missing(request, f"There is no such report: {error}.")
    except Transient:
        return rendering.away(request)
    return cost_reports.page(document)
