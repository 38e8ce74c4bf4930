"""Tables of modes: each time somebody held a mode on, and the number of the last change."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import BigInteger, Index, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, UUID
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
