"""Incidents, read: what was down, since when, how fast it was seen and how long it lasted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.clock import iso


@dataclass(frozen=True, slots=True)
class Incident:
    """One time of being down. `outcome`: None while it is open, then recovered or removed."""

    id: UUID
    service: str
    started_at: datetime
    detected_at: datetime
    recovered_at: datetime | None
    outcome: str | None
    severity: str
    error_code: str | None
    error: str | None
    in_maintenance: bool
    failures: int

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, with the time to detect and the time to recover in seconds, both from the first failure."""
        recovered = self.recovered_at if self.outcome == "recovered" else None
        return {
            "id": str(self.id),
            "service": self.service,
            "severity": self.severity,
            "open": self.recovered_at is None,
            "started_at": iso(self.started_at),
            "detected_at": iso(self.detected_at),
            "recovered_at": iso(self.recovered_at) if self.recovered_at else None,
            "outcome": self.outcome,
            "detection_seconds": round((self.detected_at - self.started_at).total_seconds(), 3),
            "recovery_seconds": round((recovered - self.started_at).total_seconds(), 3) if recovered else None,
            "error": {"code": self.error_code, "text": self.error} if self.error_code else None,
            "in_maintenance": self.in_maintenance,
            "failures": self.failures,
        }


_QUERY = """
    SELECT id, service, started_at, detected_at, recovered_at, outcome, severity, error_code, error, in_maintenance,
           failures
      FROM incidents
     WHERE (CAST(:service AS text) IS NULL OR service = :service)
       AND (CAST(:open AS boolean) IS NULL OR (recovered_at IS NULL) = :open)
       AND (CAST(:before AS timestamptz) IS NULL OR started_at < :before)
     ORDER BY started_at DESC, id DESC LIMIT :limit"""


def list_incidents(
    session: Session,
    *,
    service: str | None = None,
    open: bool | None = None,  # noqa: A002 (what the filter is called everywhere)
    limit: int = 50,
    before: datetime | None = None,
) -> list[Incident]:
    """Incidents, newest first; `before` is the start of the last one of the page before."""
    parameters = {"service": service, "open": open, "limit": limit, "before": before}
    return [Incident(**row._asdict()) for row in session.execute(text(_QUERY), parameters)]
