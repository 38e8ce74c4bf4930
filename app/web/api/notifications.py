"""/api/v1/notifications and /channels: what was told to whom, by which ways, and whether those work."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query

from app import catalog, clock
from app.alerts import channels, reading
from app.config import settings
from app.errors import Invalid, Problem
from app.infra.db import TooSlow, read_only, read_within
from app.web.api import alert_bodies as bodies
from app.web.deps import CurrentCaller

router = APIRouter(tags=["notifications"])

LIST_SECONDS = 5.0

State = Literal["waiting", "sending", "delivered", "failed", "skipped"]


@router.get("/notifications", summary="What was or will be told, newest first")
def list_notifications(
    _caller: CurrentCaller,
    *,
    state: Annotated[State | None, Query(description="waiting, sending, delivered, failed, skipped")] = None,
    channel: str | None = None,
    alert: Annotated[UUID | None, Query(description="of the groups that hold this alert")] = None,
    group: Annotated[UUID | None, Query(description="of this group")] = None,
    since: Annotated[bodies.Moment | None, Query(description="written from then on")] = None,
    until: Annotated[bodies.Moment | None, Query(description="written before then")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[UUID | None, Query(description="`next` of the page before")] = None,
) -> dict[str, Any]:
    """One row for each address, step and reason. `next` is the cursor of the following page, null on the last."""
    try:
        with read_within(LIST_SECONDS) as session:
            page = reading.list_notifications(
                session,
                state=state,
                channel=channel,
                episode_id=alert,
                group_id=group,
                since=since,
                until=until,
                limit=limit,
                cursor=cursor,
            )
    except TooSlow as error:
        raise Invalid([Problem("query", "takes too long to answer: narrow it")], subject="filter") from error
    return {"notifications": list(page.items), "next": page.next}


@router.get("/channels", summary="The channels, and how each fares")
def list_channels(_caller: CurrentCaller) -> dict[str, Any]:
    """From the catalogue, without secrets; figures are of the last seven days."""
    with read_only() as session:
        return {"channels": channels.overview(session, catalog.current(), clock.now())}


@router.post(
    "/channels/{name}/test", openapi_extra=bodies.body(bodies.ChannelTest), summary="Send a test message through one"
)
def try_out_channel(_caller: CurrentCaller, name: str, raw: bodies.Sent) -> dict[str, Any]:
    """Now, within the channel's time-out; answered 200 with the outcome whether or not it was delivered."""
    wanted = bodies.read(bodies.ChannelTest, raw)
    outcome = channels.try_out(
        catalog.current(), name, external_url=settings().external_url, now=clock.now(), to=wanted.to
    )
    return channels.outcome_shown(name, outcome)
