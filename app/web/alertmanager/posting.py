"""Alerts come in: from Prometheus and amtool, and from other Alertmanagers' webhooks. Durable before it is answered.

These are called often and with much in them. They ask who is calling themselves, and run on the event loop: what takes
time there is done by the inbox's own thread.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request, Response

from app import catalog, clock
from app.alerts import ingest, posted
from app.alerts.inbox import Inbox, Post, pack
from app.catalog import Telling
from app.errors import Invalid, Problem
from app.web.alertmanager.refusals import REFUSED, refused
from app.web.deps import admitted, parse_json

router = APIRouter()

PATH = "/api/v2/alerts"
_BODY = {"requestBody": {"required": True, "content": {"application/json": {}}}}

API = "api"
WEBHOOK = "webhook"


@router.post(PATH, summary="Post alerts", responses=REFUSED, openapi_extra=_BODY)
async def post_alerts(request: Request) -> Response:
    """200 with nothing once all are durable; 400 with the reasons, the good ones of the batch being kept even so."""
    await admitted(request)
    raw = await request.body()
    try:
        alerts = parse_json(raw)
    except Invalid as error:
        return refused([str(problem) for problem in error.problems])
    if alerts is None:
        return Response()
    if not isinstance(alerts, list):
        return refused(["body must be a list of alerts"])
    faults = await _accept(request.app.state.alert_inbox, alerts, raw, clock.now(), API)
    return refused(list(faults.values())) if faults else Response()


@router.post(
    "/api/v1/webhooks/alertmanager",
    summary="Take over the alerts of another Alertmanager",
    openapi_extra=_BODY,
)
async def take_webhook(request: Request) -> dict[str, Any]:
    """For a receiver's `webhook_configs`: its body, version 4. Good alerts are kept and bad ones reported."""
    await admitted(request)
    now = clock.now()
    try:
        alerts = posted.of_webhook(parse_json(await request.body()), now)
    except ValueError as error:
        raise Invalid([Problem("body", str(error))], subject="webhook") from None
    raw = json.dumps(alerts).encode()
    faults = await _accept(request.app.state.alert_inbox, alerts, raw, now, WEBHOOK)
    if faults and len(faults) == len(alerts):
        problems = [Problem(f"alerts.{place}", reason) for place, reason in faults.items()]
        raise Invalid(problems, subject="webhook")
    rejected = [{"index": place, "message": reason} for place, reason in faults.items()]
    return {"accepted": len(alerts) - len(faults), "rejected": rejected}


async def _accept(inbox: Inbox, alerts: list[Any], raw: bytes, now: datetime, source: str) -> dict[int, str]:
    """Store alerts; what is wrong with the bad ones, by their places. Raises Transient.

    While Postgres writes, they are looked at. Bad ones are written too: whoever reads the inbox leaves them out.
    """
    if len(alerts) > posted.ALERTS_MAX:
        reason = f"{len(alerts)} alerts are too many: send at most {posted.ALERTS_MAX} at once"
        return dict.fromkeys(range(len(alerts)), reason)
    if not alerts:
        return {}
    receipt = inbox.begin(Post(source, now, len(alerts), pack(raw)))
    faults = posted.faults(alerts, now, _resolve_after())
    await inbox.finish(receipt)
    return faults


def _resolve_after() -> timedelta:
    """As the catalogue says. Alerts are accepted even where there is no valid one."""
    try:
        telling = catalog.current().telling
    except Invalid:
        telling = Telling()
    return ingest.resolve_after(telling)
