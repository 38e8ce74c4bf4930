"""`/`, `/docs` and the files they use. Templates and files are read once, at import."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy.orm import Session

from app import __version__, clock
from app.alerts import explain, reading
from app.config import settings
from app.errors import NotFound
from app.health.probes import kinds
from app.web import reference
from app.web.console import alerts_view, view
from app.web.overview import HealthSource

router = APIRouter(include_in_schema=False)

_HERE = Path(__file__).parent
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_ASSETS = {file.name: file.read_bytes() for file in sorted((_HERE / "assets").iterdir()) if file.suffix in _TYPES}


def asset_url(name: str) -> str:
    """Address of a file with its content's hash, so that it can be kept for a year."""
    return f"/assets/{name}?v={hashlib.sha256(_ASSETS[name]).hexdigest()[:12]}"


_templates = Environment(
    loader=FileSystemLoader(_HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.globals.update(asset=asset_url, version=__version__)


@router.get("/", response_class=HTMLResponse)
async def status_page(request: Request, source: HealthSource) -> HTMLResponse:
    """The stack's status: of the last stored results, or of the watchdog's file while Postgres is away."""
    overview = await source.current()
    order = {kind: tuple(probe.READINGS) for kind, probe in kinds().items()}
    page = view.page(overview, clock.now(), order)
    return _page("status.html", request, page=page)


@router.get("/alerts", response_class=HTMLResponse)
async def alerts_page(request: Request, source: HealthSource) -> HTMLResponse:
    """Every open alert: how bad, since when, who was told, and why not where nobody was."""
    overview = await source.current()
    rows = alerts_view.alert_rows(overview.alerts, clock.now())
    return _page("alerts.html", request, rows=rows, more=overview.more_alerts, is_stored=overview.is_stored)


@router.get("/alerts/{alert_id}", response_class=HTMLResponse)
async def alert_page(request: Request, source: HealthSource, alert_id: UUID) -> HTMLResponse:
    """One alert: what is known, who was told, what comes next."""
    found = await source.read(lambda session, now: _alert(session, alert_id, now))
    page = alerts_view.alert_page(found, clock.now())
    return _page("alert.html", request, page=page)


@router.get("/docs", response_class=HTMLResponse)
async def docs_page(request: Request) -> HTMLResponse:
    """The reference of the HTTP API."""
    document = request.app.openapi()
    return _page(
        "docs.html",
        request,
        sections=reference.sections(document),
        schemas=reference.schemas(document),
        base_url=str(request.base_url),
    )


@router.get("/assets/{name}")
async def asset(name: str) -> Response:
    """A style sheet, script or picture."""
    if name not in _ASSETS:
        raise NotFound("no such file")
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(_ASSETS[name], media_type=_TYPES[Path(name).suffix], headers=headers)


@router.get("/favicon.ico")
async def favicon() -> Response:
    """Browsers ask for it unasked."""
    return await asset("icon.svg")


def _alert(session: Session, alert_id: UUID, now: datetime) -> dict[str, Any]:
    told = explain.explain_episode(session, alert_id, now=now)
    return {**reading.get_episode(session, alert_id, now=now), "explained": told}


def _page(template: str, request: Request, **context: Any) -> HTMLResponse:
    return HTMLResponse(_templates.get_template(template).render(flower_url=_flower_url(request), **context))


def _flower_url(request: Request) -> str | None:
    """Where Flower is from where the reader sits: on this host's name when it listens on every address."""
    config = settings()
    host = config.flower_host
    if host in ("0.0.0.0", "::"):  # noqa: S104  compared, not bound
        host = request.url.hostname or "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{config.flower_port}/"
