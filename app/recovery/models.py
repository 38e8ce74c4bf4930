"""Tables of recovery: runs of playbooks with their steps, restarts by which budgets are counted, the global stop."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, Text, text
from sqlalchemy.dialects.postgresql import DOUBLE_PRECISION, JSONB, UUID
from sqlalchemy.orm import Mapped, mapped_column

from app.infra.db import Base


class RunRow(Base):
    """One run of a playbook for one service. `due_at`: when it is to be taken further; null while a step is under way.

    `over_at`: when its trouble was seen to be over; until then the playbook does not start by itself for the service.
    """

    __tablename__ = "recovery_runs"
    __table_args__ = (
        Index(
            "uq_recovery_runs_open",
            "playbook",
            "service",
            unique=True,
            postgresql_where=text("ended_at IS NULL"),
        ),
        Index("ix_recovery_runs_standing", "service", "playbook", postgresql_where=text("over_at IS NULL")),
        Index("ix_recovery_runs_service", "service", "created_at"),
        Index("ix_recovery_runs_incident", "incident_id", postgresql_where=text("incident_id IS NOT NULL")),
        Index("ix_recovery_runs_ended_at", "ended_at"),
    )

    id: Mapped[uuid.UUID] = mapped_column(UUID(as_uuid=True), primary_key=True)
    playbook: Mapped[str] = mapped_column(Text)
    service: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text)
    severity: Mapped[str] = mapped_column(Text)
    essential: Mapped[bool]
    runner: Mapped[str] = mapped_column(Text)
    started_by: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]
    dry_run: Mapped[bool]
    incident_id: Mapped[uuid.UUID | None] = mapped_column(UUID(as_uuid=True))
    since: Mapped[datetime | None]
    values: Mapped[dict[str, Any]] = mapped_column(JSONB)
    advice: Mapped[str] = mapped_column(Text)
    verdict: Mapped[str | None] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)
    why: Mapped[str] = mapped_column(Text)
    healthy: Mapped[bool | None]
    waits: Mapped[str | None] = mapped_column(Text)
    waits_since: Mapped[datetime | None]
    due_at: Mapped[datetime | None]
    abort_by: Mapped[str | None] = mapped_column(Text)
    ended_at: Mapped[datetime | None]
    over_at: Mapped[datetime | None]


class StepRow(Base):
    """One step of a run: what was planned, what came of it. `options` as written, with `${NAME}` for secrets."""

    __tablename__ = "recovery_steps"

    run_id: Mapped[uuid.UUID] = mapped_column(
        UUID(as_uuid=True), ForeignKey("recovery_runs.id", ondelete="CASCADE"), primary_key=True
    )
    place: Mapped[int] = mapped_column(primary_key=True)
    action: Mapped[str] = mapped_column(Text)
    effect: Mapped[str] = mapped_column(Text)
    says: Mapped[str] = mapped_column(Text)
    options: Mapped[dict[str, Any]] = mapped_column(JSONB)
    after_seconds: Mapped[float] = mapped_column(DOUBLE_PRECISION)
    escalates: Mapped[bool]
    last: Mapped[bool]
    state: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    detail: Mapped[dict[str, Any]] = mapped_column(JSONB)
    not_before: Mapped[datetime | None]
    began_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    tries: Mapped[int]
    job_id: Mapped[uuid.UUID | None] = mapped_column(UUID(as_uuid=True))


class RestartRow(Base):
    """One restart that was begun, whatever came of it: what the budgets count."""

    __tablename__ = "recovery_restarts"
    __table_args__ = (Index("ix_recovery_restarts_at", "at"),)

    run_id: Mapped[uuid.UUID] = mapped_column(UUID(as_uuid=True), primary_key=True)
    place: Mapped[int] = mapped_column(primary_key=True)
    service: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]


class StopRow(Base):
    """The one row of the global stop."""

    __tablename__ = "recovery_stop"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    stopped_at: Mapped[datetime | None]
    stopped_by: Mapped[str | None] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text, server_default="")
    changed_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
