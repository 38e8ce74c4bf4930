"""What owners read on the pages on which they log in again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from app import catalog
from app.config import settings
from app.tokens import permissions
from app.tokens.connect_links import ConnectLink
from app.tokens.connecting import Finished, Offer
from app.tokens.consents import Outcome
from app.tokens.rows import Account
from app.tokens.titles import title_of
from app.web.console.pages import asset_url
from app.web.middleware import SECURITY_HEADERS

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.globals.update(asset=asset_url)


@dataclass(frozen=True, slots=True)
class Words:
    """A page's headline and text. {platform}, {account} and {other} are filled in."""

    title: str
    text: str
    tone: str = "calm"
    glyph: str = "?"
    status: int = 200


_ASK = "Open the link of your message again."
_NOTHING = "Nothing was changed."

EXPIRED = Words("This link has expired", "Ask whoever sent it for a new one.")
NOT_OURS = Words("This link is not good", "It was not made here, or a part of it is missing.")
GONE = Words("There is nothing here any more", "The account that this link was for is not looked after here any more.")
SPENT = Words(
    "It is connected already", "The account was connected after this link was made. There is nothing to do.", "ok", "✓"
)
STOPPED = Words("This account rests", "Nobody works with it at present, so there is nothing to log in for.")
AWAY = Words("Not just now", "A part of the system is in trouble. Try again in a minute.")
NOT_SET_UP = Words("Not just now", "Something is not set up on our side. Try again later.")

_WORDS = {
    Outcome.CONNECTED: Words(
        "Thank you, it is connected",
        "{account} on {platform} is connected. Whatever waited goes on by itself. You can close this page.",
        "ok",
        "✓",
    ),
    Outcome.ALREADY: Words(
        "It is connected already", "There is nothing left to do. You can close this page.", "ok", "✓"
    ),
    Outcome.CANCELLED: Words(
        "You stopped the login",
        f"{_NOTHING} {{platform}} still waits for your consent, and without it posts for {{account}} stop.",
    ),
    Outcome.WRONG_ACCOUNT: Words(
        "That was another account",
        "At {platform} you are logged in as {other}; this link is for {account}. Nothing was stored. Change to the "
        "right account there, then try again.",
        "warn",
        "!",
        409,
    ),
    Outcome.INCOMPLETE: Words(
        "A permission was left out",
        "Nothing was stored. Try again, and leave every permission ticked. This was missing:",
        "warn",
        "!",
        409,
    ),
    Outcome.REFUSED: Words(
        "{platform} did not accept the login", f"It may have taken too long. {_NOTHING} Try again.", "warn", "!", 409
    ),
    Outcome.TROUBLE: Words(
        "{platform} does not answer as it should", f"{_NOTHING} Try again in a minute.", "warn", "!", 503
    ),
    Outcome.UNAVAILABLE: Words(
        "Something is not set up on our side",
        f"We have been told, and look after it. {_NOTHING} Your link stays good: try again later.",
        "warn",
        "!",
        503,
    ),
    Outcome.EXPIRED: Words("The login took too long", f"{_NOTHING} Try again.", status=410),
    Outcome.OTHER_BROWSER: Words(
        "Another browser began this login",
        f"Finish it in the browser in which you began. If a phone's app came in between: {_ASK.lower()[:-1]}, in the "
        "browser that you use for everything, and log in to {platform} there.",
        status=403,
    ),
    Outcome.USED: Words("This login is over", f"It was finished before, or somewhere else. {_ASK}", status=409),
    Outcome.UNKNOWN: Words("This login is not known", _ASK, status=404),
}
_AGAIN = frozenset(
    {Outcome.CANCELLED, Outcome.WRONG_ACCOUNT, Outcome.INCOMPLETE, Outcome.REFUSED, Outcome.TROUBLE}
    | {Outcome.UNAVAILABLE, Outcome.EXPIRED, Outcome.USED}
)


def offered(offer: Offer, link: ConnectLink) -> HTMLResponse:
    """The question."""
    account = offer.account
    zone = catalog.current().budgeting.zone_of(account.tenant)
    return _page(
        "offer.html",
        200,
        platform=title_of(account.platform),
        account=account,
        offer=offer,
        host=_host(),
        until=_moment(link.expires_at, zone),
    )


def finished(found: Finished) -> HTMLResponse:
    """What came of a login."""
    words, account, failure = _WORDS[found.outcome], found.account, found.failure
    names = {
        "platform": "the platform" if account is None else title_of(account.platform),
        "account": "the account" if account is None else _called(account),
        "other": "another account" if failure is None else failure.other,
    }
    title = words.title.format(**names)
    return _page(
        "result.html",
        words.status,
        title=title[:1].upper() + title[1:],
        text=words.text.format(**names),
        tone=words.tone,
        glyph=words.glyph,
        missing=permissions.words(failure.missing) if failure is not None else (),
        again=found.again if found.outcome in _AGAIN else "",
        host=_host(),
    )


def problem(status: int, words: Words) -> HTMLResponse:
    """Why there is no such page."""
    return _page(
        "result.html",
        status,
        title=words.title,
        text=words.text,
        tone=words.tone,
        glyph=words.glyph,
        missing=(),
        again="",
        host=_host(),
    )


def _page(template: str, status: int, **context: Any) -> HTMLResponse:
    html = _templates.get_template(template).render(**context)
    return HTMLResponse(html, status, headers={"Content-Security-Policy": _policy()})


def _policy() -> str:
    """Browsers hold every redirect that follows a form against form-action, and platforms send phones on to hosts that
    nobody lists: so any host, as safely reached as we are."""
    schemes = "https:" if settings().external_url.startswith("https:") else "https: http:"
    ours = SECURITY_HEADERS["Content-Security-Policy"]
    return ours.replace("form-action 'self'", f"form-action 'self' {schemes}")


def _host() -> str:
    return urlsplit(settings().external_url).hostname or "smm-admin"


def _called(account: Account) -> str:
    return f"{account.name} ({account.external_id})" if account.name else account.external_id


def _moment(moment: datetime, zone: str) -> str:
    there = moment.astimezone(ZoneInfo(zone))
    return f"{there.day} {there:%B %Y, %H:%M} ({zone})"
