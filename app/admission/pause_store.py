"""The SQL of pauses. Nothing here commits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from app import clock
from app.catalog import CLASSES
from app.infra.db import UnitOfWork


@dataclass(frozen=True, slots=True)
class Pause:
    """One holder's pause of a scope. It stops operations of the class with rank `least` and of all that go after it."""

    id: UUID
    scope: str
    least: int
    effect: str
    holder: str
    set_by: str
    reason: str
    since: datetime
    until: datetime | None = None

    def document(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "id": str(self.id),
            "scope": self.scope,
            "class": CLASSES[self.least],
            "effect": self.effect,
            "holder": self.holder,
            "set_by": self.set_by,
            "reason": self.reason,
            "since": clock.iso(self.since),
            "until": None if self.until is None else clock.iso(self.until),
        }

    def is_over(self, now: datetime) -> bool:
        """Has the time passed for which it was wanted?"""
        return self.until is not None and self.until <= now


_COLUMNS = "id, scope, least, effect, holder, set_by, reason, since, until"

_INSERT = f"""
    INSERT INTO pauses ({_COLUMNS}) VALUES ({", ".join(f":{name}" for name in _COLUMNS.split(", "))})"""

_UPDATE = """
    UPDATE pauses SET least = :least, effect = :effect, set_by = :set_by, reason = :reason, until = :until
     WHERE id = :id"""

_TAKE_TURNS = "SELECT pg_advisory_xact_lock(hashtextextended('pause: ' || :scope, 0))"


def take_turns(uow: UnitOfWork, scope: str) -> list[Pause]:
    """The open pauses of a scope, oldest first; nobody else changes them until this transaction ends."""
    uow.execute(_TAKE_TURNS, scope=scope)
    query = f"SELECT {_COLUMNS} FROM pauses WHERE scope = :scope AND ended_at IS NULL ORDER BY since, id FOR UPDATE"
    return [_pause(row) for row in uow.execute(query, scope=scope)]


def due(uow: UnitOfWork, *, limit: int) -> tuple[datetime, list[Pause]]:
    """The database's moment, and pauses whose time is up by it, those that are longest over first."""
    query = (
        f"SELECT {_COLUMNS} FROM pauses WHERE ended_at IS NULL AND until <= now()"
        " ORDER BY until, id LIMIT :limit FOR UPDATE SKIP LOCKED"
    )
    now: datetime = uow.execute("SELECT now()").scalar_one()
    return now, [_pause(row) for row in uow.execute(query, limit=limit)]


def insert(uow: UnitOfWork, pause: Pause) -> None:
    """A pause begins. The partial unique index allows one open pause of a holder on a scope."""
    uow.execute(_INSERT, **asdict(pause))


def update(uow: UnitOfWork, pause: Pause) -> None:
    """A pause goes on as something else."""
    uow.execute(_UPDATE, **asdict(pause))


def end(uow: UnitOfWork, pause_id: UUID, *, at: datetime, by: str) -> None:
    """A pause ends."""
    uow.execute(
        "UPDATE pauses SET ended_at = greatest(:at, since), ended_by = :by WHERE id = :id", id=pause_id, at=at, by=by
    )


def read(session: Session, *, scopes: Sequence[str] | None = None, limit: int | None = None) -> list[Pause]:
    """Pauses whose time is not up, oldest first; of all scopes without `scopes`."""
    of = "" if scopes is None else " AND scope = ANY(:scopes)"
    query = (
        f"SELECT {_COLUMNS} FROM pauses WHERE ended_at IS NULL AND (until IS NULL OR until > now()){of}"
        " ORDER BY since, id LIMIT :limit"
    )
    values = {"limit": limit} if scopes is None else {"limit": limit, "scopes": list(scopes)}
    return [_pause(row) for row in session.execute(text(query), values)]


def count(session: Session) -> int:
    """How many pauses hold now."""
    query = "SELECT count(*) FROM pauses WHERE ended_at IS NULL AND (until IS NULL OR until > now())"
    return int(session.execute(text(query)).scalar_one())


def _pause(row: Row[Any]) -> Pause:
    return Pause(**row._asdict())
