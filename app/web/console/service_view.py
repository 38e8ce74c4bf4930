"""What a service's page shows, made of the API's documents. Pure: takes `now`, returns plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.infra.words import duration
from app.web.console.alerts_view import AlertRow, alert_rows
from app.web.console.charts import Chart, latency, share
from app.web.console.figures import GLYPHS, figure, label, milliseconds, percent, plain_readings, tone_of
from app.web.console.moments import moment
from app.web.console.recovery_view import RunRow, run_row
from app.web.console.view import IncidentRow, ModeRow, ServiceRow, incident_row, mode_row, service_row

SPANS = {"24 h": timedelta(hours=24), "14 d": timedelta(days=14)}
"""The latency histories that are shown."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading; `limits` in words, `tone` where it is past one."""

    name: str
    value: str
    tone: str
    level: str
    limits: str


@dataclass(frozen=True, slots=True)
class Uptime:
    """One window."""

    window: str
    percent: str
    tone: str
    down: str
    incidents: int
    note: str


@dataclass(frozen=True, slots=True)
class Budget:
    """The error budget of 30 days; `width` of 100 is left."""

    objective: str
    left: str
    total: str
    left_percent: str
    width: float
    tone: str
    burning: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A service on which this one depends, or that depends on it."""

    name: str
    status: str
    tone: str
    glyph: str
    direct: bool


@dataclass(frozen=True, slots=True)
class ServicePage:
    """All of a service's page. `is_stored` is false while Postgres is away: then only the row is there."""

    row: ServiceRow
    is_stored: bool
    description: str = ""
    about: tuple[tuple[str, str], ...] = ()
    readings: tuple[Reading, ...] = ()
    uptimes: tuple[Uptime, ...] = ()
    budget: Budget | None = None
    charts: tuple[Chart, ...] = ()
    alerts: tuple[AlertRow, ...] = ()
    modes: tuple[ModeRow, ...] = ()
    incidents: tuple[IncidentRow, ...] = ()
    runs: tuple[RunRow, ...] = ()
    depends_on: tuple[Neighbour, ...] = ()
    dependents: tuple[Neighbour, ...] = ()


def service_page(
    name: str,
    entry: Mapping[str, Any],
    found: Mapping[str, Any] | None,
    *,
    latencies: Mapping[str, Mapping[str, Any]],
    now: datetime,
    order: Mapping[str, Iterable[str]],
) -> ServicePage:
    """`entry` is the status document's, `found` of `service.document`, None while Postgres is away.

    `latencies` are the histories of SPANS; `order` says how each kind's readings follow one another.
    """
    row = service_row(name, entry, now, order)
    shown_readings = _readings(entry, found or {}, tuple(order.get(row.kind, ())))
    if found is None:
        return ServicePage(row, is_stored=False, readings=shown_readings)
    drawn = (latency(span, f"{span} ago", latencies[span], SPANS[span], now) for span in SPANS if span in latencies)
    return ServicePage(
        row=row,
        is_stored=True,
        description=found["description"],
        about=_about(found),
        readings=shown_readings,
        uptimes=_uptimes(found["availability"]),
        budget=_budget(found["availability"], now),
        charts=tuple(chart for chart in drawn if chart is not None),
        alerts=alert_rows(found["alerts"], now),
        modes=tuple(mode_row(item, now) for item in found["modes"]),
        incidents=tuple(incident_row(item, now) for item in found["incidents"]),
        runs=tuple(run_row(item, now) for item in found["runs"]),
        depends_on=_neighbours(found["depends_on"]),
        dependents=_neighbours(found["dependents"]),
    )


def _about(found: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    rows = (
        ("Severity", found["severity"]),
        ("Team", found["team"] or ""),
        ("Container", found["container"] or ""),
        ("Probed by", f"the {found['watched_by']} every {duration(found['interval_seconds'])}"),
        ("Time-out", duration(found["timeout_seconds"])),
        ("Tags", ", ".join(found["tags"])),
    )
    return tuple((name, value) for name, value in rows if value)


def _readings(entry: Mapping[str, Any], found: Mapping[str, Any], order: tuple[str, ...]) -> tuple[Reading, ...]:
    thresholds, levels = found.get("thresholds", {}), found.get("levels", {})
    keys = [key for key in plain_readings(entry, order) if key != "latency_ms"]
    if entry.get("latency_ms") is not None:
        keys.insert(0, "latency_ms")
    return tuple(_reading(key, entry[key], levels.get(key), thresholds.get(key)) for key in keys)


def _reading(key: str, value: object, level: str | None, limits: Mapping[str, Any] | None) -> Reading:
    name, unit = label(key)
    shown = milliseconds(value) if key == "latency_ms" else figure(value) + unit
    said = []
    for word in ("warning", "degraded"):
        limit = None if limits is None else limits[word]
        if limits is not None and limit is not None:
            said.append(f"{word} {'at or under' if limits['below'] else 'from'} {figure(limit)}{unit}")
    tone = {"degraded": "bad", "warning": "warn"}.get(level or "", "")
    return Reading(name, shown, tone, level or "", ", ".join(said))


def _uptimes(given: Mapping[str, Any]) -> tuple[Uptime, ...]:
    objective = given["objective"]
    return tuple(_uptime(window, uptime, objective) for window, uptime in given["uptime"].items())


def _uptime(window: str, given: Mapping[str, Any], objective: float | None) -> Uptime:
    value, coverage = given["percent"], given["coverage_percent"]
    tone = "calm" if value is None else "bad" if objective is not None and value < objective else "ok"
    return Uptime(
        window=f"{window[:-1]} {window[-1]}",
        percent=percent(value),
        tone=tone,
        down=duration(given["down_seconds"]) if given["down_seconds"] else "never down",
        incidents=given["incidents"],
        note=f"known for {percent(coverage)} of it" if coverage is not None and coverage < 99 else "",
    )


def _budget(given: Mapping[str, Any], now: datetime) -> Budget | None:
    budget = given["budget"]
    if budget is None:
        return None
    left, total = budget["left_seconds"], budget["total_seconds"]
    tone = "bad" if left <= 0 else "warn" if left < total / 4 or given["burning"] else "ok"
    return Budget(
        objective=percent(given["objective"]),
        left=duration(left) if left >= 0 else f"overdrawn by {duration(-left)}",
        total=duration(total),
        left_percent=percent(max(0.0, budget["left_percent"])),
        width=share(left, total),
        tone=tone,
        burning=tuple(f"burns {burn['speed']} since {moment(burn['since'], now).text}" for burn in given["burning"]),
    )


def _neighbours(given: Iterable[Mapping[str, Any]]) -> tuple[Neighbour, ...]:
    found = []
    for item in given:
        tone = tone_of(item["status"])
        found.append(Neighbour(item["service"], item["status"], tone, GLYPHS[tone], item["direct"]))
    return tuple(found)
