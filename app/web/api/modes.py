"""/api/v1/modes: which operations fall back or wait now, and why; modes that people set."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Header, Response
from pydantic import Field

from app import admission, clock
from app.infra.db import read_only, unit_of_work
from app.web.api import alert_bodies as bodies
from app.web.api.alert_bodies import Body
from app.web.deps import CurrentCaller

router = APIRouter(prefix="/modes", tags=["modes"])


class ModeRequest(Body):
    """A mode that somebody sets. Without operations they are those of the catalogue's mode of this name."""

    reason: str = Field(min_length=1, max_length=500, description="why; shown to everybody who asks")
    minutes: float | None = Field(default=None, gt=0, le=525_600, description="how long; default: until it is left")
    fall_back: list[str] = Field(default_factory=list, max_length=100, description="operations that go on without")
    wait: list[str] = Field(default_factory=list, max_length=100, description="operations that are deferred")
    by: str | None = Field(default=None, min_length=1, max_length=200, description="default: the caller")


@router.get("", summary="Modes that are on, and what each operation shall do")
def show(
    _caller: CurrentCaller,
    response: Response,
    if_none_match: Annotated[str | None, Header(description="an ETag: 304 while nothing has changed")] = None,
) -> Any:
    """An operation that is not in `operations` goes on as ever. `version` changes with every change."""
    with read_only() as session:
        found = admission.read(session)
    headers = {"ETag": f'W/"{found.version}"', "Cache-Control": "no-cache"}
    if headers["ETag"] in (tag.strip() for tag in (if_none_match or "").split(",")):
        return Response(status_code=304, headers=headers)
    response.headers.update(headers)
    return found.document()


@router.get("/{name}", summary="What one operation shall do")
def effect(_caller: CurrentCaller, name: str) -> dict[str, Any]:
    """`effect` is none, fall_back or wait. Here the name is an operation's; one that no mode names goes on as ever."""
    with read_only() as session:
        return admission.read(session).of(name)


@router.post("/{name}", openapi_extra=bodies.body(ModeRequest, required=True), summary="Set a mode")
def enter(caller: CurrentCaller, name: str, raw: bodies.Sent) -> dict[str, Any]:
    """Setting it again changes it. It is on until its time is up or somebody leaves it, and while health holds it."""
    wanted = bodies.read(ModeRequest, raw)
    now = clock.now()
    with unit_of_work() as uow:
        hold = admission.enter(
            uow,
            name,
            by=f"person:{wanted.by or caller.name}",
            reason=wanted.reason,
            now=now,
            fall_back=wanted.fall_back,
            wait=wanted.wait,
            until=None if wanted.minutes is None else now + timedelta(minutes=wanted.minutes),
        )
    return admission.hold_shown(hold)


@router.delete("/{name}", summary="Leave a mode")
def leave(caller: CurrentCaller, name: str) -> dict[str, Any]:
    """What people and playbooks hold ends now. 404 when it is not on, 409 when only health holds it."""
    with unit_of_work() as uow:
        ended = admission.leave(uow, name, by=f"person:{caller.name}", now=clock.now())
        held = admission.read(uow.session).held_by(name)
    return {"name": name, "ended": [admission.hold_shown(hold) for hold in ended], "held_by": held}


def components() -> dict[str, Any]:
    """The schema of the body, for the OpenAPI document."""
    return {ModeRequest.__name__: ModeRequest.model_json_schema()}
