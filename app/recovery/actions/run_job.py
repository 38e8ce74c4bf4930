"""Submit a job, once, and wait for its end where that is wanted."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import Field

from app import jobs
from app.catalog import Catalog, Service
from app.errors import SmmError
from app.infra.db import read_only, unit_of_work
from app.infra.scrub import scrub_text
from app.infra.words import duration
from app.jobs import admin
from app.jobs.core import UNFINISHED, JobState
from app.recovery.acting import Again, Done, Effect, Failed, Result, Work
from app.recovery.acting import Options as BaseOptions

NAME = "run_job"
SUMMARY = "submits a job of the ledger, and waits for its end where that is wanted"
EFFECT = Effect.CHANGE
KINDS: tuple[str, ...] = ()

_LOOK_SECONDS = 5.0


class Options(BaseOptions):
    """Which job, and whether its end matters."""

    task: str = Field(min_length=1, max_length=200, description="name of the task, as `smm-admin jobs` shows it")
    kwargs: dict[str, Any] = Field(default_factory=dict, description="its arguments")
    wait_seconds: float = Field(
        default=0, ge=0, le=86_400, description="how long to wait for its end; 0: submitted is done"
    )


def says(options: Options, _service: Service) -> str:
    """What it will do."""
    return f"run the job {options.task}"


def forbidden(_options: Options, _service: Service, _catalog: Catalog) -> str | None:
    """Who writes the catalogue may run any job."""
    return None


def act(options: Options, work: Work) -> Result:
    """Submit it unless a try before this one has, and look how far it is."""
    try:
        known = work.last_detail.get("job_id")
        job_id = UUID(known) if known else _submitted(options, work)
        return _looked_at(options, work, job_id)
    except SmmError as error:  # an unknown task, arguments that its contract refuses, a database that is away
        return Failed(str(error), work.last_detail)


def _submitted(options: Options, work: Work) -> UUID:
    """A key holds back a second job only while the first one waits; one that ran already has to be looked for."""
    key = f"recovery:{work.key}"
    if work.interrupted_at is not None:
        with read_only() as session:
            found = admin.list_jobs(session, task=options.task, key=key, limit=1)
        if found:
            return found[0].id
    with unit_of_work() as uow:
        [job_id] = jobs.submit_many(
            uow, [jobs.Submission(options.task, dict(options.kwargs), key=key, caller=f"playbook:{work.run.playbook}")]
        )
    return job_id


def _looked_at(options: Options, work: Work, job_id: UUID) -> Result:
    detail = {"job_id": str(job_id)}
    if not options.wait_seconds:
        return Done(f"submitted the job {options.task}", detail)
    with read_only() as session:
        job = admin.get(session, job_id)
    detail |= {"state": job.state}
    match job.state:
        case JobState.SUCCEEDED:
            return Done(f"ran the job {options.task}", detail | {"result": job.result})
        case state if state in UNFINISHED:
            waited = (work.now - work.began_at).total_seconds()
            if waited < options.wait_seconds:
                return Again(_LOOK_SECONDS, f"the job {options.task} is {state}", detail)
            return Failed(f"the job {options.task} has not ended within {duration(options.wait_seconds)}", detail)
    why = scrub_text(str((job.error or {}).get("message", "")))[:300]
    return Failed(f"the job {options.task} is {job.state}" + (f": {why}" if why else ""), detail)
