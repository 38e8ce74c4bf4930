"""Costs as people and programs read them: sums with their shares, and single calls, newest first. JSON-ready."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from app import clock
from app.costs import sums
from app.costs.sums import Dimension, Step, Sums, dollars
from app.errors import NotFound
from app.infra import ids

LOOKED = 200_000
"""Calls looked at for one page where few of them are wanted; `next` goes on from there."""

COLUMNS = (
    "id, at, tenant, skill, agent, user_id, department, interaction, provider, model, input_tokens, cached_tokens,"
    " cache_write_tokens, output_tokens, cost_micro_usd, priced, price_id, latency_ms, outcome, request_id,"
    " prompt_hash, tags"
)
CONDITIONS = {
    "tenant": "tenant = :tenant",
    "skill": "skill = :skill",
    "agent": "agent = :agent",
    "user": "user_id = :user",
    "department": "department = :department",
    "model": "provider || '/' || model = :model",
    "outcome": "outcome = :outcome",
    "min_cost": "cost_micro_usd >= :min_cost",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which calls; None: any. `model` is PROVIDER/MODEL, `min_cost` millionths of a dollar."""

    tenant: str | None = None
    skill: str | None = None
    agent: str | None = None
    user: str | None = None
    department: str | None = None
    model: str | None = None
    outcome: str | None = None
    min_cost: int | None = None

    def given(self) -> dict[str, Any]:
        """Those that were asked for, by name."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Question:
    """Sums to be read: by what, of which period, of whose calls, in which steps."""

    by: Dimension
    since: datetime
    until: datetime
    zone: str = "UTC"
    tenant: str | None = None
    skill: str | None = None
    model: str | None = None
    step: Step | None = None


def summed(session: Session, asked: Question, *, limit: int) -> dict[str, Any]:
    """The document of `GET /api/v1/costs/sums`: rows, their shares, the total. Raises Invalid as `sums.by`.

    `more` says that there are more rows than `limit`; `total` is of all, also then.
    """
    rows = rows_of(session, asked, limit + 1)
    more = len(rows) > limit
    whole = total_of(session, asked) if more else added(row.sums for row in rows)
    return {
        "by": asked.by,
        "since": clock.iso(asked.since),
        "until": clock.iso(asked.until),
        "zone": asked.zone,
        "step": asked.step,
        "tenant": asked.tenant,
        "skill": asked.skill,
        "model": asked.model,
        "currency": "USD",
        "total": whole.document(),
        "rows": [_row(row, whole.cost_micro_usd) for row in rows[:limit]],
        "more": more,
    }


def rows_of(session: Session, asked: Question, limit: int | None = None) -> list[sums.Row]:
    """The rows of a question."""
    return sums.by(
        session,
        asked.by,
        asked.since,
        asked.until,
        tenant=asked.tenant,
        skill=asked.skill,
        model=asked.model,
        step=asked.step,
        zone=asked.zone,
        limit=limit,
    )


def total_of(session: Session, asked: Question) -> Sums:
    """What all rows of a question add up to: every call is in one row, whatever they are by."""
    return added(row.sums for row in rows_of(session, replace(asked, by="total", step=None)))


def added(parts: Any) -> Sums:
    """Sums of sums."""
    return Sums(*(sum(column) for column in zip(*(_figures(part) for part in (Sums(), *parts)), strict=True)))


def list_calls(
    session: Session,
    since: datetime,
    until: datetime,
    wanted: Wanted,
    *,
    limit: int,
    before: UUID | None = None,
    looked: int = LOOKED,
) -> tuple[list[dict[str, Any]], UUID | None]:
    """Calls of the period, newest first, and the cursor of the page that follows; None: that was all.

    A page may be short, and still have one that follows, where few of many calls are wanted.
    """
    given = wanted.given()
    high = ids.floor(until) if before is None else min(before, ids.floor(until))
    bounds = {"low": ids.floor(since), "high": high, "limit": limit + 1, "looked": looked}
    where = f" WHERE {' AND '.join(CONDITIONS[name] for name in given)}" if given else ""
    newest = "FROM cost_tracking WHERE id >= :low AND id < :high ORDER BY id DESC"
    query = f"SELECT * FROM (SELECT {COLUMNS} {newest} LIMIT :looked) AS calls{where} ORDER BY id DESC LIMIT :limit"
    rows: Sequence[Row[Any]] = session.execute(text(query), {**bounds, **given}).all()
    if len(rows) > limit:
        return [call_shown(row) for row in rows[:limit]], rows[limit - 1].id
    last = None
    if given:
        last = session.execute(
            text(f"SELECT id {newest} OFFSET :last LIMIT 1"), {**bounds, "last": looked - 1}
        ).scalar()
    return [call_shown(row) for row in rows], last


def get_call(session: Session, identifier: UUID) -> dict[str, Any]:
    """One call. Raises NotFound."""
    row = session.execute(text(f"SELECT {COLUMNS} FROM cost_tracking WHERE id = :id"), {"id": identifier}).one_or_none()
    if row is None:
        raise NotFound(f"no call has the id {identifier}")
    return call_shown(row)


def call_shown(row: Row[Any]) -> dict[str, Any]:
    """A call under the names with which it was recorded; `cost` is None while it is not known."""
    found = dict(row._mapping)
    cost, price = found.pop("cost_micro_usd"), found["price_id"]
    shown = {("user" if name == "user_id" else name): value for name, value in found.items()}
    return shown | {
        "id": str(row.id),
        "at": clock.iso(row.at),
        "cost": None if cost is None else dollars(cost),
        "price_id": None if price is None else str(price),
        "tags": row.tags or {},
    }


def _row(row: sums.Row, whole: int) -> dict[str, Any]:
    share = round(row.sums.cost_micro_usd / whole * 100, 2) if whole else 0.0
    step = {} if row.start_at is None else {"start_at": clock.iso(row.start_at)}
    return {"name": row.name, **step, **row.sums.document(), "percentage": share}


def _figures(part: Sums) -> tuple[int, ...]:
    return tuple(getattr(part, name) for name in sums.FIGURES)
