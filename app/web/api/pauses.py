"""/api/v1/pauses: what is held back, by whom and why; pauses set and lifted by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from app import clock
from app.admission import pause_store, pauses
from app.admission.scopes import SHAPES
from app.catalog import CLASSES
from app.infra.db import read_only, unit_of_work
from app.web.api import alert_bodies as bodies
from app.web.api.alert_bodies import Body
from app.web.deps import CurrentCaller

router = APIRouter(prefix="/pauses", tags=["pauses"])

MOST = 1000


class PauseRequest(Body):
    """What shall be held back. All people share one pause of a scope: setting it again changes it."""

    scope: str = Field(max_length=500, description=SHAPES)
    reason: str = Field(min_length=1, max_length=pauses.LONGEST_TEXT, description="why; shown to everybody who asks")
    minutes: float | None = Field(default=None, gt=0, le=525_600, description="how long; default: until it is lifted")
    urgency: str = Field(
        default=CLASSES[0],
        alias="class",
        max_length=50,
        description='the most urgent class that is held: "background" holds background work only',
    )
    effect: Literal["wait", "deny", "token", "hint"] = Field(
        default="wait", description="operations wait, are denied, or only those that need the account's token wait"
    )
    by: str | None = Field(default=None, min_length=1, max_length=200, description="default: the caller")


class LiftRequest(Body):
    """What shall go on."""

    scope: str = Field(max_length=500, description="the scope of a pause")
    why: str = Field(default="", max_length=pauses.LONGEST_TEXT, description="kept on the timeline")
    force: bool = Field(default=False, description="end what budgets, tokens and others hold, too")
    by: str | None = Field(default=None, min_length=1, max_length=200, description="default: the caller")


@router.get("", summary="Pauses that hold now, oldest first")
def show(
    _caller: CurrentCaller,
    scope: Annotated[str | None, Query(max_length=500, description="of this scope only")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 100,
) -> dict[str, Any]:
    """`open` counts all of them, also those that are beyond the limit."""
    with read_only() as session:
        found = pauses.read(session, scope, limit=limit)
        count = pause_store.count(session)
    return {"pauses": [pause.document() for pause in found], "open": count}


@router.post("", openapi_extra=bodies.body(PauseRequest, required=True), summary="Pause a scope")
def set_pause(caller: CurrentCaller, raw: bodies.Sent) -> dict[str, Any]:
    """It holds from the answer on, until its time is up or somebody lifts it."""
    wanted = bodies.read(PauseRequest, raw)
    now = clock.now()
    least = pauses.rank_of(wanted.urgency)
    with unit_of_work() as uow:
        pause = pauses.set_pause(
            uow,
            wanted.scope,
            by=f"{pauses.PERSON}{wanted.by or caller.name}",
            reason=wanted.reason,
            now=now,
            until=None if wanted.minutes is None else now + timedelta(minutes=wanted.minutes),
            least=least,
            effect=wanted.effect,
        )
    return pause.document()


@router.post("/lift", openapi_extra=bodies.body(LiftRequest, required=True), summary="Lift the pause of a scope")
def lift(caller: CurrentCaller, raw: bodies.Sent) -> dict[str, Any]:
    """What people hold ends now; with `force` all of it. 404 when it is not paused, 409 when only others hold it."""
    wanted = bodies.read(LiftRequest, raw)
    with unit_of_work() as uow:
        ended = pauses.lift(
            uow,
            wanted.scope,
            by=f"{pauses.PERSON}{wanted.by or caller.name}",
            now=clock.now(),
            why=wanted.why,
            force=wanted.force,
        )
        left = pauses.read(uow.session, wanted.scope)
    return {
        "scope": wanted.scope,
        "ended": [pause.document() for pause in ended],
        "held_by": [pause.holder for pause in left],
    }


def components() -> dict[str, Any]:
    """The schemas of the bodies, for the OpenAPI document."""
    return {model.__name__: model.model_json_schema() for model in (PauseRequest, LiftRequest)}
