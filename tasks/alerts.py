"""Alerts: signals raise and end them."""

from __future__ import annotations

from uuid import UUID

from app.alerts import raising
from tasks.base import JobContext, job

ON_SIGNAL = "tasks.alerts.on_signal"


@job(ON_SIGNAL, max_attempts=12)
def on_signal(ctx: JobContext, *, signal_id: UUID) -> None:
    """Raise and end the alerts that a signal stands for."""
    with ctx.complete() as uow:
        raising.on_signal(uow, signal_id, handler=ON_SIGNAL)
