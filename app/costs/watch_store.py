"""The SQL of watching: what subjects of budgets spent, hours of places, what is so at present, and anomalies.

Nothing here commits. Money is millionths of a dollar; hours and days are UTC's.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from app.costs.anomalies import Place
from app.costs.causes import Figures
from app.infra.db import UnitOfWork
from app.infra.ids import uuid7_named
from app.infra.text import json_safe

ANOMALY = "anomaly"
"""The kind of rows in `cost_watch` that are about places."""

_OWN = ("agent", "user", "department")


class Spent(NamedTuple):
    """What a subject spent in an hour or a day."""

    scope: str
    name: str
    start_at: datetime
    cost: int


class Wanted(NamedTuple):
    """Which days are read, up to and without the second; and which hours: all since a moment, and some before."""

    days: tuple[datetime, datetime]
    since: datetime
    hours: Sequence[datetime]


class Anomaly(NamedTuple):
    """A place's hour as it is kept."""

    hour: datetime
    place: Place
    expected: int
    actual: int
    score: float
    cause: str
    facts: Mapping[str, Any]

    @property
    def id(self) -> UUID:
        """The same each time."""
        return uuid7_named(self.hour, "|".join(self.place))


def spent(session: Session, scopes: Collection[str], wanted: Wanted) -> tuple[list[Spent], list[Spent]]:
    """What each tenant and skill spent, or each agent, user or department, by day and by hour.

    `scopes`: of tenant and skill, or one of the others.
    """
    own = next((scope for scope in scopes if scope in _OWN), None)
    columns = ["name"] if own else sorted(scopes)
    names = " ".join(f"WHEN grouping({column}) = 0 THEN '{own or column}'" for column in columns)
    select = (
        f"SELECT CASE {names} END AS scope, coalesce({', '.join(columns)}) AS name, start_at,"
        " sum(cost_micro_usd)::bigint AS cost FROM {} WHERE dimension = :dimension AND {}"
        f" GROUP BY GROUPING SETS ({', '.join(f'(start_at, {column})' for column in columns)})"
    )
    given = {"dimension": own or "model"}
    of_days = text(select.format("cost_days", "start_at >= :first AND start_at < :last"))
    of_hours = text(select.format("cost_hours", "(start_at >= :since OR start_at = ANY(:hours))"))
    found_days = session.execute(of_days, {**given, "first": wanted.days[0], "last": wanted.days[1]})
    found_hours = session.execute(of_hours, {**given, "since": wanted.since, "hours": list(wanted.hours)})
    return [Spent(*row) for row in found_days], [Spent(*row) for row in found_hours]


_FIELDS = {"tenant": "tenant"} | dict.fromkeys(_OWN, "name")


def hourly(session: Session, scope: str, name: str, since: datetime, until: datetime) -> dict[datetime, int]:
    """What a tenant, agent, user or department spent in each hour; those without calls are left out."""
    # Each hour is looked up by itself: their rows lie among those of all others.
    query = (
        "SELECT g.start_at, found.cost FROM generate_series(CAST(:since AS timestamptz), :until, interval '1 hour')"
        " AS g (start_at) CROSS JOIN LATERAL (SELECT sum(cost_micro_usd)::bigint AS cost FROM cost_hours h"
        f" WHERE h.dimension = :dimension AND h.start_at = g.start_at AND h.{_FIELDS[scope]} = :name) AS found"
        " WHERE found.cost IS NOT NULL"
    )
    given = {"dimension": scope if scope in _OWN else "model", "name": name, "since": since, "until": until}
    return {row.start_at: row.cost for row in session.execute(text(query), given)}


def dear_places(session: Session, hours: Sequence[datetime], least: int) -> set[Place]:
    """Where at least that much was spent in one of the hours."""
    found = session.execute(
        text(
            "SELECT DISTINCT tenant, name, skill FROM cost_hours"
            " WHERE dimension = 'model' AND start_at = ANY(:hours) AND cost_micro_usd >= :least"
        ),
        {"hours": list(hours), "least": least},
    )
    return {Place(*row) for row in found}


_FIGURES = (
    "SELECT h.tenant, h.name, h.skill, h.start_at, h.calls, h.input_tokens + h.output_tokens AS tokens,"
    " h.cost_micro_usd FROM cost_hours h"
)
_OF_PLACES = (
    f"{_FIGURES} JOIN unnest(CAST(:tenants AS text[]), CAST(:models AS text[]), CAST(:skills AS text[]))"
    " AS p (tenant, name, skill) ON p.tenant = h.tenant AND p.name = h.name AND p.skill = h.skill"
    " WHERE h.dimension = 'model' AND h.start_at = ANY(:hours)"
)
_OF_TENANTS = f"{_FIGURES} WHERE h.dimension = 'model' AND h.start_at = ANY(:hours) AND h.tenant = ANY(:tenants)"

