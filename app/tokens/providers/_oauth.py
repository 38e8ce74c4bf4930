"""OAuth 2.0 as these platforms speak it: what is asked, what a refusal means, and the address of a login.

RFC 6749 (https://www.rfc-editor.org/rfc/rfc6749#section-5), and what became of it: errors with status 200, numbers
instead of codes, pages instead of JSON. Of what a platform writes only codes made of letters get any further.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from app.catalog import App
from app.infra.secret import Secret
from app.infra.text import storable
from app.tokens.asking import retry_after
from app.tokens.granting import granted, is_token, seconds_of
from app.tokens.provider import Acceptance, Answer, Known, Refused, Reply, Tokens, Traits, Trouble

GRANT_REFUSED, CODE_REFUSED, ACCESS_REFUSED = "grant_refused", "code_refused", "access_refused"

_TROUBLES = {
    "invalid_grant": Trouble.DEAD,
    "invalid_client": Trouble.APP,
    "unauthorized_client": Trouble.APP,
    "temporarily_unavailable": Trouble.TRANSIENT,
    "server_error": Trouble.TRANSIENT,
    "internal_error": Trouble.TRANSIENT,
    "slow_down": Trouble.LIMITED,
    "rate_limit_exceeded": Trouble.LIMITED,
}
_DOCUMENTED = {
    "invalid_request": "invalid_request",
    "invalid_scope": "invalid_scope",
    "unsupported_grant_type": "unsupported_grant_type",
    "access_denied": "access_denied",
    "scope_not_authorized": "scope_missing",
    "scope_permission_missed": "scope_missing",
}
_WORD = re.compile(r"[A-Za-z]{1,20}(?:_[A-Za-z]{1,20}){0,4}")
_ID = re.compile(r"[\x21-\x7e]{1,200}")
_LONGEST_NAME = 200
_TOO_MANY_REQUESTS = 429
_RESETS = ("x-rate-limit-reset", "x-ratelimit-reset")
_AN_EPOCH = 1_000_000_000
"""X names the second in which a limit ends, Reddit how many seconds that takes."""
_LONGEST_WAIT = timedelta(hours=1)


def refresh_form(tokens: Tokens) -> dict[str, str | Secret]:
    """The question for a new access token."""
    return {"grant_type": "refresh_token", "refresh_token": tokens.refresh or Secret("")}


def code_form(code: Secret, redirect_uri: str) -> dict[str, str | Secret]:
    """The question for the tokens of a login."""
    return {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}


def bearer(tokens: Tokens) -> dict[str, str | Secret]:
    """The header that shows an access token."""
    return {"Authorization": Secret(f"Bearer {tokens.access.reveal()}")}


def secret_of(app: App) -> Secret:
    """The app's secret; empty without one."""
    return Secret("" if app.client_secret is None else app.client_secret.get_secret_value())


def incomplete(app: App, *, secret: bool = False) -> Refused | None:
    """Why nothing can be asked in this app's name. `secret`: it needs one."""
    lacking = [
        name for name, there in (("client_id", app.client_id), ("client_secret", app.client_secret)) if not there
    ]
    if not secret and "client_secret" in lacking:
        lacking.remove("client_secret")
    if not lacking:
        return None
    return Refused(Trouble.APP, "app_incomplete", f"the app's {' and '.join(lacking)} is not configured")


def login_page(app: App, page: str, query: Mapping[str, str]) -> str:
    """Where the owner gives consent; blanks as %20, which all of them read."""
    return f"{app.login_url or page}?{urlencode(query, quote_via=quote)}"


def answer(found: Reply | Refused, traits: Traits, now: datetime, *, code: bool = False, error: str = "") -> Answer:
    """What came of a question for a token: of a refresh, or with `code` of a login.

    `error`: the code that stands for what the platform says in its own way.
    """
    if isinstance(found, Refused):
        return found
    is_given = is_token(found.document.get("access_token")) or not (error or found.document.get("error"))
    if not 200 <= found.status < 300 or not is_given:
        return refused(found, now, grant=CODE_REFUSED if code else GRANT_REFUSED, error=error)
    if not found.is_json:
        return Refused(Trouble.TRANSIENT, "unreadable", _status(found))
    return granted(found.document, traits=traits, now=now)


