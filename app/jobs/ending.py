"""How a job ends: history, callback and signal in one transaction, fenced by the attempt's number."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.exc import IntegrityError

from app.errors import Invalid, LeaseLost, NotFound, Permanent, Transient
from app.infra.db import UnitOfWork
from app.infra.logging import get_logger
from app.infra.scrub import scrub_text
from app.infra.text import json_safe, storable
from app.jobs import hooks, service, spec, store
from app.jobs.core import AfterFailure, FailureReason, JobState

log = get_logger(__name__)

RESULT_MAX_BYTES = 16_384
DELIVER = "tasks.jobs.deliver_callback"


def describe(error: BaseException) -> dict[str, Any]:
    """An error as it is kept: its type and a scrubbed, bounded message."""
    return {"type": type(error).__name__, "message": storable(scrub_text(str(error)), limit=2000)}


def succeed(uow: UnitOfWork, job_id: UUID, *, attempt: int, result: Any | None) -> None:
    """Complete a running job. Raises LeaseLost when it was taken back, Permanent when the result is too large."""
    kept = json_safe(result)
    try:
        size = len(json.dumps(kept))
    except (TypeError, ValueError) as error:
        raise Permanent(f"the job's result is no JSON value: {error}") from None
    if size > RESULT_MAX_BYTES:
        raise Permanent(f"the job's result has {size} bytes; at most {RESULT_MAX_BYTES} are kept")
    row = store.finish(uow, job_id, attempt=attempt, state=JobState.SUCCEEDED, result=kept)
    if row is None:
        raise LeaseLost(f"job {job_id} was taken back during attempt {attempt}")
    call_back(uow, row)


def fail(uow: UnitOfWork, job: Any, outcome: AfterFailure, error: dict[str, Any]) -> None:
    """Carry out what became of a failed attempt. `job`: id, task, queue, key, attempt. Raises LeaseLost as above."""
    if outcome.state is JobState.SCHEDULED:
        _try_again(uow, job, outcome.delay, {**error, "reason": outcome.reason})
        return
    detail = None if outcome.state is JobState.SUCCEEDED else {**error, "reason": outcome.reason}
    row = store.finish(uow, job.id, attempt=job.attempt, state=outcome.state, error=detail)
    if row is None:
        raise LeaseLost(f"job {job.id} was taken back during attempt {job.attempt}")
    call_back(uow, row)
    if outcome.state is JobState.DEAD:
        _tell_dead(uow, job, outcome.reason, error)


def _try_again(uow: UnitOfWork, job: Any, delay: timedelta, error: dict[str, Any]) -> None:
    twin = store.lock_waiting_twin(uow, job.task, job.key) if job.key is not None else None
    if twin is not None:
        store.hand_over(uow, twin, attempt=job.attempt, delay=delay)
        detail = {**error, "superseded_by": str(twin)}
        row = store.finish(uow, job.id, attempt=job.attempt, state=JobState.CANCELLED, error=detail)
        if row is not None:
            call_back(uow, row)
            return
    elif _put_back(uow, job, delay, error):
        return
    raise LeaseLost(f"job {job.id} was taken back during attempt {job.attempt}")


def _put_back(uow: UnitOfWork, job: Any, delay: timedelta, error: dict[str, Any]) -> bool:
    """Schedule the next try, or end a job that an operator has meanwhile cancelled."""
    try:
        with uow.session.begin_nested():
            if store.put_back(uow, job.id, attempt=job.attempt, delay=delay, error=error):
                return True
    except IntegrityError as race:  # a twin came to wait since we looked: the other way is right now
        raise Transient("another job of this key was submitted this moment") from race
    if not store.is_held(uow, job.id, attempt=job.attempt):
        return False
    detail = {**error, "reason": FailureReason.CANCELLED}
    row = store.finish(uow, job.id, attempt=job.attempt, state=JobState.CANCELLED, error=detail)
    if row is not None:
        call_back(uow, row)
    return row is not None


def _tell_dead(uow: UnitOfWork, job: Any, reason: FailureReason, error: dict[str, Any]) -> None:
    if reason is FailureReason.MISCONFIGURED:
        store.notice(uow, f"misconfigured:{job.task}", f"{job.task}: {error['message']}")
    hooks.tell_dead(uow, hooks.DeadJob(job.id, job.task, job.queue, job.attempt, reason, error))


def call_back(uow: UnitOfWork, finished: Any) -> None:
    """Submit what the caller asked to be told by: one more job, in the transaction that ended this one."""
    try:
        _submit_callback(uow, finished)
    except (NotFound, Invalid) as error:  # its task has left or changed since: that must not keep this job from ending
        log.warning("callback not submitted", job=str(finished.id), error=str(error))
        store.notice(uow, f"callback:{finished.task}", f"a callback of {finished.task} cannot be submitted: {error}")


def _submit_callback(uow: UnitOfWork, finished: Any) -> None:
    callback: dict[str, Any] = finished.callback or {}
    match callback:
        case {"url": str()}:
            service.submit(uow, DELIVER, job_id=str(finished.id), caller=f"callback:{finished.id}")
        case {"task": str(task)}:
            kwargs = dict(callback.get("kwargs") or {})
            if "finished_job_id" in spec.get(task).arguments.model_fields:
                kwargs["finished_job_id"] = str(finished.id)
            service.submit(uow, task, caller=f"callback:{finished.id}", **kwargs)
