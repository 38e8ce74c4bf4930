"""What operators see of the ledger and do to it: look, retry, cancel, pause, purge."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app import clock
from app.errors import Conflict, Invalid, NotFound, Problem
from app.infra import queue as wire
from app.infra.db import UnitOfWork, unit_of_work
from app.infra.scrub import scrub
from app.jobs import ending, service, spec, store
from app.jobs.core import FINISHED, UNFINISHED, JobState, Priority


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as it is shown: arguments scrubbed, a callback's address without its path."""

    id: UUID
    task: str
    queue: str
    state: str
    priority: str
    kwargs: dict[str, Any]
    key: str | None
    attempt: int
    max_attempts: int
    created_at: datetime
    not_before: datetime
    expires_at: datetime | None
    rung_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    worker: str | None
    cancel_requested: bool
    result: Any | None
    error: dict[str, Any] | None
    callback: dict[str, Any] | None
    caller: str | None
    request_id: str | None

    @property
    def duration_ms(self) -> int | None:
        """Start of the last attempt to its end."""
        if self.started_at is None or self.finished_at is None:
            return None
        return round((self.finished_at - self.started_at).total_seconds() * 1000)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: ids and times as text."""
        shown = asdict(self) | {"id": str(self.id), "duration_ms": self.duration_ms}
        return {name: clock.iso(value) if isinstance(value, datetime) else value for name, value in shown.items()}


_BOTH = (
    "id, task, queue, state, priority, kwargs, key, attempt, max_attempts, created_at, not_before, expires_at,"
    " started_at, worker, error, callback, caller, request_id"
)
_UNFINISHED = (
    f"SELECT {_BOTH}, rung_at, NULL::timestamptz AS finished_at, NULL::jsonb AS result, cancel_requested FROM jobs"
)
_FINISHED = (
    f"SELECT {_BOTH}, NULL::timestamptz AS rung_at, finished_at, result, false AS cancel_requested FROM job_history"
)


def get(session: Session, job_id: UUID) -> JobView:
    """One job, finished or not. Raises NotFound."""
    query = text(f"{_UNFINISHED} WHERE id = :id UNION ALL {_FINISHED} WHERE id = :id LIMIT 1")
    row = session.execute(query, {"id": job_id}).one_or_none()
    if row is None:
        raise NotFound(f"no job has the id {job_id}")
    return _view(row)


def callback_url(session: Session, job_id: UUID) -> str | None:
    """The address a finished job is reported to, whole: for the delivery only."""
    query = text("SELECT callback ->> 'url' FROM job_history WHERE id = :id")
    return session.execute(query, {"id": job_id}).scalar()


def list_jobs(
    session: Session,
    *,
    state: str | None = None,
    task: str | None = None,
    queue: str | None = None,
    key: str | None = None,
    caller: str | None = None,
    limit: int = 50,
    before: UUID | None = None,
) -> list[JobView]:
    """Jobs, newest first; `before` continues below an id. Raises Invalid for an unknown state."""
    if state is not None and state not in list(JobState):
        raise Invalid([Problem("state", f"must be one of {', '.join(JobState)}")], subject="filter")
    wanted = {"state": state, "task": task, "queue": queue, "key": key, "caller": caller}
    conditions = [f"{name} = :{name}" for name, value in wanted.items() if value is not None]
    if before is not None:
        conditions.append("id < :before")
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    tables = [_UNFINISHED] if state in UNFINISHED else [_FINISHED] if state in FINISHED else [_UNFINISHED, _FINISHED]
    parts = " UNION ALL ".join(f"({table}{where} ORDER BY id DESC LIMIT :limit)" for table in tables)
    query = text(f"SELECT * FROM ({parts}) AS j ORDER BY id DESC LIMIT :limit")
    return [_view(row) for row in session.execute(query, {**wanted, "before": before, "limit": limit})]


def retry(uow: UnitOfWork, job_id: UUID) -> JobView:
    """Run a finished job once more: the same id, arguments and key, as many tries as before. Raises NotFound, Conflict.

    A job that succeeded is not run again: its effect has happened. Attempts are numbered on, never anew: a worker that
    was given up and still runs must find its number taken.
    """
    job = get(uow.session, job_id)
    if job.state not in (JobState.DEAD, JobState.CANCELLED, JobState.EXPIRED):
        raise Conflict(f"job {job_id} is {job.state}: only dead, cancelled and expired jobs can be retried")
    contract = spec.get(job.task)
    if job.key is not None and store.lock_waiting_twin(uow, job.task, job.key) is not None:
        raise Conflict(f"another job of {job.task} with the key {job.key} is waiting already")
    try:
        revived = _revive(uow, job_id, contract.max_attempts)
    except IntegrityError:
        raise Conflict(f"another job of {job.task} with the key {job.key} is waiting already") from None
    if revived is None:
        raise Conflict(f"job {job_id} is being retried by someone else")
    bell = wire.Doorbell(str(revived.id), revived.task, revived.queue, revived.priority)
    uow.after_commit(lambda: service.void(wire.ring([bell])))
    return get(uow.session, job_id)


def _revive(uow: UnitOfWork, job_id: UUID, tries: int) -> Any | None:
    return uow.execute(
        "WITH gone AS (DELETE FROM job_history WHERE id = :id RETURNING *)"
        " INSERT INTO jobs (id, task, queue, state, priority, kwargs, key, attempt, max_attempts, ring_count,"
        " created_at, not_before, rung_at, callback, caller, request_id)"
        " SELECT id, task, queue, 'rung', priority, kwargs, key, attempt, attempt + :more, 1,"
        " created_at, now(), clock_timestamp(), callback, caller, request_id FROM gone"
        " RETURNING id, task, queue, priority",
        id=job_id,
        more=tries,
    ).one_or_none()


def cancel(uow: UnitOfWork, job_id: UUID) -> JobView:
    """Cancel a waiting job; ask a running one to stop, which ends its tries. Raises NotFound, Conflict."""
    error = {"type": "Cancelled", "message": "cancelled before it started"}
    ended = store.finish_unclaimed(uow, job_id, state=JobState.CANCELLED, error=error)
    if ended is not None:
        ending.call_back(uow, ended)
        return get(uow.session, job_id)
    asked = uow.execute(
        "UPDATE jobs SET cancel_requested = true WHERE id = :id AND state = 'running' RETURNING id", id=job_id
    ).one_or_none()
    job = get(uow.session, job_id)
    if asked is None:
        raise Conflict(f"job {job_id} is {job.state} already")
    return job


def paused_queues(session: Session) -> dict[str, dict[str, Any]]:
    """By queue: who paused it, since when and why."""
    rows = session.execute(text("SELECT queue, paused_at, paused_by, reason FROM queue_pauses"))
    return {row.queue: {"paused_at": row.paused_at, "paused_by": row.paused_by, "reason": row.reason} for row in rows}


def pause_queue(uow: UnitOfWork, name: str, *, who: str, reason: str = "") -> None:
    """Let nothing of a queue start until it is resumed; durable. Raises NotFound."""
    _known(name)
    uow.execute(
        "INSERT INTO queue_pauses (queue, paused_by, reason) VALUES (:name, :who, :reason) ON CONFLICT DO NOTHING",
        name=name,
        who=who,
        reason=reason,
    )


def resume_queue(uow: UnitOfWork, name: str) -> None:
    """Let a queue go on. Doorbells that workers dropped during the pause are rung again at the relay's next pass."""
    _known(name)
    uow.execute("DELETE FROM queue_pauses WHERE queue = :name", name=name)
    uow.execute("UPDATE jobs SET state = 'scheduled', rung_at = NULL WHERE queue = :name AND state = 'rung'", name=name)


