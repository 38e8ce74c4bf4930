"""What the pages about alerts show, made of the API's documents. Pure: takes `now`, returns plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.alerts.recipients import shown
from app.infra.words import duration
from app.web.console.moments import Moment, moment
from app.web.console.recovery_view import RunRow, run_row

TONES = {"critical": "bad", "error": "bad", "warning": "warn", "info": "calm"}
GLYPHS = {"bad": "✕", "warn": "!", "calm": "i", "ok": "✓"}
_ORDER = ("critical", "error", "warning", "info")
_WORDS = {
    "silence": "silenced",
    "inhibition": "held back by its cause",
    "maintenance": "in maintenance",
    "business_hours": "waits for business hours",
    "cooldown": "told not long ago",
    "unconfirmed_cause": "waits for its cause",
}
_EVENTS = {
    "opened": "began",
    "fired": "fires",
    "told": "told",
    "group_opened": "grouped",
    "group_closed": "group closed",
    "flap_held": "ended, not believed yet: it flaps",
    "timed_out": "ended: nobody refreshed it",
    "closed": "closed",
    "acknowledgement_expired": "acknowledgement ran out",
    "acted": "something was done about it",
}
MOST_EVENTS = 60


@dataclass(frozen=True, slots=True)
class AlertRow:
    """One open alert. `note`: why nobody is told, or who is at it."""

    id: str
    name: str
    severity: str
    tone: str
    glyph: str
    service: str | None
    team: str | None
    summary: str
    state: str
    since: Moment
    told: Moment
    note: str | None


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the story."""

    at: Moment
    what: str
    by: str | None
    detail: str


@dataclass(frozen=True, slots=True)
class AlertPage:
    """All of one alert's page."""

    row: AlertRow
    paragraphs: tuple[tuple[str, str], ...]
    labels: tuple[tuple[str, str], ...]
    why: str
    lasted: str
    groups: tuple[Mapping[str, Any], ...]
    notifications: tuple[Mapping[str, Any], ...]
    story: tuple[Event, ...]
    runbook: str | None
    dashboard: str | None
    incident: str | None
    runs: tuple[RunRow, ...]


def alert_rows(given: Iterable[Mapping[str, Any]], now: datetime) -> tuple[AlertRow, ...]:
    """Open alerts, the worst first, then the oldest."""
    rows = [alert_row(item, now) for item in given]
    return tuple(sorted(rows, key=lambda row: (_rank(row.severity), row.note is not None, row.since.iso or "")))


def _rank(severity: str) -> int:
    return _ORDER.index(severity) if severity in _ORDER else len(_ORDER)


def alert_row(given: Mapping[str, Any], now: datetime) -> AlertRow:
    """One alert as the API gives it."""
    tone = "ok" if given["state"] == "resolved" else TONES.get(given["severity"], "calm")
    return AlertRow(
        id=given["id"],
        name=given["name"],
        severity=given["severity"],
        tone=tone,
        glyph=GLYPHS[tone],
        service=given["service"],
        team=given["team"],
        summary=given["summary"] or "",
        state=given["state"],
        since=moment(given["starts_at"], now),
        told=moment(given["told_at"], now),
        note=_note(given),
    )


def _note(given: Mapping[str, Any]) -> str | None:
    if given["acknowledged"] is not None:
        return f"{given['acknowledged']['by']} is at it"
    said = [f"{_WORDS.get(mute['by'], mute['by'])}: {mute['reason']}" for mute in given["muted"]]
    return "; ".join(said) or None


def alert_page(given: Mapping[str, Any], now: datetime) -> AlertPage:
    """One alert with its story: `reading.get_episode`, `explained`, the `incident` that it is about, its `runs`."""
    paragraphs = (
        ("Description", given["description"]),
        ("Impact", given["impact"]),
        ("Possible causes", "\n".join(given["causes"])),
        ("What to do", given["recommendation"]),
        ("Actions taken", "\n".join(given["actions_taken"])),
    )
    return AlertPage(
        row=alert_row(given, now),
        paragraphs=tuple((label, str(text)) for label, text in paragraphs if text),
        labels=tuple(sorted(given["labels"].items())),
        why=given["explained"]["why"],
        lasted=duration(given["duration_seconds"]),
        groups=tuple(given["explained"]["groups"]),
        notifications=tuple(_notification(item, now) for item in given["notifications"]),
        story=_story(given["history"], now),
        runbook=given["runbook"],
        dashboard=given["dashboard"],
        incident=given["incident"],
        runs=tuple(run_row(run, now) for run in given["runs"]),
    )


def _notification(given: Mapping[str, Any], now: datetime) -> Mapping[str, Any]:
    tone = {"delivered": "ok", "failed": "bad", "skipped": "calm"}.get(given["state"], "warn")
    took = given["seconds_from_fact"]
    return {
        **given,
        "to": shown(given["recipient"], given["channel"]),
        "at": moment(given["created_at"], now),
        "tone": tone,
        "glyph": GLYPHS[tone],
        "took": duration(took),
    }


def _story(history: Sequence[Mapping[str, Any]], now: datetime) -> tuple[Event, ...]:
    return tuple(
        Event(
            at=moment(item["at"], now),
            what=_EVENTS.get(item["event"], item["event"].replace("_", " ")),
            by=item["by"],
            detail=_detail(item["facts"]),
        )
        for item in list(history)[-MOST_EVENTS:]
    )


def _detail(facts: Mapping[str, Any]) -> str:
    """The few facts that say something to a person."""
    said = []
    if facts.get("why"):
        said.append(str(facts["why"]))
    if facts.get("to"):
        said.append(", ".join(map(str, facts["to"])))
    if facts.get("not"):
        said.append("; ".join(map(str, facts["not"])))
    said += [str(facts[key]) for key in ("comment", "held", "error", "verdict") if facts.get(key)]
    return "; ".join(said)
