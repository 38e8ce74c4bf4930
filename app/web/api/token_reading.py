"""/api/v1/tokens/{platform}/{account}/read: a current access token for who may have it; and who asked for it."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from app import clock
from app.infra.db import read_within
from app.infra.plain import plain
from app.tokens import giving, reads
from app.tokens.giving import Ask, Withheld
from app.web.api import alert_bodies as bodies
from app.web.api.alert_bodies import Body
from app.web.deps import CurrentCaller
from app.web.errors import problem

router = APIRouter(prefix="/tokens", tags=["tokens"])

LIST_SECONDS = 5.0
AT_LEAST = 60
LONGEST_AT_LEAST = 30 * 86_400
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class TokenRead(Body):
    """What the token is for."""

    purpose: str = Field(
        min_length=1, max_length=giving.LONGEST_PURPOSE, description="what it is for, such as `publish post`; kept"
    )
    at_least_seconds: int = Field(
        default=AT_LEAST, ge=0, le=LONGEST_AT_LEAST, description="how long it must be good, from now"
    )


@router.post(
    "/{platform}/{account}/read",
    openapi_extra=bodies.body(TokenRead, required=True),
    responses={
        403: {"description": "The key has no scope for this account"},
        409: {"description": "There is no token to give: `state` says why, `since` when that began"},
        503: {"description": "The token is there and cannot be opened: `state` is key_missing or damaged"},
    },
    summary="A current access token",
)
def read(caller: CurrentCaller, platform: str, account: str, raw: bodies.Sent, request: Request) -> Response:
    """Written down before it is answered, whatever the answer. Never the refresh token; not to be stored anywhere.

    `Retry-After` comes with a refusal that may be over by then.
    """
    wanted = bodies.read(TokenRead, raw)
    address = "" if request.client is None else request.client.host
    now = clock.now()
    ask = Ask(caller, wanted.purpose, address, timedelta(seconds=wanted.at_least_seconds))
    found = giving.give(platform, account, ask, now=now)
    if isinstance(found, Withheld):
        return _refusal(found, now, request.scope.get("smm.request_id"))
    return JSONResponse(found.document(now), headers=NO_STORE)


@router.get("/{platform}/{account}/reads", summary="Who asked for an account's token, newest first")
def list_reads(
    _caller: CurrentCaller,
    platform: str,
    account: str,
    *,
    by: Annotated[str | None, Query(max_length=200, description="the name of a key")] = None,
    limit: Annotated[int, Query(ge=1, le=reads.MOST)] = 100,
    cursor: Annotated[UUID | None, Query(description="`next` of the page before")] = None,
) -> dict[str, Any]:
    """Given or why not, for what, from which address. `next` is the cursor of the following page, null on the last."""
    with read_within(LIST_SECONDS) as session:
        found = reads.list_reads(session, platform, account, by=by, limit=limit + 1, before=cursor)
    page = found[:limit]
    return {"reads": page, "next": page[-1]["id"] if len(found) > limit else None}


def _refusal(found: Withheld, now: datetime, request_id: str | None) -> Response:
    headers = dict(NO_STORE)
    if found.again_at is not None:
        headers["Retry-After"] = str(max(1, math.ceil((found.again_at - now).total_seconds())))
    members = {"state": found.state, "reason": found.reason, "since": plain(found.since)}
    status = 503 if found.broken else 409
    return problem(status, found.detail, request_id=request_id, headers=headers, members=members)


def components() -> dict[str, Any]:
    """The schema of the body, for the OpenAPI document."""
    return {TokenRead.__name__: TokenRead.model_json_schema()}
