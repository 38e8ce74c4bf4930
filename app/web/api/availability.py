"""/api/v1/availability and /api/v1/services/{service}/latency: how much of the time, and how fast."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from app import catalog, clock
from app.health.availability import document
from app.infra.db import read_only
from app.web.deps import CurrentCaller

router = APIRouter(tags=["health"])

LONGEST_HOURS = 24 * 730


@router.get("/availability", summary="Uptime, error budgets, times to detect and to recover, of every service")
def list_availability(_caller: CurrentCaller) -> JSONResponse:
    """Over 24 hours, 7, 30 and 90 days; `stack` is the whole. As of `rolled_at`, at most a minute ago."""
    with read_only() as session:
        return JSONResponse(document.overview(session, catalog.current(), clock.now()))


@router.get("/availability/{service}", summary="The same of one service, or of `stack`")
def show_availability(_caller: CurrentCaller, service: str) -> dict[str, Any]:
    """404 when the catalogue has no such service."""
    with read_only() as session:
        return document.of_service(session, catalog.current(), service, clock.now())


@router.get("/services/{service}/latency", summary="How fast a service answered")
def show_latency(
    _caller: CurrentCaller,
    service: str,
    hours: Annotated[int, Query(ge=1, le=LONGEST_HOURS, description="how far back")] = 24,
) -> dict[str, Any]:
    """In steps of 5 minutes up to a day back, of an hour up to two weeks, of a day beyond; those without a probe are
    not there. 404 when there is no such service."""
    with read_only() as session:
        return document.latencies(session, service, timedelta(hours=hours), clock.now())
