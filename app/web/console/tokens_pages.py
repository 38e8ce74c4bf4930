"""`/tokens`: accounts by what needs attention first, and how many refreshes succeed; `/tokens/PLATFORM/ACCOUNT`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from app import catalog, clock
from app.access.scopes import EVERYTHING
from app.admission import limit_reading
from app.errors import Invalid, NotFound, Transient
from app.limits.live import Sight
from app.tokens import apps_state, climbing, history, listing, reads, shown, store, success
from app.web.console import rendering, token_view, tokens_view
from app.web.overview import HealthSource

router = APIRouter(include_in_schema=False)

ROWS = 50
ENTRIES = 50
READS = 20

_Filter = Annotated[str, Query(max_length=200)]


@router.get("/tokens", response_class=HTMLResponse)
async def tokens_page(
    request: Request,
    source: HealthSource,
    *,
    tenant: _Filter = "",
    platform: _Filter = "",
    level: _Filter = "",
    search: _Filter = "",
    cursor: Annotated[str | None, Query(max_length=300)] = None,
) -> HTMLResponse:
    """Those in trouble first; apps and keys in trouble before all."""
    if _without_catalogue():
        return _unknown(request)
    filters = {"tenant": tenant, "platform": platform, "level": level, "search": search}
    try:
        found = await source.stored(lambda session, now: _all(session, now, filters, cursor))
    except Invalid:
        return rendering.missing(request, "There is no such list of accounts.")
    if found is None:
        return rendering.away(request)
    page = tokens_view.tokens_page(found, clock.now())
    return rendering.shown("tokens.html", request, page=page, given=filters)


@router.get("/tokens/{platform}/{account}", response_class=HTMLResponse)
async def token_page(request: Request, source: HealthSource, platform: str, account: str) -> HTMLResponse:
    """One account: where its token stands, what happened to it, who was told, who read it, and its limits."""
    if _without_catalogue():
        return _unknown(request)
    try:
        asked = limit_reading.account_of(f"{platform}/{account}")
        sight = await source.sight(asked)
    except (Invalid, NotFound):
        sight = None  # nothing is done on its platform
    try:
        found = await source.stored(lambda session, now: _one(session, now, platform, account, sight))
    except NotFound as error:
        said = str(error)
        return rendering.missing(request, f"{said[:1].upper()}{said[1:]}.")
    if found is None:
        return rendering.away(request)
    return rendering.shown("token.html", request, page=token_view.token_page(found, clock.now()))


def _without_catalogue() -> bool:
    try:
        catalog.current()
    except Invalid:
        return True
    return False


def _unknown(request: Request) -> HTMLResponse:
    text = "There is no usable catalogue, which says how tokens are kept. The status page says why."
    return rendering.shown("problem.html", request, status=503, headline="Not known now", text=text)


def _all(session: Session, now: datetime, filters: Mapping[str, str], cursor: str | None) -> tokens_view.Facts:
    given = {name: value or None for name, value in filters.items()}
    page = listing.page(session, now=now, limit=ROWS, cursor=cursor, reach=EVERYTHING, **given)
    apps = apps_state.read_all(session)
    counts: Counter[str] = Counter()
    counted = listing.counts(session, by="platform", now=page.now, tenant=given["tenant"], search=given["search"])
    for one in counted:
        if given["platform"] in (None, one.name):
            counts[one.level] += one.accounts
    return tokens_view.Facts(
        filters=filters,
        shown=[(one.level, shown.document(one.account, one.status, apps, page.now)) for one in page.items],
        following=page.following,
        counts=counts,
        apps=apps,
        success=success.document(session, now=now, tenant=given["tenant"], platform=given["platform"]),
    )


def _one(session: Session, now: datetime, platform: str, account: str, sight: Sight | None) -> token_view.Facts:
    known = store.load(session, platform, account).account
    listed = listing.one(session, known.id, now)
    if listed is None:
        raise NotFound(f"there is no account {known.key}")
    apps = apps_state.read_all(session)
    rules = climbing.rules_of(known)
    page = history.history(session, known.id, limit=ENTRIES)
    app = None if rules is None or rules.app is None else apps.get(rules.app.name)
    return token_view.Facts(
        level=listed.level,
        document=shown.document(listed.account, listed.status, apps, now),
        ladder=None if rules is None else rules.ladder,
        messages=history.messages(session, known.id),
        reads=reads.list_reads(session, platform, account, limit=READS),
        history=page.items,
        older=page.following is not None,
        limits=_limits(session, known.key, known.tenant, sight, now),
        notices=() if app is None else tokens_view.notices({app.name: app}, now),
    )


def _limits(session: Session, key: str, tenant: str, sight: Sight | None, now: datetime) -> list[dict[str, Any]] | None:
    """How much of its platform's limits is used; None where no operation is done there."""
    try:
        asked = limit_reading.account_of(key, tenant)
        found: list[dict[str, Any]] = limit_reading.read_account(session, asked, sight, now).document(now)["limits"]
    except (Invalid, NotFound, Transient):
        return None
    return found
