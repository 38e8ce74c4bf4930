"""/api/v1/jobs: enqueue work, one or many, and look after it."""

from __future__ import annotations

import re
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Query, Response

from app.config import settings
from app.errors import Invalid, Problem
from app.infra.db import TooSlow, read_only, read_within, unit_of_work
from app.jobs import admin, intake
from app.jobs.core import JobState
from app.web.api import schemas
from app.web.deps import CurrentCaller, SentJson

LIST_SECONDS = 5.0
"""A filter that matches little can walk all of history: it is ended before it holds up the others."""

_TOO_SLOW = "matches too little to be found in time: narrow the filter, or give a `cursor` nearer to the jobs"

router = APIRouter(prefix="/jobs", tags=["jobs"])

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
IdempotencyKey = Annotated[
    str | None,
    Header(description="kept 24 h per caller: the same body is answered the same, another body is refused (422)"),
]


@router.post("", status_code=202, openapi_extra=schemas.body("JobRequest"), summary="Enqueue one job")
def submit(
    caller: CurrentCaller, body: SentJson, response: Response, idempotency_key: IdempotencyKey = None
) -> dict[str, Any]:
    """Durable before it is answered. 422 names each field that is wrong; `Location` says where to follow the job."""
    if idempotency_key is not None and not _KEY.fullmatch(idempotency_key):
        raise Invalid([Problem("header.idempotency-key", "must be 1 to 255 printable ASCII characters, no spaces")])
    caller.require_tasks(body)
    request = intake.parse(body)
    with unit_of_work() as uow:
        accepted = intake.accept(
            uow,
            request,
            caller=caller.name,
            idempotency_key=idempotency_key,
            body_hash=intake.body_hash(body),
        )
    response.headers["Location"] = f"/api/v1/jobs/{accepted.id}"
    if accepted.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return {"id": str(accepted.id), "task": request.task}


@router.post("/batch", status_code=202, openapi_extra=schemas.body("JobBatch"), summary="Enqueue many jobs")
def submit_batch(caller: CurrentCaller, body: SentJson, idempotency_key: IdempotencyKey = None) -> dict[str, Any]:
    """Good ones are kept and bad ones reported, each by its index. Give each job a `key` where a repeat would hurt.

    403, and none is kept, when one names a task that the key has no scope for.
    """
    if idempotency_key is not None:
        raise Invalid([Problem("header.idempotency-key", "is for single jobs: give each job of a batch its own `key`")])
    items = _batch_items(body)
    for item in items:
        caller.require_tasks(item)
    with unit_of_work() as uow:
        outcomes = intake.accept_batch(uow, items, caller=caller.name)
    accepted: list[dict[str, Any]] = []
    rejected: list[dict[str, Any]] = []
    for index, outcome in enumerate(outcomes):
        if isinstance(outcome, Invalid):
            errors = [{"field": problem.field, "message": problem.message} for problem in outcome.problems]
            rejected.append({"index": index, "errors": errors})
        else:
            accepted.append({"index": index, "id": str(outcome.id)})
    return {"accepted": accepted, "rejected": rejected}


def _batch_items(value: Any) -> list[object]:
    if not isinstance(value, dict) or set(value) != {"jobs"} or not isinstance(value["jobs"], list):
        raise Invalid([Problem("jobs", 'the body must be {"jobs": [...]} and nothing else')], subject="batch")
    items: list[object] = value["jobs"]
    most = settings().batch_max_jobs
    if len(items) > most:
        raise Invalid(
            [Problem("jobs", f"holds {len(items)} jobs; the most is {most} (SMM_BATCH_MAX_JOBS)")], subject="batch"
        )
    return items


@router.get("", summary="List jobs, newest first")
def list_jobs(
    _caller: CurrentCaller,
    *,
    state: Annotated[
        JobState | None, Query(description="scheduled, rung, running, succeeded, dead, cancelled, expired")
    ] = None,
    task: str | None = None,
    queue: str | None = None,
    key: str | None = None,
    caller: Annotated[str | None, Query(description="who submitted it")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[UUID | None, Query(description="`next` of the page before")] = None,
) -> dict[str, Any]:
    """`next` is the cursor of the following page, null on the last. 422 for a filter that takes too long to apply."""
    wanted = {"state": state, "task": task, "queue": queue, "key": key, "caller": caller}
    try:
        with read_within(LIST_SECONDS) as session:
            found = admin.list_jobs(session, **wanted, limit=limit + 1, before=cursor)
    except TooSlow as error:
        used = [Problem(f"query.{name}", _TOO_SLOW) for name, value in wanted.items() if value is not None]
        if not used:
            raise
        raise Invalid(used, subject="filter") from error
    page = found[:limit]
    return {
        "jobs": [job.as_dict() for job in page],
        "next": str(page[-1].id) if len(found) > limit else None,
    }


@router.get("/{job_id}", summary="One job")
def show(caller: CurrentCaller, job_id: UUID) -> dict[str, Any]:
    """State, attempts, times, and at the end its result or its error. A service sees its own."""
    with read_only() as session:
        job = admin.get(session, job_id)
    caller.require_own(job.caller, f"no job has the id {job_id}")
    return job.as_dict()


@router.post("/{job_id}/retry", summary="Run a finished job again")
def retry(_caller: CurrentCaller, job_id: UUID) -> dict[str, Any]:
    """For dead, cancelled and expired jobs; 409 for one that has not finished."""
    with unit_of_work() as uow:
        return admin.retry(uow, job_id).as_dict()


@router.post("/{job_id}/cancel", summary="Cancel a job")
def cancel(_caller: CurrentCaller, job_id: UUID) -> dict[str, Any]:
    """At once when it is not running; a running one is asked to stop and says so when it notices."""
    with unit_of_work() as uow:
        return admin.cancel(uow, job_id).as_dict()
