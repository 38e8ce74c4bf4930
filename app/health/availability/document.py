"""Availability as the API and the CLI show it. The keys are a contract: docs/availability.md has their meaning."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from app.catalog import STACK, Catalog
from app.clock import iso
from app.errors import NotFound
from app.health import incidents
from app.health.availability import figures, latency
from app.health.availability.budgets import WINDOW
from app.health.availability.figures import Burn, Uptimes
from app.health.availability.hours import WINDOWS, beginning
from app.health.incidents import Durations, Spread

_NO_INCIDENTS = Durations()


def overview(session: Session, catalog: Catalog, now: datetime) -> dict[str, Any]:
    """Every service and the stack. Times to detect and to recover are of the incidents of 30 days."""
    found, shall, burning = figures.uptimes(session, now), figures.objectives(catalog), figures.burning_now(session)
    overall, took = incidents.durations(session, beginning(WINDOWS[WINDOW], now), now)
    stack = _entry(shall[STACK], found.pop(STACK), overall, burning.get(STACK, ()))
    services = {
        name: _entry(shall.get(name), uptimes, took.get(name, _NO_INCIDENTS), burning.get(name, ()))
        for name, uptimes in found.items()
    }
    return {**_head(session, now), STACK: stack, "services": services}


def of_service(session: Session, catalog: Catalog, service: str, now: datetime) -> dict[str, Any]:
    """One service, or "stack". Raises NotFound when the catalogue has no such one."""
    shall = figures.objectives(catalog)
    if service not in shall:
        raise NotFound(f"the catalogue has no service {service}")
    which = None if service == STACK else service
    overall, _ = incidents.durations(session, beginning(WINDOWS[WINDOW], now), now, service=which)
    uptimes = figures.uptimes_of(session, service, now)
    entry = _entry(shall[service], uptimes, overall, figures.burning_now(session).get(service, ()))
    entry["uptime"] = {window: uptime.as_dict() for window, uptime in uptimes.items()}
    return {**_head(session, now), "service": service, **entry}


def latencies(session: Session, service: str, span: timedelta, now: datetime) -> dict[str, Any]:
    """The latency history of one service. Raises NotFound."""
    step, buckets = latency.history(session, service, span, now)
    return {
        "timestamp": iso(now),
        "service": service,
        "step_seconds": int(step.total_seconds()),
        "buckets": [bucket.as_dict() for bucket in buckets],
    }


def _head(session: Session, now: datetime) -> dict[str, Any]:
    rolled_at = figures.rolled_at(session)
    return {
        "timestamp": iso(now),
        "rolled_at": iso(rolled_at) if rolled_at else None,
        "windows": {name: {"since": iso(beginning(length, now))} for name, length in WINDOWS.items()},
    }


def _entry(objective: float | None, uptimes: Uptimes, took: Durations, burning: Sequence[Burn]) -> dict[str, Any]:
    return {
        "objective": objective,
        "uptime": {window: uptime.brief() for window, uptime in uptimes.items()},
        "budget": None if objective is None else figures.budget(objective, uptimes).as_dict(),
        "burning": [{"speed": burn.speed, "severity": burn.severity, "since": iso(burn.since)} for burn in burning],
        "detection_seconds": _spread(took.detection),
        "recovery_seconds": _spread(took.recovery),
    }


def _spread(spread: Spread) -> dict[str, Any] | None:
    """None where there was no case of it."""
    return spread.as_dict() if spread.count else None
