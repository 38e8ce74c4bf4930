"""Accounts with their tokens, what needs attention first; counts of them by level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from app import catalog
from app.access.scopes import EVERYTHING, Reach
from app.errors import Invalid, Problem
from app.infra.text import storable
from app.tokens import levels, store
from app.tokens.core import Step
from app.tokens.levels import LEVELS
from app.tokens.store import Account, Status

MOST = 500
_YEARS = (1970, 9000)
_STEPS = tuple(Step)


@dataclass(frozen=True, slots=True)
class Listed:
    """An account, its token, and where that stands: `level` is one of `levels.LEVELS`. `shown.document` shows it."""

    account: Account
    status: Status
    level: str
    step: Step


class Place(NamedTuple):
    """Where a page ends. All pages of a list are as of `now`, so that nothing changes its place between them."""

    now: datetime
    rank: int
    lowness: int
    expires: str
    account_id: UUID

    def written(self) -> str:
        """As a cursor."""
        return "|".join((self.now.isoformat(), str(self.rank), str(self.lowness), self.expires, str(self.account_id)))


@dataclass(frozen=True, slots=True)
class Page:
    """`following` is None on the last page."""

    items: tuple[Listed, ...]
    now: datetime
    following: str | None


_RANK = f"array_position(CAST(:levels AS text[]), {levels.level('h.height')})"
_EXPIRES = "coalesce(s.expires_at, 'infinity')"
_ORDER = f"{_RANK}, 4 - h.height, {_EXPIRES}, a.id"
_PAGE = f"""
    SELECT {store.COLUMNS}, {_RANK} AS rank, h.height, {_EXPIRES}::text AS expires
      FROM {levels.SOURCE} CROSS JOIN LATERAL (SELECT {levels.HEIGHT} AS height) h
     WHERE {{conditions}} ORDER BY {_ORDER} LIMIT :limit"""
_COUNTS = f"""
    SELECT {{by}} AS name, {levels.level("h.height")} AS level, count(*) AS accounts, min(s.expires_at) AS expires_at
      FROM {levels.SOURCE} CROSS JOIN LATERAL (SELECT {levels.HEIGHT} AS height) h
     WHERE {{conditions}} GROUP BY 1, 2"""
_SEARCHED = "(a.external_id ILIKE :search OR a.name ILIKE :search)"
_AFTER = f"({_ORDER}) > (:rank, :lowness, CAST(:expires AS timestamptz), CAST(:account_id AS uuid))"


def page(
    session: Session,
    *,
    now: datetime,
    tenant: str | None = None,
    platform: str | None = None,
    level: str | None = None,
    search: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
    reach: Reach = EVERYTHING,
) -> Page:
    """The most urgent first: by level, step and end; of those within reach. Raises Invalid.

    `search` is a part of the account's id or name.
    """
    after = None if cursor is None else _place(cursor)
    at = now if after is None else after.now
    if level is not None and level not in LEVELS:
        raise Invalid([Problem("level", f"must be one of {', '.join(LEVELS)}")], subject="query")
    wanted = {
        "tenant": ("a.tenant = :tenant", None if tenant is None else storable(tenant)),
        "platform": ("a.platform = :platform", None if platform is None else storable(platform)),
        "search": (_SEARCHED, _part(search) if search else None),
        "level": (f"{_RANK} = :level", level and LEVELS.index(level) + 1),
    }
    used = {name: (condition, value) for name, (condition, value) in wanted.items() if value is not None}
    conditions = [condition for condition, _ in used.values()]
    values: dict[str, Any] = {name: value for name, (_, value) in used.items()}
    if not reach.everything:
        condition, reached = reach.condition("a")
        conditions.append(condition)
        values |= reached
    if after is not None:
        conditions.append(_AFTER)
        values |= after._asdict()
    rows = session.execute(
        text(_PAGE.format(conditions=" AND ".join(conditions) or "true")),
        {**_given(session, at), **values, "now": at, "limit": limit + 1},
    ).all()
    last = rows[limit - 1] if len(rows) > limit else None
    return Page(
        items=tuple(_listed(row) for row in rows[:limit]),
        now=at,
        following=None if last is None else Place(at, last.rank, 4 - last.height, last.expires, last.id).written(),
    )


class Count(NamedTuple):
    """How many accounts of a tenant or platform are of a level, and when the first of their tokens ends."""

    name: str
    level: str
    accounts: int
    expires_at: datetime | None


def counts(
    session: Session, *, by: str, now: datetime, tenant: str | None = None, search: str | None = None
) -> Sequence[Count]:
    """By "tenant" or "platform", and level; of what is searched for as in `page`."""
    conditions = ["true", *(["a.tenant = :tenant"] if tenant is not None else []), *([_SEARCHED] if search else [])]
    query = _COUNTS.format(by={"tenant": "a.tenant", "platform": "a.platform"}[by], conditions=" AND ".join(conditions))
    values = {**_given(session, now), "tenant": tenant, "search": _part(search) if search else None}
    return [Count(*row) for row in session.execute(text(query), values)]


def one(session: Session, account_id: UUID, now: datetime) -> Listed | None:
    """One account; None when there is no such."""
    query = text(_PAGE.format(conditions="a.id = :id"))
    row = session.execute(query, {**_given(session, now), "id": account_id, "limit": 1}).one_or_none()
    return None if row is None else _listed(row)


def _given(session: Session, now: datetime) -> Mapping[str, Any]:
    return levels.parameters(session, catalog.current().connecting, now) | {"levels": list(LEVELS)}


def _listed(row: Any) -> Listed:
    return Listed(store.account_of(row), store.status_of(row), LEVELS[row.rank - 1], _STEPS[row.height])


def _place(cursor: str) -> Place:
    try:
        now, rank, lowness, expires, account_id = cursor.split("|")
        end = expires if expires == "infinity" else _moment(expires).isoformat()
        return Place(_moment(now), int(rank), int(lowness), end, UUID(account_id))
    except (ValueError, OverflowError):
        raise Invalid([Problem("cursor", "is no `next` of a page before")], subject="query") from None


def _moment(written: str) -> datetime:
    """Raises ValueError for what nobody can reckon with."""
    found = datetime.fromisoformat(written)
    if found.tzinfo is None or not _YEARS[0] <= found.year <= _YEARS[1]:
        raise ValueError("no moment with its offset")
    return found


def _part(search: str) -> str:
    literal = storable(search).replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{literal}%"
