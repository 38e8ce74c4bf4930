"""Tables of the ledger. `jobs` holds the unfinished only and stays small; `job_history` holds the finished, by day."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, Index, Integer, SmallInteger, Text, text
from sqlalchemy.dialects.postgresql import JSONB, UUID
from sqlalchemy.orm import Mapped, mapped_column

from app.infra.db import Base

_UNCLAIMED = text("state IN ('scheduled', 'rung') AND key IS NOT NULL")


class Job(Base):
    """An unfinished job. Leases, `not_before` and `rung_at` are on the database's clock."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_due", "queue", "priority", "not_before", postgresql_where=text("state = 'scheduled'")),
        Index("ix_jobs_not_before", "not_before", postgresql_where=text("state = 'scheduled'")),
        Index("ix_jobs_rung", "queue", "rung_at", postgresql_where=text("state = 'rung'")),
        Index("ix_jobs_lease", "lease_until", postgresql_where=text("state = 'running'")),
        Index(
            "ix_jobs_expires_at", "expires_at", postgresql_where=text("expires_at IS NOT NULL AND state <> 'running'")
        ),
        Index("uq_jobs_unclaimed_key", "task", "key", unique=True, postgresql_where=_UNCLAIMED),
    )

    id: Mapped[uuid.UUID] = mapped_column(UUID(as_uuid=True), primary_key=True)
    task: Mapped[str] = mapped_column(Text)
    queue: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    priority: Mapped[int] = mapped_column(SmallInteger)
    kwargs: Mapped[dict[str, Any]] = mapped_column(JSONB)
    key: Mapped[str | None] = mapped_column(Text)
    attempt: Mapped[int] = mapped_column(Integer, server_default="0")
    max_attempts: Mapped[int] = mapped_column(Integer)
    ring_count: Mapped[int] = mapped_column(Integer, server_default="0")
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    not_before: Mapped[datetime] = mapped_column(server_default=text("now()"))
    expires_at: Mapped[datetime | None]
    rung_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    lease_until: Mapped[datetime | None]
    worker: Mapped[str | None] = mapped_column(Text)
    cancel_requested: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    callback: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    caller: Mapped[str | None] = mapped_column(Text)
    request_id: Mapped[str | None] = mapped_column(Text)


class FinishedJob(Base):
    """A finished job: the day's partition of its id."""

    __tablename__ = "job_history"
    __table_args__ = (
        Index("ix_job_history_dead", "id", postgresql_where=text("state = 'dead'")),
        Index("ix_job_history_died", "finished_at", postgresql_where=text("state = 'dead'")),
        Index("ix_job_history_task", "task", "id"),
        Index("ix_job_history_caller", "caller", "id"),
        {"postgresql_partition_by": "RANGE (id)"},
    )

    id: Mapped[uuid.UUID] = mapped_column(UUID(as_uuid=True), primary_key=True)
    task: Mapped[str] = mapped_column(Text)
    queue: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    priority: Mapped[int] = mapped_column(SmallInteger)
    kwargs: Mapped[dict[str, Any]] = mapped_column(JSONB)
    key: Mapped[str | None] = mapped_column(Text)
    attempt: Mapped[int] = mapped_column(Integer)
    max_attempts: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime]
    not_before: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    worker: Mapped[str | None] = mapped_column(Text)
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    result: Mapped[Any | None] = mapped_column(JSONB)
    callback: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    caller: Mapped[str | None] = mapped_column(Text)
    request_id: Mapped[str | None] = mapped_column(Text)


class IdempotencyKey(Base):
    """What a caller's key was answered with; kept `idempotency_hours`."""

    __tablename__ = "idempotency_keys"

    caller: Mapped[str] = mapped_column(Text, primary_key=True)
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    body_hash: Mapped[str] = mapped_column(Text)
    job_id: Mapped[uuid.UUID] = mapped_column(UUID(as_uuid=True))
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"), index=True)


class QueuePause(Base):
    """A queue an operator has paused: nothing of it is rung or claimed until it is resumed."""

    __tablename__ = "queue_pauses"

    queue: Mapped[str] = mapped_column(Text, primary_key=True)
    paused_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    paused_by: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text, server_default="")


class ScheduleEntry(Base):
    """Durable state of one named entry of the timetable. `next_due_at` is set for dated entries only."""

    __tablename__ = "schedule"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    next_due_at: Mapped[datetime | None]
    last_due_at: Mapped[datetime | None]
    last_run_at: Mapped[datetime | None]
    last_outcome: Mapped[str | None] = mapped_column(Text)
    last_duration_ms: Mapped[int | None] = mapped_column(BigInteger)
    last_error: Mapped[str | None] = mapped_column(Text)
    timing: Mapped[str | None] = mapped_column(Text)
    paused_at: Mapped[datetime | None]
    paused_by: Mapped[str | None] = mapped_column(Text)
    pause_reason: Mapped[str | None] = mapped_column(Text)


class Notice(Base):
    """Something an operator must be told once, however often it happens."""

    __tablename__ = "notices"

    key: Mapped[str] = mapped_column(Text, primary_key=True)
    message: Mapped[str] = mapped_column(Text)
    first_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    last_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    count: Mapped[int] = mapped_column(BigInteger, server_default="1")
