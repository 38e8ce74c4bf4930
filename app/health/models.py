"""Tables of health: each service with its state, every stored result, every incident, and what they add up to."""

from __future__ import annotations

import uuid
from datetime import date, datetime
from typing import Any

from sqlalchemy import BigInteger, Index, Integer, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, DOUBLE_PRECISION, JSONB, REAL, TSTZMULTIRANGE, UUID
from sqlalchemy.orm import Mapped, mapped_column

from app.infra.db import Base


class ServiceRow(Base):
    """One service of the catalogue: how it is watched, what it is now. `present`: still in the catalogue."""

    __tablename__ = "services"
    __table_args__ = (
        Index("ix_services_due", "next_check_at", postgresql_where=text("present AND watched_by = 'engine'")),
        Index("ix_services_depends_on", "depends_on", postgresql_using="gin"),
    )

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    spec_digest: Mapped[str] = mapped_column(Text)
    present: Mapped[bool] = mapped_column(server_default=text("true"))
    watched_by: Mapped[str] = mapped_column(Text)
    essential: Mapped[bool]
    severity: Mapped[str] = mapped_column(Text)
    depends_on: Mapped[list[str]] = mapped_column(ARRAY(Text))
    interval_seconds: Mapped[float] = mapped_column(DOUBLE_PRECISION)
    confirm_interval_seconds: Mapped[float] = mapped_column(DOUBLE_PRECISION)
    timeout_seconds: Mapped[float] = mapped_column(DOUBLE_PRECISION)
    failures_to_down: Mapped[int]
    successes_to_up: Mapped[int]
    registered_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    next_check_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    state: Mapped[str] = mapped_column(Text, server_default="unknown")
    since: Mapped[datetime | None]
    failures: Mapped[int] = mapped_column(server_default="0")
    successes: Mapped[int] = mapped_column(server_default="0")
    first_failure_at: Mapped[datetime | None]
    first_success_at: Mapped[datetime | None]
    last_started_at: Mapped[datetime | None]
    last_finished_at: Mapped[datetime | None]
    last_result: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    latency_ms: Mapped[float | None] = mapped_column(REAL)
    warning: Mapped[bool] = mapped_column(server_default=text("false"))
    history: Mapped[str] = mapped_column(Text, server_default="")
    flapping: Mapped[bool] = mapped_column(server_default=text("false"))
    announced: Mapped[str] = mapped_column(Text, server_default="unknown")
    open_incident_id: Mapped[uuid.UUID | None] = mapped_column(UUID(as_uuid=True))
    last_heartbeat_at: Mapped[datetime | None]


class HealthLogRow(Base):
    """One stored result; the id's time is the moment its probe started. `source`: engine or watchdog."""

    __tablename__ = "system_health_log"
    __table_args__ = (
        Index("ix_system_health_log_service", "service", "id"),
        {"postgresql_partition_by": "RANGE (id)"},
    )

    id: Mapped[uuid.UUID] = mapped_column(UUID(as_uuid=True), primary_key=True)
    service: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    ok: Mapped[bool]
    latency_ms: Mapped[float | None] = mapped_column(REAL)
    readings: Mapped[dict[str, Any]] = mapped_column(JSONB)
    error_code: Mapped[str | None] = mapped_column(Text)
    error: Mapped[str | None] = mapped_column(Text)
    started_at: Mapped[datetime]
    source: Mapped[str] = mapped_column(Text)
    in_maintenance: Mapped[bool]


