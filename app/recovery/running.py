"""A run is taken one move further: decide in one transaction, act outside of any, settle in the job's last one.

The worker may die between any two of these. A try that was begun and not settled is seen by whoever comes next, and the
action is told so; nothing is decided twice, because each decision is stored with what it was decided from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from app import catalog as catalogs
from app import clock
from app.catalog import Catalog
from app.health import probe_now, store_now
from app.health.checking import target_of
from app.health.core import State
from app.health.probing import CannotTell
from app.health.specs import resolve
from app.infra.db import UnitOfWork, read_only, unit_of_work
from app.infra.logging import get_logger
from app.jobs.worker import JobContext
from app.recovery import kept, looking, playbooks, standing, store, told, triggering
from app.recovery.acting import Seen, Work
from app.recovery.core import Again, Done, Effect, Failed, Result, Run, Runner, StepRun, StepState
from app.recovery.deciding import decide_all
from app.recovery.taking import begun, ended

ACT_SECONDS = 60.0
"""What one try of a step may take in all; actions bound their own waits within it."""
WORKERS_BUSY = timedelta(seconds=2)
"""How soon a step is tried again for which no worker was free: an engine that hangs must not take those of alerts."""
MOST_DEATHS = 3
"""How often a try of a step may be interrupted, by its worker's death or because its end could not be stored."""
LONGEST_TEXT = 1000

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Turn:
    """A step that this process has begun to take. `interrupted_at`: when a try before it began that never ended.

    `now`: the moment by the clock that the run's times are of; None: this process's own.
    """

    run: Run
    step: StepRun
    interrupted_at: datetime | None = None
    now: datetime | None = None


def advance(ctx: JobContext, run_id: UUID) -> None:
    """Take the run further: a wait, a verdict, or a step and what came of it."""
    turn = _take_turn(ctx, run_id)
    if turn is None:
        return
    if turn.interrupted_at is not None and ctx.attempt > MOST_DEATHS:
        result: Result = Failed(f"{MOST_DEATHS} workers began it and never came back", turn.step.detail)
    else:
        result = act(turn, catalogs.current(), job_id=ctx.id)
    with ctx.complete() as uow:
        run = store.lock(uow, run_id)
        if run is not None and run.steps[turn.step.place].job_id == ctx.id:
            now = store.now(uow)
            settle(uow, ended(run, turn.step.place, result, now), turn.step.place, now)


def _take_turn(ctx: JobContext, run_id: UUID) -> Turn | None:
    with unit_of_work() as uow:
        store.take_guards(uow)
        run = store.lock(uow, run_id)
        if run is None or run.ended_at is not None or run.runner is not Runner.ENGINE:
            return None
        if _is_held_by_another(uow, run, ctx.id):
            return None
        catalog, now, waited = catalogs.current(), store.now(uow), run.waits
        decision = decide_all(run, lambda at: looking.look(uow, at, catalog, now), now)
        run, place = decision.run, decision.act
        if place is not None and store.at_work(uow.session, run) >= catalog.recovery.steps_at_once:
            run, place = replace(run, due_at=now + WORKERS_BUSY), None
        if place is None:
            _leave(uow, run, now)
            if run.waits and run.waits != waited:
                told.note(uow, run, now, tell=False)
            return None
        step = run.steps[place]
        interrupted_at = step.began_at if step.state is StepState.RUNNING and step.job_id is not None else None
        if step.effect is Effect.RESTART:
            store.note_restart(uow, run, place, now)
        run = begun(run, place, now, job_id=ctx.id)
        store.save(uow, run)
        return Turn(run, run.steps[place], interrupted_at, now)


def _is_held_by_another(uow: UnitOfWork, run: Run, job: UUID) -> bool:
    """Is another job that still lives at a step of this run?"""
    step = next((step for step in run.steps if step.state is StepState.RUNNING), None)
    if step is None or step.job_id in (None, job):
        return False
    return uow.execute("SELECT 1 FROM jobs WHERE id = :id", id=step.job_id).one_or_none() is not None


def _leave(uow: UnitOfWork, run: Run, now: datetime) -> None:
    """Store a run that waits, or that has ended."""
    store.save(uow, run)
    if run.ended_at is not None:
        told.concluded(uow, run, now)
        log.info("a run ended", run=str(run.id), playbook=run.playbook, service=run.service, verdict=run.verdict)
    else:
        triggering.ring(uow, run)


def settle(uow: UnitOfWork, run: Run, place: int, now: datetime) -> None:
    """Store what a try came to, tell of it, and have the run taken further."""
    store.save(uow, run)
    step = run.steps[place]
    log.info("a step was taken", run=str(run.id), service=run.service, action=step.action, state=step.state)
    if step.effect is not Effect.NONE and step.is_over:
        told.note(uow, run, now, tell=step.state is StepState.DONE)
        told.acted(uow, run, step)  # in the order in which the end of a run locks: alerts, then the signals' subject
    elif step.is_over:
        told.note(uow, run, now, tell=False)
    triggering.ring(uow, run)


def act(turn: Turn, catalog: Catalog, *, job_id: UUID | None = None, look: Callable[[], Seen] | None = None) -> Result:
    """Take one step. Whatever goes wrong is a result: a run must come to its end. `look`: probes instead of `probe`."""
    run, step = turn.run, turn.step
    found = playbooks.live(catalog, run, step)
    service = catalog.services.get(run.service)
    if isinstance(found, str) or service is None:
        return Failed(found if isinstance(found, str) else f"the catalogue has no service {run.service} any more")
    action, options = found
    now = turn.now or clock.now()
    spec = resolve(service)
    work = Work(
        run=run,
        place=step.place,
        catalog=catalog,
        service=service,
        spec=spec,
        target=target_of(spec),
        now=now,
        began_at=step.began_at or now,
        probe=look or (lambda: probe(run, catalog)),
        tries=step.tries,
        interrupted_at=turn.interrupted_at,
        timeout_seconds=ACT_SECONDS,
        job_id=job_id,
        last_detail=step.detail,
    )
    try:
        result = action.act(options, work)
        hidden = partial(playbooks.masked, catalog, run, step)
        return _bounded(replace(result, text=hidden(result.text), detail=hidden(result.detail)))
    except Exception as error:
        log.exception("an action raised", action=step.action, run=str(run.id))
        return Failed(f"the action itself failed: {type(error).__name__}")


def _bounded(result: Result) -> Result:
    text = kept.one_line(result.text, limit=LONGEST_TEXT)
    match result:
        case Done():
            return Done(text, kept.bounded(result.detail), result.healthy)
        case Failed():
            return Failed(text, kept.bounded(result.detail))
        case Again():
            return Again(max(1.0, result.seconds), text, kept.bounded(result.detail))


def probe(run: Run, catalog: Catalog) -> Seen:
    """Probe the run's service now, store the result, and say how the service stands after it."""
    spec, verdict = probe_now(run.service)
    with unit_of_work() as uow:
        store_now(uow, spec, verdict)
    with read_only() as session:
        found = standing.of_service(session, run.service)
    playbook = catalog.playbooks.get(run.playbook)
    over = None if found is None or playbook is None else playbooks.is_over(playbook, found, spec.service)
    state = found.state if found is not None else State.UNKNOWN
    confirm = spec.service.confirm_interval
    if isinstance(verdict, CannotTell):
        return Seen(None, verdict.why, state, over, confirm)
    text = verdict.error.text if verdict.error is not None else "answers"
    return Seen(verdict.ok, text, state, over, confirm, verdict.readings)
