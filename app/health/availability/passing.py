"""One pass: roll up, then judge the error budgets by what is known now."""

from __future__ import annotations

from datetime import datetime

from app import catalog, jobs
from app.health.availability import burns, rollup
from app.infra.db import UnitOfWork
from app.infra.logging import get_logger

CATCH_UP = "tasks.health.catch_up"

log = get_logger(__name__)


def run(uow: UnitOfWork, now: datetime) -> None:
    """What is behind is left to a job of its own."""
    complete = rollup.roll_up(uow, now)
    changed = burns.follow(uow, catalog.current(), now, complete=complete)
    if changed:
        log.info("error budgets changed their pace", changed=changed)
    if not complete:
        jobs.submit(uow, CATCH_UP, key=CATCH_UP, caller="health")
