"""Alerts: signals raise and end them, a tick groups and tells them, jobs deliver what is told."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from app.alerts import delivery, pipeline, raising, synthetic
from tasks.base import JobContext, job, tick

ON_SIGNAL = "tasks.alerts.on_signal"


@job(ON_SIGNAL, max_attempts=12)
def on_signal(ctx: JobContext, *, signal_id: UUID) -> None:
    """Raise and end the alerts that a signal stands for."""
    with ctx.complete() as uow:
        raising.on_signal(uow, signal_id, handler=ON_SIGNAL)


@tick("tasks.alerts.tick")
def look() -> None:
    """Take in what was posted, let time do its work, group what is new, tell what is due."""
    pipeline.run()


@job("tasks.alerts.deliver", max_attempts=delivery.TRIES)
def deliver(ctx: JobContext, *, notification_id: UUID) -> None:
    """Deliver one notification to its address."""
    delivery.deliver(ctx, notification_id)


@job("tasks.alerts.synthetic")
def send_synthetic(ctx: JobContext) -> None:
    """Raise the test alert that proves the way to people."""
    with ctx.complete() as uow:
        synthetic.begin(uow)


@job(synthetic.VERIFY)
def verify_synthetic(ctx: JobContext, *, raised_at: datetime) -> None:
    """See whether the test alert arrived, and say so."""
    with ctx.complete() as uow:
        synthetic.verify(uow, raised_at)


@job("tasks.alerts.pick_up")
def pick_up(ctx: JobContext) -> None:
    """Give notifications whose job has died another one."""
    with ctx.complete() as uow:
        delivery.pick_up(uow)
