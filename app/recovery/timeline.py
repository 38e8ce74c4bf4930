"""What happened in one incident, in order: failing probes, what was repaired, who was told, how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app.clock import iso
from app.health import incidents
from app.recovery import reading, timeline_entries, timeline_facts
from app.recovery.timeline_entries import Entry
from app.recovery.timeline_facts import Facts


def incident(session: Session, incident_id: UUID, now: datetime) -> dict[str, Any]:
    """One incident with its timeline, its causes, what it brought down, its runs and alerts. Raises NotFound.

    Every query is bounded. What retention has taken away is missing: `complete` is false once the failing probes are.
    """
    found = incidents.get_incident(session, incident_id)
    facts = timeline_facts.load(session, found, now)
    return {
        **found.as_dict(),
        "causes": [_neighbour(other) for other in facts.causes],
        "affected": [_neighbour(other) for other in facts.affected],
        "runs": [reading.run_dict(run) for run in facts.runs],
        "alerts": [_alert(row) for row in facts.episodes],
        "complete": bool(facts.failures),
        "timeline": [shown(entry) for entry in entries(facts)],
    }


def entries(facts: Facts) -> list[Entry]:
    """Everything that happened, the earliest first."""
    found = [
        *timeline_entries.of_probes(facts.incident, facts.failures, facts.successes),
        *timeline_entries.of_neighbours(facts.incident, facts.causes, facts.affected),
        *(entry for run in facts.runs for entry in timeline_entries.of_run(run)),
        *timeline_entries.of_alerts(facts.episodes, facts.history),
        *timeline_entries.of_notifications(facts.notifications),
        *timeline_entries.of_modes(facts.modes),
    ]
    return sorted(found, key=lambda entry: (entry.at, timeline_entries.RANKS[entry.kind]))


def shown(entry: Entry) -> dict[str, Any]:
    """JSON-ready."""
    return {"at": iso(entry.at), "kind": str(entry.kind), "text": entry.text, "detail": dict(entry.detail)}


def _neighbour(other: incidents.Incident) -> Mapping[str, Any]:
    kept = ("id", "service", "started_at", "detected_at", "recovered_at", "open")
    return {name: value for name, value in other.as_dict().items() if name in kept}


def _alert(row: Any) -> Mapping[str, Any]:
    return {
        "id": str(row.id),
        "name": row.name,
        "severity": row.severity,
        "state": row.state,
        "starts_at": iso(row.starts_at),
        "resolved_at": iso(row.resolved_at) if row.resolved_at else None,
        "told_at": iso(row.told_at) if row.told_at else None,
        "acknowledged_by": row.acknowledged_by,
        "muted": row.muted or [],
    }
