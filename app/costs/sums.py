"""Sums of calls over any period by any dimension, of roll-ups; and of calls where a period ends amid an hour.

Periods are from `since` up to, and without, `until`. Each end is reached from the nearest midnight (UTC) by whole hours
that are added or taken away, and from the nearest full hour by the calls in between: what is read stays small, and
nothing is estimated. One statement is one snapshot, in which roll-ups and calls agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from app.catalog import MICRO, did_you_mean
from app.costs.covering import HOUR, Part, stepped, whole
from app.errors import Invalid, Problem
from app.infra import ids

Dimension = Literal["total", "tenant", "skill", "model", "provider", "agent", "user", "department"]
Step = Literal["hour", "day"]

DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
STEPS: tuple[Step, ...] = get_args(Step)
OWN = ("agent", "user", "department")
"""Dimensions whose roll-ups know the tenant, but neither skill nor model."""

LONGEST = {"hour": timedelta(days=62), "day": timedelta(days=800)}
"""How long a period may be that is cut into steps."""


@dataclass(frozen=True, slots=True)
class Sums:
    """What calls add up to. Money is integer millionths of a dollar; `latency_ms` that of the calls that told one.

    `unpriced` calls cost something that is not known; `failed` had another outcome than "ok".
    """

    calls: int = 0
    unpriced: int = 0
    failed: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    cost_micro_usd: int = 0
    latency_ms: int = 0

    def document(self) -> dict[str, Any]:
        """JSON-ready; `cost` in dollars."""
        found = {name: getattr(self, name) for name in FIGURES if name != "cost_micro_usd"}
        return {**found, "cost": dollars(self.cost_micro_usd)}


FIGURES = tuple(field.name for field in fields(Sums))


@dataclass(frozen=True, slots=True)
class Row:
    """The sums of one name of a dimension ("" where nobody gave one); `start_at`: of this step alone."""

    name: str
    sums: Sums
    start_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Hour:
    """A full hour (UTC) of one tenant, model ("PROVIDER/MODEL") and skill."""

    start_at: datetime
    tenant: str
    model: str
    skill: str
    sums: Sums


def dollars(micro_usd: int) -> float:
    """As answers show money."""
    return round(micro_usd / MICRO, 6)


def day_of(now: datetime, zone: str) -> date:
    """Which day it is there."""
    return now.astimezone(ZoneInfo(zone)).date()


def period_of(day: date, zone: str) -> tuple[datetime, datetime]:
    """The day's first moment there and the next day's, in UTC: 23 to 25 hours apart, where clocks change."""
    return _midnight(day, zone), _midnight(day + timedelta(days=1), zone)


def _midnight(day: date, zone: str) -> datetime:
    """Where 00:00 is skipped by the clock: what it is put forward to."""
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)


def total(
    session: Session,
    since: datetime,
    until: datetime,
    *,
    tenant: str | None = None,
    skill: str | None = None,
    model: str | None = None,
) -> Sums:
    """Of all calls of the period, or of a tenant's, skill's, model's ("PROVIDER/MODEL")."""
    rows = by(session, "total", since, until, tenant=tenant, skill=skill, model=model)
    return rows[0].sums if rows else Sums()


def by(
    session: Session,
    dimension: Dimension,
    since: datetime,
    until: datetime,
    *,
    tenant: str | None = None,
    skill: str | None = None,
    model: str | None = None,
    step: Step | None = None,
    zone: str = "UTC",
    limit: int | None = None,
) -> list[Row]:
    """A row for each name that had calls, the dearest first; with `step` for each name and hour (UTC) or day of `zone`,
    the first step first. A step that had no calls has no row.

    Raises Invalid where `dimension` does not know the skill or the model, and for too long a period in steps.
    """
    filters = {"tenant": tenant, "skill": skill, "model": model}
    check(dimension, filters, since, until, step)
    parts = whole(since, until) if step is None else stepped(since, until, edges(since, until, step, zone), step)
    given = tuple(name for name, value in filters.items() if value is not None)
    kinds = tuple(kind for kind in _TABLES if any(part.kind == kind for part in parts))
    if not kinds:
        return []
    parameters: dict[str, Any] = {"dimension": dimension if dimension in OWN else "model", "limit": limit, **filters}
    for kind in kinds:
        parameters |= _bounds(kind, [part for part in parts if part.kind == kind])
    # Of bounds in a table the planner thinks too much: with a year's hours it would compile for longer than it reads.
    found = session.execute(_statement(dimension, kinds, given, step is not None), parameters)
    return [Row(row[1], Sums(*map(int, row[2:])), row[0]) for row in found]


def hourly(
    session: Session,
    since: datetime,
    until: datetime,
    *,
    tenant: str | None = None,
    model: str | None = None,
    skill: str | None = None,
) -> list[Hour]:
    """The full hours (UTC) that begin in the period, by tenant, model and skill, the first first. One that had no calls
    has no row."""
    filters = {"tenant": tenant, "model": model, "skill": skill}
    given = tuple(name for name, value in filters.items() if value is not None)
    found = session.execute(_hours(given), {**filters, "since": since, "until": until})
    return [Hour(row[0], row[1], row[2], row[3], Sums(*row[4:])) for row in found]


def check(dimension: str, filters: dict[str, str | None], since: datetime, until: datetime, step: str | None) -> None:
    """Raises Invalid that names everything which cannot be asked together."""
    problems = []
    if dimension not in DIMENSIONS:
        problems.append(Problem("by", f"is none of {', '.join(DIMENSIONS)}{did_you_mean(dimension, DIMENSIONS)}"))
    if dimension in OWN:
        problems += [
            Problem(name, f"is not known of sums by {dimension}: ask by total, tenant, skill, model or provider")
            for name in ("skill", "model")
            if filters[name] is not None
        ]
    if step is not None and step not in STEPS:
        problems.append(Problem("step", f"is none of {', '.join(STEPS)}"))
    elif step is not None and until - since > LONGEST[step]:
        problems.append(Problem("step", f"is too short: by the {step} at most {LONGEST[step].days} days are summed up"))
    if problems:
        raise Invalid(problems, subject="question")


