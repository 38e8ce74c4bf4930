"""Tables of the limiter: what its counters were a moment ago, the windows that are open, and those that are closed."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import BigInteger, Boolean, Float, Index, Integer, SmallInteger, Text, text
from sqlalchemy.dialects.postgresql import UUID
from sqlalchemy.orm import Mapped, mapped_column

from app.infra.db import Base


class LimitStateRow(Base):
    """A subject's state as the last snapshot found it: what counters are brought back from when Redis is lost."""

    __tablename__ = "limit_states"
    __table_args__ = (Index("ix_limit_states_expires_at", "expires_at"),)

    subject: Mapped[str] = mapped_column(Text, primary_key=True)
    state: Mapped[str] = mapped_column(Text)
    version: Mapped[int] = mapped_column(BigInteger)
    taken_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class LimitWindowRow(Base):
    """An open window of one subject's limit, as of the last snapshot. A rolling one starts in 1970 and has no end.

    `told_at` and `told_level` are those of the last crossing that became a signal.
    """

    __tablename__ = "limit_windows"
    __table_args__ = (
        Index("ix_limit_windows_share", "limit_name", "share", "subject"),
        Index("ix_limit_windows_end_at", "end_at"),
        Index("ix_limit_windows_told", "subject", postgresql_where=text("told_level > 0 AND end_at IS NULL")),
    )

    subject: Mapped[str] = mapped_column(Text, primary_key=True)
    limit_name: Mapped[str] = mapped_column(Text, primary_key=True)
    start_at: Mapped[datetime] = mapped_column(primary_key=True)
    end_at: Mapped[datetime | None]
    capacity: Mapped[int] = mapped_column(BigInteger)
    used: Mapped[int] = mapped_column(BigInteger, server_default="0")
    peak: Mapped[int] = mapped_column(BigInteger, server_default="0")
    refused: Mapped[int] = mapped_column(BigInteger, server_default="0")
    deferred: Mapped[int] = mapped_column(BigInteger, server_default="0")
    share: Mapped[float] = mapped_column(Float, server_default="0")
    version: Mapped[int] = mapped_column(BigInteger, server_default="0")
    taken_at: Mapped[datetime]
    told_at: Mapped[datetime | None]
    told_level: Mapped[int] = mapped_column(SmallInteger, server_default="0")


class LimitLogRow(Base):
    """A closed window, in the day's partition of its id, which is made of its start and names: it is closed once.

    `full_in_a_row` counts the windows in a row, this one the last, in which all was used.
    """

    __tablename__ = "rate_limit_log"
    __table_args__ = (
        Index("ix_rate_limit_log_subject", "subject", "limit_name", "start_at"),
        {"postgresql_partition_by": "RANGE (id)"},
    )

    id: Mapped[uuid.UUID] = mapped_column(UUID(as_uuid=True), primary_key=True)
    subject: Mapped[str] = mapped_column(Text)
    limit_name: Mapped[str] = mapped_column(Text)
    start_at: Mapped[datetime]
    end_at: Mapped[datetime]
    capacity: Mapped[int] = mapped_column(BigInteger)
    used: Mapped[int] = mapped_column(BigInteger)
    peak: Mapped[int] = mapped_column(BigInteger)
    refused: Mapped[int] = mapped_column(BigInteger)
    deferred: Mapped[int] = mapped_column(BigInteger)
    full: Mapped[bool] = mapped_column(Boolean)
    full_in_a_row: Mapped[int] = mapped_column(Integer, server_default="0")
    closed_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
