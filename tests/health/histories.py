"""Random histories of services, and what availability makes of them in plain Python: the oracle of the SQL."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from app.health.availability.histogram import SIZE, bucket_of
from app.health.availability.rollup_sql import STACK
from app.health.standing import stale_after
from app.infra import ids
from app.infra.db import UnitOfWork

HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Result:
    """One stored result."""

    at: datetime
    state: str = "up"
    ok: bool = True
    maintenance: bool = False
    latency_ms: float | None = None


@dataclass(frozen=True)
class Incident:
    """One stored incident; `end` is None while it is open."""

    begin: datetime
    end: datetime | None
    maintenance: bool = False


@dataclass(frozen=True)
class History:
    """All that is stored of one service."""

    name: str
    results: Sequence[Result] = ()
    incidents: Sequence[Incident] = ()
    interval: int = 60
    essential: bool = False


@dataclass
class Sums:
    """What the oracle makes of an hour of a service, in whole milliseconds."""

    known_ms: int = 0
    down_ms: int = 0
    degraded_ms: int = 0
    excluded_ms: int = 0
    probes: int = 0
    failed: int = 0
    latency_count: int = 0
    latency_sum_ms: float = 0
    latency_min_ms: float | None = None
    latency_max_ms: float | None = None
    latency_buckets: list[int] | None = None


@dataclass
class _Kinds:
    """By second of the hour (histories change on whole seconds only): what the service was."""

    known: set[int] = field(default_factory=set)
    down: set[int] = field(default_factory=set)
    degraded: set[int] = field(default_factory=set)
    excluded: set[int] = field(default_factory=set)


def expected(histories: Iterable[History], hour: datetime, now: datetime) -> dict[str, Sums]:
    """What `service_hours` must say of that hour, second by second."""
    histories = list(histories)
    kinds = {history.name: _kinds(history, hour, now) for history in histories}
    found = {history.name: _sums(history, kinds[history.name], hour, now) for history in histories}
    essential = [kinds[history.name] for history in histories if history.essential]
    known = {second for kind in essential for second in kind.known}
    down = {second for kind in essential for second in kind.down}
    ailing = {second for kind in kinds.values() for second in kind.down | kind.degraded}
    excluded = {second for kind in essential for second in kind.excluded} - known
    found[STACK] = Sums(*(1000 * len(some) for some in (known, down, (ailing - down) & known, excluded)))
    return {name: sums for name, sums in found.items() if sums != Sums()}


def _kinds(history: History, hour: datetime, now: datetime) -> _Kinds:
    found = _Kinds()
    results = sorted((result for result in history.results if result.at <= now), key=lambda result: result.at)
    end = int((min(hour + HOUR, now) - hour).total_seconds())
    place = 0
    for second in range(end):
        moment = hour + timedelta(seconds=second)
        while place < len(results) and results[place].at <= moment:
            place += 1
        last = results[place - 1] if place else None
        if last is not None and moment - last.at >= stale_after(timedelta(seconds=history.interval)):
            last = None
        incidents = [item for item in history.incidents if item.begin <= moment and not _over(item, moment)]
        if last is not None:
            _add(found, second, excluded=last.maintenance, down=bool(incidents), degraded=last.state == "degraded")
        elif incidents:
            _add(found, second, excluded=all(item.maintenance for item in incidents), down=True, degraded=False)
    return found


def _over(incident: Incident, moment: datetime) -> bool:
    return incident.end is not None and incident.end <= moment


def _add(found: _Kinds, second: int, *, excluded: bool, down: bool, degraded: bool) -> None:
    if excluded:
        found.excluded.add(second)
        return
    found.known.add(second)
    if down:
        found.down.add(second)
    elif degraded:
        found.degraded.add(second)


def _sums(history: History, kinds: _Kinds, hour: datetime, now: datetime) -> Sums:
    inside = [result for result in history.results if hour <= result.at < hour + HOUR and result.at <= now]
    latencies = [result.latency_ms for result in inside if result.latency_ms is not None]
    buckets = [0] * SIZE
    for latency in latencies:
        buckets[bucket_of(latency)] += 1
    return Sums(
        *(1000 * len(some) for some in (kinds.known, kinds.down, kinds.degraded, kinds.excluded)),
        probes=len(inside),
        failed=sum(not result.ok for result in inside),
        latency_count=len(latencies),
        latency_sum_ms=sum(latencies),
        latency_min_ms=min(latencies, default=None),
        latency_max_ms=max(latencies, default=None),
        latency_buckets=buckets if latencies else None,
    )


def write(uow: UnitOfWork, histories: Iterable[History]) -> None:
    """Store histories as the product would have left them."""
    for history in histories:
        uow.execute(
            "INSERT INTO services (name, kind, spec_digest, watched_by, essential, severity, depends_on,"
            " interval_seconds, confirm_interval_seconds, timeout_seconds, failures_to_down, successes_to_up)"
            " VALUES (:name, 'http', '', 'engine', :essential, 'error', '{}', :interval, 5, 10, 3, 2)"
            " ON CONFLICT (name) DO UPDATE SET interval_seconds = excluded.interval_seconds",
            name=history.name,
            essential=history.essential,
            interval=history.interval,
        )
        for result in history.results:
            write_result(uow, history.name, result)
        for incident in history.incidents:
            write_incident(uow, history.name, incident)


def write_result(uow: UnitOfWork, service: str, result: Result) -> None:
    uow.execute(
        "INSERT INTO system_health_log (id, service, state, ok, latency_ms, readings, started_at, source,"
        " in_maintenance) VALUES (:id, :service, :state, :ok, :latency, '{}', :at, 'engine', :maintenance)",
        id=ids.uuid7(result.at),
        service=service,
        state=result.state,
        ok=result.ok,
        latency=result.latency_ms,
        at=result.at,
        maintenance=result.maintenance,
    )


def write_incident(uow: UnitOfWork, service: str, incident: Incident, *, failures: int = 3) -> uuid.UUID:
    key = ids.uuid7(incident.begin)
    uow.execute(
        "INSERT INTO incidents (id, service, started_at, detected_at, recovered_at, outcome, severity, in_maintenance,"
        " failures) VALUES (:id, :service, :begin, :detected, :end, :outcome, 'error', :maintenance, :failures)",
        id=key,
        service=service,
        begin=incident.begin,
        detected=incident.begin + timedelta(seconds=10),
        end=incident.end,
        outcome="recovered" if incident.end else None,
        maintenance=incident.maintenance,
        failures=failures,
    )
    return key
