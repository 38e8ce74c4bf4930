"""/api/v1/recovery: runs of playbooks, what guards them, and what people do about them: start, abort, stop, resume."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import Field

from app import catalog, clock
from app.access.callers import Caller
from app.infra.db import read_only, read_within, unit_of_work
from app.infra.text import storable
from app.recovery import control, reading, triggering
from app.web.api import alert_bodies as bodies
from app.web.api.alert_bodies import Body
from app.web.deps import CurrentCaller

router = APIRouter(prefix="/recovery", tags=["recovery"])

LIST_SECONDS = 5.0


class By(Body):
    """Who does it. A request without a body acts as the caller."""

    by: str | None = Field(default=None, min_length=1, max_length=200, description="who; default: the caller's name")


class RunRequest(By):
    """A playbook that a person starts for a service, whatever its state; the guards count all the same."""

    playbook: str = Field(pattern=catalog.NAME, description="a playbook of the catalogue")
    service: str = Field(pattern=catalog.NAME, description="a service of the catalogue")
    dry_run: bool = Field(default=False, description="true: only say what would be done")


class StopRequest(By):
    """Why nothing is to be repaired from now on. Everything is optional: haste needs no body."""

    reason: str = Field(default="", max_length=500, description="why; shown on every status page")


MODELS: tuple[type[Body], ...] = (By, RunRequest, StopRequest)


@router.get("/runs", summary="Runs of playbooks, newest first")
def list_runs(
    _caller: CurrentCaller,
    *,
    service: str | None = None,
    playbook: str | None = None,
    open: Annotated[bool, Query(description="only those that have not ended")] = False,  # noqa: A002
    incident: Annotated[UUID | None, Query(description="only those of this incident")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[UUID | None, Query(description="`next` of the page before")] = None,
) -> dict[str, Any]:
    """Each with its steps in words. `next` is the cursor of the following page, null on the last."""
    with read_within(LIST_SECONDS) as session:
        found = reading.list_runs(
            session,
            service=service,
            playbook=playbook,
            open_only=open,
            incident_id=incident,
            limit=limit + 1,
            before=cursor,
        )
    page = found[:limit]
    return {"runs": page, "next": page[-1]["id"] if len(found) > limit else None}


@router.get("/runs/{run_id}", summary="One run")
def show_run(_caller: CurrentCaller, run_id: UUID) -> dict[str, Any]:
    """With what started it, and each step's options and findings."""
    with read_only() as session:
        return reading.get_run(session, run_id)


@router.post("/runs", status_code=201, openapi_extra=bodies.body(RunRequest, required=True), summary="Start a playbook")
def start_run(caller: CurrentCaller, raw: bodies.Sent, response: Response) -> dict[str, Any]:
    """The run as it begins. 404 for a playbook or service that the catalogue has not, 409 while it is running."""
    wanted = bodies.read(RunRequest, raw)
    with unit_of_work() as uow:
        run_id = triggering.start(
            uow,
            wanted.playbook,
            wanted.service,
            by=_who(wanted, caller),
            now=clock.now(),
            dry_run=wanted.dry_run,
        )
        run = reading.get_run(uow.session, run_id)
    response.headers["Location"] = f"/api/v1/recovery/runs/{run_id}"
    return run


@router.post("/runs/{run_id}/abort", openapi_extra=bodies.body(By), summary="Abort a run")
def abort_run(caller: CurrentCaller, run_id: UUID, raw: bodies.Sent) -> dict[str, Any]:
    """It ends before its next step; the step under way is not broken off. 409 for a run that has ended."""
    wanted = bodies.read(By, raw)
    with unit_of_work() as uow:
        control.abort(uow, run_id, by=_who(wanted, caller))
        return reading.get_run(uow.session, run_id)


@router.get("/playbooks", summary="The catalogue's playbooks")
def list_playbooks(_caller: CurrentCaller) -> dict[str, Any]:
    """What starts each, its steps with their options, secrets as `${NAME}`."""
    return {"playbooks": reading.playbooks(catalog.current())}


@router.get("/guards", summary="What guards repairs")
def show_guards(_caller: CurrentCaller) -> dict[str, Any]:
    """Figures of the catalogue, what of the budgets is used up, and whether everything is stopped."""
    with read_only() as session:
        return reading.guards(session, catalog.current(), clock.now())


@router.post("/stop", openapi_extra=bodies.body(StopRequest), summary="Stop all recovery")
def stop(caller: CurrentCaller, raw: bodies.Sent) -> dict[str, Any]:
    """Nothing is repaired until it is resumed: no playbook begins, no run changes anything. The guards as they are now.

    Who has stopped it already, and why, is replaced.
    """
    wanted = bodies.read(StopRequest, raw)
    now = clock.now()
    with unit_of_work() as uow:
        control.stop(uow, by=_who(wanted, caller), reason=storable(wanted.reason), now=now)
        return reading.guards(uow.session, catalog.current(), now)


@router.post("/resume", openapi_extra=bodies.body(By), summary="Let recovery go on")
def resume(caller: CurrentCaller, raw: bodies.Sent) -> dict[str, Any]:
    """What is still in trouble is taken up at the next look. The guards as they are now."""
    wanted = bodies.read(By, raw)
    now = clock.now()
    with unit_of_work() as uow:
        control.resume(uow, by=_who(wanted, caller), now=now)
        return reading.guards(uow.session, catalog.current(), now)


def _who(wanted: By, caller: Caller) -> str:
    return storable(wanted.by or caller.name)


def components() -> dict[str, Any]:
    """The schemas of the bodies, for the OpenAPI document."""
    return {model.__name__: model.model_json_schema() for model in MODELS}
