"""The ledger's own tasks: the relay, the timetable's dated entries, callbacks."""

from __future__ import annotations

from uuid import UUID

from app.infra.db import unit_of_work
from app.jobs import callbacks, relay, schedule
from tasks.base import JobContext, job, tick


@tick("tasks.jobs.relay")
def relay_jobs() -> None:
    """Ring what is due, ring again what nobody claimed, take back what lost its worker."""
    relay.relay()


@tick("tasks.jobs.submit_due")
def submit_due() -> None:
    """Turn the timetable's due entries into jobs."""
    with unit_of_work() as uow:
        schedule.submit_due(uow, uow.execute("SELECT now()").scalar_one())


@job("tasks.jobs.deliver_callback", max_attempts=8)
def deliver_callback(ctx: JobContext, *, job_id: UUID) -> dict[str, int]:
    """Tell a caller's address how its job ended."""
    return callbacks.deliver(job_id, delivery=ctx.id)
