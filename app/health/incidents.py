"""Incidents, read: what was down, since when, how fast it was seen and how long it lasted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.clock import iso
from app.errors import NotFound


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


_COLUMNS = (
    "id, service, started_at, detected_at, recovered_at, outcome, severity, error_code, error, in_maintenance, failures"
)
_QUERY = f"""
    SELECT {_COLUMNS}
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


def get_incident(session: Session, incident_id: UUID) -> Incident:
    """One incident. Raises NotFound."""
    query = text(f"SELECT {_COLUMNS} FROM incidents WHERE id = :id")
    row = session.execute(query, {"id": incident_id}).one_or_none()
    if row is None:
        raise NotFound(f"no incident has the id {incident_id}")
    return Incident(**row._asdict())


def last_between(session: Session, service: str, since: datetime, until: datetime) -> Incident | None:
    """The newest incident of a service that lasted at some moment of these times."""
    query = text(
        f"SELECT {_COLUMNS} FROM incidents WHERE service = :service AND started_at <= :until"
        " AND (recovered_at IS NULL OR recovered_at >= :since) ORDER BY started_at DESC LIMIT 1"
    )
    row = session.execute(query, {"service": service, "since": since, "until": until}).one_or_none()
    return None if row is None else Incident(**row._asdict())


@dataclass(frozen=True, slots=True)
class Spread:
    """How long something took, in seconds: of `count` cases the median, the 95th percentile and the mean."""

    median: float | None = None
    p95: float | None = None
    mean: float | None = None
    count: int = 0

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        rounded = {name: getattr(self, name) for name in ("median", "p95", "mean")}
        return {name: None if value is None else round(value, 3) for name, value in rounded.items()} | {
            "count": self.count
        }


@dataclass(frozen=True, slots=True)
class Durations:
    """From the first failing moment to the decision (MTTD), and to the first good one (MTTR)."""

    detection: Spread = field(default_factory=Spread)
    recovery: Spread = field(default_factory=Spread)


_SPREAD = """
    percentile_cont(0.5) WITHIN GROUP (ORDER BY {took}) AS {name}_median,
    percentile_cont(0.95) WITHIN GROUP (ORDER BY {took}) AS {name}_p95,
    avg({took})::float8 AS {name}_mean, count({took}) AS {name}_count"""
_DETECTION = "extract(epoch FROM detected_at - started_at)::float8"
_RECOVERY = "CASE outcome WHEN 'recovered' THEN extract(epoch FROM recovered_at - started_at)::float8 END"
_DURATIONS = f"""
    SELECT service, {_SPREAD.format(took=_DETECTION, name="detection")},
           {_SPREAD.format(took=_RECOVERY, name="recovery")}
      FROM incidents
     WHERE started_at >= :since AND started_at < :until AND NOT in_maintenance AND outcome IS DISTINCT FROM 'removed'
       AND (CAST(:service AS text) IS NULL OR service = :service)
     GROUP BY GROUPING SETS ((service), ())"""


def durations(
    session: Session, since: datetime, until: datetime, *, service: str | None = None
) -> tuple[Durations, dict[str, Durations]]:
    """(of all together, by service) of the incidents that began from `since` until before `until`.

    What began in maintenance, and what ended because its service left the catalogue, does not count. An incident that
    is open has been detected and has not recovered.
    """
    overall, by_service = Durations(), {}
    for row in session.execute(text(_DURATIONS), {"since": since, "until": until, "service": service}):
        found = Durations(_spread(row._asdict(), "detection"), _spread(row._asdict(), "recovery"))
        if row.service is None:
            overall = found
        else:
            by_service[row.service] = found
    return overall, by_service


def _spread(row: Mapping[str, Any], name: str) -> Spread:
    return Spread(**{part: row[f"{name}_{part}"] for part in ("median", "p95", "mean", "count")})
