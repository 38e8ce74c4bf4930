"""What the status page shows, made of the status document. Pure: takes `now`, returns plain values for the template."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.infra.words import duration
from app.jobs import counting
from app.jobs.core import UNCLAIMED, JobState
from app.web.console.alerts_view import AlertRow, alert_rows
from app.web.console.figures import GLYPHS, milliseconds, percent, readings, tone_of
from app.web.console.limits_view import LimitRow, status_rows
from app.web.console.moments import Moment, moment, parse
from app.web.overview import Overview

_DOWN_SINCE = re.compile(r"^down since \S+: ")
_URGENCY = {"bad": 0, "warn": 1, "calm": 2, "ok": 3}
_HEADLINES = {
    "healthy": "The stack is healthy",
    "degraded": "The stack is degraded",
    "unhealthy": "The stack is unhealthy",
    "unknown": "The state is not known",
}
ALERTS_ON_STATUS = 10


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """One service. `tone` is a colour's name; `glyph` says the same without colour."""

    name: str
    kind: str
    status: str
    tone: str
    glyph: str
    since: Moment
    latency: str
    readings: tuple[tuple[str, str], ...]
    checked: Moment
    why: str | None
    notes: tuple[str, ...]
    tags: tuple[str, ...]
    uptime: str = "-"


@dataclass(frozen=True, slots=True)
class IncidentRow:
    """One incident; `recovered` only when it is over."""

    id: str
    service: str
    started: Moment
    detected_in: str
    recovered: Moment
    lasted: str
    why: str | None


@dataclass(frozen=True, slots=True)
class ModeRow:
    """One holder's hold on a mode."""

    name: str
    since: Moment
    until: str
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class QueueRow:
    """One queue: messages in Redis, jobs in Postgres, workers that serve it."""

    name: str
    messages: str
    oldest: str
    waiting: str
    running: str
    workers: str
    paused: str | None


@dataclass(frozen=True, slots=True)
class Page:
    """All of the status page. `complete`: made of Postgres, not of the watchdog's file alone."""

    status: str
    tone: str
    glyph: str
    headline: str
    summary: str
    notices: tuple[str, ...]
    done: tuple[str, ...]
    modes: tuple[ModeRow, ...]
    services: tuple[ServiceRow, ...]
    open_incidents: tuple[IncidentRow, ...]
    recent_incidents: tuple[IncidentRow, ...]
    alerts: tuple[AlertRow, ...]
    alert_count: str
    queues: tuple[QueueRow, ...]
    workers: tuple[str, ...]
    unacked: str | None
    queue_problem: str | None
    complete: bool
    limits: tuple[LimitRow, ...] = ()
    has_uptimes: bool = False


def service_row(
    name: str,
    given: Mapping[str, Any],
    now: datetime,
    order: Mapping[str, Iterable[str]],
    uptime: float | None = None,
) -> ServiceRow:
    """One entry of the document's `services`; `order` says how each kind's readings follow one another.

    `uptime` is in percent of 30 days.
    """
    status = str(given.get("status", "unknown"))
    tone = tone_of(status)
    tags = ["essential"] if given.get("essential") else []
    if given.get("maintenance"):
        tags.append("maintenance")
    if given.get("flapping"):
        tags.append("flapping")
    warnings = given.get("warnings") or ()
    return ServiceRow(
        name=name,
        kind=str(given.get("kind", "")),
        status=status,
        tone=tone,
        glyph=GLYPHS[tone],
        since=moment(given.get("since"), now),
        latency=milliseconds(given.get("latency_ms")),
        readings=readings(given, tuple(order.get(str(given.get("kind")), ()))),
        checked=moment(given.get("last_checked"), now),
        why=_why(given.get("issue")),
        notes=tuple(str(item) for item in warnings),
        tags=tuple(tags),
        uptime=percent(uptime),
    )


def mode_row(given: Mapping[str, Any], now: datetime) -> ModeRow:
    """One entry of the document's `modes`."""
    return ModeRow(
        name=given["name"],
        since=moment(given["since"], now),
        until=given["until"] or "it is left",
        by=given["set_by"].removeprefix("person:"),
        reason=given["reason"],
    )


def _why(issue: str | None) -> str | None:
    """The issue without "down since TIME": the row says both beside it."""
    return None if issue is None else _DOWN_SINCE.sub("", issue)