PURGE_BATCH = 500


def purge_queue(name: str) -> int:
    """Cancel every waiting job of a queue, five hundred a transaction, then delete its messages; how many jobs.

    Raises NotFound. Messages that are no job yet (`intake`) are gone with it.
    """
    _known(name)
    cancelled = 0
    while True:
        with unit_of_work() as uow:
            ended = store.finish_waiting(uow, name, limit=PURGE_BATCH, error=_purged(name))
            for row in ended:
                ending.call_back(uow, row)
        cancelled += len(ended)
        if len(ended) < PURGE_BATCH:
            break
    wire.purge(name)
    return cancelled


def _purged(name: str) -> dict[str, str]:
    return {"type": "Cancelled", "message": f"queue {name} was purged"}


def notices(session: Session, now: datetime) -> list[str]:
    """What an operator should know of the ledger's last day: dead jobs, and what is misconfigured, newest first."""
    day_ago = now - timedelta(days=1)
    dead = session.execute(
        text("SELECT count(*) FROM job_history WHERE state = 'dead' AND finished_at >= :day_ago"),
        {"day_ago": day_ago},
    ).scalar_one()
    told = session.execute(
        text("SELECT message, count AS times FROM notices WHERE last_at >= :day_ago ORDER BY last_at DESC LIMIT 20"),
        {"day_ago": day_ago},
    )
    listed = [f"{row.message} (told {row.times} times)" if row.times > 1 else row.message for row in told]
    if dead:
        listed.append(f"{dead} jobs died in the last day: smm-admin jobs list --state dead")
    return listed


def _known(queue: str) -> None:
    if queue not in wire.names():
        raise NotFound(f"no queue is named {queue}; there are {', '.join(wire.names())}")


def _view(row: Any) -> JobView:
    shown = row._asdict()
    shown["priority"] = _priority_name(row.priority)
    shown["kwargs"] = scrub(row.kwargs)
    if isinstance(row.callback, dict) and "url" in row.callback:
        parts = urlsplit(row.callback["url"])
        shown["callback"] = {"url": f"{parts.scheme}://{parts.hostname}/…"}
    else:
        shown["callback"] = scrub(row.callback)
    return JobView(**shown)


def _priority_name(value: int) -> str:
    try:
        return Priority(value).name.lower()
    except ValueError:
        return str(value)
