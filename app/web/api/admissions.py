"""/api/v1/admissions: may this operation go on? What came of it; and those that wait: listed, shown, cancelled."""

from __future__ import annotations

import asyncio
import contextvars
import json
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy.orm import Session

from app import clock
from app.access.callers import Caller
from app.admission import admitting, deferring, outcomes, requests
from app.config import settings
from app.errors import Invalid, Problem
from app.infra.db import TooSlow, read_only, read_within, unit_of_work
from app.infra.plain import plain
from app.web.api import schemas
from app.web.deps import CurrentCaller, SentJson, parse_json

router = APIRouter(prefix="/admissions", tags=["limits"])

LIST_SECONDS = 5.0
_TOO_SLOW = "matches too little to be found in time: narrow the filter"

T = TypeVar("T")

_deciding = ThreadPoolExecutor(32, thread_name_prefix="admission")
"""Threads that keep their connection to Redis; those of all other endpoints come and go."""


@router.post("", openapi_extra=schemas.body("AdmissionRequest"), summary="May this operation go on?")
async def decide(request: Request, caller: CurrentCaller) -> Response:
    """allow, wait or deny, with the reason and every limit's figures: each of them is a 200.

    What is allowed is consumed; what waits is kept, in order. `Retry-After` says when to ask again. 503 when it would
    have to wait and Postgres is away.
    """
    raw = await request.body()
    return await _in_thread(lambda: _decided(raw, caller))


def _decided(raw: bytes, caller: Caller) -> Response:
    asked = _parsed(parse_json(raw), caller)
    [answer] = admitting.admit([asked])
    return _json(answer.document(), answer.until if answer.outcome != "allow" else None)


@router.post("/batch", openapi_extra=schemas.body("AdmissionBatch"), summary="May these operations go on?")
async def decide_batch(request: Request, caller: CurrentCaller) -> Response:
    """Good ones are decided in their order and bad ones reported, each by its index. Of an operation that comes twice
    the second one is decided after the first."""
    raw = await request.body()
    return await _in_thread(lambda: _decided_batch(raw, caller))


def _decided_batch(raw: bytes, caller: Caller) -> Response:
    good: list[tuple[int, requests.Request]] = []
    rejected: list[dict[str, Any]] = []
    for index, item in enumerate(_items(parse_json(raw), "admissions")):
        try:
            good.append((index, _parsed(item, caller)))
        except Invalid as error:
            rejected.append({"index": index, "errors": _errors(error)})
    answers = admitting.admit([asked for _, asked in good])
    decided = [{"index": index, **answer.document()} for (index, _), answer in zip(good, answers, strict=True)]
    return _json({"decided": decided, "rejected": rejected})


def _parsed(body: Any, caller: Caller) -> requests.Request:
    """Its task is a job like any other: the key must be allowed to submit it. Raises Invalid, NotAllowed."""
    if isinstance(body, dict):
        caller.require_tasks(body.get("task"))
    return requests.parse(body, caller=caller.name)


@router.post("/outcomes", openapi_extra=schemas.body("AdmissionOutcome"), summary="What came of it")
def report(_caller: CurrentCaller, body: SentJson) -> dict[str, Any]:
    """The platform's own figures correct the counters upward; money is settled; what was not done is given back.

    Give one outcome, or many as `{"outcomes": [...]}`: bad ones are reported by their index.
    """
    many = isinstance(body, dict) and "outcomes" in body
    if not many:
        [done] = outcomes.report([outcomes.parse(body)])
        return dict(plain(done))
    good: list[tuple[int, outcomes.Outcome]] = []
    rejected: list[dict[str, Any]] = []
    for index, item in enumerate(_items(body, "outcomes")):
        try:
            good.append((index, outcomes.parse(item)))
        except Invalid as error:
            rejected.append({"index": index, "errors": _errors(error)})
    all_done = outcomes.report([outcome for _, outcome in good])
    reported = [{"index": index, **plain(one)} for (index, _), one in zip(good, all_done, strict=True)]
    return {"reported": reported, "rejected": rejected}


@router.get("", summary="Operations that wait, or waited, newest first")
def list_deferred(
    asking: CurrentCaller,
    *,
    state: Annotated[
        Literal["waiting", "released", "expired", "cancelled", "dropped"] | None,
        Query(description="waiting, released, expired, cancelled, dropped"),
    ] = None,
    account: Annotated[str | None, Query(description="PLATFORM/NAME")] = None,
    operation: str | None = None,
    tenant: str | None = None,
    caller: Annotated[str | None, Query(description="who asked")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[UUID | None, Query(description="`next` of the page before")] = None,
) -> dict[str, Any]:
    """`next` is the cursor of the following page, null on the last. 422 for a filter that takes too long to apply.

    A service sees its own.
    """
    caller = caller if asking.is_admin else asking.name
    wanted = {"state": state, "account": account, "operation": operation, "tenant": tenant, "caller": caller}
    try:
        with read_within(LIST_SECONDS) as session:
            found = deferring.list_deferred(session, **wanted, limit=limit + 1, before=cursor)
    except TooSlow as error:
        used = [Problem(f"query.{name}", _TOO_SLOW) for name, value in wanted.items() if value is not None]
        if not used:
            raise
        raise Invalid(used, subject="filter") from error
    page = found[:limit]
    return {
        "operations": [plain(item) for item in page],
        "next": str(page[-1].id) if len(found) > limit else None,
    }


@router.get("/{deferred_id}", summary="One operation that waits, or waited")
def show(caller: CurrentCaller, deferred_id: UUID) -> dict[str, Any]:
    """Its state, why it waits, its position in its account's queue, and its job once it was let go."""
    with read_only() as session:
        return dict(plain(_own(session, deferred_id, caller)))


@router.post("/{deferred_id}/cancel", summary="Cancel an operation that waits")
def cancel(caller: CurrentCaller, deferred_id: UUID) -> dict[str, Any]:
    """It does not go on. 409 for one that waits no more."""
    with unit_of_work() as uow:
        _own(uow.session, deferred_id, caller)
        deferring.cancel(uow, deferred_id, caller.name)
        return dict(plain(deferring.get(uow.session, deferred_id)))


def _own(session: Session, deferred_id: UUID, caller: Caller) -> deferring.DeferredView:
    """Services see and cancel what they asked for themselves. Raises NotFound."""
    found = deferring.get(session, deferred_id)
    caller.require_own(found.caller, f"no operation that waits or waited has the id {deferred_id}")
    return found


async def _in_thread(work: Callable[[], T]) -> T:
    """One hop: parsing, deciding and writing take turns with nothing else there."""
    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(_deciding, context.run, work)


def _items(body: Any, name: str) -> list[object]:
    if not isinstance(body, dict) or set(body) != {name} or not isinstance(body[name], list):
        raise Invalid([Problem(name, f'the body must be {{"{name}": [...]}} and nothing else')], subject="batch")
    items: list[object] = body[name]
    most = settings().batch_max_jobs
    if len(items) > most:
        problem = Problem(name, f"holds {len(items)} items; the most is {most} (SMM_BATCH_MAX_JOBS)")
        raise Invalid([problem], subject="batch")
    return items


def _errors(error: Invalid) -> list[dict[str, str]]:
    return [{"field": problem.field, "message": problem.message} for problem in error.problems]


def _json(document: dict[str, Any], until: datetime | None = None) -> Response:
    headers = None
    if until is not None:
        headers = {"Retry-After": str(max(1, math.ceil((until - clock.now()).total_seconds())))}
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return Response(text.encode("utf-8", "replace"), media_type="application/json", headers=headers)
