"""`/limits`: the fullest accounts, who waits and what is held back; `?account=PLATFORM/NAME` is one of them, live."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from app import catalog, clock
from app.admission import limit_document, limit_reading, pause_store, pauses, waiting
from app.admission.limit_reading import Account
from app.admission.waiting import Line
from app.errors import Invalid, NotFound, Transient
from app.limits.live import Sight
from app.web.console import limits_view, rendering
from app.web.overview import Counters, HealthSource, Overviews

router = APIRouter(include_in_schema=False)

FULLEST = 40
QUEUES = 50
PAUSES = 50
CLOSED = 1000

_AWAY = "Redis does not answer: nothing is counted now, and figures are those of the last snapshot."
_FILLING = (
    "Redis lost its memory, and counters are coming back: figures of some accounts are those of the last snapshot."
)


@router.get("/limits", response_class=HTMLResponse)
async def limits_page(
    request: Request,
    source: HealthSource,
    account: Annotated[str | None, Query(max_length=300)] = None,
    limit: Annotated[str | None, Query(max_length=100)] = None,
) -> HTMLResponse:
    """How much of which limit is used, and for how long; who waits, and for what."""
    state = await source.counters()
    notices = {Counters.AWAY: (_AWAY,), Counters.FILLING: (_FILLING,)}.get(state, ())
    if _catalogue_problem() is not None:
        text = "There is no usable catalogue, which says what the limits are. The status page says why."
        return rendering.shown("problem.html", request, status=503, headline="Not known now", text=text)
    try:
        asked = None if not account else limit_reading.account_of(account)
        page = await (_of_all(source, notices) if asked is None else _of_account(source, asked, limit, notices))
    except (Invalid, NotFound):
        return rendering.missing(request, "There are no limits of such an account: it is written PLATFORM/NAME.")
    except Transient:
        return rendering.away(request)
    return rendering.shown("limits.html", request, page=page)


def _catalogue_problem() -> Invalid | None:
    try:
        catalog.current()
    except Invalid as error:
        return error
    return None


async def _of_all(source: Overviews, notices: tuple[str, ...]) -> limits_view.LimitsPage:
    return limits_view.overview_page(await source.stored(_all), notices, clock.now())


async def _of_account(
    source: Overviews, account: Account, limit: str | None, notices: tuple[str, ...]
) -> limits_view.LimitsPage:
    """Without Postgres what is live; without Redis what is stored. Raises Transient without both."""
    sight = await source.sight(account)
    found = await source.stored(lambda session, now: _one(session, now, account, sight, limit))
    now = clock.now()
    document, closed = found or (limit_reading.read_account(None, account, sight, now).document(now), None)
    return limits_view.account_page(document, closed, notices, now)


def _all(session: Session, now: datetime) -> dict[str, Any]:
    _, operations = waiting.totals(session)
    return {
        "fullest": limit_reading.fullest(session, now, limit=FULLEST),
        "queues": [_queue(line) for line in waiting.longest(session, QUEUES)],
        "waiting": operations,
        "pauses": [pause.document() for pause in pauses.read(session, limit=PAUSES)],
        "open_pauses": pause_store.count(session),
    }


def _queue(line: Line) -> dict[str, Any]:
    return {
        "account": line.account,
        "waiting": limit_document.waiting_shown(line.by_rank),
        "next_try_at": clock.iso(line.next_try_at),
        "blocked_by": line.blocked_by,
    }


def _one(
    session: Session, now: datetime, account: Account, sight: Sight | None, limit: str | None
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    found = limit_reading.read_account(session, account, sight, now)
    document = found.document(now)
    drawn = limit or _fullest_of(document)
    if drawn is None:
        return document, None
    known = limit_reading.known(drawn)
    title, span = next(
        (title, span) for title, span, longest in limits_view.SPANS if known.seconds <= longest.total_seconds()
    )
    windows = limit_reading.history(session, account=account, limit_name=drawn, since=now - span, limit=CLOSED)
    return document, {"name": drawn, "title": title, "given": windows, "span": span}


def _fullest_of(document: Mapping[str, Any]) -> str | None:
    """The limit whose past is drawn: only calendar windows are ever over."""
    calendar = [item for item in document["limits"] if item["window"] == "calendar"]
    fullest = max(calendar, key=lambda item: (item["percentage"], -item["seconds_to_reset"]), default=None)
    return None if fullest is None else str(fullest["name"])
