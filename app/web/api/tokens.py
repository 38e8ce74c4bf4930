"""/api/v1/tokens: accounts and where their tokens stand; added, imported, changed, refreshed. No answer has a token."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from sqlalchemy.orm import Session
from starlette.responses import JSONResponse

from app import catalog, clock, jobs
from app.access.callers import Caller
from app.access.scopes import TOKENS_LIST
from app.admission import account_limits
from app.config import settings
from app.infra.db import read_only, read_within, unit_of_work
from app.infra.plain import plain
from app.tokens import (
    accounts,
    apps_state,
    attending,
    connect_links,
    importing,
    keys_in_use,
    listing,
    rewrapping,
    shown,
    store,
    sweeping,
)
from app.tokens import keyring as token_keys
from app.tokens.provider import Known
from app.web.api import alert_bodies as bodies
from app.web.api import token_bodies
from app.web.api.token_bodies import AccountChange, AccountRequest, DisableRequest, TokenRequest
from app.web.deps import CurrentCaller

router = APIRouter(prefix="/tokens", tags=["tokens"])

LIST_SECONDS = 5.0
LONGEST = 200

_Text = Annotated[str | None, Query(max_length=LONGEST)]


@router.get("", summary="Accounts and where their tokens stand, the most urgent first")
def list_accounts(
    caller: CurrentCaller,
    *,
    tenant: _Text = None,
    platform: _Text = None,
    level: Annotated[
        str | None, Query(max_length=40, description="critical, expiring_soon, healthy, unconnected, disabled")
    ] = None,
    search: Annotated[str | None, Query(max_length=LONGEST, description="a part of the id or the name")] = None,
    limit: Annotated[int, Query(ge=1, le=listing.MOST)] = 100,
    cursor: Annotated[str | None, Query(max_length=300, description="`next` of the page before")] = None,
) -> dict[str, Any]:
    """All pages of a list are as of one moment. A service sees those that its scopes select."""
    with read_within(LIST_SECONDS) as session:
        page = listing.page(
            session,
            now=clock.now(),
            tenant=tenant,
            platform=platform,
            level=level,
            search=search,
            limit=limit,
            cursor=cursor,
            reach=caller.reach(TOKENS_LIST),
        )
        apps = apps_state.read_all(session)
    found = [shown.document(one.account, one.status, apps, page.now) for one in page.items]
    return {"tokens": found, "as_of": clock.iso(page.now), "next": page.following}


@router.post("", status_code=201, openapi_extra=bodies.body(AccountRequest, required=True), summary="Add an account")
def add(caller: CurrentCaller, raw: bodies.Sent) -> dict[str, Any]:
    """With a token or without: then its owner logs in by a link. 409 when it is here already."""
    given, now = token_bodies.given(raw), clock.now()
    with unit_of_work() as uow:
        account = accounts.add(uow, given, by=_by(caller), now=now)
        return _document(uow.session, account.platform, account.external_id)


@router.post("/import", openapi_extra=token_bodies.import_body(), summary="Import accounts")
def bring_in(
    request: Request,
    caller: CurrentCaller,
    raw: bodies.Sent,
    *,
    replace: Annotated[bool, Query(description="put other tokens in the place of stored ones")] = False,
    dry_run: Annotated[bool, Query(description="say what would be done, and do nothing")] = False,
) -> JSONResponse:
    """CSV, a JSON array, or an object a line. Good rows are kept, bad ones reported by row and field; 422 when no row
    is good. The same file again changes nothing."""
    done = importing.bring_in(
        raw,
        content_type=request.headers.get("content-type", ""),
        by=_by(caller),
        replace=replace,
        dry_run=dry_run,
    )
    good = any(done.counts.values()) or not done.rejected_count
    return JSONResponse(done.document(), 200 if good else 422)


@router.get("/keys", summary="Keys that tokens are sealed with")
def show_keys(_caller: CurrentCaller) -> dict[str, Any]:
    """How much is sealed with each, and which may go. Ids only."""
    keys = token_keys.at_hand()
    with read_within(LIST_SECONDS) as session:
        found = keys_in_use.read(session, keys, clock.now())
    return {"keys": [use.document() for use in found]}


@router.post("/rewrap", status_code=202, summary="Seal all tokens anew under the newest key")
def rewrap(caller: CurrentCaller) -> dict[str, Any]:
    """A job; it goes on in further ones until all is done."""
    with unit_of_work() as uow:
        job = jobs.submit(uow, rewrapping.REWRAP, key=rewrapping.REWRAP, caller=caller.name, by=_by(caller))
    return {"job": str(job)}


@router.get("/{platform}/{account}", summary="One account")
def show(caller: CurrentCaller, platform: str, account: str) -> dict[str, Any]:
    """Where its token stands, and how much of its platform's limits is used."""
    with read_within(LIST_SECONDS) as session:
        caller.require_account(TOKENS_LIST, store.tenant_of(session, platform, account), platform, account)
        found = _document(session, platform, account)
        limits = account_limits.of(session, found["platform"], found["account"], found["tenant"], clock.now())
    return found | {"limits": limits}


