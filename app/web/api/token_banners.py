"""/api/v1/tokens/banners: what a dashboard shows to its client about accounts that need a new login."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from app import clock
from app.access.scopes import TOKENS_LIST
from app.infra.db import read_within
from app.tokens import banners
from app.web.deps import CurrentCaller

router = APIRouter(prefix="/tokens", tags=["tokens"])

LIST_SECONDS = 5.0


@router.get("/banners", summary="What to show to a client now")
def show(
    caller: CurrentCaller,
    tenant: Annotated[str | None, Query(max_length=200, description="the client; without it: all of them")] = None,
) -> dict[str, Any]:
    """The worst first; empty when all is well. `link` lets the account's owner log in again, and is made for this
    answer: show it to that client only, and ask again rather than keep it."""
    now = clock.now()
    with read_within(LIST_SECONDS) as session:
        found = banners.shown(session, now, tenant=tenant, reach=caller.reach(TOKENS_LIST))
    return {"banners": [banner.document() for banner in found], "as_of": clock.iso(now)}
