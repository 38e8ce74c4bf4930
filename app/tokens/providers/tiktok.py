"""TikTok: a day, and a refresh token that may change with each refresh, the old one being dead at once.

https://developers.tiktok.com/doc/oauth-user-access-token-management,
https://developers.tiktok.com/doc/oauth-error-handling and https://developers.tiktok.com/doc/tiktok-api-v2-get-user-info.
The consent is said to be good for 365 days "after the initial issuance"; whether a refresh moves that end is not said,
so it is believed as the answers name it, and near it the owner is asked in time.
"""

from __future__ import annotations

from datetime import timedelta

from app.catalog import App
from app.infra.secret import Secret
from app.tokens.asking import Values
from app.tokens.provider import Acceptance, Answer, Asking, Refused, Tokens, Traits
from app.tokens.providers import _oauth

PLATFORM = "tiktok"
SUMMARY = "a day; the refresh token changes with each refresh, and is good for a year"
TRAITS = Traits(
    life=timedelta(hours=24),
    lead=timedelta(hours=6),
    rotates=True,
    deadline=True,
    scopes=("user.info.basic", "video.upload", "video.publish"),
)

API = "https://open.tiktokapis.com"
LOGIN = "https://www.tiktok.com/v2/auth/authorize/"

_FIELDS = "open_id,union_id,display_name"


def refresh(asking: Asking, app: App, tokens: Tokens) -> Answer:
    """A new pair; the refresh token that was sent is dead."""
    return _ask(asking, app, _oauth.refresh_form(tokens), code=False)


def introspect(asking: Asking, app: App, tokens: Tokens) -> Acceptance:
    """The account's open_id, which is of this app only; its union_id is another name for it."""
    found = asking.get(f"{app.base_url or API}/v2/user/info/", {"fields": _FIELDS}, headers=_oauth.bearer(tokens))
    if isinstance(found, Refused):
        return found
    error = _oauth.code_of(_oauth.inner(found.document, "error").get("code"))
    if not _oauth.is_accepted(found) or error not in ("ok", ""):
        return _oauth.bearer_refused(found, asking.now, error=error)
    user = _oauth.inner(_oauth.inner(found.document, "data"), "user")
    return _oauth.known(found, user.get("open_id"), user.get("display_name"), _oauth.id_of(user.get("union_id")))


def login_url(app: App, *, redirect_uri: str, state: str, challenge: str) -> str:
    """TikTok's consent page. PKCE is for its mobile and desktop apps only."""
    del challenge
    query = {
        "client_key": app.client_id,
        "response_type": "code",
        "scope": ",".join(app.scopes or TRAITS.scopes),
        "redirect_uri": redirect_uri,
        "state": state,
    }
    return _oauth.login_page(app, LOGIN, query)


def exchange(asking: Asking, app: App, *, code: Secret, redirect_uri: str, verifier: Secret) -> Answer:
    """The pair of a login."""
    del verifier
    return _ask(asking, app, _oauth.code_form(code, redirect_uri), code=True)


def _ask(asking: Asking, app: App, form: Values, *, code: bool) -> Answer:
    lacking = _oauth.incomplete(app, secret=True)
    if lacking is not None:
        return lacking
    whose: Values = {"client_key": app.client_id, "client_secret": _oauth.secret_of(app)}
    found = asking.post(f"{app.base_url or API}/v2/oauth/token/", {**whose, **form}, single_use=True)
    return _oauth.answer(found, TRAITS, asking.now, code=code)
