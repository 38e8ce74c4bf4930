"""How fast one service answered: from its results for a day, from hours for two weeks, from days beyond that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from app.clock import iso
from app.errors import NotFound
from app.health.availability import histogram
from app.health.availability.figures import days_until
from app.health.availability.hours import DAY, HOUR, hour_of, midnight
from app.infra import ids

STEP = timedelta(minutes=5)
BY_RESULTS = DAY
BY_HOURS = 14 * DAY


@dataclass(frozen=True, slots=True)
class Bucket:
    """The probes that began in one step of time. Latencies are None when none of them measured one.

    Exact where made of results; from hours and days, the percentiles are to within a bucket of the histogram.
    """

    since: datetime
    probes: int
    failed: int
    min_ms: float | None
    avg_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    max_ms: float | None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        latencies = {name: getattr(self, name) for name in ("min_ms", "avg_ms", "p50_ms", "p95_ms", "max_ms")}
        rounded = {name: None if value is None else round(value, 2) for name, value in latencies.items()}
        return {"since": iso(self.since), "probes": self.probes, "failed": self.failed, **rounded}


def history(session: Session, service: str, span: timedelta, now: datetime) -> tuple[timedelta, list[Bucket]]:
    """(the step, its buckets that have a probe, oldest first) of the last `span`. Raises NotFound."""
    if session.execute(text("SELECT 1 FROM services WHERE name = :name"), {"name": service}).scalar() is None:
        raise NotFound(f"there is no service {service}")
    if span <= BY_RESULTS:
        return STEP, _by_results(session, service, now - span, now)
    if span <= BY_HOURS:
        return HOUR, _by_hours(session, service, hour_of(now - span))
    return DAY, _by_days(session, service, midnight((now - span).astimezone(UTC).date()), now)


_RESULTS = """
SELECT date_bin(:step, started_at, timestamptz 'epoch') AS since, count(*) AS probes,
       count(*) FILTER (WHERE NOT ok) AS failed, min(latency_ms) AS min_ms, avg(latency_ms) AS avg_ms,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY latency_ms) AS p50_ms,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY latency_ms) AS p95_ms, max(latency_ms) AS max_ms
FROM system_health_log WHERE service = :service AND id >= :low AND id < :high GROUP BY 1 ORDER BY 1
"""
_COLUMNS = "probes, failed, latency_count, latency_sum_ms, latency_min_ms, latency_max_ms, latency_buckets"
_HOURS = f"""
SELECT hour AS since, {_COLUMNS} FROM service_hours WHERE service = :service AND hour >= :since AND probes > 0
ORDER BY hour
"""
_DAYS = f"""
SELECT day, {_COLUMNS} FROM service_days
WHERE service = :service AND day >= CAST(:since AS date) AND day < :until AND probes > 0 ORDER BY day
"""


def _by_results(session: Session, service: str, since: datetime, now: datetime) -> list[Bucket]:
    aligned = since - timedelta(seconds=since.timestamp() % STEP.total_seconds())
    bounds = {"low": ids.floor(aligned), "high": ids.floor(now + STEP), "step": STEP, "service": service}
    return [Bucket(**row._asdict()) for row in session.execute(text(_RESULTS), bounds)]


def _by_hours(session: Session, service: str, since: datetime) -> list[Bucket]:
    rows = session.execute(text(_HOURS), {"service": service, "since": since})
    return [_bucket(row.since, [row]) for row in rows]


def _by_days(session: Session, service: str, since: datetime, now: datetime) -> list[Bucket]:
    """Days that are over, then the hours of those that are not summed up yet."""
    until = days_until(session, now)
    over = session.execute(text(_DAYS), {"service": service, "since": since, "until": until})
    by_day: dict[datetime, list[Row[Any]]] = {midnight(row.day): [row] for row in over}
    recent = session.execute(text(_HOURS), {"service": service, "since": max(since, midnight(until))})
    for row in recent:
        by_day.setdefault(midnight(row.since.astimezone(UTC).date()), []).append(row)
    return [_bucket(day, rows) for day, rows in by_day.items()]


def _bucket(since: datetime, rows: Sequence[Row[Any]]) -> Bucket:
    probes, failed = sum(row.probes for row in rows), sum(row.failed for row in rows)
    count = sum(row.latency_count for row in rows)
    if not count:
        return Bucket(since, probes, failed, None, None, None, None, None)
    counts = histogram.merged(row.latency_buckets for row in rows)
    least = min(row.latency_min_ms for row in rows if row.latency_min_ms is not None)
    most = max(row.latency_max_ms for row in rows if row.latency_max_ms is not None)
    p50, p95 = (histogram.percentile(counts, percent, least=least, most=most) for percent in (50, 95))
    average = sum(row.latency_sum_ms for row in rows) / count
    return Bucket(since, probes, failed, least, average, p50, p95, most)
