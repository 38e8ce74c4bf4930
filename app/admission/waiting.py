"""Who waits, as lists and pages show it: queues of accounts, and operations in them. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from app.admission.limit_document import Queued

_TOTAL = "waiting[1] + waiting[2] + waiting[3] + waiting[4]"
_QUEUES = f"SELECT account, waiting, next_try_at, blocked_by FROM deferral_queues WHERE {_TOTAL} > 0"
_QUEUED = """
    SELECT operation, count(*) AS waiting, min(created_at) AS oldest_at FROM deferred_operations
     WHERE state = 'waiting' AND operation = ANY(:operations)"""


@dataclass(frozen=True, slots=True)
class Line:
    """One account's queue. `by_rank` counts its operations by class; `blocked_by` is for what its head waits."""

    account: str
    by_rank: tuple[int, ...]
    next_try_at: datetime
    blocked_by: str

    @property
    def total(self) -> int:
        return sum(self.by_rank)


def line_of(session: Session, account: str) -> Line | None:
    """The queue of `PLATFORM/NAME`; None where nobody waits."""
    row = session.execute(text(f"{_QUEUES} AND account = :account"), {"account": account}).one_or_none()
    return None if row is None else _line(row)


def longest(session: Session, limit: int) -> list[Line]:
    """The queues in which most wait."""
    query = text(f"{_QUEUES} ORDER BY {_TOTAL} DESC, account LIMIT :limit")
    return [_line(row) for row in session.execute(query, {"limit": limit})]


def totals(session: Session) -> tuple[int, int]:
    """How many accounts have a queue, and how many operations wait in all of them."""
    query = f"SELECT count(*), coalesce(sum({_TOTAL}), 0) FROM deferral_queues WHERE {_TOTAL} > 0"
    queues, operations = session.execute(text(query)).one()
    return int(queues), int(operations)


def queued(
    session: Session, operations: Sequence[str], *, account: str | None = None, tenant: str | None = None
) -> list[Queued]:
    """Operations of these names that wait, the most first: of one account, of one tenant, or of all."""
    wanted: dict[str, Any] = {"operations": list(operations)}
    query = _QUEUED
    for name, value in (("account", account), ("tenant", tenant)):
        if value is not None:
            query += f" AND {name} = :{name}"
            wanted[name] = value
    rows = session.execute(text(f"{query} GROUP BY operation ORDER BY count(*) DESC, operation"), wanted)
    return [Queued(row.operation, row.waiting, row.oldest_at) for row in rows]


def _line(row: Row[Any]) -> Line:
    return Line(row.account, tuple(row.waiting), row.next_try_at, row.blocked_by)
