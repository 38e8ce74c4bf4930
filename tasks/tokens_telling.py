"""Telling accounts' owners: each message to each address is a job."""

from __future__ import annotations

from uuid import UUID

from app.tokens import delivering, telling
from tasks.base import JobContext, job


@job(telling.TASK, max_attempts=delivering.TRIES)
def tell(ctx: JobContext, *, message_id: UUID) -> None:
    """Deliver one message to its address."""
    delivering.deliver(ctx, message_id)


@job("tasks.tokens.pick_up")
def pick_up(ctx: JobContext) -> None:
    """Give messages whose job has died another one."""
    with ctx.complete() as uow:
        delivering.pick_up(uow)
