"""The SQL of runs, their steps, budgets and the stop. Nothing here commits."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from app.infra.db import UnitOfWork
from app.infra.text import json_safe
from app.recovery.core import Run, StepRun

MOST_AT_WORK = 1000
WINDOW = timedelta(hours=1)
"""What "an hour" means for budgets."""

RUN: TypeAdapter[Run] = TypeAdapter(Run)

_RUN_COLUMNS = (
    "id uuid, playbook text, service text, kind text, severity text, essential boolean, runner text, started_by text,"
    ' created_at timestamptz, dry_run boolean, incident_id uuid, since timestamptz, "values" jsonb, advice text,'
    " verdict text, reason text, why text, healthy boolean, waits text, waits_since timestamptz, due_at timestamptz,"
    " abort_by text, ended_at timestamptz, over_at timestamptz"
)
_STEP_COLUMNS = (
    "run_id uuid, place int, action text, effect text, says text, options jsonb, after_seconds float8,"
    " escalates boolean, last boolean, state text, text text, detail jsonb, not_before timestamptz,"
    " began_at timestamptz, ended_at timestamptz, tries int, job_id uuid"
)


def _upsert(table: str, columns: str, key: tuple[str, ...], kept: Mapping[str, str]) -> str:
    names = [column.strip().split(" ")[0] for column in columns.split(",")]
    changed = ", ".join(f"{name} = {kept.get(name, f'excluded.{name}')}" for name in names if name not in key)
    return (
        f"INSERT INTO {table} ({', '.join(names)}) SELECT {', '.join(f'r.{name}' for name in names)}"
        f" FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r({columns})"
        f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changed}"
    )


# Whoever asks for an abort, or sees that a trouble is over, writes beside the run's own process, which may not have
# read it yet.
_SAVE_RUN = _upsert(
    "recovery_runs",
    _RUN_COLUMNS,
    ("id",),
    {name: f"coalesce(excluded.{name}, recovery_runs.{name})" for name in ("abort_by", "over_at")},
)
_SAVE_STEPS = _upsert("recovery_steps", _STEP_COLUMNS, ("run_id", "place"), {})
_STEP_FIELDS = [item.name for item in fields(StepRun)]
_RUN_FIELDS = [item.name for item in fields(Run) if item.name != "steps"]


def save(uow: UnitOfWork, run: Run) -> None:
    """Write a run with its steps, whether or not it is known."""
    plain: dict[str, Any] = RUN.dump_python(run, mode="json")
    steps = [{**step, "run_id": str(run.id)} for step in plain.pop("steps")]
    uow.execute(_SAVE_RUN, rows=json.dumps(json_safe([plain])))
    uow.execute(_SAVE_STEPS, rows=json.dumps(json_safe(steps)))


def lock(uow: UnitOfWork, run_id: UUID) -> Run | None:
    """One run, locked until the end of the transaction; None when there is none of this id."""
    row = uow.execute("SELECT * FROM recovery_runs WHERE id = :id FOR UPDATE", id=run_id).one_or_none()
    return None if row is None else _runs(uow.session, [row])[0]


def runs(
    session: Session, where: str, order: str = "created_at DESC, id DESC", limit: int = 50, **values: Any
) -> list[Run]:
    """Runs with their steps; `where` and `order` are this code's own."""
    found = session.execute(
        text(f"SELECT * FROM recovery_runs WHERE {where} ORDER BY {order} LIMIT :limit"), {**values, "limit": limit}
    ).all()
    return _runs(session, found)


def _runs(session: Session, rows: Sequence[Row[Any]]) -> list[Run]:
    found: dict[UUID, list[dict[str, Any]]] = {row.id: [] for row in rows}
    steps = session.execute(
        text("SELECT * FROM recovery_steps WHERE run_id = ANY(:ids) ORDER BY run_id, place"), {"ids": list(found)}
    )
    for step in steps:
        known = step._asdict()
        found[step.run_id].append({name: known[name] for name in _STEP_FIELDS})
    return [RUN.validate_python({**_run_fields(row), "steps": found[row.id]}) for row in rows]


