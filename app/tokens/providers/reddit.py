"""Reddit: an hour, sometimes a day, and a refresh token that lasts until its owner takes it back.

https://github.com/reddit-archive/reddit/wiki/OAuth2 and
https://support.reddithelp.com/hc/en-us/articles/16160319875092-Reddit-Data-API-Wiki. Answers to a refresh have had
another refresh token in them since 2021, while the old one stays good: the newest is kept, and an answer that got lost
does no harm. A refresh token that Reddit does not know is answered with 400 and `{"error": 400}`, a code with 200 and
`{"error": "invalid_grant"}`.
"""

from __future__ import annotations

from datetime import timedelta

from app import __version__
from app.catalog import App
from app.infra.secret import Secret
from app.tokens.asking import Values
from app.tokens.provider import Acceptance, Answer, Asking, Refused, Reply, Tokens, Traits
from app.tokens.providers import _oauth

PLATFORM = "reddit"
SUMMARY = "1 hour, sometimes 24; the refresh token is permanent"
TRAITS = Traits(public=True, life=timedelta(hours=1), lead=timedelta(minutes=30), scopes=("identity", "read", "submit"))

LOGIN_HOST = "https://www.reddit.com"
API = "https://oauth.reddit.com"
LOGIN = f"{LOGIN_HOST}/api/v1/authorize"

_NUMBERS = {401: "invalid_client", 403: "access_denied", 429: "slow_down", 500: "server_error", 503: "server_error"}


def refresh(asking: Asking, app: App, tokens: Tokens) -> Answer:
    """A new access token."""
    return _ask(asking, app, _oauth.refresh_form(tokens), code=False)


def introspect(asking: Asking, app: App, tokens: Tokens) -> Acceptance:
    """The account's id and name; the name never changes, and people know no other."""
    found = asking.get(
        f"{app.base_url or API}/api/v1/me", {}, headers={**_oauth.bearer(tokens), "User-Agent": _agent(app)}
    )
    if isinstance(found, Refused):
        return found
    if not _oauth.is_accepted(found):
        return _oauth.bearer_refused(found, asking.now)
    own, name = _oauth.id_of(found.document.get("id")), _oauth.id_of(found.document.get("name"))
    return _oauth.known(found, own, name, name, f"t2_{own}")


def login_url(app: App, *, redirect_uri: str, state: str, challenge: str) -> str:
    """Reddit's consent page; without `duration=permanent` there is no refresh token."""
    del challenge
    query = {
        "client_id": app.client_id,
        "response_type": "code",
        "state": state,
        "redirect_uri": redirect_uri,
        "duration": "permanent",
        "scope": " ".join(app.scopes or TRAITS.scopes),
    }
    return _oauth.login_page(app, LOGIN, query)


def exchange(asking: Asking, app: App, *, code: Secret, redirect_uri: str, verifier: Secret) -> Answer:
    """The tokens of a login."""
    del verifier
    return _ask(asking, app, _oauth.code_form(code, redirect_uri), code=True)


def _ask(asking: Asking, app: App, form: Values, *, code: bool) -> Answer:
    lacking = _oauth.incomplete(app)
    if lacking is not None:
        return lacking
    found = asking.post(
        f"{app.base_url or LOGIN_HOST}/api/v1/access_token",
        form,
        headers={"User-Agent": _agent(app)},
        basic=(app.client_id, _oauth.secret_of(app)),
        single_use=code,
    )
    return _oauth.answer(found, TRAITS, asking.now, code=code, error=_named(found, code=code))


def _named(found: Reply | Refused, *, code: bool) -> str:
    """What the status that stands in the place of a code amounts to."""
    number = found.document.get("error") if isinstance(found, Reply) else None
    if number == 400:
        return "invalid_request" if code else "invalid_grant"
    return _NUMBERS.get(number, "") if isinstance(number, int) else ""


def _agent(app: App) -> str:
    """As Reddit wants clients to name themselves; it answers others slowly, or with 429."""
    return f"web:smm-admin:v{__version__} (for the app {app.client_id})"
