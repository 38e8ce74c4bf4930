"""/api/v1/on-call: whose turn it is, whose it will be, and who takes over for a while."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query

from app import catalog, clock
from app.alerts import overrides
from app.infra.db import read_only, unit_of_work
from app.web.api import alert_bodies as bodies
from app.web.deps import CurrentCaller

router = APIRouter(prefix="/on-call", tags=["on-call"])


@router.get("", summary="Who is on call, and who is next")
def plan(
    _caller: CurrentCaller,
    days: Annotated[float, Query(gt=0, le=366, description="how far ahead the turns are listed")] = 14,
) -> dict[str, Any]:
    """For every rotation and team, stored overrides included."""
    now = clock.now()
    with read_only() as session:
        swaps = overrides.current(session, now)
    return overrides.plan(catalog.current().telling, swaps, now, days=days)


@router.get("/overrides", summary="Overrides that are not over yet")
def list_overrides(_caller: CurrentCaller, rotation: str | None = None) -> dict[str, Any]:
    """In the order in which they were made: of overlapping ones the last counts."""
    with read_only() as session:
        found = overrides.list_overrides(session, clock.now(), rotation=rotation)
    return {"overrides": [override.as_dict() for override in found]}


@router.post(
    "/overrides",
    status_code=201,
    openapi_extra=bodies.body(bodies.OverrideRequest, required=True),
    summary="Let somebody take over",
)
def create(caller: CurrentCaller, raw: bodies.Sent) -> dict[str, Any]:
    """From `starts_at` (default: now) until before `ends_at`. 422 for a rotation or person that does not exist."""
    wanted = bodies.read(bodies.OverrideRequest, raw)
    now = clock.now()
    with unit_of_work() as uow:
        made = overrides.create(
            uow,
            catalog.current().telling,
            rotation=wanted.rotation,
            person=wanted.person,
            starts_at=wanted.starts_at or now,
            ends_at=wanted.ends_at,
            by=wanted.by or caller.name,
            now=now,
            reason=wanted.reason,
        )
    return made.as_dict()


@router.delete("/overrides/{override_id}", summary="Withdraw an override")
def remove(caller: CurrentCaller, override_id: UUID) -> dict[str, Any]:
    """The rotation's own turns hold again from now on."""
    with unit_of_work() as uow:
        return overrides.remove(uow, override_id, by=caller.name).as_dict()
