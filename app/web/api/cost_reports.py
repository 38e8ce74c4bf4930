"""/api/v1/costs/reports: the end-of-day summaries of tenants, and of all of them together."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse

from app import clock
from app.costs import report_html, report_text, reports
from app.errors import Invalid, Problem
from app.infra.db import read_only, unit_of_work
from app.infra.plain import plain
from app.web.deps import CurrentCaller

router = APIRouter(prefix="/costs/reports", tags=["costs"])

LONGEST_NAME = 200

Day = Annotated[
    str, Path(max_length=20, description="such as 2026-11-20; also today and yesterday, where the tenant is")
]
TenantName = Annotated[
    str | None, Query(min_length=1, max_length=LONGEST_NAME, description="without it: all tenants together")
]


@router.get("", summary="Reports that are kept, the latest day first")
def list_reports(
    _caller: CurrentCaller,
    *,
    tenant: Annotated[
        str | None, Query(max_length=LONGEST_NAME, description="one tenant's; empty: those of all tenants together")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=250, description="`next` of the page before")] = None,
) -> dict[str, Any]:
    """`next` is the cursor of the following page, null on the last."""
    with read_only() as session:
        found = reports.list_reports(session, tenant=tenant, before=_place(cursor), limit=limit + 1)
    page = found[:limit]
    following = f"{page[-1]['date']}/{page[-1]['tenant'] or ''}" if len(found) > limit else None
    return {"reports": plain(page), "next": following}


@router.get(
    "/{day}",
    summary="The report of a day",
    responses={200: {"content": {"application/json": {}, "text/plain": {}, "text/html": {}}}},
)
def show(
    _caller: CurrentCaller,
    day: Day,
    *,
    tenant: TenantName = None,
    format_: Annotated[Literal["json", "text", "html"], Query(alias="format")] = "json",
    fresh: Annotated[bool, Query(description="make it anew, with calls that came late")] = False,
) -> Response:
    """Of a day that is over the one that was kept; of today what is known so far."""
    now = clock.now()
    with unit_of_work() as uow:
        document = reports.show(uow, reports.day_of(day, tenant, now), tenant, fresh=fresh, now=now)
    match format_:
        case "text":
            return PlainTextResponse(report_text.text(document))
        case "html":
            return page(document)
        case "json":
            return JSONResponse(document)


def page(document: dict[str, Any]) -> HTMLResponse:
    """A report as a page: its style is in it, and is the only one it may have."""
    return HTMLResponse(report_html.html(document), headers={"Content-Security-Policy": report_html.POLICY})


def _place(cursor: str | None) -> tuple[date, str] | None:
    if cursor is None:
        return None
    day, _, tenant = cursor.partition("/")
    try:
        return date.fromisoformat(day), tenant
    except ValueError:
        raise Invalid([Problem("query.cursor", "is no `next` of a page before")], subject="query") from None
