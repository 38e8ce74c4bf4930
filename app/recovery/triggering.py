"""Runs begin: for what a signal has just said, for what was missed, and because a person says so."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from app import catalog as catalogs
from app import jobs, signals
from app.catalog import Catalog, Playbook, behind, did_you_mean, in_maintenance
from app.errors import Conflict, NotFound
from app.infra.db import UnitOfWork
from app.infra.logging import get_logger
from app.jobs import Priority
from app.recovery import playbooks, standing, store, told
from app.recovery.core import Run, Runner
from app.recovery.playbooks import SIGNAL, Standing

ADVANCE = "tasks.recovery.advance"

log = get_logger(__name__)


def on_signal(uow: UnitOfWork, signal_id: UUID, now: datetime) -> list[UUID]:
    """Begin what the subject of a signal needs now, whatever that signal said; the runs.

    Reading the service anew makes the order of signals, and their repetition, harmless.
    """
    signal = signals.load(uow.session, signal_id)
    found = standing.of_service(uow.session, signal.subject)
    return [] if found is None else begin_for(uow, found, catalogs.current(), now)


def begin_for(uow: UnitOfWork, found: Standing, catalog: Catalog, now: datetime) -> list[UUID]:
    """Begin every playbook that the trouble of one service calls for, unless one stands for it already.

    What is the watchdog's to repair is left to it. While a service is in maintenance, while something that it depends
    on is down, and while recovery is stopped, nothing begins; the next look after that finds what is still so.
    """
    wanted = playbooks.matching(catalog, found) if found.runner is Runner.ENGINE else []
    if not wanted or _is_held(uow, found, catalog, now):
        return []
    store.take_guards(uow)
    now_so = standing.of_service(uow.session, found.service)  # it may have changed while others decided
    if now_so is None:
        return []
    return [
        _begin(uow, playbooks.plan(playbook, now_so, catalog, now))
        for playbook in playbooks.matching(catalog, now_so)
        if not store.stands(uow.session, playbook.name, found.service, dry_run=playbooks.is_dry(playbook, catalog))
    ]


def _is_held(uow: UnitOfWork, found: Standing, catalog: Catalog, now: datetime) -> bool:
    depends_on = {name: service.depends_on for name, service in catalog.services.items()}
    return (
        in_maintenance(catalog.services[found.service], now) is not None
        or standing.fallen(uow.session, behind(found.service, depends_on)) is not None
        or store.stop(uow.session) is not None
    )


def _begin(uow: UnitOfWork, run: Run) -> UUID:
    store.save(uow, run)
    told.started(uow, run)
    if run.runner is Runner.ENGINE:
        ring(uow, run)
    log.info("a run begins", playbook=run.playbook, service=run.service, run=str(run.id), started_by=run.started_by)
    return run.id


def ring(uow: UnitOfWork, run: Run) -> None:
    """Have the run taken further when it is due."""
    jobs.submit(
        uow, ADVANCE, run_id=run.id, not_before=run.due_at, key=str(run.id), priority=Priority.HIGH, caller="recovery"
    )


def ring_now(uow: UnitOfWork, run: Run) -> None:
    """Have it taken further now, whatever it waits for: the job that waits finds nothing left to do."""
    jobs.submit(uow, ADVANCE, run_id=run.id, priority=Priority.HIGH, caller="recovery")


def start(
    uow: UnitOfWork,
    playbook: str,
    service: str,
    *,
    by: str,
    now: datetime,
    dry_run: bool = False,
    catalog: Catalog | None = None,
) -> UUID:
    """A person starts a playbook for a service, whatever its state; the guards count all the same.

    Raises NotFound for what the catalogue does not have, Conflict when it is running for that service already.
    """
    current = catalog or catalogs.current()
    wanted = _playbook(current, playbook)
    if service not in current.services or not current.services[service].enabled:
        raise NotFound(f"the catalogue has no service {service}{did_you_mean(service, current.services)}")
    found = standing.of_service(uow.session, service)
    if found is None:
        raise NotFound(f"the engine does not watch {service} yet: it follows the catalogue within a minute")
    store.take_guards(uow)
    running = store.running(uow.session, playbook, service)
    if running is not None:
        raise Conflict(f"{playbook} is running for {service} already: run {running}")
    return _begin(uow, playbooks.plan(wanted, found, current, now, started_by=by, dry_run=dry_run))


def _playbook(catalog: Catalog, name: str) -> Playbook:
    try:
        return catalog.playbooks[name]
    except KeyError:
        raise NotFound(f"the catalogue has no playbook {name}{did_you_mean(name, catalog.playbooks)}") from None


__all__ = ["ADVANCE", "SIGNAL", "begin_for", "on_signal", "ring", "ring_now", "start"]