def _run_fields(row: Row[Any]) -> dict[str, Any]:
    known = row._mapping
    return {name: known[name] for name in _RUN_FIELDS}


def now(uow: UnitOfWork) -> datetime:
    """The database's clock: jobs are rung by it, and a worker's own may be behind."""
    found: datetime = uow.execute("SELECT clock_timestamp()").scalar_one()
    return found


def take_guards(uow: UnitOfWork) -> None:
    """One decision about repairs at a time, until the end of the transaction: budgets are counted before they grow."""
    uow.execute("SELECT pg_advisory_xact_lock(hashtext('recovery: guards'))")


def note_restart(uow: UnitOfWork, run: Run, place: int, at: datetime) -> None:
    """A restart is about to be done, and counts from now on."""
    uow.execute(
        "INSERT INTO recovery_restarts (run_id, place, service, at) VALUES (:run, :place, :service, :at)"
        " ON CONFLICT DO NOTHING",
        run=run.id,
        place=place,
        service=run.service,
        at=at,
    )


def restarts(session: Session, service: str, now: datetime) -> tuple[int, int]:
    """Restarts of the last hour: of this service, of all."""
    row = session.execute(
        text("SELECT count(*) FILTER (WHERE service = :service) AS own, count(*) AS of_all FROM recovery_restarts"
             " WHERE at > :since"),
        {"service": service, "since": now - WINDOW},
    ).one()  # fmt: skip
    return row.own, row.of_all


@dataclass(frozen=True, slots=True)
class Others:
    """Runs that are at work right now. `on_service`: the playbook of another one that is at the same service."""

    on_service: str | None
    critical: tuple[str, ...]


def others(session: Session, run: Run) -> Others:
    """What other runs are at work on, as `Run.is_at_work` says."""
    found = runs(
        session,
        "ended_at IS NULL AND id <> :id AND NOT dry_run AND EXISTS (SELECT 1 FROM recovery_steps s"
        " WHERE s.run_id = recovery_runs.id AND s.effect <> 'none' AND s.began_at IS NOT NULL)",
        "service, playbook, id",
        limit=MOST_AT_WORK,
        id=run.id,
    )
    rows = [other for other in found if other.is_at_work]
    mine = next((row.playbook for row in rows if row.service == run.service), None)
    critical = dict.fromkeys(row.service for row in rows if row.is_critical and row.service != run.service)
    return Others(mine, tuple(critical))


def at_work(session: Session, run: Run) -> int:
    """Steps of other runs of the engine that workers are taking right now."""
    found: int = session.execute(
        text(
            "SELECT count(*) FROM recovery_steps s JOIN recovery_runs r ON r.id = s.run_id"
            " JOIN jobs j ON j.id = s.job_id WHERE r.ended_at IS NULL AND r.id <> :id AND s.state = 'running'"
        ),
        {"id": run.id},
    ).scalar_one()
    return found


def last_ended_at(session: Session, run: Run) -> datetime | None:
    """When the run before this one ended, of its playbook and service; dry runs do not count."""
    found: datetime | None = session.execute(
        text(
            "SELECT ended_at FROM recovery_runs WHERE playbook = :playbook AND service = :service AND id <> :id"
            " AND ended_at IS NOT NULL AND NOT dry_run ORDER BY created_at DESC LIMIT 1"
        ),
        {"playbook": run.playbook, "service": run.service, "id": run.id},
    ).scalar_one_or_none()
    return found


def stop(session: Session) -> tuple[datetime, str, str] | None:
    """(since when, who, why) all recovery is stopped; None: it is not."""
    row = session.execute(
        text("SELECT stopped_at, stopped_by, reason FROM recovery_stop WHERE id = 1 AND stopped_at IS NOT NULL")
    ).one_or_none()
    return None if row is None else (row.stopped_at, row.stopped_by, row.reason)


def set_stop(uow: UnitOfWork, at: datetime | None, by: str, reason: str) -> None:
    """Stop all recovery, or let it go on (`at` None)."""
    uow.execute(
        "INSERT INTO recovery_stop (id, stopped_at, stopped_by, reason) VALUES (1, :at, :by, :reason)"
        " ON CONFLICT (id) DO UPDATE SET stopped_at = excluded.stopped_at, stopped_by = excluded.stopped_by,"
        " reason = excluded.reason, changed_at = now()",
        at=at,
        by=by,
        reason=reason,
    )


