"""/api/v1/costs/bills: what was captured beside what providers bill, by day."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from app import clock
from app.costs import bill_store, bills
from app.costs.bill_judging import State
from app.errors import Invalid, Problem
from app.infra.db import read_only, unit_of_work
from app.infra.text import storable
from app.web.api import alert_bodies as bodies
from app.web.api.alert_bodies import Body
from app.web.deps import CurrentCaller

router = APIRouter(prefix="/costs/bills", tags=["costs"])

_LONGEST = 200


class ReconcileRequest(Body):
    """Whose bills are read; without anything: everybody's of the last days."""

    provider: str | None = Field(default=None, max_length=_LONGEST, description="a name of [providers.NAME]")
    since: str | None = Field(default=None, max_length=20, description="the first day (UTC), such as 2026-11-20")


@router.get("", summary="Days as they were compared, newest first")
def list_bills(
    _caller: CurrentCaller,
    *,
    provider: Annotated[str | None, Query(max_length=_LONGEST)] = None,
    state: Annotated[State | None, Query()] = None,
    since: Annotated[date | None, Query(description="days from this one on")] = None,
    until: Annotated[date | None, Query(description="days up to this one")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    cursor: Annotated[str | None, Query(max_length=_LONGEST, description="`next` of the page before")] = None,
) -> dict[str, Any]:
    """Money in dollars; `percent` says how much more was captured than billed, `why` what a difference comes from."""
    with read_only() as session:
        found = bill_store.listed(
            session,
            provider=provider and storable(provider),
            state=None if state is None else state.value,
            since=since,
            until=until,
            before=_place(cursor),
            limit=limit + 1,
        )
    page = found[:limit]
    following = f"{page[-1].day.isoformat()}/{page[-1].provider}" if len(found) > limit else None
    return {"bills": [one.document() for one in page], "next": following}


@router.post(
    "/reconcile", status_code=202, openapi_extra=bodies.body(ReconcileRequest), summary="Read bills and compare them"
)
def reconcile(_caller: CurrentCaller, raw: bodies.Sent) -> dict[str, Any]:
    """A job for each provider. 404 for a provider that the catalogue does not have."""
    given = bodies.read(ReconcileRequest, raw)
    first = None if given.since is None else bills.day_written(given.since, clock.now())
    with unit_of_work() as uow:
        made = bills.submit(uow, given.provider, first)
    return {"jobs": [{"provider": name, "id": job} for name, job in made.items()]}


def components() -> dict[str, Any]:
    """The schema of the body, for the OpenAPI document."""
    return {ReconcileRequest.__name__: ReconcileRequest.model_json_schema()}


def _place(cursor: str | None) -> tuple[date, str] | None:
    if cursor is None:
        return None
    day, _, provider = cursor.partition("/")
    try:
        return date.fromisoformat(day), storable(provider)
    except ValueError:
        raise Invalid([Problem("query.cursor", "is no `next` of a page before")], subject="query") from None
