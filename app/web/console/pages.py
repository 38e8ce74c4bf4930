"""`/`, `/alerts`, `/docs` and the files that pages use."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from app import clock
from app.alerts import explain, reading
from app.errors import NotFound, Transient
from app.health import incidents
from app.health.probes import kinds
from app.recovery import reading as runs
from app.web import reference
from app.web.console import alerts_view, rendering, view
from app.web.console.rendering import asset_url
from app.web.overview import HealthSource

__all__ = ["asset_url", "router"]

router = APIRouter(include_in_schema=False)

MOST_RUNS = 5


@router.get("/", response_class=HTMLResponse)
async def status_page(request: Request, source: HealthSource) -> HTMLResponse:
    """The stack's status: of the last stored results, or of the watchdog's file while Postgres is away."""
    overview = await source.current()
    uptimes = await source.uptimes() if overview.is_stored else {}
    order = {kind: tuple(probe.READINGS) for kind, probe in kinds().items()}
    page = view.page(overview, clock.now(), order, uptimes)
    return rendering.shown("status.html", request, page=page)


@router.get("/alerts", response_class=HTMLResponse)
async def alerts_page(request: Request, source: HealthSource) -> HTMLResponse:
    """Every open alert: how bad, since when, who was told, and why not where nobody was."""
    overview = await source.current()
    rows = alerts_view.alert_rows(overview.alerts, clock.now())
    more, is_stored = overview.more_alerts, overview.is_stored
    return rendering.shown("alerts.html", request, rows=rows, more=more, is_stored=is_stored)


@router.get("/alerts/{alert_id}", response_class=HTMLResponse)
async def alert_page(request: Request, source: HealthSource, alert_id: UUID) -> HTMLResponse:
    """One alert: what is known, who was told, what comes next, what was done."""
    try:
        found = await source.read(lambda session, now: _alert(session, alert_id, now))
    except NotFound as error:
        return rendering.missing(request, str(error))
    except Transient:
        return rendering.away(request)
    return rendering.shown("alert.html", request, page=alerts_view.alert_page(found, clock.now()))


@router.get("/docs", response_class=HTMLResponse)
async def docs_page(request: Request) -> HTMLResponse:
    """The reference of the HTTP API."""
    document = request.app.openapi()
    return rendering.shown(
        "docs.html",
        request,
        sections=reference.sections(document),
        schemas=reference.schemas(document),
        base_url=str(request.base_url),
    )


@router.get("/assets/{name}")
async def asset(name: str) -> Response:
    """A style sheet, script or picture."""
    if name not in rendering.ASSETS:
        raise NotFound("no such file")
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(rendering.ASSETS[name], media_type=rendering.TYPES[Path(name).suffix], headers=headers)


@router.get("/favicon.ico")
async def favicon() -> Response:
    """Browsers ask for it unasked."""
    return await asset("icon.svg")


def _alert(session: Session, alert_id: UUID, now: datetime) -> dict[str, Any]:
    """The alert, what decides about it, and the incident of its service with the runs of that."""
    found = reading.get_episode(session, alert_id, now=now)
    explained = explain.explain_episode(session, alert_id, now=now)
    since, until = datetime.fromisoformat(found["starts_at"]), found["resolved_at"]
    incident = None
    if found["service"] is not None:
        ended = now if until is None else datetime.fromisoformat(until)
        incident = incidents.last_between(session, found["service"], since, ended)
    of_incident = [] if incident is None else runs.list_runs(session, incident_id=incident.id, limit=MOST_RUNS)
    return {
        **found,
        "explained": explained,
        "incident": None if incident is None else str(incident.id),
        "runs": of_incident,
    }