def stands(session: Session, playbook: str, service: str, *, dry_run: bool) -> bool:
    """Is there a run of this playbook for this service whose trouble is not over yet, or which is still running?

    `dry_run`: would the next one be dry? Only then does it matter that one has been.
    """
    found = session.execute(
        text(
            "SELECT 1 FROM recovery_runs WHERE playbook = :playbook AND service = :service AND over_at IS NULL"
            " AND (ended_at IS NULL OR (started_by = 'signal' AND (:dry_run OR NOT dry_run))) LIMIT 1"
        ),
        {"playbook": playbook, "service": service, "dry_run": dry_run},
    ).one_or_none()
    return found is not None


def standing(session: Session, dry: Collection[str]) -> set[tuple[str, str]]:
    """(playbook, service) of every run that `stands`; `dry`: the playbooks whose next run would be dry."""
    rows = session.execute(
        text(
            "SELECT DISTINCT playbook, service FROM recovery_runs WHERE over_at IS NULL"
            " AND (ended_at IS NULL OR (started_by = 'signal' AND (playbook = ANY(:dry) OR NOT dry_run)))"
        ),
        {"dry": sorted(dry)},
    )
    return {(row.playbook, row.service) for row in rows}


@dataclass(frozen=True, slots=True)
class NotOver:
    """A run that has ended and whose trouble has not, as far as anybody has seen."""

    id: UUID
    playbook: str
    service: str


def not_over(session: Session, left_alone: timedelta) -> list[NotOver]:
    """Every one of them, but for what a watchdog ended so lately: what it saw since then may not be stored yet."""
    rows = session.execute(
        text(
            "SELECT id, playbook, service FROM recovery_runs WHERE over_at IS NULL AND ended_at IS NOT NULL"
            " AND (runner = 'engine' OR ended_at < now() - :left_alone)"
        ),
        {"left_alone": left_alone},
    )
    return [NotOver(row.id, row.playbook, row.service) for row in rows]


def close(uow: UnitOfWork, ids: Sequence[UUID], at: datetime) -> list[Run]:
    """The trouble of these runs is over; those of which that was not known."""
    closed = uow.execute(
        "UPDATE recovery_runs SET over_at = :at WHERE id = ANY(:ids) AND over_at IS NULL RETURNING id", at=at, ids=ids
    ).all()
    found = [row.id for row in closed]
    return runs(uow.session, "id = ANY(:ids)", "id", limit=len(found), ids=found) if found else []


def failed_still(session: Session, service: str) -> bool:
    """Is there a run for this service that did not help, and whose trouble lasts?"""
    found = session.execute(
        text(
            "SELECT 1 FROM recovery_runs WHERE service = :service AND over_at IS NULL AND verdict = 'escalated' LIMIT 1"
        ),
        {"service": service},
    ).one_or_none()
    return found is not None


def left_by_watchdog(session: Session, after: timedelta) -> list[UUID]:
    """Open runs of a watchdog that no longer watches their service, or that has let an abort wait for so long."""
    rows = session.execute(
        text(
            "SELECT r.id FROM recovery_runs r LEFT JOIN services s ON s.name = r.service AND s.present"
            " WHERE r.ended_at IS NULL AND r.runner = 'watchdog' AND r.created_at < now() - :after"
            " AND (s.watched_by IS DISTINCT FROM 'watchdog' OR (r.abort_by IS NOT NULL AND r.due_at < now() - :after))"
        ),
        {"after": after},
    )
    return [row.id for row in rows]


def running(session: Session, playbook: str, service: str) -> UUID | None:
    """The run of this playbook for this service that has not ended."""
    found: UUID | None = session.execute(
        text("SELECT id FROM recovery_runs WHERE playbook = :playbook AND service = :service AND ended_at IS NULL"),
        {"playbook": playbook, "service": service},
    ).scalar_one_or_none()
    return found
