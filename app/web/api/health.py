"""/healthz, /health, /metrics for machines that watch us; /api/v1 status, incidents and heartbeats for callers."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import anyio
from anyio import CapacityLimiter
from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime

from app import __version__, catalog, clock
from app import health as domain
from app.costs import today
from app.errors import NotFound
from app.health import incidents
from app.infra import metrics
from app.infra.db import read_only, read_within, unit_of_work
from app.recovery import timeline
from app.web import service
from app.web.deps import CurrentCaller
from app.web.overview import HealthSource

router = APIRouter(tags=["health"])
api = APIRouter(tags=["health"])

INCIDENT_SECONDS = 5.0
_SERVING = frozenset({"healthy", "degraded", "up"})
_started_at = clock.monotonic()
_scrapes = CapacityLimiter(2)
"""Scrapes have threads of their own: hanging endpoints cannot take them."""


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz", summary="Is this process alive?")
async def healthz() -> dict[str, Any]:
    """Of the web process alone: says nothing of the stack, touches no database."""
    return {"status": "ok", "version": __version__, "uptime_seconds": round(clock.monotonic() - _started_at, 1)}


@router.head("/health", include_in_schema=False)
@router.get("/health", summary="The stack's status document")
async def health(source: HealthSource) -> JSONResponse:
    """200 while the stack is healthy or degraded, 503 while it is unhealthy or unknown. Stored results, no probing."""
    document = (await source.current()).document
    return JSONResponse(document, 200 if document["status"] in _SERVING else 503)


@router.head("/health/{service}", include_in_schema=False)
@router.get("/health/{service}", summary="One service's entry of the status document")
async def health_of(source: HealthSource, service: str) -> JSONResponse:
    """200 while it is up or degraded, 503 while it is down or unknown, 404 when the catalogue has no such service."""
    document = (await source.current()).document
    if service not in document["services"]:
        raise NotFound("the catalogue has no such service")
    entry = {"service": service, "timestamp": document["timestamp"], **document["services"][service]}
    return JSONResponse(entry, 200 if entry["status"] in _SERVING else 503)


@router.get("/metrics", summary="Prometheus metrics of the whole engine", response_class=Response)
async def scrape() -> Response:
    """Text format. Answers within two seconds whatever is gone; `smm_scrape_source_up` says what was missing."""
    page, content_type = await anyio.to_thread.run_sync(metrics.render, limiter=_scrapes)
    return Response(page, media_type=content_type)


@api.get("/status", summary="The stack's status document")
async def status(
    _caller: CurrentCaller,
    source: HealthSource,
    tenant: Annotated[str | None, Query(description="whose costs and budget are told", max_length=200)] = None,
) -> dict[str, Any]:
    """The same as /health, answered 200 whatever it says. With `tenant`, what it spent today of its own budget."""
    document = (await source.current()).document
    if tenant is None:
        return document
    own = await source.stored(lambda session, now: today.figures(session, now, tenant=tenant))
    return document | (own or today.UNKNOWN)


@api.get("/incidents", summary="Incidents, newest first")
def list_incidents(
    _caller: CurrentCaller,
    service: str | None = None,
    open: Annotated[bool | None, Query(description="true: lasting ones; false: those that are over")] = None,  # noqa: A002
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[AwareDatetime | None, Query(description="`next` of the page before")] = None,
) -> dict[str, Any]:
    """Each with its time to detect and to recover, in seconds from the first failing moment."""
    with read_only() as session:
        found = incidents.list_incidents(session, service=service, open=open, limit=limit + 1, before=cursor)
    page = found[:limit]
    return {
        "incidents": [item.as_dict() for item in page],
        "next": page[-1].started_at.isoformat() if len(found) > limit else None,
    }


@api.get("/incidents/{incident_id}", summary="One incident with its timeline")
def show_incident(_caller: CurrentCaller, incident_id: UUID) -> dict[str, Any]:
    """Failing probes, what was repaired, who was told, how it ended; its causes, and what it brought down.

    `complete` is false once its probes are older than what is kept.
    """
    with read_within(INCIDENT_SECONDS) as session:
        return timeline.incident(session, incident_id, clock.now())


@api.get("/services/{name}", summary="One service")
async def show_service(_caller: CurrentCaller, source: HealthSource, name: str) -> dict[str, Any]:
    """Its entry of the status document, thresholds, availability and error budget, incidents, runs, alerts, modes, and
    its neighbours both ways. 404 when the catalogue has no such service."""
    found = await source.read(lambda session, now: service.stored(session, catalog.current(), name, now))
    return service.document((await source.current()).document, name, found)


@api.post("/heartbeats/{service}", summary="A service of kind heartbeat says that it is alive")
def heartbeat(_caller: CurrentCaller, service: str) -> dict[str, Any]:
    """Silence past the service's period is a failure. 404 when the catalogue has no such heartbeat service."""
    with unit_of_work() as uow:
        domain.beat(uow, service)
    return {"service": service, "received_at": clock.iso(clock.now())}
