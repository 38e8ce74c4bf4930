"""Uptime read from hours and days: of all services at once, or of one. A window is whole hours or days, and now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.catalog import STACK as SHOWN
from app.catalog import Catalog
from app.health.availability.budgets import WINDOW, Budget, Uptime
from app.health.availability.hours import WINDOWS, beginning, day_of, midnight
from app.health.availability.rollup_sql import STACK

Uptimes = dict[str, Uptime]
"""By the window's name."""

_SECONDS = ("known", "down", "degraded", "excluded")


@dataclass(frozen=True, slots=True)
class Burn:
    """An error budget that burns too fast since then."""

    speed: str
    severity: str
    since: datetime


# Windows lie in one another, so each row is added up once, by the shortest of those in days that it is in (`part`).
# Days that are over are read from days, what has followed since from hours, and so are the 24 hours (`recent`).
_LONG = [name for name in WINDOWS if name != "24h"]
_NONE = len(_LONG)
_ONE = "(CAST(:service AS text) IS NULL OR service = :service)"


def _part(column: str, bound: str) -> str:
    return f"CASE {' '.join(f'WHEN {column} >= :{bound}_{name} THEN {place}' for place, name in enumerate(_LONG))} END"


_ADDED = ", ".join(f"sum({name}_ms) AS {name}" for name in _SECONDS)
_WHICH = [("24h", "recent"), *((name, f"part <= {place}") for place, name in enumerate(_LONG))]
_UPTIMES = f"""
SELECT service, {", ".join(
    f"coalesce(sum({name}) FILTER (WHERE {condition}), 0)::bigint" for _, condition in _WHICH for name in _SECONDS
)}
FROM (
  SELECT service, {_part("day", "day")} AS part, false AS recent, {_ADDED}
  FROM service_days WHERE day >= :day_90d AND day < :days_until AND {_ONE} GROUP BY 1, 2
  UNION ALL
  SELECT service, CASE WHEN hour >= :whole_days THEN {_part("hour", "since")} ELSE {_NONE} END, hour >= :since_24h,
         {_ADDED}
  FROM service_hours WHERE hour >= least(:since_24h, :whole_days) AND {_ONE} GROUP BY 1, 2, 3
) AS parts GROUP BY service
"""  # fmt: skip
_INCIDENTS = f"""
SELECT {{who}}, {", ".join(f"count(*) FILTER (WHERE recovered_at IS NULL OR recovered_at > :since_{name})"
                          for name in WINDOWS)}
FROM incidents {{joined}}
WHERE NOT in_maintenance AND started_at <= :now AND (recovered_at IS NULL OR recovered_at > :since_90d) AND {{which}}
GROUP BY 1
"""  # fmt: skip
_OF_SERVICES = _INCIDENTS.format(who="service", joined="", which=_ONE)
_OF_STACK = _INCIDENTS.format(
    who=f"'{STACK}'::text", joined="JOIN services ON name = service AND essential", which="true"
)


def uptimes(session: Session, now: datetime) -> dict[str, Uptimes]:
    """Every service of the catalogue that is stored, by name, and "stack": its uptime in each window."""
    found = _read(session, now, None)
    names = session.execute(text("SELECT name FROM services WHERE present ORDER BY name")).scalars().all()
    return {SHOWN: found.pop(STACK, _nothing(now))} | {name: found.get(name) or _nothing(now) for name in names}


def uptimes_of(session: Session, service: str, now: datetime) -> Uptimes:
    """The same of one service, or of "stack"; without any time that is known when there is none of that name."""
    stored = STACK if service == SHOWN else service
    return _read(session, now, stored).get(stored) or _nothing(now)


def objectives(catalog: Catalog) -> dict[str, float]:
    """What each service of the catalogue, and "stack", shall be up for, in percent."""
    services = {service.name: service.objective for service in catalog.services.values() if service.enabled}
    return {**services, SHOWN: catalog.availability.stack_objective}


def budget(objective: float, found: Uptimes) -> Budget:
    """The error budget of a service with these uptimes."""
    return Budget(objective, found[WINDOW].down_seconds)


def burning_now(session: Session) -> dict[str, list[Burn]]:
    """The budgets that burn too fast now, by service."""
    found: dict[str, list[Burn]] = {}
    for row in session.execute(text("SELECT service, speed, severity, since FROM slo_burns ORDER BY service, speed")):
        name = SHOWN if row.service == STACK else row.service
        found.setdefault(name, []).append(Burn(row.speed, row.severity, row.since))
    return found


def rolled_at(session: Session) -> datetime | None:
    """The moment that the figures are of; None before the first pass of the rollup."""
    moment: datetime | None = session.execute(text("SELECT rolled_at FROM rollup_clock WHERE id = 1")).scalar()
    return moment


def days_until(session: Session, now: datetime) -> date:
    """The first day whose hours are not summed up."""
    stored: date | None = session.execute(text("SELECT days_until FROM rollup_clock WHERE id = 1")).scalar()
    return stored or day_of(now)


def _read(session: Session, now: datetime, service: str | None) -> dict[str, Uptimes]:
    """By the name that is stored."""
    since = {name: beginning(length, now) for name, length in WINDOWS.items()}
    whole = days_until(session, now)
    bounds: dict[str, Any] = {f"since_{name}": moment for name, moment in since.items()}
    bounds |= {f"day_{name}": day_of(moment) for name, moment in since.items()}
    bounds |= {"now": now, "service": service, "days_until": whole, "whole_days": midnight(whole)}
    counts: dict[str, Sequence[int]] = {}
    for query, wanted in ((_OF_SERVICES, service != STACK), (_OF_STACK, service in (None, STACK))):
        if wanted:
            counts |= {name: count for name, *count in session.execute(text(query), bounds)}
    sums = {name: values for name, *values in session.execute(text(_UPTIMES), bounds)}
    lengths = [(name, (now - moment).total_seconds()) for name, moment in since.items()]
    return {name: _uptimes(sums.get(name), counts.get(name), lengths) for name in {**sums, **counts}}


def _uptimes(sums: Sequence[int] | None, counts: Sequence[int] | None, lengths: Sequence[tuple[str, float]]) -> Uptimes:
    """`sums` has the milliseconds of each kind for each window, `counts` its incidents, both in order."""
    sums = sums or [0] * (len(_SECONDS) * len(lengths))
    counts = counts or [0] * len(lengths)
    found = {}
    for place, (window, seconds) in enumerate(lengths):
        known, down, degraded, excluded = sums[4 * place : 4 * place + 4]
        found[window] = Uptime(
            seconds, known / 1000, down / 1000, degraded / 1000, excluded / 1000, incidents=counts[place]
        )
    return found


def _nothing(now: datetime) -> Uptimes:
    return {name: Uptime((now - beginning(length, now)).total_seconds()) for name, length in WINDOWS.items()}
