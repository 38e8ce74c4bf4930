"""What pages and programs read of limits: open windows as of the last snapshot, and closed ones."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app import clock
from app.catalog import RateLimit
from app.errors import Invalid, Problem
from app.infra import ids
from app.limits.models import LimitLogRow, LimitWindowRow
from app.limits.snapshots import limits_now
from app.limits.windows import bucket_of

LONGEST = timedelta(days=32)
"""No window is longer."""

IS_LIVE = "(w.end_at > :now OR (w.end_at IS NULL AND w.taken_at > wanted.since))"
"""A calendar window that is not over, or a rolling one of which something may still be counted."""

WANTED = "unnest(CAST(:names AS text[]), CAST(:since AS timestamptz[])) AS wanted(name, since)"

# Of each limit by its own index, then together: by share alone there is none.
_OPEN = f"""
    SELECT w.* FROM {WANTED} CROSS JOIN LATERAL (
        SELECT w.* FROM limit_windows w WHERE w.limit_name = wanted.name AND {IS_LIVE} AND {{condition}}
         ORDER BY w.share DESC, w.subject DESC LIMIT :limit) AS w
     ORDER BY w.share DESC, w.limit_name DESC, w.subject DESC LIMIT :limit"""


def windows(
    session: Session,
    *,
    subject: str | None = None,
    limit_name: str | None = None,
    after: str | None = None,
    limit: int = 100,
) -> list[LimitWindowRow]:
    """Open windows of limits of the catalogue, the fullest first; `after` is the `cursor` of the last one seen.

    Raises Invalid for what is no cursor.
    """
    conditions, values = ["true"], dict[str, Any]()
    if subject is not None:
        conditions.append("w.subject = :subject")
        values["subject"] = subject
    if after is not None:
        conditions.append("(w.share, w.limit_name, w.subject) < (:share, :after_name, :after_subject)")
        values |= _after(after)
    return _open(session, limit_name, " AND ".join(conditions), limit, values)


def cursor(row: LimitWindowRow) -> str:
    """Where a list of open windows goes on after this one."""
    return f"{row.share!r} {row.limit_name} {row.subject}"


def worst(session: Session) -> dict[str, LimitWindowRow]:
    """Of each limit the open window of which most is used; limits that nobody uses are left out."""
    rows = [row for name in limits_now() for row in _open(session, name, "true", 1, {})]
    return {row.limit_name: row for row in rows}


def history(
    session: Session,
    *,
    subject: str | None = None,
    limit_name: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 100,
) -> list[LimitLogRow]:
    """Windows that are over, the newest first: those that ended after `since` and began before `until`."""
    query = select(LimitLogRow)
    if subject is not None:
        query = query.where(LimitLogRow.subject == subject)
    if limit_name is not None:
        query = query.where(LimitLogRow.limit_name == limit_name)
    if since is not None:
        query = query.where(LimitLogRow.end_at > since, LimitLogRow.id >= _floor(since - LONGEST))
    if until is not None:
        query = query.where(LimitLogRow.start_at < until, LimitLogRow.id < _floor(until))
    newest = LimitLogRow.id if subject is None else LimitLogRow.start_at  # an id begins with the start
    found = sorted(
        session.scalars(query.order_by(newest.desc()).limit(limit)), key=lambda row: (row.subject, row.limit_name)
    )
    return sorted(found, key=lambda row: row.start_at, reverse=True)


def wanted(limits: Mapping[str, RateLimit], now: datetime) -> dict[str, Any]:
    """The parameters of `IS_LIVE` and `WANTED`."""
    return {"now": now, "names": list(limits), "since": [now - _kept(limit) for limit in limits.values()]}


def _kept(limit: RateLimit) -> timedelta:
    """How long a rolling window counts what was used."""
    if limit.window == "calendar":
        return timedelta()
    width, buckets = bucket_of(limit)
    return timedelta(milliseconds=width * buckets)


def _open(
    session: Session, limit_name: str | None, condition: str, limit: int, values: Mapping[str, Any]
) -> list[LimitWindowRow]:
    limits = {name: one for name, one in limits_now().items() if limit_name in (None, name)}
    given = {**values, **wanted(limits, clock.now()), "limit": limit}
    statement = select(LimitWindowRow).from_statement(text(_OPEN.format(condition=condition)))
    return list(session.scalars(statement, given))


def _after(told: str) -> dict[str, Any]:
    share, _, rest = told.partition(" ")
    name, _, subject = rest.partition(" ")
    try:
        return {"share": float(share), "after_name": name, "after_subject": subject}
    except ValueError:
        raise Invalid([Problem("after", "is no place in this list")], subject="query") from None


def _floor(at: datetime) -> UUID:
    return ids.floor(max(at, datetime.fromtimestamp(0, at.tzinfo)))
