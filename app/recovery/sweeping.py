"""What no signal brings about: runs that were missed, runs whose job was lost, troubles that are over. A tick each."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from app import catalog as catalogs
from app.catalog import Catalog, behind, in_maintenance
from app.health.core import State
from app.infra.apart import Steps
from app.infra.db import UnitOfWork, read_only, unit_of_work
from app.infra.logging import get_logger
from app.recovery import deciding, playbooks, standing, store, told, triggering
from app.recovery.core import Runner, Why
from app.recovery.playbooks import Standing

OVERDUE = timedelta(seconds=20)
"""How long after its time a run is taken to have lost its job."""
LEFT_ALONE = timedelta(minutes=5)
"""How long a watchdog has to end a run, and to say that its trouble is over; a step may take three of them."""
MOST = 200

log = get_logger(__name__)


def look() -> None:
    """One look at everything; each service in a transaction of its own, so that one cannot hold the others.

    Raises Transient naming the services for which nothing could be done.
    """
    catalog, steps = catalogs.current(), Steps()
    close_over(catalog, steps)
    end_left(steps)
    with unit_of_work() as uow:
        now = store.now(uow)
        ring_overdue(uow, now)
        wanting = _wanting(uow, catalog, now)
    for found in wanting[:MOST]:
        with steps.step(found.service), unit_of_work() as uow:
            triggering.begin_for(uow, found, catalog, store.now(uow))
    steps.conclude()


def _wanting(uow: UnitOfWork, catalog: Catalog, now: datetime) -> list[Standing]:
    """Services that a playbook may begin for: what stands already, or waits for its cause, is left out."""
    if store.stop(uow.session) is not None:
        return []
    troubled = standing.in_trouble(uow.session)
    fallen = {found.service for found in troubled if found.state is State.DOWN}
    depends_on = {name: service.depends_on for name, service in catalog.services.items()}
    dry = [name for name, playbook in catalog.playbooks.items() if playbooks.is_dry(playbook, catalog)]
    stands = store.standing(uow.session, dry)
    return [
        found
        for found in troubled
        if found.runner is Runner.ENGINE
        and any((playbook.name, found.service) not in stands for playbook in playbooks.matching(catalog, found))
        and in_maintenance(catalog.services[found.service], now) is None
        and fallen.isdisjoint(behind(found.service, depends_on))
    ]


def close_over(catalog: Catalog, steps: Steps) -> None:
    """Mark ended runs whose trouble is over: from now on the next trouble is another one."""
    with read_only() as session:
        ended = store.not_over(session, LEFT_ALONE)
        found = standing.of_services(session, [run.service for run in ended])
    over: dict[str, list[UUID]] = {}
    for run in ended:
        if _is_over(run, found.get(run.service), catalog):
            over.setdefault(run.service, []).append(run.id)
    for service, ids in sorted(over.items())[:MOST]:
        with steps.step(service), unit_of_work() as uow:
            told.over(uow, store.close(uow, ids, store.now(uow)))


def _is_over(run: store.NotOver, found: Standing | None, catalog: Catalog) -> bool:
    """A service that flaps is as bad as people were told that it is: each of its falls is no trouble of its own."""
    playbook, service = catalog.playbooks.get(run.playbook), catalog.services.get(run.service)
    if playbook is None or service is None or found is None:
        return True
    return found.announced is not State.DOWN and playbooks.is_over(playbook, found, service) is not False


def end_left(steps: Steps) -> None:
    """End runs of a watchdog that are not its any more, or that it does not end though a person wants that."""
    with read_only() as session:
        left = store.left_by_watchdog(session, LEFT_ALONE)
    for run_id in left:
        with steps.step(str(run_id)), unit_of_work() as uow:
            store.take_guards(uow)
            run = store.lock(uow, run_id)
            if run is None or run.ended_at is not None:
                continue
            now = store.now(uow)
            ended = deciding.given_up(run, Why.GONE, "no watchdog takes it any further", now)
            store.save(uow, ended)
            told.concluded(uow, ended, now)
            log.warning("a run was left by its watchdog", run=str(run.id), service=run.service)


def ring_overdue(uow: UnitOfWork, now: datetime) -> list[UUID]:
    """Give runs another job whose own was lost: due for a while, or in the middle of a step that nobody takes."""
    rows = uow.execute(
        "SELECT r.id FROM recovery_runs r WHERE r.ended_at IS NULL AND r.runner = 'engine'"
        " AND (r.due_at < :late OR (r.due_at IS NULL AND EXISTS (SELECT 1 FROM recovery_steps s WHERE s.run_id = r.id"
        " AND s.state = 'running' AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.id = s.job_id))))"
        " AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.task = :task AND j.key = r.id::text)"
        " ORDER BY r.created_at LIMIT :most",
        late=now - OVERDUE,
        task=triggering.ADVANCE,
        most=MOST,
    ).all()
    for row in rows:
        run = store.lock(uow, row.id)
        if run is not None and run.ended_at is None:
            log.warning("a run had lost its job", run=str(run.id), service=run.service)
            triggering.ring(uow, run)
    return [row.id for row in rows]
