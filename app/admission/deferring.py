"""Operations that wait are rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app.infra.db import UnitOfWork
from app.limits.core import Decision


@dataclass(frozen=True, slots=True)
class Wanted:
    """An operation that shall wait."""

    account: str
    tenant: str | None
    operation: str
    rank: int
    request_id: str
    estimate: int
    task: dict[str, Any] | None
    caller: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Deferred:
    """It waits."""

    id: UUID
    position: int
    until: datetime | None
    state: str
    replayed: bool


@dataclass(frozen=True, slots=True)
class DeferredView:
    """As it is shown."""

    id: UUID
    state: str
    position: int | None
    until: datetime | None
    job_id: UUID | None


def defer_many(uow: UnitOfWork, wanted: Sequence[Wanted], decisions: Sequence[Decision | None]) -> list[Deferred]:
    """Write them down."""
    raise NotImplementedError


def find(session: Session, line: str, request_id: str) -> DeferredView | None:
    """The one of that id."""
    raise NotImplementedError
