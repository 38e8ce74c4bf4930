"""Runs, playbooks and guards as people and programs read them: JSON-ready."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.catalog import Catalog
from app.clock import iso
from app.errors import NotFound
from app.infra import ids
from app.recovery import store, told
from app.recovery.core import Run, StepRun
from app.recovery.playbooks import is_dry, shown

LATELY = timedelta(hours=1)


def list_runs(
    session: Session,
    *,
    service: str | None = None,
    playbook: str | None = None,
    open_only: bool = False,
    incident_id: UUID | None = None,
    limit: int = 50,
    before: UUID | None = None,
) -> list[dict[str, Any]]:
    """Runs, newest first; `before` is the id of the last one of the page before."""
    conditions = {
        "service = :service": service,
        "playbook = :playbook": playbook,
        "incident_id = :incident_id": incident_id,
        "id < :before": before,
    }
    used = [condition for condition, value in conditions.items() if value is not None]
    if open_only:
        used.append("ended_at IS NULL")
    values = {condition.rsplit(":", 1)[1]: value for condition, value in conditions.items() if value is not None}
    found = store.runs(session, " AND ".join(used) or "true", "id DESC", limit=limit, **values)
    return [run_dict(run) for run in found]


def get_run(session: Session, run_id: UUID) -> dict[str, Any]:
    """One run with every step. Raises NotFound."""
    found = store.runs(session, "id = :id", limit=1, id=run_id)
    if not found:
        raise NotFound(f"there is no run {run_id}")
    return run_dict(found[0], whole=True)


def run_dict(run: Run, *, whole: bool = False) -> dict[str, Any]:
    """A run; `whole`: with each step's options and details, and what started it.

    `due_at`: when it is taken further, if not before; `over_at`: when its trouble was seen to be over.
    """
    ended_at = run.ended_at
    more = {"trigger": dict(run.values), "runner": str(run.runner)} if whole else {}
    return {
        "id": str(run.id),
        "playbook": run.playbook,
        "service": run.service,
        "state": "ended" if ended_at else "waiting" if run.waits or not run.has_begun else "running",
        "verdict": str(run.verdict) if run.verdict else None,
        "reason": str(run.reason) if run.reason else None,
        "why": run.why,
        "waits": run.waits,
        "dry_run": run.dry_run,
        "started_by": run.started_by,
        "incident_id": str(run.incident_id) if run.incident_id else None,
        "since": _iso(run.since),
        "created_at": iso(run.created_at),
        "due_at": _iso(run.due_at),
        "ended_at": _iso(ended_at),
        "over_at": _iso(run.over_at),
        "seconds": round((ended_at - run.created_at).total_seconds(), 3) if ended_at else None,
        "abort_by": run.abort_by,
        "advice": run.advice,
        "actions": told.lines(run),
        "steps": [_step(step, whole=whole) for step in run.steps],
        **more,
    }


def _step(step: StepRun, *, whole: bool) -> dict[str, Any]:
    seconds = (step.ended_at - step.began_at).total_seconds() if step.ended_at and step.began_at else None
    more = {"options": dict(step.options), "detail": dict(step.detail)} if whole else {}
    return {
        "place": step.place,
        "action": step.action,
        "effect": str(step.effect),
        "says": step.says,
        "state": str(step.state),
        "text": step.text,
        "last": step.last,
        "tries": step.tries,
        "not_before": _iso(step.not_before),
        "began_at": _iso(step.began_at),
        "ended_at": _iso(step.ended_at),
        "seconds": round(seconds, 3) if seconds is not None else None,
        **more,
    }


def playbooks(catalog: Catalog) -> list[dict[str, Any]]:
    """The catalogue's playbooks, secrets as `${NAME}`."""
    return [
        {
            "name": playbook.name,
            "description": playbook.description,
            "enabled": playbook.enabled and catalog.recovery.enabled,
            "dry_run": is_dry(playbook, catalog),
            "on": list(playbook.on),
            "when": playbook.model_dump(mode="json")["when"],
            "unless": playbook.model_dump(mode="json")["unless"],
            "steps": [
                {
                    "do": step.do,
                    "after": step.after,
                    "on_failure": step.on_failure,
                    "last": last,
                    **shown(step),
                }
                for steps, last in ((playbook.steps, False), (playbook.finally_, True))
                for step in steps
            ],
            "advice": playbook.advice,
        }
        for _, playbook in sorted(catalog.playbooks.items())
    ]


def guards(session: Session, catalog: Catalog, now: datetime) -> dict[str, Any]:
    """The guards' figures, what of the budgets is used up, and whether all is stopped."""
    stopped = store.stop(session)
    used = session.execute(
        text("SELECT service, count(*) AS used FROM recovery_restarts WHERE at > :since GROUP BY service ORDER BY 1"),
        {"since": now - LATELY},
    ).all()
    limits = catalog.recovery
    return {
        "enabled": limits.enabled,
        "dry_run": limits.dry_run,
        "stopped": None if stopped is None else {"at": iso(stopped[0]), "by": stopped[1], "reason": stopped[2]},
        "containers": list(limits.containers),
        "restarts_per_service": limits.restarts_per_service,
        "restarts_in_all": limits.restarts_in_all,
        "restarts_last_hour": {row.service: row.used for row in used},
        "restarts_last_hour_in_all": sum(row.used for row in used),
        "critical_at_once": limits.critical_at_once,
        "cooldown_seconds": limits.cooldown,
        "patience_seconds": limits.patience,
    }


def action_taken(session: Session, now: datetime) -> str | None:
    """What was lately done, in one text for the status document; None: nothing was."""
    found = store.runs(session, "id >= :first", "id DESC", limit=20, first=ids.floor(now - LATELY))
    return actions_of(list(reversed(found)))


def actions_of(runs: Sequence[Run]) -> str | None:
    """What these runs did, in one text; None: nothing was."""
    said = [f"{run.service}: {'; '.join(lines)}" for run in runs if (lines := told.lines(run))]
    return " | ".join(said) or None


def notices(session: Session, catalog: Catalog | None) -> list[str]:
    """What the status must say loudly of recovery."""
    stopped = store.stop(session)
    said = []
    if stopped is not None:
        why = f", {stopped[2]}" if stopped[2] else ""
        said.append(f"recovery is stopped by {stopped[1]} since {iso(stopped[0])}{why}: nothing is repaired")
    if catalog is not None and catalog.recovery.dry_run:
        said.append("recovery only says what it would do: dry_run is set in the catalogue")
    return said


def _iso(moment: datetime | None) -> str | None:
    return iso(moment) if moment else None
