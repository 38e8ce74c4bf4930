"""What a signal about a service says of it, whether the recorder writes it or the watchdog acts on it. Pure."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from app.health.core import Decision
from app.health.results import ProbeResult


def labels_of(*, service: str, kind: str, severity: str, essential: bool, expected: bool) -> dict[str, str]:
    """The labels of the signal. `expected`: its failing is, by a maintenance window."""
    labels = {
        "service": service,
        "kind": kind,
        "severity": severity,
        "essential": str(essential).lower(),
    }
    return labels | {"maintenance": "true"} if expected else labels


def facts_of(result: ProbeResult, decision: Decision, incident: UUID | None) -> dict[str, Any]:
    """The facts of the signal: what the result says and what became of the service."""
    flip = decision.flip
    facts: dict[str, Any] = {
        "state": decision.state.state,
        "reason": decision.reason,
        "since": decision.state.since,
        "latency_ms": result.latency_ms,
        "error": {"code": result.error.code, "text": result.error.text} if result.error else None,
        "degraded": result.degraded,
        "readings": dict(result.readings),
        "levels": dict(result.levels) if result.ok else {},
        "incident_id": incident,
        "detection_seconds": None,
    }
    if flip is not None:
        facts["before"] = flip.before
        facts["detection_seconds"] = flip.detection.total_seconds() if flip.detection is not None else None
    return facts