Hours = dict[Place, dict[datetime, Figures]]


def of_places(session: Session, places: Collection[Place], hours: Collection[datetime]) -> Hours:
    """These places' figures in these hours."""
    if not places or not hours:
        return {}
    ordered = sorted(places)
    columns = {"tenants": [place.tenant for place in ordered], "models": [place.model for place in ordered]}
    return _figures(
        session.execute(
            text(_OF_PLACES), {**columns, "skills": [place.skill for place in ordered], "hours": sorted(hours)}
        )
    )


def of_tenants(session: Session, tenants: Collection[str], hours: Collection[datetime]) -> Hours:
    """The figures of every place of these tenants in these hours."""
    if not tenants or not hours:
        return {}
    return _figures(session.execute(text(_OF_TENANTS), {"tenants": sorted(tenants), "hours": sorted(hours)}))


def _figures(rows: Iterable[Row[Any]]) -> Hours:
    found: Hours = {}
    for row in rows:
        figures = Figures(float(row.calls), float(row.tokens), float(row.cost_micro_usd))
        found.setdefault(Place(row.tenant, row.name, row.skill), {})[row.start_at] = figures
    return found


def on(session: Session, kinds: Collection[str]) -> dict[tuple[str, str], dict[str, Any]]:
    """What is so at present: facts by kind and subject."""
    query = text("SELECT kind, subject, facts FROM cost_watch WHERE kind = ANY(:kinds)")
    return {(row.kind, row.subject): dict(row.facts) for row in session.execute(query, {"kinds": list(kinds)})}


def begin(uow: UnitOfWork, kind: str, subject: str, facts: Mapping[str, Any], now: datetime) -> bool:
    """It is so from now on; False where it was already."""
    row = uow.execute(
        "INSERT INTO cost_watch (kind, subject, since, facts) VALUES (:kind, :subject, :now, CAST(:facts AS jsonb))"
        " ON CONFLICT (kind, subject) DO NOTHING RETURNING kind",
        kind=kind,
        subject=subject,
        now=now,
        facts=_json(facts),
    ).one_or_none()
    return row is not None


def end(uow: UnitOfWork, kind: str, subject: str) -> datetime | None:
    """It is over; since when it was so. None where it was not."""
    since: datetime | None = uow.execute(
        "DELETE FROM cost_watch WHERE kind = :kind AND subject = :subject RETURNING since", kind=kind, subject=subject
    ).scalar()
    return since


def keep(uow: UnitOfWork, found: Sequence[Anomaly]) -> None:
    """Once a place and hour; one that has grown since is written anew."""
    rows = [
        {
            "id": one.id,
            "hour": one.hour,
            **one.place._asdict(),
            "expected_micro_usd": one.expected,
            "actual_micro_usd": one.actual,
            "score": one.score,
            "cause": one.cause,
            "facts": one.facts,
        }
        for one in sorted(found, key=lambda one: (one.hour, one.place))
    ]
    if rows:
        uow.execute(
            "INSERT INTO cost_anomalies SELECT r.* FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(id uuid,"
            " hour timestamptz, tenant text, model text, skill text, expected_micro_usd bigint,"
            " actual_micro_usd bigint, score float8, cause text, facts jsonb)"
            " ON CONFLICT (hour, tenant, model, skill) DO UPDATE SET expected_micro_usd = excluded.expected_micro_usd,"
            " actual_micro_usd = excluded.actual_micro_usd, score = excluded.score, cause = excluded.cause,"
            " facts = excluded.facts WHERE cost_anomalies.actual_micro_usd < excluded.actual_micro_usd",
            rows=_json(rows),
        )


def anomalies(
    session: Session,
    *,
    tenant: str | None = None,
    model: str | None = None,
    skill: str | None = None,
    cause: str | None = None,
    since: datetime | None = None,
    limit: int = 50,
    before: UUID | None = None,
) -> Sequence[Row[Any]]:
    """The newest first, below an id."""
    conditions = {
        "tenant = :tenant": tenant,
        "model = :model": model,
        "skill = :skill": skill,
        "cause = :cause": cause,
        "hour >= :since": since,
        "id < :before": before,
    }
    used = [condition for condition, value in conditions.items() if value is not None]
    where = f" WHERE {' AND '.join(used)}" if used else ""
    values = {condition.rpartition(":")[2]: value for condition, value in conditions.items()}
    query = text(f"SELECT * FROM cost_anomalies{where} ORDER BY id DESC LIMIT :limit")
    return session.execute(query, {**values, "limit": limit}).all()


def _json(value: object) -> str:
    return json.dumps(json_safe(value), default=str)
