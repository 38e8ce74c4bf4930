"""One service: everything that is stored about it, for the API and for its page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from app import admission
from app.alerts import reading as alerts
from app.catalog import Catalog, behind
from app.errors import NotFound
from app.health import incidents
from app.health.availability import document as availability
from app.health.specs import Spec, resolve
from app.recovery import reading
from app.recovery.timeline_facts import dependents

MOST = 10
"""Incidents, runs and alerts of each."""


def document(status: Mapping[str, Any], name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """What is `stored` with the entry of the status document, and the states of its neighbours. Raises NotFound."""
    services = status["services"]
    if name not in services:
        raise NotFound("the catalogue has no such service")
    known = dict(found)
    for key in ("depends_on", "dependents"):
        states = [services.get(other["service"], {}).get("status", "unknown") for other in known[key]]
        known[key] = [{**other, "status": state} for other, state in zip(known[key], states, strict=True)]
    entry = services[name]
    return {"timestamp": status["timestamp"], "service": name, "status": entry["status"], "health": entry, **known}


def stored(session: Session, catalog: Catalog, name: str, now: datetime) -> dict[str, Any]:
    """What is stored, JSON-ready. Raises NotFound for one that the catalogue has not, or that is not watched yet."""
    row = session.execute(text("SELECT * FROM services WHERE name = :name AND present"), {"name": name}).one_or_none()
    service = catalog.services.get(name)
    if row is None or service is None:
        raise NotFound("the catalogue has no such service")
    last: Mapping[str, Any] = row.last_result or {}
    about = {mode.name for mode in catalog.modes.values() if name in mode.while_down}
    holds = admission.read(session).holds
    return {
        "description": service.description,
        "team": service.team,
        "tags": list(service.tags),
        "container": service.container,
        "severity": row.severity,
        "watched_by": row.watched_by,
        "interval_seconds": row.interval_seconds,
        "timeout_seconds": row.timeout_seconds,
        "levels": last.get("levels", {}),
        "thresholds": _thresholds(resolve(service)),
        "availability": availability.of_service(session, catalog, name, now),
        **_neighbours(session, name),
        "modes": [admission.hold_shown(hold) for hold in holds if name in hold.cause or hold.name in about],
        "alerts": list(alerts.list_episodes(session, now=now, service=name, open_only=True, limit=MOST).items),
        "incidents": [item.as_dict() for item in incidents.list_incidents(session, service=name, limit=MOST)],
        "runs": reading.list_runs(session, service=name, limit=MOST),
    }


def _thresholds(spec: Spec) -> dict[str, Any]:
    return {
        name: {"warning": limits.warning, "degraded": limits.degraded, "below": limits.below}
        for name, limits in sorted(spec.thresholds.items())
    }


def _neighbours(session: Session, name: str) -> dict[str, Any]:
    """What it depends on and what depends on it, near or far."""
    rows = session.execute(text("SELECT name, depends_on FROM services WHERE present"))
    depends_on = {row.name: tuple(row.depends_on) for row in rows}
    near = depends_on.get(name, ())
    return {
        "depends_on": _listed(behind(name, depends_on), near),
        "dependents": _listed(
            dependents(name, depends_on), [other for other, causes in depends_on.items() if name in causes]
        ),
    }


def _listed(names: Iterable[str], near: Sequence[str]) -> list[dict[str, Any]]:
    return [{"service": name, "direct": name in near} for name in names]