def refused(found: Reply, now: datetime, *, grant: str = GRANT_REFUSED, error: str = "") -> Refused:
    """Why there is no token. `grant`: what the reason is called when the consent, or the code, is not accepted."""
    code = error or code_of(found.document.get("error"))
    trouble = _trouble(found, code)
    if trouble is Trouble.UNKNOWN and not found.is_json:
        return Refused(trouble, "no_json", _status(found))
    return _refused(found, trouble, code, grant, now)


def bearer_refused(found: Reply, now: datetime, *, error: str = "") -> Refused:
    """Why an access token is not accepted: 401 is its end, unless only a scope is missing."""
    code = error or code_of(found.document.get("error"))
    if found.status == 401 and code not in _DOCUMENTED:
        return Refused(Trouble.DEAD, ACCESS_REFUSED, _detail(found, code))
    trouble = _trouble(found, code)
    # Of consents and apps only the token endpoint can tell.
    trouble = Trouble.UNKNOWN if trouble in (Trouble.DEAD, Trouble.APP) else trouble
    return _refused(found, trouble, code, ACCESS_REFUSED, now)


def known(found: Reply, external_id: object, name: object, *aliases: str) -> Acceptance:
    """Whose token it is; empty aliases are none."""
    whose = id_of(external_id)
    if not whose:
        return Refused(Trouble.UNKNOWN, "unreadable_answer", f"{_status(found)} and does not say whose token it is")
    shown = storable(name, limit=_LONGEST_NAME) if isinstance(name, str) else ""
    return Known(whose, name=shown, aliases=tuple(alias for alias in aliases if alias))


def is_accepted(found: Reply) -> bool:
    """Is it a success that can be read?"""
    return 200 <= found.status < 300 and found.is_json


def inner(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A field that is an object; empty where it is none."""
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def id_of(value: object) -> str:
    """An id, written as a text or as a number; empty for anything else."""
    found = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return found if _ID.fullmatch(found) else ""


def code_of(value: object) -> str:
    """A platform's code for an error, in lower case; empty where it does not look like one: it may be anything."""
    return value.lower() if isinstance(value, str) and _WORD.fullmatch(value) else ""


def _trouble(found: Reply, code: str) -> Trouble:
    if found.status == _TOO_MANY_REQUESTS:
        return Trouble.LIMITED
    if code in _TROUBLES:
        return _TROUBLES[code]
    return Trouble.TRANSIENT if found.status >= 500 or found.status == 408 else Trouble.UNKNOWN


def _refused(found: Reply, trouble: Trouble, code: str, grant: str, now: datetime) -> Refused:
    """The reason is one word of a short list: it is a label of metrics."""
    detail = _detail(found, code)
    match trouble:
        case Trouble.DEAD:
            return Refused(trouble, grant, detail)
        case Trouble.APP:
            return Refused(trouble, "app_refused", detail)
        case Trouble.LIMITED:
            return Refused(trouble, "rate_limited", detail, _wait(found, now))
        case Trouble.TRANSIENT:
            return Refused(trouble, "unavailable", detail, _wait(found, now))
    return Refused(trouble, _DOCUMENTED.get(code, "undocumented"), detail)


def _detail(found: Reply, code: str) -> str:
    return f"{_status(found)} with {code}" if code else _status(found)


def _status(found: Reply) -> str:
    return f"answered {found.status}" if found.is_json else f"answered {found.status} with something that is no JSON"


def _wait(found: Reply, now: datetime) -> timedelta | None:
    """How long the platform wants to be left alone, an hour at most."""
    named = retry_after(found, now)
    if named is not None:
        return named
    for header in _RESETS:
        figure = seconds_of(found.headers.get(header, "").partition(".")[0])
        if figure is not None:
            left = figure - int(now.astimezone(UTC).timestamp()) if figure >= _AN_EPOCH else figure
            return min(timedelta(seconds=min(left, 10**6)), _LONGEST_WAIT) if left > 0 else None
    return None
