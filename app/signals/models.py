"""Tables of signals: the facts themselves (the operators' timeline), each subject's counter, each handler's place."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, Text, text
from sqlalchemy.dialects.postgresql import JSONB, UUID
from sqlalchemy.orm import Mapped, mapped_column

from app.infra.db import Base


class SignalRow(Base):
    """One durable fact. `sequence` counts the facts of a subject from 1 without gaps that commit out of order."""

    __tablename__ = "signals"
    __table_args__ = (
        Index("ix_signals_subject", "subject", "id"),
        Index("ix_signals_kind", "kind", "id"),
        {"postgresql_partition_by": "RANGE (id)"},
    )

    id: Mapped[uuid.UUID] = mapped_column(UUID(as_uuid=True), primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)
    sequence: Mapped[int] = mapped_column(BigInteger)
    labels: Mapped[dict[str, str]] = mapped_column(JSONB)
    facts: Mapped[dict[str, Any]] = mapped_column(JSONB)
    at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class SignalSubject(Base):
    """The last sequence given to a subject; its row lock orders the subject's writers."""

    __tablename__ = "signal_subjects"

    subject: Mapped[str] = mapped_column(Text, primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger)


class SignalCursor(Base):
    """The newest sequence of a subject that a handler has acted on."""

    __tablename__ = "signal_cursors"

    handler: Mapped[str] = mapped_column(Text, primary_key=True)
    subject: Mapped[str] = mapped_column(Text, primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger)
