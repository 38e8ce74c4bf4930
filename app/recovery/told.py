"""What people are told of a run: lines for the alert it belongs to, signals for everything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from app import signals
from app.alerts import actions as alert_actions
from app.infra import metrics
from app.infra.db import UnitOfWork
from app.recovery import store
from app.recovery.core import Run, StepRun, StepState, Verdict

STARTED, ACTED, RECOVERED = "recovery.started", "recovery.acted", "recovery.recovered"
ESCALATED, ENDED, OVER = "recovery.escalated", "recovery.ended", "recovery.over"
"""`OVER`: what repairs did not help is over all the same; said of a service when it is so of the last of them."""
RECENT = timedelta(minutes=10)
"""How long after its end what a run did belongs to an alert that opens."""

_TOLD = frozenset({StepState.DONE, StepState.FAILED, StepState.REFUSED, StepState.SIMULATED})
_CALM = frozenset({Verdict.RECOVERED, Verdict.BY_ITSELF})
_SEVERITY = {"critical": "critical", "error": "critical", "warning": "error", "info": "warning"}
"""How bad it is that a repair did not help: a step worse than the trouble itself, because now a person has to."""


def lines(run: Run) -> list[str]:
    """What was tried, in order, each with its time; at the end what came of it."""
    said = [_line(step) for step in run.steps if step.state in _TOLD]
    if run.waits:
        said.append(f"waits: {run.waits}")
    if run.ended_at is not None and run.verdict is not None:
        said.append(f"{run.ended_at:%H:%M:%S} {run.playbook}: {run.verdict.replace('_', ' ')}, {run.why}")
    return said


def _line(step: StepRun) -> str:
    at = step.ended_at or step.began_at
    text = step.text or step.says
    failed = f"{step.says}: " if step.state in (StepState.FAILED, StepState.REFUSED) else ""
    return f"{at:%H:%M:%S} {failed}{text}" if at is not None else f"{failed}{text}"


def actions_of(uow: UnitOfWork, service: str, now: datetime) -> Sequence[str]:
    """What was lately tried for this service, for an alert about it that opens."""
    return lines_of(uow.session, service, now)


def lines_of(session: Session, service: str, now: datetime) -> list[str]:
    """The lines of the runs of a service that stand, or ended a moment ago, the oldest first."""
    found = store.runs(
        session,
        "service = :service AND (over_at IS NULL OR over_at > :since) AND created_at > :oldest",
        "created_at DESC, id DESC",
        limit=5,
        service=service,
        since=now - RECENT,
        oldest=now - timedelta(days=1),
    )
    return [line for run in reversed(found) for line in lines(run)]


def note(uow: UnitOfWork, run: Run, now: datetime, *, tell: bool) -> None:
    """Put what was done into the service's open alerts; with `tell`, those who know of them are told."""
    alert_actions.note_actions(uow, run.service, lines_of(uow.session, run.service, now), tell=tell, now=now)


def started(uow: UnitOfWork, run: Run) -> None:
    """A run begins."""
    metrics.RECOVERY_RUNS.inc(playbook=run.playbook, outcome="started")
    _record(uow, STARTED, run, {"steps": [step.says for step in run.steps], "dry_run": run.dry_run})


def acted(uow: UnitOfWork, run: Run, step: StepRun) -> None:
    """A step that changes something has been taken."""
    metrics.RECOVERY_STEPS.inc(action=step.action, outcome=str(step.state))
    _record(uow, ACTED, run, {"action": step.action, "text": step.text, "state": str(step.state), "place": step.place})


def concluded(uow: UnitOfWork, run: Run, now: datetime) -> None:
    """A run has ended: its verdict, told once."""
    metrics.RECOVERY_RUNS.inc(playbook=run.playbook, outcome=str(run.verdict))
    note(uow, run, now, tell=False)
    said = conclusion(run)
    signals.record(uow, said.kind, run.service, labels=said.labels, facts=said.facts)


def over(uow: UnitOfWork, runs: Sequence[Run]) -> None:
    """The trouble of these ended runs of one service is over: what told of a failure need not tell it any longer."""
    failed = [run for run in runs if run.verdict is Verdict.ESCALATED]
    if failed and not store.failed_still(uow.session, failed[-1].service):
        _record(uow, OVER, failed[-1], {})


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The signal of a run's end: its kind, labels and facts."""

    kind: str
    labels: Mapping[str, str]
    facts: Mapping[str, Any]


def conclusion(run: Run) -> Conclusion:
    """What is told of a run that has ended. The watchdog pages by it while nothing can be recorded."""
    assert run.verdict is not None  # noqa: S101 - a run without one has not ended
    kind = RECOVERED if run.verdict in _CALM else ESCALATED if run.verdict is Verdict.ESCALATED else ENDED
    seconds = (run.ended_at or run.created_at) - run.created_at
    facts = {
        "verdict": str(run.verdict),
        "reason": str(run.reason) if run.reason else None,
        "why": run.why,
        "advice": run.advice,
        "actions": lines(run),
        "seconds": round(seconds.total_seconds(), 3),
    }
    return Conclusion(kind, _labels(kind, run), _known(run) | facts)


def _record(uow: UnitOfWork, kind: str, run: Run, facts: dict[str, Any]) -> None:
    signals.record(uow, kind, run.service, labels=_labels(kind, run), facts=_known(run) | facts)


def _labels(kind: str, run: Run) -> dict[str, str]:
    severity = _SEVERITY.get(run.severity, "error") if kind == ESCALATED else run.severity
    return {"service": run.service, "kind": run.kind, "severity": severity, "playbook": run.playbook}


def _known(run: Run) -> dict[str, Any]:
    return {
        "run": str(run.id),
        "playbook": run.playbook,
        "incident_id": str(run.incident_id) if run.incident_id else None,
        "started_by": run.started_by,
        "since": run.since.isoformat() if run.since else None,
    }
