"""API keys as rows. Never commits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.access.models import KeyRow
from app.infra.db import UnitOfWork

USED_SECONDS = 60
"""How old the time of a key's last use may be."""

_COLUMNS = "id, name, hash, role, scopes, created_at, created_by, expires_at, revoked_at, revoked_by, used_at"


def make_room(uow: UnitOfWork, name: str, now: datetime) -> None:
    """Let the name of a key that has expired be used again."""
    uow.execute(
        "UPDATE api_keys SET revoked_at = :now, revoked_by = 'clock'"
        " WHERE name = :name AND revoked_at IS NULL AND expires_at <= :now",
        name=name,
        now=now,
    )


def insert(uow: UnitOfWork, row: KeyRow) -> bool:
    """Write a new key; False when one of its name is in use."""
    done = uow.execute(
        "INSERT INTO api_keys (id, name, hash, role, scopes, created_at, created_by, expires_at)"
        " VALUES (:id, :name, :hash, :role, :scopes, :created_at, :created_by, :expires_at)"
        " ON CONFLICT (name) WHERE revoked_at IS NULL DO NOTHING",
        id=row.id,
        name=row.name,
        hash=row.hash,
        role=row.role,
        scopes=row.scopes,
        created_at=row.created_at,
        created_by=row.created_by,
        expires_at=row.expires_at,
    )
    return bool(done.rowcount)


def revoke(uow: UnitOfWork, name: str, *, by: str, now: datetime) -> KeyRow | None:
    """End the key of this name; None where there is none in use."""
    row = uow.execute(
        f"UPDATE api_keys SET revoked_at = :now, revoked_by = :by WHERE name = :name AND revoked_at IS NULL"
        f" RETURNING {_COLUMNS}",
        name=name,
        by=by,
        now=now,
    ).one_or_none()
    return None if row is None else KeyRow(**row._asdict())


def read(session: Session, *, in_use_at: datetime | None = None) -> Sequence[KeyRow]:
    """All keys by name, the newest of a name first; with `in_use_at` those that are good at that time."""
    where = "" if in_use_at is None else "WHERE revoked_at IS NULL AND expires_at > :now"
    found = session.execute(
        text(f"SELECT {_COLUMNS} FROM api_keys {where} ORDER BY name, created_at DESC"),
        {} if in_use_at is None else {"now": in_use_at},
    )
    return [KeyRow(**row._asdict()) for row in found]


def touch(uow: UnitOfWork, key_id: UUID, now: datetime) -> None:
    """Note that a key was used; once a minute, whoever else notes it."""
    uow.execute(
        "UPDATE api_keys SET used_at = :now WHERE id = :id"
        " AND (used_at IS NULL OR used_at < CAST(:now AS timestamptz) - make_interval(secs => :rest))",
        id=key_id,
        now=now,
        rest=USED_SECONDS,
    )
