"""/api/v1/costs/set-aside: calls that could not be kept where they belong: listed, shown, replayed, dropped."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import Field

from app import clock
from app.costs import set_aside
from app.infra.db import read_only
from app.web.api import alert_bodies as bodies
from app.web.api.alert_bodies import Body
from app.web.deps import CurrentCaller

router = APIRouter(prefix="/costs/set-aside", tags=["costs"])


class ReplayRequest(Body):
    """Record the call as if it came now."""

    force: bool = Field(default=False, description="also a call whose id is too old, or from the future")
    by: str | None = Field(default=None, min_length=1, max_length=200, description="default: the caller")


class DropRequest(Body):
    """Do not count the call."""

    reason: str = Field(min_length=1, max_length=set_aside.LONGEST_REASON, description="why; kept with the call")
    by: str | None = Field(default=None, min_length=1, max_length=200, description="default: the caller")


@router.get("", summary="Calls that are set aside, newest first")
def list_all(
    _caller: CurrentCaller,
    *,
    waiting: Annotated[bool, Query(description="false: also those that were replayed or dropped")] = True,
    reason: Annotated[str | None, Query(max_length=100, description="too_old, from_the_future, refused …")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[UUID | None, Query(description="`next` of the page before")] = None,
) -> dict[str, Any]:
    """`next` is the cursor of the following page, null on the last."""
    with read_only() as session:
        found = set_aside.list_all(session, waiting=waiting, reason=reason, limit=limit + 1, before=cursor)
    page = found[:limit]
    return {
        "set_aside": [one.document() for one in page],
        "next": str(page[-1].id) if len(found) > limit else None,
    }


@router.get("/{identifier}", summary="One call that is set aside, whole")
def show(_caller: CurrentCaller, identifier: UUID) -> dict[str, Any]:
    """Why it is, who sent it, and what became of it."""
    with read_only() as session:
        return set_aside.get(session, identifier).document()


@router.post("/{identifier}/replay", openapi_extra=bodies.body(ReplayRequest), summary="Record it after all")
def replay(caller: CurrentCaller, identifier: UUID, raw: bodies.Sent) -> dict[str, Any]:
    """It is in Postgres when this answers. 422 where it still cannot be recorded, 409 where it was dealt with."""
    wanted = bodies.read(ReplayRequest, raw)
    by = wanted.by or caller.name
    return set_aside.replay(identifier, by=by, now=clock.now(), force=wanted.force).document()


@router.post("/{identifier}/drop", openapi_extra=bodies.body(DropRequest, required=True), summary="Do not count it")
def drop(caller: CurrentCaller, identifier: UUID, raw: bodies.Sent) -> dict[str, Any]:
    """It stays listed with its reason for 90 days. 409 where it was dealt with."""
    wanted = bodies.read(DropRequest, raw)
    return set_aside.drop(identifier, by=wanted.by or caller.name, now=clock.now(), why=wanted.reason).document()


def components() -> dict[str, Any]:
    """The schemas of the bodies, for the OpenAPI document."""
    return {model.__name__: model.model_json_schema() for model in (ReplayRequest, DropRequest)}
