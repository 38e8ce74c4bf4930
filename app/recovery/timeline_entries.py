"""What is stored about an incident, each as a line of its story. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.alerts.recipients import shown as addressee
from app.health.incidents import Incident
from app.infra.words import duration
from app.recovery.core import Effect, Run, StepRun, StepState, Verdict
from app.signals import Signal


class Kind(StrEnum):
    """What happened; in the order in which things of one moment are told."""

    CAUSE = "incident.cause"
    PROBE_FAILED = "probe.failed"
    DETECTED = "incident.detected"
    AFFECTED = "incident.affected"
    MODE_ENTERED = "mode.entered"
    RUN_STARTED = "run.started"
    STEP_BEGAN = "run.step_began"
    STEP = "run.step"
    RUN_WAITS = "run.waits"
    PROBE_PASSED = "probe.passed"
    RECOVERED = "incident.recovered"
    REMOVED = "incident.removed"
    MODE_LEFT = "mode.left"
    RUN_ENDED = "run.ended"
    ALERT_OPENED = "alert.opened"
    ALERT_CHANGED = "alert.changed"
    ALERT_ACKNOWLEDGED = "alert.acknowledged"
    ALERT_ESCALATED = "alert.escalated"
    ALERT_NOT_TOLD = "alert.not_told"
    ALERT_TOLD = "alert.told"
    ALERT_LOST = "alert.lost"
    ALERT_RESOLVED = "alert.resolved"


RANKS: Mapping[Kind, int] = {kind: rank for rank, kind in enumerate(Kind)}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line. `detail` has ids and figures for programs and links."""

    at: datetime
    kind: Kind
    text: str
    detail: Mapping[str, Any] = field(default_factory=dict)


def of_probes(incident: Incident, failures: Sequence[Any], successes: Sequence[Any]) -> Iterator[Entry]:
    """The failing probes that made it a fall, the decision, and its end; without probes, what the incident says."""
    if not failures:
        said = f": {incident.error}" if incident.error else ""
        yield Entry(incident.started_at, Kind.PROBE_FAILED, f"the first failure{said}")
    for number, row in enumerate(failures, 1):
        said = f"the first failure: {row.error}" if number == 1 else f"failure {number} in a row: {row.error}"
        detail = {"code": row.error_code, "number": number, "source": row.source}
        yield Entry(row.started_at, Kind.PROBE_FAILED, said, detail)
    took = (incident.detected_at - incident.started_at).total_seconds()
    said = f"{incident.service} is down: seen {duration(took)} after the first failure"
    expected = ", in a maintenance window" if incident.in_maintenance else ""
    yield Entry(incident.detected_at, Kind.DETECTED, said + expected, {"detection_seconds": round(took, 3)})
    yield from _end(incident, successes)


def _end(incident: Incident, successes: Sequence[Any]) -> Iterator[Entry]:
    if incident.recovered_at is None:
        return
    if incident.outcome != "recovered":
        yield Entry(incident.recovered_at, Kind.REMOVED, f"{incident.service} left the catalogue")
        return
    for number, row in enumerate(successes, 1):
        said = "a probe passes again" if number == 1 else f"good probe {number} in a row"
        yield Entry(row.started_at, Kind.PROBE_PASSED, said, {"number": number, "latency_ms": row.latency_ms})
    lasted = (incident.recovered_at - incident.started_at).total_seconds()
    at = successes[-1].started_at if successes else incident.recovered_at
    said = f"{incident.service} is up again: it was down for {duration(lasted)}"
    yield Entry(at, Kind.RECOVERED, said, {"recovery_seconds": round(lasted, 3)})


def of_neighbours(incident: Incident, causes: Iterable[Incident], affected: Iterable[Incident]) -> Iterator[Entry]:
    """What it depends on and what depends on it, where they fell, too."""
    for other in causes:
        said = f"{other.service}, on which it depends, fails first"
        if other.started_at > incident.started_at:
            said = f"{other.service}, on which it depends, fails, too"
        yield Entry(other.started_at, Kind.CAUSE, said, {"service": other.service, "incident": str(other.id)})
    for other in affected:
        said = f"{other.service}, which depends on it, is down, too"
        yield Entry(other.detected_at, Kind.AFFECTED, said, {"service": other.service, "incident": str(other.id)})


_OUTCOMES = {
    StepState.DONE: "",
    StepState.FAILED: "failed: ",
    StepState.REFUSED: "refused: ",
    StepState.SIMULATED: "",
}
_NOTICED_SECONDS = 1.0
"""A step that took longer is told twice: when it began and when it ended."""


def of_run(run: Run) -> Iterator[Entry]:
    """A run's beginning, its steps, what it waits for, and its verdict."""
    known = {"run": str(run.id), "playbook": run.playbook}
    by = "" if run.started_by == "signal" else f", started by {run.started_by}"
    dry = " as a dry run" if run.dry_run else ""
    yield Entry(run.created_at, Kind.RUN_STARTED, f"playbook {run.playbook} begins{dry}{by}", known)
    for step in run.steps:
        yield from _of_step(step, known)
    if run.waits and run.waits_since is not None:
        yield Entry(run.waits_since, Kind.RUN_WAITS, f"{run.playbook} waits: {run.waits}", known)
    if run.ended_at is not None and run.verdict is not None:
        seconds = round((run.ended_at - run.created_at).total_seconds(), 3)
        said = f"playbook {run.playbook}: {_verdict(run.verdict)}, {run.why}"
        yield Entry(run.ended_at, Kind.RUN_ENDED, said, {**known, "verdict": str(run.verdict), "seconds": seconds})


