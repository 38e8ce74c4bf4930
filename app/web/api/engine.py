"""/api/v1/queues, /api/v1/schedule, /api/v1/contract, /api/v1/config: the engine, seen and steered."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from app import catalog
from app.infra.db import read_only, unit_of_work
from app.infra.plain import plain
from app.jobs import admin, contract, queues, schedule, spec
from app.web.deps import CurrentCaller, PauseReason

router = APIRouter(tags=["engine"])


@router.get("/queues", summary="Queues: what waits, how long, what is paused")
def list_queues(_caller: CurrentCaller) -> dict[str, Any]:
    """Depths are null while Redis does not answer; jobs by state come from Postgres."""
    with read_only() as session:
        held = queues.ledger(session)
    return {**plain(queues.document(held, queues.messages()))}


@router.post("/queues/{name}/pause", summary="Pause a queue")
def pause_queue(caller: CurrentCaller, name: str, reason: PauseReason) -> dict[str, Any]:
    """Nothing of it is started until it is resumed; running jobs finish."""
    with unit_of_work() as uow:
        admin.pause_queue(uow, name, who=caller.name, reason=reason)
    return {"queue": name, "paused": True}


@router.post("/queues/{name}/resume", summary="Resume a queue")
def resume_queue(_caller: CurrentCaller, name: str) -> dict[str, Any]:
    """What waited starts within seconds, in priority and age order."""
    with unit_of_work() as uow:
        admin.resume_queue(uow, name)
    return {"queue": name, "paused": False}


@router.get("/schedule", summary="The timetable, with each entry's last run")
def list_schedule(_caller: CurrentCaller) -> dict[str, Any]:
    """`next_due_at` is set for dated entries; the others run every so many seconds."""
    with read_only() as session:
        return {"schedule": plain(schedule.overview(session))}


@router.post("/schedule/{name}/run", status_code=202, summary="Run an entry now")
def run_entry(caller: CurrentCaller, name: str) -> dict[str, Any]:
    """Out of turn; its ordinary times stay."""
    with unit_of_work() as uow:
        schedule.run_now(uow, name, who=caller.name)
    return {"entry": name, "requested": True}


@router.post("/schedule/{name}/pause", summary="Pause an entry")
def pause_entry(caller: CurrentCaller, name: str, reason: PauseReason) -> dict[str, Any]:
    """A dated entry that came due meanwhile runs once when it is resumed."""
    with unit_of_work() as uow:
        schedule.pause(uow, name, who=caller.name, reason=reason)
    return {"entry": name, "paused": True}


@router.post("/schedule/{name}/resume", summary="Resume an entry")
def resume_entry(_caller: CurrentCaller, name: str) -> dict[str, Any]:
    """The end of a pause."""
    with unit_of_work() as uow:
        schedule.resume(uow, name)
    return {"entry": name, "paused": False}


@router.get("/contract", summary="The published tasks and the schemas of their arguments")
def show_contract(_caller: CurrentCaller) -> dict[str, Any]:
    """What `POST /api/v1/jobs` and the intake task accept."""
    return contract.document(spec.published())


@router.get("/config", summary="The configuration in force")
def show_config(_caller: CurrentCaller) -> dict[str, Any]:
    """`problem` says why the file on disk is not in force, null when it is. Changes are noticed by themselves."""
    current = catalog.current()
    return {"digest": current.digest, "services": sorted(current.services), "problem": catalog.problem()}
