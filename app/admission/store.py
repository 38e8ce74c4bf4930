"""The SQL of modes. Nothing here commits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from app.admission.core import Condition, Hold, ServiceNow
from app.infra.db import UnitOfWork

_COLUMNS = "id, name, holder, set_by, reason, cause, fall_back, wait, since, on_since, until"

# One statement: the version and the holds are of the same moment.
_READ = f"""
    SELECT v.version, now() AS as_of, {", ".join(f"m.{name}" for name in _COLUMNS.split(", "))}
      FROM mode_version v LEFT JOIN operation_modes m ON m.ended_at IS NULL
     WHERE v.id = 1 ORDER BY m.name, m.since, m.id"""

_INSERT = f"""
    INSERT INTO operation_modes ({_COLUMNS}, version)
    VALUES ({", ".join(f":{name}" for name in _COLUMNS.split(", "))}, :version)"""

_UPDATE = """
    UPDATE operation_modes SET set_by = :set_by, reason = :reason, cause = :cause, fall_back = :fall_back,
           wait = :wait, until = :until, version = :version
     WHERE id = :id"""


def lock(uow: UnitOfWork) -> None:
    """Be the only one who changes modes until this transaction ends."""
    uow.execute("SELECT version FROM mode_version WHERE id = 1 FOR UPDATE")


def next_version(uow: UnitOfWork) -> int:
    """The number of the change that this transaction makes."""
    statement = "UPDATE mode_version SET version = version + 1 WHERE id = 1 RETURNING version"
    return int(uow.execute(statement).scalar_one())


def read(session: Session) -> tuple[int, datetime, list[Hold]]:
    """The number of the last change, the moment, and every hold, by the modes' names."""
    rows = session.execute(text(_READ)).all()
    return rows[0].version, rows[0].as_of, [_hold(row) for row in rows if row.id is not None]


def insert(uow: UnitOfWork, hold: Hold, *, version: int) -> None:
    """A hold begins. The partial unique index allows one open hold of a holder on a mode."""
    uow.execute(_INSERT, **_parameters(hold), version=version)


def update(uow: UnitOfWork, hold: Hold, *, version: int) -> None:
    """A hold goes on as something else."""
    uow.execute(_UPDATE, **_parameters(hold), version=version)


def end(uow: UnitOfWork, hold_id: UUID, *, at: datetime, by: str, version: int) -> None:
    """A hold ends."""
    uow.execute(
        "UPDATE operation_modes SET ended_at = greatest(:at, since), ended_by = :by, version = :version WHERE id = :id",
        id=hold_id,
        at=at,
        by=by,
        version=version,
    )


def services(uow: UnitOfWork, names: Sequence[str]) -> dict[str, ServiceNow]:
    """How the services of these names stand; one that left the catalogue is left out.

    What was announced is the state, but for a service that flaps: then it is what people were last told.
    """
    query = "SELECT name, announced, since FROM services WHERE present AND name = ANY(:names)"
    rows = uow.execute(query, names=list(names))
    return {row.name: ServiceNow(_CONDITIONS.get(row.announced, Condition.NOT_DOWN), row.since) for row in rows}


def down(session: Session, names: Sequence[str]) -> list[str]:
    """Which of these services were announced as down, in order."""
    query = "SELECT name FROM services WHERE present AND announced = 'down' AND name = ANY(:names) ORDER BY name"
    return list(session.execute(text(query), {"names": list(names)}).scalars())


_CONDITIONS = {"down": Condition.DOWN, "unknown": Condition.UNKNOWN}


def _hold(row: Row[Any]) -> Hold:
    return Hold(
        id=row.id,
        name=row.name,
        holder=row.holder,
        set_by=row.set_by,
        reason=row.reason,
        cause=tuple(row.cause),
        fall_back=tuple(row.fall_back),
        wait=tuple(row.wait),
        since=row.since,
        on_since=row.on_since,
        until=row.until,
    )


def _parameters(hold: Hold) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(hold).items()}
