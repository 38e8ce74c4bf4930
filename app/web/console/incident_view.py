"""What an incident's page shows, made of the API's document. Pure: takes `now`, returns plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.infra.words import duration
from app.web.console.figures import GLYPHS
from app.web.console.moments import Moment, moment
from app.web.console.recovery_view import RunRow, run_row

_TONES = {
    "probe.failed": "bad",
    "incident.cause": "bad",
    "incident.detected": "bad",
    "incident.affected": "bad",
    "probe.passed": "ok",
    "incident.recovered": "ok",
    "alert.acknowledged": "ok",
    "alert.resolved": "ok",
    "alert.escalated": "warn",
    "alert.not_told": "warn",
    "alert.lost": "bad",
    "run.waits": "warn",
    "mode.entered": "warn",
}
_STEPS = {"done": "ok", "failed": "bad", "refused": "warn"}
_VERDICTS = {"recovered": "ok", "by_itself": "ok", "completed": "ok", "escalated": "bad"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the story. `day` is set on the first line of a day, `after` says how long after the first failure."""

    day: str | None
    clock: str
    iso: str
    after: str
    tone: str
    glyph: str
    text: str
    kind: str
    link: str | None


@dataclass(frozen=True, slots=True)
class IncidentPage:
    """All of an incident's page."""

    id: str
    service: str
    severity: str
    tone: str
    glyph: str
    state: str
    why: str | None
    began: Moment
    figures: tuple[tuple[str, str], ...]
    causes: tuple[Mapping[str, Any], ...]
    affected: tuple[Mapping[str, Any], ...]
    alerts: tuple[Mapping[str, Any], ...]
    runs: tuple[RunRow, ...]
    story: tuple[Line, ...]
    complete: bool
    is_open: bool


def incident_page(given: Mapping[str, Any], now: datetime) -> IncidentPage:
    """One incident, of `timeline.incident`."""
    tone = "bad" if given["open"] else "ok" if given["outcome"] == "recovered" else "calm"
    return IncidentPage(
        id=given["id"],
        service=given["service"],
        severity=given["severity"],
        tone=tone,
        glyph=GLYPHS[tone],
        state=_state(given),
        why=None if given["error"] is None else given["error"]["text"],
        began=moment(given["started_at"], now),
        figures=_figures(given, now),
        causes=tuple(given["causes"]),
        affected=tuple(given["affected"]),
        alerts=tuple(given["alerts"]),
        runs=tuple(run_row(run, now) for run in given["runs"]),
        story=_story(given),
        complete=given["complete"],
        is_open=given["open"],
    )


def _state(given: Mapping[str, Any]) -> str:
    if given["open"]:
        return "is down"
    return "was down" if given["outcome"] == "recovered" else "left the catalogue while it was down"


def _figures(given: Mapping[str, Any], now: datetime) -> tuple[tuple[str, str], ...]:
    began = datetime.fromisoformat(given["started_at"])
    lasting = max(now - began, timedelta()).total_seconds()
    recovered = given["recovery_seconds"]
    figures = [
        ("Detected after", duration(given["detection_seconds"])),
        ("Recovered after", duration(recovered)) if recovered is not None else ("Lasting", duration(lasting)),
        ("Failed probes", f"{given['failures']:,}"),
        ("Severity", given["severity"]),
    ]
    if given["in_maintenance"]:
        figures.append(("Maintenance", "yes: it does not count"))
    return tuple(figures)


def _story(given: Mapping[str, Any]) -> tuple[Line, ...]:
    began = datetime.fromisoformat(given["started_at"])
    lines, day = [], ""
    for entry in given["timeline"]:
        tone = _tone(entry)
        shown = entry["at"][:10]
        lines.append(
            Line(
                day=shown if shown != day else None,
                clock=entry["at"][11:19],
                iso=entry["at"],
                after=_after((datetime.fromisoformat(entry["at"]) - began).total_seconds()),
                tone=tone,
                glyph="·" if tone == "calm" else GLYPHS[tone],
                text=entry["text"],
                kind=entry["kind"],
                link=_link(entry["detail"]),
            )
        )
        day = shown
    return tuple(lines)


def _tone(entry: Mapping[str, Any]) -> str:
    match entry["kind"]:
        case "run.step":
            return _STEPS.get(entry["detail"].get("state", ""), "calm")
        case "run.ended":
            return _VERDICTS.get(entry["detail"].get("verdict", ""), "warn")
        case kind:
            return _TONES.get(kind, "calm")


def _after(seconds: float) -> str:
    if abs(seconds) < 0.0005:
        return ""
    return f"{'+' if seconds > 0 else '-'}{duration(abs(seconds))}"


def _link(detail: Mapping[str, Any]) -> str | None:
    """Where more is said of it."""
    for key, place in (("run", "/recovery/"), ("alert", "/alerts/"), ("incident", "/incidents/")):
        if detail.get(key):
            return f"{place}{detail[key]}"
    return None
