"""The health cycle: due checks are claimed, probed in batches, stored; a flip sends for what depends; the rollup."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from app import clock, health
from app.health.availability import passing, rollup
from app.infra import ids, queue
from app.infra.db import unit_of_work
from tasks.base import JobContext, job, plain, tick

BATCH_EXPIRES = timedelta(seconds=60)
"""A batch that waited longer is dropped: its services have come due again meanwhile."""


@tick("tasks.health.claim_due")
def claim_due() -> None:
    """Claim the checks that are due and send them to the probing workers; what the broker does not take stays due."""
    with unit_of_work() as uow:
        health.sync_current_catalog(uow)
        batches = health.claim_due(uow)
    unsent = [name for names in batches if not _send(names) for name in names]
    if unsent:
        with unit_of_work() as uow:
            health.give_back(uow, unsent)


def _send(names: list[str]) -> bool:
    return queue.send(
        "tasks.health.check_batch",
        queue="default",
        kwargs={"names": names},
        expires=BATCH_EXPIRES,
        task_id=str(ids.uuid7()),
    )


@plain("tasks.health.check_batch")
def check_batch(*, names: list[str]) -> None:
    """Probe these services at once and store each result as it arrives."""
    health.check_services(names)


@job("tasks.health.check_service", published=True, max_attempts=3)
def check_service(ctx: JobContext, *, service: str) -> None:
    """Probe one service now, store the result and return it."""
    spec, verdict = health.probe_now(service)
    with ctx.complete(result=health.told(spec, verdict)) as uow:
        health.store_now(uow, spec, verdict)


@job("tasks.health.deep_cycle")
def deep_cycle(ctx: JobContext) -> None:
    """Make every service due: the full cycle on top of each one's own interval."""
    with ctx.complete() as uow:
        health.deep_cycle(uow)


@job("tasks.health.on_signal")
def on_signal(ctx: JobContext, *, signal_id: UUID) -> None:
    """Probe what depends on a service that changed."""
    with ctx.complete() as uow:
        health.on_flip(uow, signal_id, handler="tasks.health.on_signal")


@job("tasks.health.roll_up", max_attempts=2)
def roll_up(ctx: JobContext) -> None:
    """Roll the present hours up, and judge the error budgets."""
    with ctx.complete() as uow:
        passing.run(uow, clock.now())


@job(passing.CATCH_UP, max_attempts=2)
def catch_up(_ctx: JobContext) -> dict[str, int]:
    """Roll up what was stored late or is behind, for as long as one job may."""
    return {"hours": rollup.catch_up(clock.now())}
