"""Pages about one thing: a service, an incident, recovery, a run. Stored facts only, and never a long wait."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from app import catalog, clock
from app.catalog import Catalog
from app.errors import Invalid, NotFound
from app.health.availability import document as availability
from app.health.probes import kinds
from app.recovery import control, reading, timeline
from app.web import service as services
from app.web.console import incident_view, recovery_view, rendering, service_view
from app.web.overview import HealthSource, Overviews

router = APIRouter(include_in_schema=False)

OPEN_RUNS = 50
RECENT_RUNS = 20


@router.get("/services/{name}", response_class=HTMLResponse)
async def service_page(request: Request, source: HealthSource, name: str) -> HTMLResponse:
    """One service: state, readings, uptime, error budget, latency, incidents, runs, neighbours."""
    status = (await source.current()).document
    if name not in status["services"]:
        return rendering.missing(request, "The catalogue has no such service.")
    found = await source.stored(lambda session, now: _service(session, name, now))
    order = {kind: tuple(probe.READINGS) for kind, probe in kinds().items()}
    known = None if found is None else services.document(status, name, found[0])
    latencies = {} if found is None else found[1]
    entry = status["services"][name]
    page = service_view.service_page(name, entry, known, latencies=latencies, now=clock.now(), order=order)
    return rendering.shown("service.html", request, page=page)


@router.get("/incidents/{incident_id}", response_class=HTMLResponse)
async def incident_page(request: Request, source: HealthSource, incident_id: UUID) -> HTMLResponse:
    """One incident with its timeline."""
    return await _about(
        request,
        source,
        "incident.html",
        lambda session, now: incident_view.incident_page(timeline.incident(session, incident_id, now), now),
    )


@router.get("/recovery", response_class=HTMLResponse)
async def recovery_page(request: Request, source: HealthSource) -> HTMLResponse:
    """What is repaired now and was lately, what guards it, and what may be done."""
    current = _catalogue()
    found = await source.stored(lambda session, now: _recovery(session, current, now)) if current else None
    stop = control.kept(control.stop_file()) if found is None else None
    guards, open_runs, recent_runs = found or (None, [], [])
    page = recovery_view.recovery_page(
        guards=guards,
        stop=None if stop is None else str(stop),
        open_runs=open_runs,
        recent_runs=recent_runs,
        playbooks=reading.playbooks(current) if current else (),
        now=clock.now(),
    )
    return rendering.shown("recovery.html", request, page=page)


@router.get("/recovery/{run_id}", response_class=HTMLResponse)
async def run_page(request: Request, source: HealthSource, run_id: UUID) -> HTMLResponse:
    """One run: its steps, what they found, what came of it."""
    return await _about(
        request,
        source,
        "run.html",
        lambda session, now: recovery_view.run_page(reading.get_run(session, run_id), now),
    )


async def _about(
    request: Request, source: Overviews, template: str, made: Callable[[Session, datetime], Any]
) -> HTMLResponse:
    """A page that is made of Postgres alone."""
    try:
        page = await source.stored(made)
    except NotFound as error:
        return rendering.missing(request, f"{str(error).capitalize()}.")
    return rendering.away(request) if page is None else rendering.shown(template, request, page=page)


def _service(session: Session, name: str, now: datetime) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    found = services.stored(session, catalog.current(), name, now)
    spans = service_view.SPANS.items()
    return found, {title: availability.latencies(session, name, span, now) for title, span in spans}


def _recovery(
    session: Session, current: Catalog, now: datetime
) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]:
    open_runs = reading.list_runs(session, open_only=True, limit=OPEN_RUNS)
    recent = [run for run in reading.list_runs(session, limit=RECENT_RUNS) if run["state"] == "ended"]
    return reading.guards(session, current, now), open_runs, recent


def _catalogue() -> Catalog | None:
    """None while there is no usable one; the status page says so."""
    try:
        return catalog.current()
    except Invalid:
        return None
