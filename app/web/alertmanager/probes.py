"""/-/healthy and /-/ready, as whoever looks after an Alertmanager asks for them."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse
from sqlalchemy import text

from app.infra.db import read_within

router = APIRouter(default_response_class=PlainTextResponse)

READY_SECONDS = 2.0


@router.head("/-/healthy", include_in_schema=False)
@router.get("/-/healthy", summary="Is this process alive?")
async def healthy() -> str:
    """As /healthz: touches no database."""
    return "OK"


@router.head("/-/ready", include_in_schema=False)
@router.get("/-/ready", summary="Can alerts be posted?")
def ready() -> str:
    """503 while Postgres does not answer: then nothing that is posted could be kept."""
    with read_within(READY_SECONDS) as session:
        session.execute(text("SELECT FROM alert_inbox LIMIT 1"))
    return "OK"
