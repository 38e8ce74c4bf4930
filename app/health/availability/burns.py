"""Error budgets that burn too fast: judged after each pass of the rollup; a change is a signal in the same transaction.

Signals: slo.burning_fast, slo.burn_over_fast, slo.burning_slow and slo.burn_over_slow, of a service or of "stack". One
speed must not end what another began, so each has kinds of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from app import signals
from app.catalog import STACK as SHOWN
from app.catalog import BurnWindows, Catalog
from app.health.availability.burning import Fault, Least, Span, Verdict, judge
from app.health.availability.figures import budget, objectives, uptimes_of
from app.health.availability.hours import hour_of
from app.health.availability.rollup_sql import STACK
from app.infra.db import UnitOfWork

_SPANS = """
SELECT service, lower(r) AS begins_at, upper(r) AS ends_at
FROM service_hours, unnest(down_spans) AS r WHERE hour >= :since AND down_spans IS NOT NULL ORDER BY service, lower(r)
"""
_FAULTS = """
SELECT i.service, i.started_at AS begins_at, coalesce(i.recovered_at, :now) AS ends_at, i.failures, s.essential
FROM incidents i JOIN services s ON s.name = i.service
WHERE (i.recovered_at IS NULL OR i.recovered_at > :since) AND i.started_at < :now
"""
_BEGIN = "INSERT INTO slo_burns (service, speed, severity, since) VALUES (:service, :speed, :severity, :since)"
_END = "DELETE FROM slo_burns WHERE service = :service AND speed = :speed"


@dataclass(slots=True)
class _Trouble:
    """What one service went through in the longest window."""

    spans: list[Span] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Change:
    """A budget that begins to burn, or no longer does. `since`: when it began to."""

    service: str
    speed: str
    severity: str
    since: datetime
    objective: float | None
    verdict: Verdict | None


def follow(uow: UnitOfWork, catalog: Catalog, now: datetime, *, complete: bool) -> list[str]:
    """Judge every budget and record what changed, as signals; "service speed" of each change.

    Unless the hours are `complete` only beginnings count: what is missing yet could make a burn look over. To be called
    by one at a time, which the lock of the rollup sees to.
    """
    known = {(row.service, row.speed): row for row in uow.execute("SELECT * FROM slo_burns")}
    trouble = _trouble(uow, catalog, now)
    shall = objectives(catalog)
    least = Least(catalog.availability.minimum_minutes, catalog.availability.minimum_failures)
    changes = []
    for service in sorted({*trouble, *(name for name, _ in known)}):
        for speed, pairs in _speeds(catalog).items():
            row = known.get((service, speed))
            objective = shall.get(_shown(service))
            found = trouble.get(service) or _Trouble()
            verdict, was = None, row is not None
            if objective is not None:
                verdict = judge(found.spans, found.faults, pairs, objective=objective, least=least, was=was, now=now)
            burning = verdict is not None and verdict.burning
            if burning == was or not (burning or complete):
                continue
            severity = row.severity if row is not None else _severity(catalog, service, speed)
            since = row.since if row is not None else now
            changes.append(_Change(service, speed, severity, since, objective, verdict))
    for change in changes:
        _record(uow, change, begins=(change.service, change.speed) not in known, now=now)
    return [f"{_shown(change.service)} {change.speed}" for change in changes]


def _speeds(catalog: Catalog) -> dict[str, Sequence[BurnWindows]]:
    return {"fast": catalog.availability.fast, "slow": catalog.availability.slow}


def _trouble(uow: UnitOfWork, catalog: Catalog, now: datetime) -> dict[str, _Trouble]:
    """By service, of those that were down at all in the longest window."""
    longest = max((pair.long for pairs in _speeds(catalog).values() for pair in pairs), default=0)
    since = now - timedelta(seconds=longest)
    found: dict[str, _Trouble] = {}
    for row in uow.execute(_SPANS, since=hour_of(since)):
        found.setdefault(row.service, _Trouble()).spans.append(Span(row.begins_at, row.ends_at))
    for row in uow.execute(_FAULTS, since=since, now=now) if found else ():
        for service in (row.service, STACK) if row.essential else (row.service,):
            if service in found:
                found[service].faults.append(Fault(row.begins_at, row.ends_at, row.failures))
    return found


def _severity(catalog: Catalog, service: str, speed: str) -> str:
    """A fast burn is as bad as the service's being down, a slow one never worse than a warning."""
    own = "critical" if service == STACK else catalog.services[service].severity
    return own if speed == "fast" or own == "info" else "warning"


def _record(uow: UnitOfWork, change: _Change, *, begins: bool, now: datetime) -> None:
    row = {"service": change.service, "speed": change.speed}
    if begins:
        uow.execute(_BEGIN, **row, severity=change.severity, since=change.since)
    else:
        uow.execute(_END, **row)
    shown = _shown(change.service)
    kind = f"slo.{'burning' if begins else 'burn_over'}_{change.speed}"
    labels = {"service": shown, "speed": change.speed, "severity": change.severity}
    signals.record(uow, kind, shown, labels=labels, facts=_facts(uow, change, now))


def _facts(uow: UnitOfWork, change: _Change, now: datetime) -> dict[str, Any]:
    """`since` is the moment of the change; nothing is said of the budget of a service that left the catalogue."""
    if change.objective is None or change.verdict is None:
        return {"since": now, "burning_since": change.since, "reason": "removed"}
    left = budget(change.objective, uptimes_of(uow.session, _shown(change.service), now)).as_dict()
    fastest = max(change.verdict.rates, key=lambda rates: min(rates.long, rates.short) / rates.windows.rate)
    return {
        "since": now,
        "burning_since": change.since,
        "reason": change.verdict.reason,
        "objective": change.objective,
        "burn_rate": round(fastest.long, 2),
        "window_seconds": fastest.windows.long,
        "windows": [_window(rates.windows, rates.long, rates.short) for rates in change.verdict.rates],
        "budget_left_percent": left["left_percent"],
        "budget_left_seconds": left["left_seconds"],
        "budget_seconds": left["total_seconds"],
    }


def _window(windows: BurnWindows, long: float, short: float) -> Mapping[str, float]:
    return {
        "long_seconds": windows.long,
        "short_seconds": windows.short,
        "rate": windows.rate,
        "long_burn": round(long, 2),
        "short_burn": round(short, 2),
    }


def _shown(service: str) -> str:
    return SHOWN if service == STACK else service
