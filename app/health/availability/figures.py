"""Uptime read from hours and days: of all services at once, or of one. A window is whole hours or days, and now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row, text
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


def _sums(window: str, condition: str) -> str:
    return ", ".join(f"sum({name}_ms) FILTER (WHERE {condition}) AS {name}_{window}" for name in _SECONDS)


# The 24 hours are in hours; of the days, those that are over in days, and what has followed since in hours.
_LONG = [name for name in WINDOWS if name != "24h"]
_ONE = "(CAST(:service AS text) IS NULL OR service = :service)"
_DAYS = f"""
SELECT service, {", ".join(_sums(name, f"day >= CAST(:since_{name} AS date)") for name in _LONG)}
FROM service_days WHERE day >= CAST(:since_90d AS date) AND day < :days_until AND {_ONE} GROUP BY service
"""
_HOURS = f"""
SELECT service, {_sums("24h", "hour >= :since_24h")},
       {", ".join(_sums(name, f"hour >= greatest(:since_{name}, CAST(:whole_days AS timestamptz))") for name in _LONG)}
FROM service_hours WHERE hour >= least(:since_24h, CAST(:whole_days AS timestamptz)) AND {_ONE} GROUP BY service
"""
_INCIDENTS = f"""
SELECT {{who}} AS service, {", ".join(f"count(*) FILTER (WHERE recovered_at IS NULL OR recovered_at > :since_{name})"
                                    f" AS incidents_{name}" for name in WINDOWS)}
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
    whole = days_until(session, now)
    bounds: dict[str, Any] = {f"since_{name}": beginning(length, now) for name, length in WINDOWS.items()}
    bounds |= {"now": now, "service": service, "days_until": whole, "whole_days": midnight(whole)}
    queries = [_DAYS, _HOURS]
    queries += [_OF_SERVICES] if service != STACK else []
    queries += [_OF_STACK] if service in (None, STACK) else []
    sums: dict[str, dict[str, int]] = {}
    for query in queries:
        for row in session.execute(text(query), bounds):
            _add(sums.setdefault(row.service, {}), row)
    lengths = {name: (now - bounds[f"since_{name}"]).total_seconds() for name in WINDOWS}
    return {name: _uptimes(found, lengths) for name, found in sums.items()}


def _add(sums: dict[str, int], row: Row[Any]) -> None:
    for name, value in row._asdict().items():
        if name != "service":
            sums[name] = sums.get(name, 0) + (value or 0)


def _uptimes(sums: Mapping[str, int], lengths: Mapping[str, float]) -> Uptimes:
    found = {}
    for window, seconds in lengths.items():
        known, down, degraded, excluded = (sums.get(f"{name}_{window}", 0) / 1000 for name in _SECONDS)
        found[window] = Uptime(seconds, known, down, degraded, excluded, sums.get(f"incidents_{window}", 0))
    return found


def _nothing(now: datetime) -> Uptimes:
    return {name: Uptime((now - beginning(length, now)).total_seconds()) for name, length in WINDOWS.items()}
