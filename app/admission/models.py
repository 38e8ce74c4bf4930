"""Tables of admission: modes and pauses, who set them and until when; and the operations that wait."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Identity, Index, Integer, SmallInteger, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID
from sqlalchemy.orm import Mapped, mapped_column

from app.infra.db import Base


class OperationModeRow(Base):
    """One time of being held on by one holder; a mode is on while anybody holds it.

    `set_by` is who it was ("health", "person:NAME", "playbook:NAME run ID"), `holder` whose hold it is: all people
    share one, so that a second one takes over from the first. `since` is when this hold began, `on_since` when the mode
    came on.
    """

    __tablename__ = "operation_modes"
    __table_args__ = (
        Index("uq_operation_modes_open", "name", "holder", unique=True, postgresql_where=text("ended_at IS NULL")),
        Index("ix_operation_modes_name", "name", "since"),
    )

    id: Mapped[uuid.UUID] = mapped_column(UUID(as_uuid=True), primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    holder: Mapped[str] = mapped_column(Text)
    set_by: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    cause: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    fall_back: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    wait: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    since: Mapped[datetime]
    on_since: Mapped[datetime]
    until: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[str | None] = mapped_column(Text)
    version: Mapped[int] = mapped_column(BigInteger)


class ModeVersionRow(Base):
    """One row: the number of the last change. Its lock orders those who change modes."""

    __tablename__ = "mode_version"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    version: Mapped[int] = mapped_column(BigInteger, server_default="0")


class PauseRow(Base):
    """Somebody's wish that operations of a scope wait (or are denied), from a class on.

    `scope` is a field of the limiter's hash of holds: `all`, `platform:P`, `tenant:T`, `account:P/A`, `operation:O`.
    `least` is the rank of the most urgent class that it holds: 0 all of them, 3 background work only.
    """

    __tablename__ = "pauses"
    __table_args__ = (
        Index("uq_pauses_open", "scope", "holder", unique=True, postgresql_where=text("ended_at IS NULL")),
        Index("ix_pauses_until", "until", postgresql_where=text("ended_at IS NULL")),
        Index("ix_pauses_since", "since"),
    )

    id: Mapped[uuid.UUID] = mapped_column(UUID(as_uuid=True), primary_key=True)
    scope: Mapped[str] = mapped_column(Text)
    least: Mapped[int] = mapped_column(SmallInteger)
    effect: Mapped[str] = mapped_column(Text)
    holder: Mapped[str] = mapped_column(Text)
    set_by: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    since: Mapped[datetime]
    until: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[str | None] = mapped_column(Text)


class DeferralQueueRow(Base):
    """One account's queue of operations that wait. Its lock orders those who join, leave and release.

    `waiting` counts them by rank, 0 to 3. `in_flight` is the job of an operation of which only one may run at a time.
    """

    __tablename__ = "deferral_queues"
    __table_args__ = (Index("ix_deferral_queues_next_try_at", "next_try_at"),)

    account: Mapped[str] = mapped_column(Text, primary_key=True)
    waiting: Mapped[list[int]] = mapped_column(ARRAY(Integer), server_default="{0,0,0,0}")
    next_try_at: Mapped[datetime]
    last_release_at: Mapped[datetime | None]
    in_flight: Mapped[uuid.UUID | None] = mapped_column(UUID(as_uuid=True))
    blocked_by: Mapped[str] = mapped_column(Text, server_default="")


class DeferredOperationRow(Base):
    """An operation that waits, or waited: first in, first out of its account and class, by `seq`."""

    __tablename__ = "deferred_operations"
    __table_args__ = (
        Index("ix_deferred_operations_line", "account", "rank", "seq", postgresql_where=text("state = 'waiting'")),
        Index(
            "ix_deferred_operations_heads",
            "account",
            "operation",
            "rank",
            "seq",
            postgresql_where=text("state = 'waiting'"),
        ),
        Index("ix_deferred_operations_expires_at", "expires_at", postgresql_where=text("state = 'waiting'")),
        Index("ix_deferred_operations_ended_at", "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
        UniqueConstraint("account", "request_id", name="uq_deferred_operations_request"),
    )

    id: Mapped[uuid.UUID] = mapped_column(UUID(as_uuid=True), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, Identity(always=True))
    account: Mapped[str] = mapped_column(Text)
    tenant: Mapped[str | None] = mapped_column(Text)
    operation: Mapped[str] = mapped_column(Text)
    rank: Mapped[int] = mapped_column(SmallInteger)
    request_id: Mapped[str] = mapped_column(Text)
    estimate: Mapped[int] = mapped_column(BigInteger, server_default="0")
    who: Mapped[dict[str, str] | None] = mapped_column(JSONB)
    task: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    caller: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text, server_default="waiting")
    reason: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[str | None] = mapped_column(Text)
    job_id: Mapped[uuid.UUID | None] = mapped_column(UUID(as_uuid=True))
