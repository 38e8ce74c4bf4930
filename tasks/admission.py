"""Modes: they follow the services' signals, and are brought in step each minute."""

from __future__ import annotations

from uuid import UUID

from app import admission
from tasks.base import JobContext, job

ON_SIGNAL = "tasks.admission.on_signal"


@job(ON_SIGNAL, max_attempts=12)
def on_signal(ctx: JobContext, *, signal_id: UUID) -> None:
    """Let modes come on and go off with a service that fell, rose or left."""
    with ctx.complete() as uow:
        admission.follow_health(uow, signal_id, handler=ON_SIGNAL)


@job(admission.RECONCILE)
def reconcile(ctx: JobContext) -> None:
    """Bring modes in step with services, catalogue and clock, and Redis with the modes."""
    with ctx.complete() as uow:
        admission.reconcile(uow)