def incident_row(given: Mapping[str, Any], now: datetime) -> IncidentRow:
    """One incident as the API gives it."""
    started, ended = parse(given["started_at"]), parse(given["recovered_at"])
    lasted = None if started is None else max((ended or now) - started, timedelta()).total_seconds()
    return IncidentRow(
        id=given["id"],
        service=given["service"],
        started=moment(given["started_at"], now),
        detected_in=duration(given["detection_seconds"]),
        recovered=moment(given["recovered_at"], now),
        lasted=duration(lasted),
        why=None if given["error"] is None else given["error"]["text"],
    )


def queue_rows(document: Mapping[str, Any] | None, seen: Mapping[str, Any]) -> tuple[QueueRow, ...]:
    """The queues as Redis and Postgres hold them, with the workers that the probe of the engine saw.

    Without the first (Postgres is away) what the probe saw is all there is. A dash stands for what nobody said.
    """
    if document is None:
        return tuple(
            QueueRow(
                name, _count(item["depth"]), duration(item["oldest_seconds"]), "-", "-", _count(item["workers"]), None
            )
            for name, item in seen.items()
        )
    rows = []
    for row in document["queues"]:
        jobs, paused, more = row["jobs"], row["paused"], set(row["capped"])
        rows.append(
            QueueRow(
                name=row["name"],
                messages=_count(row["depth"]),
                oldest=duration(row["oldest_seconds"]),
                waiting=counting.shown(jobs["scheduled"] + jobs["rung"], is_capped=not more.isdisjoint(UNCLAIMED)),
                running=counting.shown(jobs["running"], is_capped=JobState.RUNNING in more),
                workers=_count(seen.get(row["name"], {}).get("workers")),
                paused=None if paused is None else f"by {paused['paused_by']}. {paused['reason']}".strip(),
            )
        )
    return tuple(rows)


def _count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def _engine(services: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """The entry of the probe that saw the workers; empty without one."""
    return next((given for given in services.values() if given.get("kind") == "celery" and "queues" in given), {})


def page(
    overview: Overview,
    now: datetime,
    order: Mapping[str, Iterable[str]],
    uptimes: Mapping[str, float | None] | None = None,
) -> Page:
    """Everything the template needs. `uptimes`: percent of 30 days by service, where that is known."""
    document = overview.document
    status = str(document["status"])
    tone = tone_of(status)
    entries: Mapping[str, Mapping[str, Any]] = document["services"]
    services = sorted(
        (service_row(name, given, now, order, (uptimes or {}).get(name)) for name, given in entries.items()),
        key=lambda row: (_URGENCY[row.tone], "essential" not in row.tags, row.name),
    )
    queues, engine = overview.queues, _engine(entries)
    return Page(
        status=status,
        tone=tone,
        glyph=GLYPHS[tone],
        headline=_HEADLINES.get(status, status.capitalize()),
        summary=_summary(services),
        notices=tuple(document["notices"]),
        done=_done(document.get("action_taken")),
        modes=tuple(mode_row(item, now) for item in document.get("modes", ())),
        services=tuple(services),
        open_incidents=tuple(incident_row(item, now) for item in overview.open_incidents),
        recent_incidents=tuple(incident_row(item, now) for item in overview.recent_incidents),
        alerts=alert_rows(overview.alerts, now)[:ALERTS_ON_STATUS],
        alert_count=f"{len(overview.alerts)}{'+' if overview.more_alerts else ''}",
        queues=queue_rows(queues, engine.get("queues", {})),
        workers=tuple(engine.get("alive", ())),
        unacked=None if queues is None or queues["unacked"] is None else _count(queues["unacked"]),
        queue_problem=None if queues is None else queues["problem"],
        complete=overview.is_stored,
        limits=status_rows(document.get("rate_limits", {})),
        has_uptimes=bool(uptimes),
    )


def _done(taken: str | None) -> tuple[str, ...]:
    """What was done by itself, a line for each service."""
    return () if taken in (None, "none") else tuple(str(taken).split(" | "))


def _summary(services: Sequence[ServiceRow]) -> str:
    if not services:
        return "No service has reported yet"
    parts = [f"{sum(row.status == 'up' for row in services)} of {len(services)} services are up"]
    for status, word in (("down", "down"), ("degraded", "degraded"), ("unknown", "not known")):
        names = [row.name for row in services if row.status == status]
        if names:
            shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
            parts.append(f"{shown} {'is' if len(names) == 1 else 'are'} {word}")
    return "; ".join(parts) if len(parts) > 1 else f"All {len(services)} services are up"
