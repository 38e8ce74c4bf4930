"""/api/v1/tokens/...: the report of a day, how many refreshes succeed, what happened to an account's token."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from app import clock
from app.access.scopes import TOKENS_LIST
from app.infra.db import read_within
from app.tokens import history, report, report_text, success
from app.web.deps import CurrentCaller

router = APIRouter(prefix="/tokens", tags=["tokens"])

READ_SECONDS = 10.0
LONGEST_NAME = 200

TenantName = Annotated[str | None, Query(min_length=1, max_length=LONGEST_NAME, description="without it: all tenants")]
Form = Literal["json", "text"]


@router.get(
    "/report",
    summary="The report of a day",
    responses={200: {"content": {"application/json": {}, "text/plain": {}}}},
)
def show_report(
    caller: CurrentCaller,
    *,
    date: Annotated[
        str | None, Query(max_length=20, description="such as 2026-11-20; also today (default) and yesterday")
    ] = None,
    tenant: TenantName = None,
    format_: Annotated[Form | None, Query(alias="format", description="default: what `Accept` names first")] = None,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response:
    """How tokens stood when they were looked at, and what was done. A tenant's day is of its own time zone.

    A key for one client gets that client's.
    """
    now, tenant = clock.now(), caller.tenant_within(TOKENS_LIST, tenant)
    with read_within(READ_SECONDS) as session:
        document = report.report(session, report.day_of(date, tenant, now), tenant, now=now)
    wants_text = accept.startswith("text/plain") if format_ is None else format_ == "text"
    return PlainTextResponse(report_text.text(document)) if wants_text else JSONResponse(document)


@router.get("/success", summary="How many refreshes succeed, and why the others do not")
def show_success(
    caller: CurrentCaller,
    *,
    platform: Annotated[str | None, Query(min_length=1, max_length=LONGEST_NAME)] = None,
    tenant: TenantName = None,
    days: Annotated[
        int | None,
        Query(ge=1, le=success.LONGEST_DAYS, description="today is one of them; default: [tokens] success_days"),
    ] = None,
) -> dict[str, Any]:
    """By day (UTC), platform and reason, up to this moment. `share` is of 1, and null where nothing was tried.

    A key for one client gets that client's.
    """
    tenant = caller.tenant_within(TOKENS_LIST, tenant, platform)
    with read_within(READ_SECONDS) as session:
        return success.document(session, now=clock.now(), days=days, tenant=tenant, platform=platform)


@router.get("/{platform}/{account}/history", summary="What happened to an account's token, newest first")
def show_history(
    caller: CurrentCaller,
    platform: str,
    account: str,
    *,
    limit: Annotated[int, Query(ge=1, le=history.MOST)] = 100,
    cursor: Annotated[UUID | None, Query(description="`next` of the page before")] = None,
) -> dict[str, Any]:
    """`next` is the cursor of the following page, null on the last. An account that is gone has `removed`: at, by,
    reason."""
    with read_within(READ_SECONDS) as session:
        caller.require_account(TOKENS_LIST, history.tenant_of(session, platform, account), platform, account)
        known = history.find(session, platform, account)
        page = history.history(session, known.account_id, limit=limit, before=cursor)
    return history.document(known, page)
