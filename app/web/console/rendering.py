"""Templates and the files that pages use; read once, at import."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from app import __version__
from app.config import settings

_HERE = Path(__file__).parent
TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
ASSETS = {file.name: file.read_bytes() for file in sorted((_HERE / "assets").iterdir()) if file.suffix in TYPES}


def asset_url(name: str) -> str:
    """Address of a file with its content's hash, so that it can be kept for a year."""
    return f"/assets/{name}?v={hashlib.sha256(ASSETS[name]).hexdigest()[:12]}"


_templates = Environment(
    loader=FileSystemLoader(_HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.globals.update(asset=asset_url, version=__version__)


def shown(template: str, request: Request, *, status: int = 200, **context: Any) -> HTMLResponse:
    """A page."""
    html = _templates.get_template(template).render(flower_url=_flower_url(request), **context)
    return HTMLResponse(html, status)


def away(request: Request) -> HTMLResponse:
    """Said in place of a page that is made of Postgres alone."""
    text = "Postgres does not answer, and this is kept there alone. The page is read again every 15 seconds."
    return shown("problem.html", request, status=503, headline="Not known now", text=text)


def missing(request: Request, text: str) -> HTMLResponse:
    """Said of an address that leads to nothing."""
    return shown("problem.html", request, status=404, headline="There is no such page", text=text)


def _flower_url(request: Request) -> str | None:
    """Where Flower is from where the reader sits: on this host's name when it listens on every address."""
    config = settings()
    host = config.flower_host
    if host in ("0.0.0.0", "::"):  # noqa: S104  compared, not bound
        host = request.url.hostname or "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{config.flower_port}/"
