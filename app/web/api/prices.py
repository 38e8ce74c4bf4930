"""/api/v1/costs/prices: what models cost, since when, and prices set by hand."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, Field

from app import clock
from app.costs import price_reading, price_setting
from app.costs.price_names import LONGEST
from app.costs.price_setting import DEAREST, LONGEST_NOTE, Wanted
from app.costs.pricing import Rates
from app.infra.db import read_only, unit_of_work
from app.web.api import alert_bodies as bodies
from app.web.api.alert_bodies import Body, Moment
from app.web.deps import CurrentCaller

router = APIRouter(prefix="/costs/prices", tags=["costs"])

_Dollars = Annotated[Decimal | None, Field(default=None, ge=0, le=DEAREST)]


class PriceRequest(Body):
    """A model's price in dollars for a million tokens, from a moment on."""

    provider: str = Field(min_length=1, max_length=LONGEST, description="as calls name it")
    model: str = Field(min_length=1, max_length=LONGEST, description="as calls name it")
    tenant: str = Field(default="", max_length=LONGEST, description="whose price; empty: everybody's")
    input: Decimal = Field(ge=0, le=DEAREST, description="what is sent")
    output: Decimal = Field(ge=0, le=DEAREST, description="what is answered")
    cached: _Dollars = Field(description="what is read from a cache; default: as input")
    cache_write: _Dollars = Field(description="what is written to a cache; default: as input")
    effective_from: Moment | None = Field(
        default=None, alias="from", description="default: now; always, for a model that has no price yet"
    )
    effective_to: Moment | None = Field(default=None, alias="to", description="first moment after it")
    note: str = Field(default="", max_length=LONGEST_NOTE, description="why; kept with the price")
    by: str | None = Field(default=None, min_length=1, max_length=LONGEST, description="default: the caller")


@router.get("", summary="Prices in force")
def show_all(
    _caller: CurrentCaller,
    *,
    provider: Annotated[str | None, Query(max_length=LONGEST)] = None,
    search: Annotated[str, Query(max_length=LONGEST, description="words of PROVIDER/MODEL")] = "",
    tenant: Annotated[str | None, Query(max_length=LONGEST, description="its own prices only")] = None,
    at: Annotated[AwareDatetime | None, Query(description="default: now")] = None,
    limit: Annotated[int, Query(ge=1, le=5000)] = 100,
) -> dict[str, Any]:
    """By provider and model; `total` counts those beyond the limit, too."""
    with read_only() as session:
        found = price_reading.listed(session, at or clock.now(), provider=provider, search=search, tenant=tenant)
    return {"prices": [price.document() for price in found[:limit]], "total": len(found)}


@router.get("/{provider}/{model:path}", summary="What a model costs")
def show(
    _caller: CurrentCaller,
    provider: str,
    model: str,
    tenant: Annotated[str, Query(max_length=LONGEST, description="for whom")] = "",
    at: Annotated[AwareDatetime | None, Query(description="default: now")] = None,
) -> dict[str, Any]:
    """`price` counts at that time; `versions` are all that may count for this name, the first one before the others."""
    with read_only() as session:
        return price_reading.one(session, provider, model, at or clock.now(), tenant=tenant)


@router.post("", openapi_extra=bodies.body(PriceRequest, required=True), summary="Set a price by hand")
def put(caller: CurrentCaller, raw: bodies.Sent) -> dict[str, Any]:
    """It is never overwritten by an import. 422 for one that would change what calls were charged by already."""
    given = bodies.read(PriceRequest, raw)
    rates = Rates(*(price_setting.rate(getattr(given, kind), kind) for kind in Rates.__slots__))
    wanted = Wanted(
        provider=given.provider,
        model=given.model,
        rates=rates,
        by=given.by or caller.name,
        tenant=given.tenant,
        begins=given.effective_from,
        ends=given.effective_to,
        note=given.note,
    )
    with unit_of_work() as uow:
        return price_setting.put(uow, wanted, clock.now()).document()


def components() -> dict[str, Any]:
    """The schema of the body, for the OpenAPI document."""
    return {PriceRequest.__name__: PriceRequest.model_json_schema()}
