"""/api/v1/limits: how much of which limit is used, by whom, until when; windows that are over; one limit's document."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AwareDatetime
from sqlalchemy.orm import Session

from app import clock
from app.admission import limit_reading
from app.admission.limit_reading import Account
from app.errors import Invalid, Problem, Transient
from app.infra.db import read_within
from app.web.deps import CurrentCaller

router = APIRouter(prefix="/limits", tags=["limits"])

LIST_SECONDS = 5.0

AccountName = Annotated[str | None, Query(description="PLATFORM/NAME", max_length=300)]
LimitName = Annotated[str | None, Query(description="a limit of the catalogue", max_length=100)]
TenantName = Annotated[str | None, Query(description="whose limits by tenant are shown, too", max_length=200)]


@router.get("", summary="Limits of an account, or the fullest of all accounts")
def show(
    _caller: CurrentCaller,
    *,
    account: AccountName = None,
    platform: Annotated[str | None, Query(description="where `account` is the name alone", max_length=100)] = None,
    limit: LimitName = None,
    tenant: TenantName = None,
    page_size: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(description="`next` of the page before", max_length=1000)] = None,
) -> dict[str, Any]:
    """With `account` live figures, who waits and what holds (`live` is false while Redis is away: stored ones).

    Without, every open window as of the last snapshot, a few seconds ago, the fullest first.
    """
    asked = _account(account, tenant, platform)
    if asked is None:
        with read_within(LIST_SECONDS) as session:
            return limit_reading.fullest(session, clock.now(), limit_name=limit, limit=page_size, after=cursor)
    sight = limit_reading.look_at(asked)
    with ExitStack() as stack:
        found = limit_reading.read_account(_session(stack), asked, sight, clock.now(), limit_name=limit)
    return found.document(clock.now())


@router.get("/history", summary="Windows that are over, newest first")
def show_history(
    _caller: CurrentCaller,
    *,
    account: AccountName = None,
    limit: LimitName = None,
    tenant: TenantName = None,
    since: Annotated[AwareDatetime | None, Query(description="ended after this time")] = None,
    until: Annotated[AwareDatetime | None, Query(description="begun before this time")] = None,
    page_size: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """What was used of each calendar window, its peak, and what was refused and deferred in it."""
    asked = _account(account, tenant)
    with read_within(LIST_SECONDS) as session:
        windows = limit_reading.history(
            session, account=asked, tenant=tenant, limit_name=limit, since=since, until=until, limit=page_size
        )
    return {"windows": windows}


@router.get("/document", summary="One limit in eight words")
def show_document(
    _caller: CurrentCaller,
    *,
    limit_type: Annotated[str, Query(description="a limit of the catalogue", max_length=100)],
    account: AccountName = None,
    tenant: TenantName = None,
) -> dict[str, Any]:
    """Of the account; without one, of whoever has used the largest share. `action` says what is done about it: none,
    warn, pause_background, wait."""
    asked = _account(account, tenant)
    with ExitStack() as stack:
        return limit_reading.one(limit_type, asked, _session(stack), clock.now(), tenant=tenant)


def _account(written: str | None, tenant: str | None, platform: str | None = None) -> Account | None:
    if written is None:
        if platform is not None:
            raise Invalid([Problem("query.account", "is required with `platform`")], subject="filter")
        return None
    return limit_reading.account_of(written if platform is None else f"{platform}/{written}", tenant)


def _session(stack: ExitStack) -> Session | None:
    """None while Postgres is away: live figures need none."""
    try:
        return stack.enter_context(read_within(LIST_SECONDS))
    except Transient:
        return None