@router.patch(
    "/{platform}/{account}", openapi_extra=bodies.body(AccountChange, required=True), summary="Change an account"
)
def change(caller: CurrentCaller, platform: str, account: str, raw: bodies.Sent) -> dict[str, Any]:
    """Its name, app or contacts. Tenant, platform and id are what its token is sealed for, and cannot be changed."""
    given, now = token_bodies.given(raw), clock.now()
    with unit_of_work() as uow:
        accounts.change(uow, platform, account, given, by=_by(caller), now=now)
        return _document(uow.session, platform, account)


@router.delete("/{platform}/{account}", summary="Remove an account and its tokens")
def remove(
    caller: CurrentCaller,
    platform: str,
    account: str,
    reason: Annotated[str, Query(max_length=accounts.LONGEST_REASON, description="kept on record")] = "",
) -> dict[str, Any]:
    """What happened to it stays on record, and its operations go on."""
    with unit_of_work() as uow:
        gone = accounts.remove(uow, platform, account, reason=reason, by=_by(caller), now=clock.now())
    return {"removed": gone.key}


@router.put(
    "/{platform}/{account}/token", openapi_extra=bodies.body(TokenRequest, required=True), summary="Set a token"
)
def set_token(caller: CurrentCaller, platform: str, account: str, raw: bodies.Sent) -> dict[str, Any]:
    """It takes the place of the one there is, and whatever was wrong with that one is over."""
    given, now = token_bodies.given(raw), clock.now()
    with unit_of_work() as uow:
        accounts.set_token(uow, platform, account, given, by=_by(caller), now=now)
        return _document(uow.session, platform, account)


@router.post(
    "/{platform}/{account}/disable",
    openapi_extra=bodies.body(DisableRequest, required=True),
    summary="Leave an account alone",
)
def disable(caller: CurrentCaller, platform: str, account: str, raw: bodies.Sent) -> dict[str, Any]:
    """Its token is not refreshed, its owner not told, and its operations are not paused because of it."""
    wanted = bodies.read(DisableRequest, raw)
    with unit_of_work() as uow:
        accounts.disable(uow, platform, account, reason=wanted.reason, by=_by(caller), now=clock.now())
        return _document(uow.session, platform, account)


@router.post("/{platform}/{account}/enable", summary="Look after it again")
def enable(caller: CurrentCaller, platform: str, account: str) -> dict[str, Any]:
    """From the next pass on, within seconds."""
    with unit_of_work() as uow:
        accounts.enable(uow, platform, account, by=_by(caller), now=clock.now())
        return _document(uow.session, platform, account)


@router.post("/{platform}/{account}/refresh", summary="Refresh a token now")
def refresh(
    caller: CurrentCaller,
    platform: str,
    account: str,
    wait: Annotated[bool, Query(description="do it in this request, and answer what came of it")] = False,
) -> JSONResponse:
    """Whether or not it is due. 202 with a job's id, or with `wait` 200 and the outcome."""
    with read_only() as session:
        known = store.load(session, platform, account).account
    if wait:
        found = attending.attend(known.id, by=_by(caller), force=True)
        with read_only() as session:
            return JSONResponse(plain(found) | {"token": _document(session, platform, account)})
    with unit_of_work() as uow:
        # A job of the sweep's own key would look only whether it is due.
        key = f"token:{known.id}:now"
        job = jobs.submit(
            uow, sweeping.ATTEND, key=key, caller=caller.name, account_id=str(known.id), by=_by(caller), force=True
        )
    return JSONResponse({"job": str(job)}, 202)


@router.post("/{platform}/{account}/check", summary="Does the platform accept the token?")
def check(caller: CurrentCaller, platform: str, account: str) -> dict[str, Any]:
    """One that it refuses is refreshed, or its owner told."""
    with read_only() as session:
        known = store.load(session, platform, account).account
    found = attending.check(known.id, by=_by(caller))
    said: dict[str, Any] = plain(found)
    return {"accepted": isinstance(found, Known), **said}


@router.post("/{platform}/{account}/link", summary="A link with which its owner logs in again")
def link(_caller: CurrentCaller, platform: str, account: str) -> dict[str, Any]:
    """Good for [tokens] link_hours; whoever has it can do nothing but log in to the platform as this account."""
    now = clock.now()
    with read_only() as session:
        held = store.load(session, platform, account)
    url = connect_links.make(settings(), held.account.id, generation=held.status.generation, now=now)
    life = timedelta(hours=catalog.current().connecting.tokens.link_hours)
    return {"url": url, "expires_at": clock.iso(now + life)}


def _document(session: Session, platform: str, account: str) -> dict[str, Any]:
    session.flush()
    return shown.one(session, platform, account, clock.now())


def _by(caller: Caller) -> str:
    return f"person:{caller.name}"