def _of_step(step: StepRun, known: Mapping[str, Any]) -> Iterator[Entry]:
    if step.began_at is None:
        return
    detail = {**known, "action": step.action, "place": step.place, "state": str(step.state)}
    seconds = (step.ended_at - step.began_at).total_seconds() if step.ended_at is not None else None
    if seconds is None or (seconds >= _NOTICED_SECONDS and step.effect is not Effect.NONE):
        yield Entry(step.began_at, Kind.STEP_BEGAN, f"{step.says}: begun", detail)
    if step.ended_at is not None and seconds is not None:
        word = _OUTCOMES.get(step.state, "")
        said = f"{step.says}: {word}{step.text}" if word or step.effect is Effect.NONE else step.text or step.says
        yield Entry(step.ended_at, Kind.STEP, said, {**detail, "seconds": round(seconds, 3)})


def _verdict(verdict: Verdict) -> str:
    return "over by itself" if verdict is Verdict.BY_ITSELF else verdict.replace("_", " ")


_OF_ALERTS: Mapping[str, tuple[Kind, str]] = {
    "opened": (Kind.ALERT_OPENED, "alert {name} ({severity}) begins"),
    "fired": (Kind.ALERT_CHANGED, "alert {name} fires"),
    "raised_again": (Kind.ALERT_CHANGED, "alert {name} is raised again"),
    "fired_again": (Kind.ALERT_CHANGED, "alert {name} fires again"),
    "acknowledged": (Kind.ALERT_ACKNOWLEDGED, "{by} is at it"),
    "unacknowledged": (Kind.ALERT_CHANGED, "{by} is no longer at it"),
    "acknowledgement_expired": (Kind.ALERT_CHANGED, "the acknowledgement of {name} ran out"),
    "flapping": (Kind.ALERT_CHANGED, "alert {name} flaps"),
    "flap_held": (Kind.ALERT_CHANGED, "alert {name} seems over, and flaps: that is not believed yet"),
    "comment": (Kind.ALERT_CHANGED, "{by} says"),
    "closed": (Kind.ALERT_RESOLVED, "{by} says that {name} is over"),
    "resolved": (Kind.ALERT_RESOLVED, "alert {name} is over"),
    "timed_out": (Kind.ALERT_RESOLVED, "alert {name} is over: nobody refreshed it"),
    "never_confirmed": (Kind.ALERT_RESOLVED, "alert {name} is over before it was confirmed"),
}
"""What happened to an alert, by the event in its history. What was done about it is told by the runs."""


def of_alerts(episodes: Iterable[Any], history: Iterable[Any]) -> Iterator[Entry]:
    """Each alert's beginning, answers, escalations and end."""
    known = {row.id: row for row in episodes}
    for event in history:
        episode = known.get(event.episode_id)
        if episode is not None and event.event in _OF_ALERTS:
            kind, words = _OF_ALERTS[event.event]
            said = words.format(name=episode.name, severity=episode.severity, by=event.by or "somebody")
            comment = event.facts.get("comment")
            detail = {"alert": str(episode.id), "name": episode.name, "by": event.by or None}
            yield Entry(event.at, kind, f"{said}: {comment}" if comment else said, detail)
        elif event.event in ("told", "failed_over"):
            yield from _of_group(event)


def _of_group(event: Any) -> Iterator[Entry]:
    facts = event.facts
    to = ", ".join(map(str, facts.get("to") or ())) if isinstance(facts.get("to"), list) else facts.get("to")
    if event.event == "failed_over":
        said = f"{facts.get('from')} does not deliver: told by {to} instead"
        yield Entry(event.at, Kind.ALERT_CHANGED, said, {"from": facts.get("from"), "to": to})
        return
    if facts.get("why") in ("escalated", "reminded"):
        said = "nobody has answered: escalated" if facts["why"] == "escalated" else "nobody has answered: told again"
        detail = {"step": facts.get("step"), "to": facts.get("to")}
        yield Entry(event.at, Kind.ALERT_ESCALATED, f"{said} to {to or 'nobody'}", detail)
    for reason in facts.get("not") or ():
        yield Entry(event.at, Kind.ALERT_NOT_TOLD, f"not told: {reason}", {"why": facts.get("why")})


_TOLD = {
    "acknowledged": "told that somebody is at it",
    "acted": "told what was done",
    "ended": "told that part of it is over",
    "resolved": "told that it is over",
}


def of_notifications(rows: Iterable[Any]) -> Iterator[Entry]:
    """What reached whom, and what did not."""
    for row in rows:
        who = addressee(row.recipient, row.channel)
        watchdog = ", by the watchdog" if row.source == "watchdog" else ""
        detail = {"notification": str(row.id), "channel": row.channel, "recipient": row.recipient, "source": row.source}
        at = row.finished_at or row.created_at
        if row.state == "delivered":
            seconds = max(0.0, (at - row.fact_at).total_seconds())
            word = _TOLD.get(row.reason.partition("-")[0], "told")
            said = f"{who} {word}{watchdog}, {duration(seconds)} after the fact"
            yield Entry(at, Kind.ALERT_TOLD, said, {**detail, "seconds": round(seconds, 3)})
        else:
            yield Entry(
                at, Kind.ALERT_LOST, f"{who} could not be told{watchdog}: {row.error or 'no reason given'}", detail
            )


def of_modes(found: Iterable[Signal]) -> Iterator[Entry]:
    """Modes that came on or went off."""
    for signal in found:
        name = signal.subject.removeprefix("mode:")
        facts = signal.facts
        detail = {"mode": name, "by": facts.get("by")}
        if signal.kind == "modes.entered":
            yield Entry(signal.at, Kind.MODE_ENTERED, f"mode {name} is on: {facts.get('reason', '')}", detail)
        else:
            why = f": {facts['why']}" if facts.get("why") else ""
            yield Entry(signal.at, Kind.MODE_LEFT, f"mode {name} is off{why}", detail)
