"""The SQL of budgets: what people changed, the audit of it, thresholds that were reached. Nothing here commits."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from app import clock
from app.costs.sums import dollars
from app.infra import ids
from app.infra.db import UnitOfWork

Place = tuple[str, str]
"""A budget's name and a subject."""


@dataclass(frozen=True, slots=True)
class Change:
    """A row of what people set: `definition` of a budget that the file has not, or another amount in micro-dollars.

    `subject` "" is all of them. From `until` on the catalogue's own amount counts again.
    """

    name: str
    subject: str
    set_at: datetime
    set_by: str
    reason: str
    definition: dict[str, Any] | None = None
    amount_micro_usd: int | None = None
    until: datetime | None = None

    def document(self) -> dict[str, Any]:
        """JSON-ready, in dollars: also what the audit keeps."""
        amount = self.amount_micro_usd
        return {
            "definition": self.definition,
            "amount": None if amount is None else dollars(amount),
            "until": None if self.until is None else clock.iso(self.until),
            "set_at": clock.iso(self.set_at),
            "set_by": self.set_by,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class Crossed:
    """A threshold that was reached. `waits_until`: from when its actions take effect, while there is grace."""

    budget: str
    subject: str
    start_at: datetime
    per_mille: int
    amount_micro_usd: int
    end_at: datetime | None
    spent_micro_usd: int
    actions: tuple[str, ...]
    at: datetime
    waits_until: datetime | None = None

    @property
    def place(self) -> Place:
        """Whose it is."""
        return self.budget, self.subject


_CHANGE = "name, subject, set_at, set_by, reason, definition, amount_micro_usd, until"
_CROSSED = "budget, subject, start_at, per_mille, amount_micro_usd, end_at, spent_micro_usd, actions, at, waits_until"
_IN_FORCE = "(until IS NULL OR until > now())"


def take_turns(uow: UnitOfWork) -> datetime:
    """Whoever changes budgets or acts on them does so one after another; the database's moment.

    It is the moment after the wait: what another one committed meanwhile is older.
    """
    uow.execute("SELECT pg_advisory_xact_lock(hashtextextended('budgets', 0))")
    now: datetime = uow.execute("SELECT clock_timestamp()").scalar_one()
    return now


def changes(session: Session) -> list[Change]:
    """All that people set and that is in force."""
    found = session.execute(text(f"SELECT {_CHANGE} FROM budgets WHERE {_IN_FORCE} ORDER BY name, subject"))
    return [_change(row) for row in found]


def throttled(session: Session) -> list[Place]:
    """What is throttled now: grace is over, the period is not."""
    query = (
        "SELECT DISTINCT budget, subject FROM budget_crossings WHERE ended_at IS NULL AND 'throttle' = ANY(actions)"
        " AND (end_at IS NULL OR end_at > now()) AND (waits_until IS NULL OR waits_until <= now())"
    )
    return [(row.budget, row.subject) for row in session.execute(text(query))]


def find(uow: UnitOfWork, name: str, subject: str) -> Change | None:
    """What people set for one budget and subject, also where its time is up."""
    query = f"SELECT {_CHANGE} FROM budgets WHERE name = :name AND subject = :subject"
    row = uow.execute(query, name=name, subject=subject).one_or_none()
    return None if row is None else _change(row)


def of_budget(uow: UnitOfWork, name: str) -> list[Change]:
    """All that people set for one budget."""
    return [_change(row) for row in uow.execute(f"SELECT {_CHANGE} FROM budgets WHERE name = :name", name=name)]


def over(uow: UnitOfWork) -> list[Change]:
    """What people set until a time that has come."""
    return [_change(row) for row in uow.execute(f"SELECT {_CHANGE} FROM budgets WHERE NOT {_IN_FORCE}")]


def write(uow: UnitOfWork, change: Change) -> None:
    """Set it, instead of what was set before."""
    uow.execute(
        f"INSERT INTO budgets ({_CHANGE}) VALUES (:name, :subject, :set_at, :set_by, :reason,"
        " CAST(:definition AS jsonb), :amount_micro_usd, :until) ON CONFLICT (name, subject) DO UPDATE SET"
        " set_at = excluded.set_at, set_by = excluded.set_by, reason = excluded.reason,"
        " definition = excluded.definition, amount_micro_usd = excluded.amount_micro_usd, until = excluded.until",
        **{
            **asdict(change),
            "definition": None if change.definition is None else json.dumps(change.definition),
        },
    )


def delete(uow: UnitOfWork, name: str, subject: str) -> None:
    """Nobody has set anything there."""
    uow.execute("DELETE FROM budgets WHERE name = :name AND subject = :subject", name=name, subject=subject)


def audit(
    uow: UnitOfWork,
    name: str,
    subject: str,
    what: str,
    *,
    by: str,
    reason: str,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
) -> UUID:
    """Keep who changed what, from what to what, and why."""
    made = ids.uuid7()
    uow.execute(
        "INSERT INTO budget_changes (id, name, subject, what, by, reason, before, after) VALUES (:id, :name, :subject,"
        " :what, :by, :reason, CAST(:before AS jsonb), CAST(:after AS jsonb))",
        id=made,
        name=name,
        subject=subject,
        what=what,
        by=by,
        reason=reason,
        before=None if before is None else json.dumps(before),
        after=None if after is None else json.dumps(after),
    )
    return made


def history(
    session: Session, *, name: str | None = None, limit: int, before: UUID | None = None
) -> list[dict[str, Any]]:
    """The audit, newest first, JSON-ready. `before` continues below an id."""
    query = (
        "SELECT id, at, name, subject, what, by, reason, before, after FROM budget_changes"
        " WHERE (CAST(:name AS text) IS NULL OR name = :name) AND (CAST(:id AS uuid) IS NULL OR id < :id)"
        " ORDER BY id DESC LIMIT :limit"
    )
    rows = session.execute(text(query), {"name": name, "id": before, "limit": limit})
    return [{**row._asdict(), "id": str(row.id), "at": clock.iso(row.at)} for row in rows]


def open_crossings(uow: UnitOfWork, places: Collection[Place] | None = None) -> list[Crossed]:
    """Thresholds that are reached, of these places or of all; the lowest first."""
    of = "" if places is None else " AND (budget, subject) IN (SELECT unnest(:budgets), unnest(:subjects))"
    query = (
        f"SELECT {_CROSSED} FROM budget_crossings WHERE ended_at IS NULL{of}"
        " ORDER BY budget, subject, start_at, per_mille"
    )
    values: dict[str, Any] = {}
    if places is not None:
        values = {"budgets": [place[0] for place in places], "subjects": [place[1] for place in places]}
    return [_crossed(row) for row in uow.execute(query, **values)]


def insert_crossing(uow: UnitOfWork, crossed: Crossed) -> bool:
    """False where this threshold is reached already, in this period and at this amount.

    One that was ended (somebody set another amount, and now this one again; an interaction goes on) begins anew.
    """
    names = _CROSSED.split(", ")
    values = {**asdict(crossed), "actions": list(crossed.actions)}
    row = uow.execute(
        f"INSERT INTO budget_crossings ({_CROSSED}) VALUES ({', '.join(f':{name}' for name in names)})"
        " ON CONFLICT (budget, subject, start_at, per_mille, amount_micro_usd) DO UPDATE SET ended_at = NULL,"
        " end_at = excluded.end_at, spent_micro_usd = excluded.spent_micro_usd, actions = excluded.actions,"
        " at = excluded.at, waits_until = excluded.waits_until"
        " WHERE budget_crossings.ended_at IS NOT NULL RETURNING per_mille",
        **values,
    ).one_or_none()
    return row is not None


def end_crossings(uow: UnitOfWork, ended: Sequence[Crossed], at: datetime) -> None:
    """They are not reached any more, or their period is over."""
    _update(uow, ended, "ended_at = :at", at=at)


def end_grace(uow: UnitOfWork, due: Sequence[Crossed]) -> None:
    """Their actions are in effect."""
    _update(uow, due, "waits_until = NULL")


def _update(uow: UnitOfWork, rows: Sequence[Crossed], what: str, **values: Any) -> None:
    for row in rows:
        uow.execute(
            f"UPDATE budget_crossings SET {what} WHERE budget = :budget AND subject = :subject"
            " AND start_at = :start_at AND per_mille = :per_mille AND amount_micro_usd = :amount",
            budget=row.budget,
            subject=row.subject,
            start_at=row.start_at,
            per_mille=row.per_mille,
            amount=row.amount_micro_usd,
            **values,
        )


def _change(row: Row[Any]) -> Change:
    return Change(**row._asdict())


def _crossed(row: Row[Any]) -> Crossed:
    return Crossed(**{**row._asdict(), "actions": tuple(row.actions)})