def edges(since: datetime, until: datetime, step: Step, zone: str) -> list[datetime]:
    """Where one step ends and the next begins, between the ends of the period."""
    found = []
    if step == "hour":
        edge = since.astimezone(UTC).replace(minute=0, second=0, microsecond=0) + HOUR
        while edge < until:
            found.append(edge)
            edge += HOUR
        return found
    day = day_of(since, zone)
    while (edge := period_of(day, zone)[1]) < until:
        if edge > since and edge not in found[-1:]:
            found.append(edge)
        day += timedelta(days=1)
    return found


_TABLES = {"days": "cost_days", "hours": "cost_hours", "calls": "cost_tracking"}
_OF_ROLLUPS = {
    "total": "''",
    "tenant": "r.tenant",
    "skill": "r.skill",
    "model": "r.name",
    "provider": "split_part(r.name, '/', 1)",
    **dict.fromkeys(OWN, "r.name"),
}
_MODEL = "r.provider || '/' || r.model"
_OF_CALLS = {
    **_OF_ROLLUPS,
    "model": _MODEL,
    "provider": f"split_part({_MODEL}, '/', 1)",
    "agent": "r.agent",
    "user": "r.user_id",
    "department": "r.department",
}
_CALLS_SUMS = {
    "calls": "1",
    "unpriced": "(r.cost_micro_usd IS NULL)::int",
    "failed": "(r.outcome <> 'ok')::int",
    "cost_micro_usd": "coalesce(r.cost_micro_usd, 0)",
    "latency_ms": "coalesce(r.latency_ms, 0)",
}
_FILTERS = {"tenant": "r.tenant = :tenant", "skill": "r.skill = :skill", "model": "r.name = :model"}
_CALLS_FILTERS = _FILTERS | {"model": f"{_MODEL} = :model"}


@lru_cache(maxsize=256)
def _statement(dimension: str, kinds: tuple[str, ...], given: tuple[str, ...], is_stepped: bool) -> TextClause:
    parts = " UNION ALL ".join(_part(kind, dimension, given, is_stepped) for kind in kinds)
    sums = ", ".join(f"sum({name})" for name in FIGURES)
    order = "1, 2" if is_stepped else "sum(cost_micro_usd) DESC, sum(calls) DESC, 2"
    return text(
        f"SELECT bucket, name, {sums} FROM ({parts}) AS parts GROUP BY bucket, name HAVING sum(calls) <> 0"
        f" ORDER BY {order} LIMIT :limit"
    )


def _part(kind: str, dimension: str, given: tuple[str, ...], is_stepped: bool) -> str:
    """The rows of one table; each part says from where to where, and whether they are added or taken away."""
    of_calls = kind == "calls"
    name = (_OF_CALLS if of_calls else _OF_ROLLUPS)[dimension]
    values = _CALLS_SUMS if of_calls else {}
    sums = ", ".join(f"p.sign * sum({values.get(figure, f'r.{figure}')}) AS {figure}" for figure in FIGURES)
    own = "NULL::timestamptz" if of_calls or not is_stepped else "r.start_at"
    key, cast = ("id", "uuid") if of_calls else ("start_at", "timestamptz")
    conditions = [f"r.{key} >= p.low AND r.{key} < p.high"]
    conditions += [] if of_calls else ["r.dimension = :dimension"]
    conditions += [(_CALLS_FILTERS if of_calls else _FILTERS)[one] for one in given]
    # LATERAL with groups inside: each part is looked up in the index by itself. As a join, all of a table was read.
    return (
        f"SELECT coalesce(p.bucket, f.own) AS bucket, f.name, {', '.join(f'f.{figure}' for figure in FIGURES)}"
        f" FROM unnest(CAST(:{kind}_bucket AS timestamptz[]), CAST(:{kind}_sign AS int[]),"
        f" CAST(:{kind}_low AS {cast}[]), CAST(:{kind}_high AS {cast}[])) AS p (bucket, sign, low, high)"
        f" CROSS JOIN LATERAL (SELECT {own} AS own, {name} AS name, {sums}"
        f" FROM {_TABLES[kind]} AS r WHERE {' AND '.join(conditions)} GROUP BY 1, 2) AS f"
    )


def _bounds(kind: str, parts: Sequence[Part]) -> dict[str, Any]:
    def bound(at: datetime) -> Any:
        return str(ids.floor(at)) if kind == "calls" else at

    return {
        f"{kind}_bucket": [part.bucket for part in parts],
        f"{kind}_sign": [part.sign for part in parts],
        f"{kind}_low": [bound(part.since) for part in parts],
        f"{kind}_high": [bound(part.until) for part in parts],
    }


@lru_cache(maxsize=8)
def _hours(given: tuple[str, ...]) -> TextClause:
    conditions = " AND ".join(
        ["r.dimension = 'model' AND r.start_at >= :since AND r.start_at < :until", *(_FILTERS[one] for one in given)]
    )
    sums = ", ".join(f"r.{name}" for name in FIGURES)
    return text(
        f"SELECT r.start_at, r.tenant, r.name, r.skill, {sums} FROM cost_hours AS r WHERE {conditions}"
        " ORDER BY r.start_at, r.tenant, r.name, r.skill"
    )
