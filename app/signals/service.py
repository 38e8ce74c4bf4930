"""Recording facts and telling those who subscribed; each telling is a job in the same transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from app import clock, jobs
from app.errors import NotFound
from app.infra import ids
from app.infra.db import UnitOfWork
from app.infra.text import json_safe


@dataclass(frozen=True, slots=True)
class Signal:
    """A durable fact: "postgres went down". `sequence` orders the facts of one subject."""

    id: UUID
    kind: str
    subject: str
    sequence: int
    labels: dict[str, str]
    facts: dict[str, Any]
    at: datetime

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "id": str(self.id),
            "kind": self.kind,
            "subject": self.subject,
            "sequence": self.sequence,
            "labels": self.labels,
            "facts": self.facts,
            "at": clock.iso(self.at),
        }


_subscriptions: Mapping[str, tuple[str, ...]] = {}


def configure(subscriptions: Mapping[str, tuple[str, ...]]) -> None:
    """Say who is told of what: patterns of kinds ("health.*") to names of tasks (composition: SUBSCRIPTIONS)."""
    global _subscriptions
    _subscriptions = dict(subscriptions)


def handlers_of(kind: str) -> list[str]:
    """The tasks that are told of a kind, each once, in the table's order."""
    found = [task for pattern, tasks in _subscriptions.items() if fnmatchcase(kind, pattern) for task in tasks]
    return list(dict.fromkeys(found))


def record(
    uow: UnitOfWork,
    kind: str,
    subject: str,
    *,
    labels: Mapping[str, str] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Signal:
    """Write a fact in this transaction and submit a job for each handler.

    The subject's row is locked until the commit: its sequences commit in order and without gaps.
    """
    sequence = uow.execute(
        "INSERT INTO signal_subjects (subject, sequence) VALUES (:subject, 1) ON CONFLICT (subject)"
        " DO UPDATE SET sequence = signal_subjects.sequence + 1 RETURNING sequence",
        subject=subject,
    ).scalar_one()
    row = uow.execute(
        "INSERT INTO signals (id, kind, subject, sequence, labels, facts)"
        " SELECT r.id, r.kind, r.subject, r.sequence, r.labels, r.facts FROM jsonb_to_record(CAST(:row AS jsonb))"
        " AS r(id uuid, kind text, subject text, sequence bigint, labels jsonb, facts jsonb) RETURNING *",
        row=_row(kind, subject, sequence, labels or {}, facts or {}),
    ).one()
    signal = Signal(**row._asdict())
    for task in handlers_of(kind):
        jobs.submit(uow, task, signal_id=str(signal.id), caller=f"signal:{kind}")
    return signal


def _row(kind: str, subject: str, sequence: int, labels: Mapping[str, str], facts: Mapping[str, Any]) -> str:
    row = {"id": ids.uuid7(), "kind": kind, "subject": subject, "sequence": sequence, "labels": labels, "facts": facts}
    return json.dumps(json_safe(row), default=str)


def load(session: Session, signal_id: UUID) -> Signal:
    """One signal. Raises NotFound."""
    row = session.execute(text("SELECT * FROM signals WHERE id = :id"), {"id": signal_id}).one_or_none()
    if row is None:
        raise NotFound(f"no signal has the id {signal_id}")
    return Signal(**row._asdict())


def is_news(uow: UnitOfWork, handler: str, signal: Signal) -> bool:
    """Has this handler seen nothing newer of the subject? Moves its place in the same transaction, so once only."""
    moved = uow.execute(
        "INSERT INTO signal_cursors (handler, subject, sequence) VALUES (:handler, :subject, :sequence)"
        " ON CONFLICT (handler, subject) DO UPDATE SET sequence = excluded.sequence"
        " WHERE signal_cursors.sequence < excluded.sequence RETURNING sequence",
        handler=handler,
        subject=signal.subject,
        sequence=signal.sequence,
    ).one_or_none()
    return moved is not None


def timeline(
    session: Session,
    *,
    subject: str | None = None,
    kind: str | None = None,
    since: datetime | None = None,
    limit: int = 100,
    before: UUID | None = None,
) -> list[Signal]:
    """What happened, newest first. `kind` may end in `*`; `before` continues below an id."""
    conditions = {
        "subject = :subject": subject,
        "kind LIKE :kind": kind
        and kind.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_").replace("*", "%"),
        "id >= :since": since and ids.floor(since),
        "id < :before": before,
    }
    used = [condition for condition, value in conditions.items() if value is not None]
    where = f" WHERE {' AND '.join(used)}" if used else ""
    values = {condition.split(":")[1]: value for condition, value in conditions.items()}
    query = text(f"SELECT * FROM signals{where} ORDER BY id DESC LIMIT :limit")
    return [Signal(**row._asdict()) for row in session.execute(query, {**values, "limit": limit})]
