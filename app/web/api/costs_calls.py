"""/api/v1/costs/calls: LLM calls are recorded, many in a body; good ones are kept and bad ones reported."""

from __future__ import annotations

import asyncio
import contextvars
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from app.config import Settings
from app.costs import calls, recording
from app.web.api import schemas
from app.web.deps import CurrentCaller

router = APIRouter(prefix="/costs", tags=["costs"])

PATH = "/api/v1/costs/calls"
CALL_BYTES = 1_000
"""Of a call with all its fields, as long as they usually are: a full batch of them is not too large a body."""

_recording = ThreadPoolExecutor(4, thread_name_prefix="costs")
"""Threads that keep their connection to Redis; those of all other endpoints come and go."""

_writing = ThreadPoolExecutor(4, thread_name_prefix="costs-durable")
"""Those that wait for Postgres, so that nobody else does."""


def largest(config: Settings) -> dict[str, int]:
    """How large a body may be here, by path."""
    return {PATH: max(config.body_max_bytes, config.cost_batch_max * CALL_BYTES)}


@router.post(
    "/calls",
    status_code=202,
    openapi_extra=schemas.calls_body(),
    responses={200: {"description": "With `durable`: all that is accepted is in Postgres"}},
    summary="Record LLM calls",
)
async def record(
    request: Request,
    caller: CurrentCaller,
    durable: Annotated[bool, Query(description="answer when they are in Postgres: 200")] = False,
) -> Response:
    """Each call counts once, by its id, however often it is sent. 202: they are counted in all budgets, and will be in
    Postgres in about a second. 422 when none of them is good; 503 when they have to be sent again.
    """
    raw, kind = await request.body(), request.headers.get("content-type", "")
    context = contextvars.copy_context()
    work = asyncio.get_running_loop().run_in_executor
    threads = _writing if durable else _recording
    return await work(threads, context.run, _recorded, raw, kind, durable, caller.name)


def _recorded(raw: bytes, kind: str, durable: bool, caller: str) -> Response:
    parsed = calls.parse(raw, kind)
    if not parsed.good:
        return _json(422, {"accepted": 0, "duplicates": 0, "rejected": parsed.rejected, "set_aside": []})
    done = recording.record([call for _, call in parsed.good], durable=durable, source=caller)
    aside = [{"index": parsed.good[place][0], "reason": reason} for place, reason in done.set_aside]
    answer = {"accepted": done.accepted, "duplicates": done.duplicates, "rejected": parsed.rejected, "set_aside": aside}
    return _json(200 if durable else 202, answer)


def _json(status: int, document: dict[str, Any]) -> Response:
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return Response(text.encode("utf-8", "replace"), status, media_type="application/json")
