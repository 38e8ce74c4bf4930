"""/api/v1/costs/forecast and /api/v1/costs/anomalies: where spending goes, and which hours cost far more than usual."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query

from app import clock
from app.costs import forecasting
from app.errors import Invalid, Problem
from app.infra.db import read_within
from app.infra.text import storable
from app.web.deps import CurrentCaller

router = APIRouter(prefix="/costs", tags=["costs"])

SECONDS = 10.0
_LONGEST = 400


@router.get("/forecast", summary="Where a budget's, a tenant's or everybody's spending goes")
def forecast(
    _caller: CurrentCaller,
    *,
    budget: Annotated[str | None, Query(max_length=_LONGEST, description="a budget's name")] = None,
    subject: Annotated[
        str | None, Query(max_length=_LONGEST, description="whose, such as tenant:acme; with `budget`")
    ] = None,
    tenant: Annotated[str | None, Query(max_length=_LONGEST, description="a tenant's spending")] = None,
    period: Annotated[
        Literal["day", "week", "month"] | None, Query(description="default month; a budget has its own")
    ] = None,
) -> dict[str, Any]:
    """Spent so far, the projected end of the period with a band in which 80 of 100 periods end, and of a budget when it
    will be used up; null where that is not within the period. Without anything: everybody's month."""
    _check(budget, {"subject": subject}, {"tenant": tenant, "period": period})
    now = clock.now()
    with read_within(SECONDS) as session:
        if budget is not None:
            return forecasting.of_budget(session, storable(budget), subject and storable(subject), now)
        return forecasting.of_spending(session, tenant and storable(tenant), period or "month", now)


@router.get("/anomalies", summary="Hours that cost far more than usual, newest first")
def anomalies(
    _caller: CurrentCaller,
    *,
    tenant: Annotated[str | None, Query(max_length=_LONGEST)] = None,
    model: Annotated[str | None, Query(max_length=_LONGEST, description="PROVIDER/MODEL")] = None,
    skill: Annotated[str | None, Query(max_length=_LONGEST)] = None,
    cause: Annotated[Literal["volume", "tokens", "price", "mix"] | None, Query(description="the main one")] = None,
    since: Annotated[datetime | None, Query(description="hours from then on")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[UUID | None, Query(description="`next` of the page before")] = None,
) -> dict[str, Any]:
    """Each with its cause, and the difference split by cause. `next` is the cursor of the following page."""
    if since is not None and since.tzinfo is None:
        raise Invalid([Problem("query.since", "must say its offset, such as 2026-03-25T16:00:00Z")], subject="filter")
    texts = {"tenant": tenant, "model": model, "skill": skill, "cause": cause}
    wanted = {name: value and storable(value) for name, value in texts.items()}
    with read_within(SECONDS) as session:
        page, following = forecasting.anomalies(session, {**wanted, "since": since}, limit=limit, before=cursor)
    return {"anomalies": page, "next": following}


def _check(budget: str | None, with_it: dict[str, str | None], without: dict[str, str | None]) -> None:
    if budget is None:
        wrong = [Problem(f"query.{name}", "is of a budget: name it") for name, value in with_it.items() if value]
    else:
        wrong = [
            Problem(f"query.{name}", "is not asked with a budget, which has its own")
            for name, value in without.items()
            if value
        ]
    if wrong:
        raise Invalid(wrong, subject="question")
