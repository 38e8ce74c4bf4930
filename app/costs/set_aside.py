"""Calls that are set aside, for people: listed, shown, replayed through the usual way, or dropped with a reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from app.costs import recording
from app.errors import Conflict, Invalid, NotFound, Problem
from app.infra import ids
from app.infra.db import UnitOfWork, unit_of_work
from app.infra.plain import plain
from app.infra.text import storable

LONGEST_REASON = 500

_COLUMNS = "id, at, reason, detail, event_id, source, replayed_at, replayed_by, outcome"


@dataclass(frozen=True, slots=True)
class Found:
    """One of them. `outcome`: "replayed" or "dropped: REASON", None while it waits; `call`: as it was sent."""

    id: UUID
    at: datetime
    reason: str
    detail: str
    event_id: str
    source: str
    replayed_at: datetime | None
    replayed_by: str | None
    outcome: str | None
    call: Mapping[str, Any] | None = None

    def document(self) -> dict[str, Any]:
        """JSON-ready; without the call where it was not read."""
        found: dict[str, Any] = plain(self)
        return found if self.call is not None else {name: found[name] for name in found if name != "call"}


def list_all(
    session: Session, *, waiting: bool = True, reason: str | None = None, limit: int = 50, before: UUID | None = None
) -> list[Found]:
    """The newest first, without the calls themselves. `waiting`: only those that nobody dealt with."""
    conditions = {
        "replayed_at IS NULL": waiting,
        "reason = :reason": reason is not None,
        "id < :before": before is not None,
    }
    used = " AND ".join(condition for condition, is_used in conditions.items() if is_used)
    query = text(f"SELECT {_COLUMNS} FROM cost_set_aside WHERE {used or 'true'} ORDER BY id DESC LIMIT :limit")
    return [Found(*row) for row in session.execute(query, {"reason": reason, "before": before, "limit": limit})]


def get(session: Session, identifier: UUID) -> Found:
    """One of them with its call. Raises NotFound."""
    return _found(session.execute(text(_ONE), {"id": identifier}).one_or_none(), identifier)


_ONE = f"SELECT {_COLUMNS}, call FROM cost_set_aside WHERE id = :id"


def replay(identifier: UUID, *, by: str, now: datetime, force: bool = False) -> Found:
    """Record the call as if it came now, and wait until it is in Postgres. `force`: whatever the time of its id.

    It is written down before it is said to be replayed: whatever fails leaves it waiting, and what is replayed twice is
    known by its id. Raises NotFound, Conflict where somebody dealt with it, Invalid where it cannot be recorded.
    """
    with unit_of_work() as uow:  # held until it is recorded, so that nobody drops it meanwhile
        found = _locked(uow, identifier)
        _refuse_done(found)
        if not force:
            _refuse_outside(found, now)
        recording.replay(dict(found.call or {}), force=force)
        return _end(uow, identifier, by, now, "replayed")


def drop(identifier: UUID, *, by: str, now: datetime, why: str) -> Found:
    """Deal with it by not counting it, and say why. Raises NotFound, Conflict where somebody dealt with it, Invalid."""
    reason = storable(why.strip(), limit=LONGEST_REASON)
    if not reason:
        raise Invalid([Problem("reason", "must say why the call is not counted")])
    with unit_of_work() as uow:
        _refuse_done(_locked(uow, identifier))
        return _end(uow, identifier, by, now, f"dropped: {reason}")


def _end(uow: UnitOfWork, identifier: UUID, by: str, now: datetime, outcome: str) -> Found:
    uow.execute(
        "UPDATE cost_set_aside SET replayed_at = :now, replayed_by = :by, outcome = :outcome WHERE id = :id",
        id=identifier,
        now=now,
        by=storable(by, limit=LONGEST_REASON),
        outcome=outcome,
    )
    return get(uow.session, identifier)


def _locked(uow: UnitOfWork, identifier: UUID) -> Found:
    return _found(uow.execute(f"{_ONE} FOR UPDATE", id=identifier).one_or_none(), identifier)


def _found(row: Row[Any] | None, identifier: UUID) -> Found:
    if row is None:
        raise NotFound(f"no call that is set aside has the id {identifier}")
    return Found(**row._asdict())


def _refuse_done(found: Found) -> None:
    if found.replayed_at is not None:
        raise Conflict(f"{found.replayed_by} has dealt with it already: {found.outcome}")


def _refuse_outside(found: Found, now: datetime) -> None:
    try:
        at = ids.time_of(UUID(str((found.call or {}).get("id"))))
    except ValueError:
        return
    except OverflowError:  # beyond the calendar's end
        at = datetime.max.replace(tzinfo=UTC)
    if not now - recording.PAST <= at <= now + recording.AHEAD:
        raise Invalid([Problem("force", "is needed: the time of its id lies too far back or ahead")], subject="replay")
