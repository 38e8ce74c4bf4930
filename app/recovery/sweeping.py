"""What no signal brings about: runs that were missed, runs whose job was lost, troubles that are over. A tick each."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from app import catalog as catalogs
from app.catalog import Catalog, behind
from app.health.core import State
from app.infra.db import UnitOfWork, unit_of_work
from app.infra.logging import get_logger
from app.recovery import playbooks, standing, store, triggering
from app.recovery.core import Run
from app.recovery.playbooks import Standing

OVERDUE = timedelta(seconds=20)
"""How long after its time a run is taken to have lost its job."""
MOST = 200

log = get_logger(__name__)


def look() -> None:
    """One look at everything; each service in a transaction of its own, so that one cannot hold the others."""
    catalog = catalogs.current()
    with unit_of_work() as uow:
        now = store.now(uow)
        close_over(uow, catalog, now)
        ring_overdue(uow, now)
        wanting = _wanting(uow, catalog)
    for found in wanting[:MOST]:
        with unit_of_work() as uow:
            triggering.begin_for(uow, found, catalog, store.now(uow))


def _wanting(uow: UnitOfWork, catalog: Catalog) -> list[Standing]:
    """Services that a playbook may begin for: what stands already, or waits for its cause, is left out."""
    if store.stop(uow.session) is not None:
        return []
    troubled = standing.in_trouble(uow.session)
    fallen = {found.service for found in troubled if found.state is State.DOWN}
    depends_on = {name: service.depends_on for name, service in catalog.services.items()}
    stands = store.standing(uow.session)
    return [
        found
        for found in troubled
        if fallen.isdisjoint(behind(found.service, depends_on))
        and any((playbook.name, found.service) not in stands for playbook in playbooks.matching(catalog, found))
    ]


def close_over(uow: UnitOfWork, catalog: Catalog, now: datetime) -> list[UUID]:
    """Mark ended runs whose trouble is over: from now on the next trouble is another one."""
    ended = store.runs(uow.session, "over_at IS NULL AND ended_at IS NOT NULL", "ended_at, id", limit=MOST)
    found = standing.of_services(uow.session, [run.service for run in ended])
    over = [run.id for run in ended if _is_over(run, found.get(run.service), catalog)]
    if over:
        uow.execute("UPDATE recovery_runs SET over_at = :now WHERE id = ANY(:ids)", now=now, ids=over)
    return over


def _is_over(run: Run, found: Standing | None, catalog: Catalog) -> bool:
    playbook, service = catalog.playbooks.get(run.playbook), catalog.services.get(run.service)
    if playbook is None or service is None or found is None:
        return True
    return playbooks.is_over(playbook, found, service) is not False


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
