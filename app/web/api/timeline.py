"""/api/v1/timeline: what happened, newest first."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from app import signals
from app.infra.db import read_only
from app.web.deps import CurrentCaller

router = APIRouter(tags=["health"])

_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


@router.get("/timeline", summary="What happened, newest first")
def timeline(
    caller: CurrentCaller,
    *,
    subject: Annotated[str | None, Query(description="exactly this one, such as `postgres`")] = None,
    kind: Annotated[str | None, Query(description="such as `health.down`; may end in `*`")] = None,
    since: Annotated[AwareDatetime | None, Query(description="ISO 8601 with an offset")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    cursor: Annotated[UUID | None, Query(description="`next` of the page before")] = None,
) -> dict[str, Any]:
    """`next` is the cursor of the following page, null on the last."""
    caller.require_signals(kind)
    start = None if since is None else max(since, _EARLIEST)
    with read_only() as session:
        found = signals.timeline(session, subject=subject, kind=kind, since=start, limit=limit + 1, before=cursor)
    page = found[:limit]
    return {
        "signals": [signal.as_dict() for signal in page],
        "next": str(page[-1].id) if len(found) > limit else None,
    }
