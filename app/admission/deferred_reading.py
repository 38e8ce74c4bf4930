"""Operations that wait, or waited, as they are shown. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from app.catalog import CLASSES
from app.errors import NotFound

FEW = 1000
"""Positions of many are counted up to here: who is farther back is told this."""


@dataclass(frozen=True, slots=True)
class DeferredView:
    """As it is shown. `position` and `until`, when its queue is looked at next, only while it waits.

    `estimate` is in millionths of a dollar, `task` the name of the job that follows.
    """

    id: UUID
    account: str
    tenant: str | None
    operation: str
    urgency: str
    request_id: str
    estimate: int
    task: str | None
    caller: str
    state: str
    reason: str
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    ended_by: str | None
    position: int | None
    until: datetime | None
    job_id: UUID | None


_SHOWN = """
    SELECT d.id, d.account, d.tenant, d.operation, d.rank, d.request_id, d.estimate, d.task ->> 'task' AS task,
           d.caller, d.state, d.reason, d.created_at, d.expires_at, d.ended_at, d.ended_by, d.job_id, q.next_try_at
      FROM deferred_operations d
      LEFT JOIN deferral_queues q ON q.account = d.account AND d.state = 'waiting'"""


def find(session: Session, line: str, request_id: str) -> DeferredView | None:
    """The one of an account (`PLATFORM/NAME`) that waits or waited under the caller's id."""
    return find_many(session, [(line, request_id)]).get((line, request_id))


def find_many(session: Session, ids: Sequence[tuple[str, str]]) -> dict[tuple[str, str], DeferredView]:
    """The same for many, each an account and an id."""
    query = (
        f"{_SHOWN} JOIN unnest(CAST(:accounts AS text[]), CAST(:request_ids AS text[])) AS w(account, request_id)"
        " ON d.account = w.account AND d.request_id = w.request_id"
    )
    wanted = {"accounts": [account for account, _ in ids], "request_ids": [request_id for _, request_id in ids]}
    return {(view.account, view.request_id): view for view in _views(session, query, wanted)}


def get(session: Session, deferred_id: UUID) -> DeferredView:
    """One. Raises NotFound."""
    found = _views(session, f"{_SHOWN} WHERE d.id = :id", {"id": deferred_id})
    if not found:
        raise NotFound(f"no operation that waits or waited has the id {deferred_id}")
    return found[0]


def list_deferred(
    session: Session,
    *,
    state: str | None = None,
    account: str | None = None,
    operation: str | None = None,
    tenant: str | None = None,
    caller: str | None = None,
    limit: int = 100,
    before: UUID | None = None,
) -> list[DeferredView]:
    """Newest first; `account` is `PLATFORM/NAME`, `before` continues below an id."""
    wanted: dict[str, Any] = {
        "state": state,
        "account": account,
        "operation": operation,
        "tenant": tenant,
        "caller": caller,
    }
    used = {name: value for name, value in wanted.items() if value is not None}
    conditions = [f"d.{name} = :{name}" for name in used]
    if before is not None:
        conditions.append("d.id < :before")
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    query = f"{_SHOWN}{where} ORDER BY d.id DESC LIMIT :limit"
    return _views(session, query, {**used, "before": before, "limit": limit}, most=FEW)


_POSITIONS = """
    SELECT d.id, (SELECT count(*) FROM (
             SELECT 1 FROM deferred_operations b WHERE b.account = d.account AND b.state = 'waiting'
                AND (b.rank, b.seq) <= (d.rank, d.seq) LIMIT :most) AS before) AS position
      FROM deferred_operations d WHERE d.id = ANY(:ids) AND d.state = 'waiting'"""


def positions(session: Session, ids: Sequence[UUID], *, most: int) -> dict[UUID, int]:
    """The places in their queues, from 1, of those that wait: counted up to `most`."""
    if not ids:
        return {}
    rows = session.execute(text(_POSITIONS), {"ids": list(ids), "most": most})
    return {row.id: row.position for row in rows}


def _views(session: Session, query: str, parameters: dict[str, Any], *, most: int = 1_000_000) -> list[DeferredView]:
    rows = session.execute(text(query), parameters).all()
    places = positions(session, [row.id for row in rows if row.state == "waiting"], most=most)
    return [_view(row, places.get(row.id)) for row in rows]


def _view(row: Row[Any], position: int | None) -> DeferredView:
    known = dict(row._mapping)
    until, urgency = known.pop("next_try_at"), CLASSES[known.pop("rank")]
    return DeferredView(**known, urgency=urgency, position=position, until=until)


@dataclass(frozen=True, slots=True)
class Held:
    """How many operations of one class wait, and for how long the oldest of them does."""

    count: int
    oldest_seconds: float


# The first of each queue is its oldest: one probe of the index for each queue and class, however long they are.
_BY_CLASS = """
    SELECT r.rank, coalesce(sum(q.waiting[r.rank + 1]), 0) AS total,
           coalesce(extract(epoch FROM clock_timestamp() - min(head.created_at)), 0)::float8 AS oldest_seconds
      FROM generate_series(0, 3) AS r(rank)
      LEFT JOIN deferral_queues q ON q.waiting[r.rank + 1] > 0
      LEFT JOIN LATERAL (
        SELECT created_at FROM deferred_operations d
         WHERE d.account = q.account AND d.state = 'waiting' AND d.rank = r.rank ORDER BY d.seq LIMIT 1) AS head ON true
     GROUP BY r.rank ORDER BY r.rank"""


def by_class(session: Session) -> dict[str, Held]:
    """What waits, by class, the most urgent first."""
    rows = session.execute(text(_BY_CLASS))
    return {CLASSES[row.rank]: Held(int(row.total), max(0.0, row.oldest_seconds)) for row in rows}
