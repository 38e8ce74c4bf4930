"""Tasks of the benchmarks, loaded into real workers through SMM_TASK_MODULES."""

from __future__ import annotations

import json
import time
from typing import Any
from uuid import UUID

from app.costs.packing import COLUMNS
from app.infra import ids
from app.infra.db import unit_of_work
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


@celery.task(name="bench.insert", acks_late=True)
def insert(call: dict[str, Any]) -> None:
    """What recording calls is compared with: a task that inserts one row, and commits."""
    with unit_of_work() as uow:
        row = {**dict.fromkeys(COLUMNS), **call, "at": ids.time_of(UUID(call["id"])), "user_id": call["user"]}
        row |= {"tags": json.dumps(call["tags"]), "priced": "given", "outcome": "ok", "cache_write_tokens": 0}
        names = ", ".join(COLUMNS)
        uow.execute(f"INSERT INTO cost_tracking ({names}) VALUES ({', '.join(f':{name}' for name in COLUMNS)})", **row)


@job("bench.published", published=True, allowed_queues=QUEUES)
def published(_ctx: JobContext, *, number: int) -> None:
    """What others may ask for."""
