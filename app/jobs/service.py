"""Submitting jobs: a row inside the caller's transaction, a doorbell after its COMMIT."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from structlog.contextvars import get_contextvars

from app.config import settings
from app.errors import Invalid, Problem
from app.infra import queue as wire
from app.infra.db import UnitOfWork
from app.infra.ids import uuid7
from app.infra.text import json_safe
from app.jobs import spec, store
from app.jobs.core import JobState, Priority

RING_AT_COMMIT = 100
"""Doorbells a submitting process rings itself, per queue and call; the relay rings the rest."""


@dataclass(frozen=True, slots=True)
class Submission:
    """One job to be: a task's name, its arguments, and when and how it may run. Times are aware."""

    task: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    queue: str | None = None
    not_before: datetime | None = None
    expires_at: datetime | None = None
    key: str | None = None
    priority: Priority = Priority.NORMAL
    callback: dict[str, Any] | None = None
    max_attempts: int | None = None
    caller: str | None = None


def submit(
    uow: UnitOfWork,
    task: str,
    *,
    not_before: datetime | None = None,
    key: str | None = None,
    expires_at: datetime | None = None,
    priority: Priority = Priority.NORMAL,
    queue: str | None = None,
    callback: dict[str, Any] | None = None,
    max_attempts: int | None = None,
    caller: str | None = None,
    **kwargs: Any,
) -> UUID:
    """Write a job in this transaction; its id, or that of the waiting job with the same task and `key`.

    Raises NotFound for an unknown task, Invalid for arguments that its contract refuses.
    """
    submission = Submission(task, kwargs, queue, not_before, expires_at, key, priority, callback, max_attempts, caller)
    return submit_many(uow, [submission])[0]


def submit_many(uow: UnitOfWork, submissions: Sequence[Submission]) -> list[UUID]:
    """Write many jobs in one statement; their ids in the order given. Raises as `submit` does, and then writes none."""
    if not submissions:
        return []
    rows = [_row(place, submission) for place, submission in enumerate(submissions)]
    first_of_key: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        if row["key"] is not None:
            first_of_key.setdefault((row["task"], row["key"]), row)
    kept = [row for row in rows if row["key"] is None or first_of_key[row["task"], row["key"]] is row]
    inserted = store.insert(uow, kept, bound=settings().doorbells_per_queue, at_commit=RING_AT_COMMIT)
    _ring_after_commit(uow, inserted)
    by_key = {(row.task, row.key): row.id for row in inserted if row.key is not None}
    return [by_key[row["task"], row["key"]] if row["key"] is not None else UUID(row["id"]) for row in rows]


def _ring_after_commit(uow: UnitOfWork, inserted: Sequence[Any]) -> None:
    bells = [
        wire.Doorbell(str(row.id), row.task, row.queue, row.priority)
        for row in inserted
        if row.inserted and row.state == JobState.RUNG
    ]
    if bells:
        uow.after_commit(lambda: void(wire.ring(bells)))


def void(_: object) -> None:
    """Drop a value where a callback must return none."""


def _row(place: int, submission: Submission) -> dict[str, Any]:
    contract = spec.get(submission.task)
    queue = submission.queue or contract.queue
    if queue not in wire.names():
        raise Invalid([Problem("queue", f"no queue is named {queue}")], subject=submission.task)
    return {
        "place": place,
        "id": str(uuid7()),
        "task": submission.task,
        "queue": queue,
        "priority": int(submission.priority),
        "kwargs": json_safe(contract.validate(submission.kwargs)),
        "key": submission.key,
        "not_before": _exact(submission.not_before),
        "expires_at": _exact(submission.expires_at),
        "max_attempts": submission.max_attempts or contract.max_attempts,
        "callback": submission.callback,
        "caller": submission.caller,
        "request_id": get_contextvars().get("request_id"),
    }


def _exact(moment: datetime | None) -> str | None:
    """To the microsecond: jobs that follow one another closely keep their order."""
    return None if moment is None else moment.isoformat()