class IncidentRow(Base):
    """One time of being down, from the first failing moment to the first good one. `outcome`: recovered or removed."""

    __tablename__ = "incidents"
    __table_args__ = (
        Index("uq_incidents_open", "service", unique=True, postgresql_where=text("recovered_at IS NULL")),
        Index("ix_incidents_service", "service", "started_at"),
        Index("ix_incidents_started_at", "started_at"),
        Index("ix_incidents_recovered_at", "recovered_at"),
    )

    id: Mapped[uuid.UUID] = mapped_column(UUID(as_uuid=True), primary_key=True)
    service: Mapped[str] = mapped_column(Text)
    started_at: Mapped[datetime]
    detected_at: Mapped[datetime]
    recovered_at: Mapped[datetime | None]
    outcome: Mapped[str | None] = mapped_column(Text)
    severity: Mapped[str] = mapped_column(Text)
    error_code: Mapped[str | None] = mapped_column(Text)
    error: Mapped[str | None] = mapped_column(Text)
    in_maintenance: Mapped[bool]
    failures: Mapped[int]


class ServiceHourRow(Base):
    """What one service was in one hour (UTC); `service` is "*" for the stack as a whole.

    Milliseconds: known (vouched for, outside maintenance), of them down and degraded; excluded (maintenance). The rest
    of the hour is not known. `down_spans`: when exactly it was down. `latency_buckets`: see histogram.BOUNDS_MS.
    """

    __tablename__ = "service_hours"
    __table_args__ = (
        Index("ix_service_hours_service", "service", "hour"),
        Index("ix_service_hours_down", "hour", postgresql_where=text("down_spans IS NOT NULL")),
    )

    hour: Mapped[datetime] = mapped_column(primary_key=True)
    service: Mapped[str] = mapped_column(Text, primary_key=True)
    known_ms: Mapped[int]
    down_ms: Mapped[int]
    degraded_ms: Mapped[int]
    excluded_ms: Mapped[int]
    probes: Mapped[int]
    failed: Mapped[int]
    latency_count: Mapped[int]
    latency_sum_ms: Mapped[float] = mapped_column(DOUBLE_PRECISION)
    latency_min_ms: Mapped[float | None] = mapped_column(REAL)
    latency_max_ms: Mapped[float | None] = mapped_column(REAL)
    latency_buckets: Mapped[list[int] | None] = mapped_column(ARRAY(Integer))
    down_spans: Mapped[Any | None] = mapped_column(TSTZMULTIRANGE)


class ServiceDayRow(Base):
    """The sum of a service's hours of one day (UTC) that is over."""

    __tablename__ = "service_days"
    __table_args__ = (Index("ix_service_days_service", "service", "day"),)

    day: Mapped[date] = mapped_column(primary_key=True)
    service: Mapped[str] = mapped_column(Text, primary_key=True)
    known_ms: Mapped[int]
    down_ms: Mapped[int]
    degraded_ms: Mapped[int]
    excluded_ms: Mapped[int]
    probes: Mapped[int]
    failed: Mapped[int]
    latency_count: Mapped[int]
    latency_sum_ms: Mapped[float] = mapped_column(DOUBLE_PRECISION)
    latency_min_ms: Mapped[float | None] = mapped_column(REAL)
    latency_max_ms: Mapped[float | None] = mapped_column(REAL)
    latency_buckets: Mapped[list[int] | None] = mapped_column(ARRAY(Integer))


class RollupClockRow(Base):
    """One row: the last pass of the rollup, and the first day that has no sums yet (its hours are read instead)."""

    __tablename__ = "rollup_clock"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    rolled_at: Mapped[datetime | None]
    days_until: Mapped[date | None]


class RollupBacklogRow(Base):
    """Hours from `since` until before `until` that must be rolled up anew, because something was stored late."""

    __tablename__ = "rollup_backlog"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    since: Mapped[datetime]
    until: Mapped[datetime]


class SloBurnRow(Base):
    """An error budget that burns too fast now: `speed` is fast or slow, `service` is "*" for the stack."""

    __tablename__ = "slo_burns"

    service: Mapped[str] = mapped_column(Text, primary_key=True)
    speed: Mapped[str] = mapped_column(Text, primary_key=True)
    severity: Mapped[str] = mapped_column(Text)
    since: Mapped[datetime]
