"""Tasks of the benchmarks, loaded into real workers through SMM_TASK_MODULES."""

from __future__ import annotations

import time

from app.jobs.worker import JobContext
from tasks.base import job
from tasks.celery import celery

QUEUES = ("critical", "high", "default", "bulk")


@job("bench.empty", allowed_queues=QUEUES)
def empty(_ctx: JobContext) -> dict[str, float]:
    """Say when the body began, in seconds since 1970: nothing else."""
    return {"started": time.time()}


@job("bench.busy", allowed_queues=QUEUES)
def busy(_ctx: JobContext, *, seconds: float) -> None:
    """Keep a core busy."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


@celery.task(name="bench.bare", acks_late=True)
def bare() -> None:
    """What a job is compared with: a Celery task under the same settings that does nothing."""


@job("bench.published", published=True, allowed_queues=QUEUES)
def published(_ctx: JobContext, *, number: int) -> None:
    """What others may ask for."""
