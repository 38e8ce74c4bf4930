"""What the watchdog repaired, taken into the tables: the run, its steps, its restarts, and what people are told of it.

Importing a run twice changes nothing: what is new is what its row does not say yet. It happens before the results of
the watchdog's probes are stored, and after its pages were taken in: when the engine learns of a fall or of a failure,
people were told, and the alert finds what was done.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from uuid import UUID

from pydantic import ValidationError

from app.infra.db import UnitOfWork
from app.infra.logging import get_logger
from app.recovery import store, told
from app.recovery.core import Effect, Run, StepRun, StepState, Why
from app.recovery.deciding import given_up

log = get_logger(__name__)


def journal_in(home: Path) -> Path:
    """Where the watchdog of this home keeps its runs, a line each."""
    return home / "watchdog-repairs.jsonl"


def lately(home: Path, since: datetime) -> list[Run]:
    """What the watchdog of this home has done since then, the oldest first, by its own file."""
    try:
        lines = journal_in(home).read_bytes().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        with suppress(ValidationError):  # one that is not whole
            found.append(store.RUN.validate_json(line))
    return [run for run in found if run.created_at >= since]


def import_runs(uow: UnitOfWork, runs: Iterable[Run], now: datetime, *, told_of: Container[str] = ()) -> None:
    """Take in runs of the watchdog as they are now. `told_of`: services about which the watchdog tells people itself,
    so that what was done is noted with their alerts and not told again.

    Locks are taken in the engine's order: the guards, the run, then what its signals and alerts lock, service by
    service.
    """
    runs = sorted(runs, key=lambda run: (run.service, run.created_at, run.id))
    if any(run.ended_at is None for run in runs):
        store.take_guards(uow)
    for run in runs:
        before = store.lock(uow, run.id)
        if before is None and run.ended_at is None and not _others_gave_way(uow, run, now):
            continue
        incident = (before.incident_id if before is not None else None) or _incident(uow, run)
        _import(uow, replace(run, incident_id=incident), before, now, tells=run.service not in told_of)


def link_incidents(uow: UnitOfWork, services: Iterable[str]) -> None:
    """Give runs that began before their incident was stored its id: to be called when falls of these were stored."""
    uow.execute(
        "UPDATE recovery_runs r SET incident_id = i.id FROM incidents i WHERE r.service = ANY(:services)"
        " AND r.runner = 'watchdog' AND r.incident_id IS NULL AND i.service = r.service AND i.started_at = r.since",
        services=sorted(set(services)),
    )


def _import(uow: UnitOfWork, run: Run, before: Run | None, now: datetime, *, tells: bool) -> None:
    known = {step.place: step for step in before.steps} if before is not None else {}
    if before == run:
        return
    store.save(uow, run)
    for step in run.steps:
        if step.effect is Effect.RESTART and step.began_at is not None and step.tries:
            store.note_restart(uow, run, step.place, step.began_at)
    if before is None:
        told.started(uow, run)
    news = [step for step in run.steps if step.is_over and not _was_over(known, step)]
    effects = [step for step in news if step.effect is not Effect.NONE and step.state is not StepState.SKIPPED]
    for step in effects:
        told.acted(uow, run, step)
    waits = run.waits is not None and (before is None or before.waits != run.waits)
    if news or waits:
        told.note(uow, run, now, tell=tells and any(step.state is StepState.DONE for step in effects))
    if run.ended_at is not None and (before is None or before.ended_at is None):
        told.concluded(uow, run, now)
    if run.over_at is not None and (before is None or before.over_at is None):
        told.over(uow, [run])


def _was_over(known: dict[int, StepRun], step: StepRun) -> bool:
    return step.place in known and known[step.place].is_over


def _others_gave_way(uow: UnitOfWork, run: Run, now: datetime) -> bool:
    """Only one run of a playbook and service may be open: one that a person began at the same time gives way.

    Another watchdog's does not: then this one is stored when it has ended.
    """
    others = store.runs(
        uow.session, "playbook = :playbook AND service = :service AND ended_at IS NULL AND id <> :id", "id",
        playbook=run.playbook, service=run.service, id=run.id,
    )  # fmt: skip
    if any(step.tries for other in others for step in other.steps):
        log.error("two watchdogs repair the same: let one of them not (SMM_WATCHDOG_REPAIRS)", service=run.service)
        return False
    for other in others:
        log.warning("a run gives way to another one", run=str(other.id), to=str(run.id))
        why = f"the watchdog was at it already: run {run.id}"
        ended = replace(given_up(other, Why.BUSY, why, now), over_at=now)
        store.save(uow, ended)
        told.concluded(uow, ended, now)
    return True


def _incident(uow: UnitOfWork, run: Run) -> UUID | None:
    """The incident of the fall for which it began, where that is stored already."""
    if run.since is None:
        return None
    found: UUID | None = uow.execute(
        "SELECT id FROM incidents WHERE service = :service AND started_at = :since ORDER BY id DESC LIMIT 1",
        service=run.service,
        since=run.since,
    ).scalar_one_or_none()
    return found
