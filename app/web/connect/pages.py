"""`/connect/TOKEN`: says who asks for what, and takes an account's owner to the platform when the button is pressed.

Programs that look at mail follow links, so looking changes nothing. The token is all the proof there is; it opens
nothing, but to whoever can log in at the platform as that very account.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar
from urllib.parse import urlsplit

import anyio
from anyio import CapacityLimiter
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from app import clock
from app.config import settings
from app.errors import NotFound, SmmError, Transient
from app.infra.db import read_within
from app.infra.logging import get_logger
from app.infra.signed import Expired, NotOurs
from app.tokens import connect_links, connecting, logins
from app.tokens.connect_links import PREFIX
from app.tokens.connecting import CALLBACK, Begun, Finished, Returned, Spent, Stopped
from app.web.connect import wording

router = APIRouter(include_in_schema=False)

READ_SECONDS = 3.0

_looking = CapacityLimiter(2)
_finishing = CapacityLimiter(8)
"""Strangers' requests have threads of their own; those that wait for a platform keep nobody from looking."""

T = TypeVar("T")

log = get_logger(__name__)


@router.get(CALLBACK, response_class=HTMLResponse)
async def callback(request: Request) -> HTMLResponse:
    """Where platforms send owners back to: the end of a login."""
    given = request.query_params
    state = given.get("state", "").partition("#")[0]  # Meta puts "#_" behind, and some browsers hand it on
    cookie = request.cookies.get(logins.cookie_name(state), "")
    code, error = given.get("code", ""), given.get("error", "")

    async def end() -> HTMLResponse:
        taken = await anyio.to_thread.run_sync(
            lambda: connecting.take(state, cookie, now=clock.now()), limiter=_looking
        )  # fmt: skip
        if isinstance(taken, Finished):
            return wording.finished(taken)
        return await anyio.to_thread.run_sync(lambda: _completed(taken, code, error), limiter=_finishing)

    return await _answered(end())


@router.head(PREFIX + "{token}")
@router.get(PREFIX + "{token}", response_class=HTMLResponse)
async def look(token: str) -> HTMLResponse:
    """Who asks for what, with a button; changes nothing."""
    return await _answered(anyio.to_thread.run_sync(lambda: _look(token), limiter=_looking))


@router.post(PREFIX + "{token}")
async def go(token: str) -> Response:
    """To the platform."""
    return await _answered(anyio.to_thread.run_sync(lambda: _go(token), limiter=_looking))


async def _answered(page: Awaitable[T]) -> T | HTMLResponse:
    """The page, or one that says why not."""
    try:
        return await page
    except Expired:
        return wording.problem(410, wording.EXPIRED)
    except NotOurs:
        return wording.problem(404, wording.NOT_OURS)
    except Spent:
        return wording.problem(200, wording.SPENT)
    except Stopped:
        return wording.problem(409, wording.STOPPED)
    except NotFound:
        return wording.problem(404, wording.GONE)
    except Transient:
        return wording.problem(503, wording.AWAY)
    except SmmError as error:
        log.error("an owner's login could not be answered", error=str(error))
        return wording.problem(503, wording.NOT_SET_UP)


def _look(token: str) -> HTMLResponse:
    link = connect_links.read(settings(), token, now=clock.now())
    with read_within(READ_SECONDS) as session:
        offer = connecting.look(session, link)
    return wording.offered(offer, link)


def _go(token: str) -> Response:
    now = clock.now()
    begun = connecting.begin(connect_links.read(settings(), token, now=now), now=now)
    if isinstance(begun, Finished):
        return wording.finished(begun)
    answer = RedirectResponse(begun.url, 303)
    _keep(answer, begun)
    return answer


def _keep(answer: Response, begun: Begun) -> None:
    outside = urlsplit(settings().external_url)
    answer.set_cookie(
        begun.cookie_name,
        begun.cookie,
        max_age=int(begun.life.total_seconds()),
        path=f"{outside.path}{PREFIX}".rstrip("/"),
        secure=outside.scheme == "https",
        httponly=True,
        samesite="lax",  # it has to come along when the platform sends its visitor back
    )


def _completed(returned: Returned, code: str, error: str) -> HTMLResponse:
    return wording.finished(connecting.complete(returned, code=code, error=error, now=clock.now()))
