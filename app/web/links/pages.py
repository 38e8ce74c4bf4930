"""`/a/TOKEN`: shows what a link of a message would do about what, and does it when its button is pressed.

Programs that look at mail follow links, so looking changes nothing. The token is all the proof there is; it opens
nothing but its own alerts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs

import anyio
from anyio import CapacityLimiter
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from app import clock
from app.alerts import linked, links
from app.alerts.linked import About, Use
from app.alerts.links import Action, Link
from app.config import settings
from app.errors import Conflict, Invalid, NotFound, SmmError, Transient
from app.infra.db import read_within, unit_of_work
from app.infra.logging import get_logger
from app.infra.signed import Expired
from app.infra.text import storable
from app.infra.words import ago
from app.web.console.pages import asset_url

router = APIRouter(include_in_schema=False)

PREFIX = "/a/"
READ_SECONDS = 3.0
MOST_ALERTS = 20
LONGEST_NAME = 80
_FORM_BYTES = 2000

_at_once = CapacityLimiter(2)
"""Strangers' requests have threads of their own: they cannot take those of the API."""

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.globals.update(asset=asset_url)

_TONES = {"critical": "bad", "error": "bad", "warning": "warn", "info": "calm"}

T = TypeVar("T")

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Words:
    """What a page says about an action: the question, the button, and that it was done."""

    question: str
    button: str
    done: str
    meaning: str


_WORDS = {
    Action.ACKNOWLEDGE: Words(
        "Acknowledge this?",
        "Acknowledge",
        "Acknowledged",
        "Nobody else is asked to look while you are at it. When the acknowledgement runs out, people are told again.",
    ),
    Action.SILENCE: Words(
        "Silence this for an hour?",
        "Silence for 1 h",
        "Silenced for an hour",
        "Nobody is told of it for an hour. If it still lasts then, people are told again.",
    ),
    Action.RESOLVE: Words(
        "Resolve this?",
        "Resolve",
        "Resolved",
        "People are told that it is over. If it is not, it comes back as a new alert.",
    ),
}


@router.head(PREFIX + "{token}")
@router.get(PREFIX + "{token}", response_class=HTMLResponse)
async def look(token: str) -> HTMLResponse:
    """What the link would do, with a button; changes nothing."""
    return await _answered(lambda: _look(token))


@router.post(PREFIX + "{token}", response_class=HTMLResponse)
async def act(token: str, request: Request) -> HTMLResponse:
    """Do it, once."""
    body = await request.body()
    return await _answered(lambda: _act(token, _name(body)))


async def _answered(page: Callable[[], HTMLResponse]) -> HTMLResponse:
    """The page, or one that says why not."""
    try:
        return await anyio.to_thread.run_sync(page, limiter=_at_once)
    except Expired:
        return _problem(
            410, "This link has expired", "Links in messages are good for a week; newer ones have new links."
        )
    except Invalid:
        return _problem(404, "This link is not good", "It was not made here, or a part of it is missing.")
    except NotFound:
        return _problem(404, "There is nothing here any more", "What this link was about is not kept any more.")
    except Conflict as error:
        return _problem(409, "There is nothing to do", _sentence(str(error)))
    except Transient:
        return _problem(503, "Not just now", "A part of the system is in trouble. Try again in a minute.")
    except SmmError as error:
        log.error("a link could not be answered", error=str(error))
        return _problem(503, "Not just now", "The system is not set up for this. Its log says why.")


def _look(token: str) -> HTMLResponse:
    now = clock.now()
    link = links.read(settings(), token, now=now)
    with read_within(READ_SECONDS) as session:
        about = linked.about(session, link)
    return _shown(link, about)


def _act(token: str, name: str) -> HTMLResponse:
    now = clock.now()
    link = links.read(settings(), token, now=now)
    with unit_of_work() as uow:
        earlier = linked.use(uow, link, by=_by(link, name), now=now)
        about = linked.about(uow.session, link)
    return _shown(link, about, done=about.used if earlier is None else None)


def _by(link: Link, name: str) -> str:
    """Who acts, as far as a link can know."""
    return f"{name or link.who or 'somebody'} (link)"


def _name(body: bytes) -> str:
    """What was typed beside the button."""
    fields = parse_qs(body[:_FORM_BYTES].decode("utf-8", "replace"))
    return storable(" ".join(fields.get("name", [""])[0].split()), limit=LONGEST_NAME)


def _shown(link: Link, about: About, *, done: Use | None = None) -> HTMLResponse:
    """The question; or that it was done, just now or before."""
    now = clock.now()
    first = about.alerts[0]
    names, common = sorted({alert.name for alert in about.alerts}), _common(about)
    return _page(
        200,
        words=_WORDS[link.action],
        title=names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more",
        severity=first.severity,
        tone=_TONES.get(first.severity, "calm"),
        since=min(alert.starts_at for alert in about.alerts),
        labels=common,
        own=lambda alert: {name: value for name, value in sorted(alert.labels.items()) if common.get(name) != value},
        about=about,
        alerts=about.alerts[:MOST_ALERTS],
        more=max(0, len(about.alerts) - MOST_ALERTS),
        expires_at=link.expires_at,
        used=about.used,
        done=done,
        iso=clock.iso,
        ago=lambda moment: ago(moment, now),
    )


def _common(about: About) -> Mapping[str, str]:
    shared = set(about.alerts[0].labels.items()).intersection(*(alert.labels.items() for alert in about.alerts[1:]))
    return dict(sorted(shared))


def _page(status: int, **context: Any) -> HTMLResponse:
    return HTMLResponse(_templates.get_template("link.html").render(**context), status)


def _problem(status: int, title: str, text: str) -> HTMLResponse:
    return HTMLResponse(_templates.get_template("problem.html").render(title=title, text=text), status)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
