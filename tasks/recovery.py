"""Recovery: signals begin runs, a tick finds what was missed, jobs take each run one move further."""

from __future__ import annotations

from uuid import UUID

from app.recovery import running, store, sweeping, triggering
from tasks.base import JobContext, job, tick


@job("tasks.recovery.on_signal")
def on_signal(ctx: JobContext, *, signal_id: UUID) -> None:
    """Begin the playbooks that a service in trouble calls for."""
    with ctx.complete() as uow:
        triggering.on_signal(uow, signal_id, store.now(uow))


@tick("tasks.recovery.look")
def look() -> None:
    """Begin what no signal began, take up runs whose job was lost, see what is over."""
    sweeping.look()


@job(triggering.ADVANCE, max_attempts=8)
def advance(ctx: JobContext, *, run_id: UUID) -> None:
    """Take a run further: decide, take a step, store what came of it."""
    running.advance(ctx, run_id)
