"""/api/v1/costs: what LLM calls add up to, single calls, and both as files."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse

from app import clock
from app.catalog import MICRO
from app.costs import export, periods, reading
from app.costs.periods import Asked
from app.costs.reading import Question, Wanted
from app.costs.sums import Dimension, Step
from app.infra.db import read_within
from app.web.deps import CurrentCaller

router = APIRouter(prefix="/costs", tags=["costs"])

ANSWER_SECONDS = 5.0
PAGE_SECONDS = 30.0

Tenant = Annotated[str | None, Query(description="of this tenant alone; days are of its own zone", max_length=200)]
Skill = Annotated[str | None, Query(description="of this skill alone", max_length=200)]
Model = Annotated[str | None, Query(description="PROVIDER/MODEL", max_length=301)]
ByWhat = Annotated[Dimension, Query(description="what a row is of")]
InSteps = Annotated[Step | None, Query(description="a row for each hour (UTC) or day of the zone, too")]


def asked_period(
    tenant: Tenant = None,
    day: Annotated[str | None, Query(description="today, yesterday, 2026-11-20", max_length=20)] = None,
    since: Annotated[str | None, Query(description="a date, a time with its offset, 24h or 7d", max_length=40)] = None,
    until: Annotated[str | None, Query(description="up to, and without: a date or time", max_length=40)] = None,
    zone: Annotated[str | None, Query(description="of dates, else the tenant's own", max_length=60)] = None,
) -> Asked:
    """What was written about the period. Raises Invalid for a zone that does not exist."""
    where = periods.zone_named(zone) if zone is not None else periods.zone_of(tenant)
    return Asked(where, day, since, until)


Period = Annotated[Asked, Depends(asked_period)]


def asked_calls(
    *,
    tenant: Tenant = None,
    skill: Skill = None,
    agent: Annotated[str | None, Query(max_length=200)] = None,
    user: Annotated[str | None, Query(max_length=200)] = None,
    department: Annotated[str | None, Query(max_length=200)] = None,
    model: Model = None,
    outcome: Annotated[str | None, Query(description="`ok`, or what went wrong", max_length=200)] = None,
    min_cost: Annotated[float | None, Query(description="dollars", ge=0, le=1_000_000)] = None,
) -> Wanted:
    """Which calls are wanted."""
    least = None if min_cost is None else round(min_cost * MICRO)
    return Wanted(tenant, skill, agent, user, department, model, outcome, least)


Calls = Annotated[Wanted, Depends(asked_calls)]


@router.get("/sums", summary="What calls of a period add up to")
def show_sums(
    _caller: CurrentCaller,
    period: Period,
    *,
    by: ByWhat = "total",
    step: InSteps = None,
    tenant: Tenant = None,
    skill: Skill = None,
    model: Model = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> dict[str, Any]:
    """Exact for any period, the dearest first. Without a period: today. `total` is of all rows, also where there are
    `more` than `limit`. A name that nobody gave is the empty text; money is dollars.
    """
    since, until = periods.period(period, clock.now())
    asked = Question(by, since, until, period.zone, tenant, skill, model, step)
    with read_within(ANSWER_SECONDS) as session:
        return reading.summed(session, asked, limit=limit)


@router.get("/calls", summary="Single calls, newest first")
def list_calls(
    _caller: CurrentCaller,
    period: Period,
    wanted: Calls,
    *,
    page_size: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[UUID | None, Query(description="`next` of the page before")] = None,
) -> dict[str, Any]:
    """Without a period: today. A page may be short and still name a `next`: few of many calls were wanted."""
    since, until = periods.period(period, clock.now())
    with read_within(ANSWER_SECONDS) as session:
        found, following = reading.list_calls(session, since, until, wanted, limit=page_size, before=cursor)
    return {"calls": found, "next": None if following is None else str(following)}


@router.get("/calls/{call_id}", summary="One call")
def show_call(_caller: CurrentCaller, call_id: UUID) -> dict[str, Any]:
    """All that is kept of it. 404 also while it is in the stream, for about a second."""
    with read_within(ANSWER_SECONDS) as session:
        return reading.get_call(session, call_id)


@router.get(
    "/export",
    summary="Calls, sums or FOCUS rows as a file",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/csv": {}, "application/x-ndjson": {}}, "description": "The file"}},
)
def export_file(
    _caller: CurrentCaller,
    period: Period,
    wanted: Calls,
    *,
    what: Annotated[export.What, Query(description="single calls, sums, or FOCUS rows")] = "calls",
    format: Annotated[export.Format, Query(description="csv, or one JSON object a line")] = "csv",  # noqa: A002
    by: ByWhat = "total",
    step: InSteps = None,
) -> StreamingResponse:
    """Read and sent page by page, however long it is. In CSV a text that begins like a formula (`=`, `+`, `-`, `@`) has
    an apostrophe before it. FOCUS rows are of full hours or days in UTC. One that breaks off was not finished.
    """
    since, until = periods.period(period, clock.now())
    asked = Question(by, since, until, period.zone, wanted.tenant, wanted.skill, wanted.model, step)
    pages, names = export.pages(what, asked, wanted, sessions=lambda: read_within(PAGE_SECONDS))
    # Read before the answer begins: what goes wrong at once has a status of its own.
    text: Iterator[str] = export.written(pages, names, format)
    begun = list(islice(text, 2))
    headers = {"Content-Disposition": f'attachment; filename="{export.file_name(what, since, format)}"'}
    return StreamingResponse(chain(begun, text), headers=headers, media_type=export.TYPES[format])
