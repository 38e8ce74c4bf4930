"""The world as a run of the engine finds it: read in the transaction that decides."""

from __future__ import annotations

from datetime import datetime, timedelta

from app import clock
from app.catalog import Catalog, Playbook, behind, in_maintenance
from app.infra.db import UnitOfWork
from app.infra.logging import get_logger
from app.recovery import playbooks, standing, store
from app.recovery.core import Limits, Look, Run
from app.recovery.kept import one_line
from app.recovery.playbooks import SIGNAL

_LONGEST_WHY = 1000

log = get_logger(__name__)


def look(uow: UnitOfWork, run: Run, catalog: Catalog, now: datetime) -> Look:
    """Everything that a decision about this run asks for."""
    service = catalog.services.get(run.service)
    found = standing.of_service(uow.session, run.service)
    if service is None or not service.enabled or found is None:
        return Look(gone=f"the catalogue has no service {run.service} any more")
    playbook = catalog.playbooks.get(run.playbook)
    restarts, in_all = store.restarts(uow.session, run.service, now)
    others = store.others(uow.session, run)
    depends_on = {name: other.depends_on for name, other in catalog.services.items()}
    return Look(
        limits=limits_of(catalog, playbook),
        over=over_of(run, playbook, found, catalog),
        stopped=stop_of(uow),
        maintenance=in_maintenance(service, now),
        cause=standing.fallen(uow.session, behind(run.service, depends_on)),
        busy=others.on_service,
        others=others.critical,
        forbidden=forbidden(catalog, run),
        restarts=restarts,
        restarts_in_all=in_all,
        last_ended_at=store.last_ended_at(uow.session, run),
    )


def limits_of(catalog: Catalog, playbook: Playbook | None) -> Limits:
    """The guards' figures for this playbook."""
    guards = catalog.recovery
    cooldown = guards.cooldown if playbook is None or playbook.cooldown is None else playbook.cooldown
    patience = guards.patience if playbook is None or playbook.patience is None else playbook.patience
    return Limits(
        restarts_per_service=guards.restarts_per_service,
        restarts_in_all=guards.restarts_in_all,
        critical_at_once=guards.critical_at_once,
        cooldown=timedelta(seconds=cooldown),
        patience=timedelta(seconds=patience),
    )


def over_of(run: Run, playbook: Playbook | None, found: playbooks.Standing, catalog: Catalog) -> bool | None:
    """Is the run's trouble over? What a person started is judged by its own steps."""
    if playbook is None or run.started_by != SIGNAL:
        return None
    return playbooks.is_over(playbook, found, catalog.services[run.service])


def forbidden(catalog: Catalog, run: Run) -> str | None:
    """Why the catalogue does not allow the run's next step."""
    step = run.next_step
    if step is None:
        return None
    found = playbooks.live(catalog, run, step)
    if isinstance(found, str):
        return found
    action, options = found
    try:
        why = action.forbidden(options, catalog.services[run.service], catalog)
    except Exception as error:  # a run must come to its end
        log.exception("an action cannot say whether it is allowed", action=step.action, run=str(run.id))
        why = f"the action itself failed: {type(error).__name__}"
    return why and one_line(playbooks.masked(catalog, run, step, why), limit=_LONGEST_WHY)


def stop_of(uow: UnitOfWork) -> str | None:
    """Who stopped all recovery, since when and why, in words."""
    found = store.stop(uow.session)
    if found is None:
        return None
    at, by, reason = found
    return f"by {by} since {clock.iso(at)}" + (f", {reason}" if reason else "")
