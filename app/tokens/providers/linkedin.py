"""LinkedIn: 60 days, and for apps with that right a refresh token whose year no refresh makes longer.

https://learn.microsoft.com/en-us/linkedin/shared/authentication/authorization-code-flow and
https://learn.microsoft.com/en-us/linkedin/shared/authentication/programmatic-refresh-tokens. Without that right there
is no refresh token, and the owner logs in every 60 days.
"""

from __future__ import annotations

from datetime import timedelta

from app.catalog import App
from app.infra.secret import Secret
from app.tokens.asking import Values
from app.tokens.provider import Acceptance, Answer, Asking, Refused, Tokens, Traits
from app.tokens.providers import _oauth

PLATFORM = "linkedin"
SUMMARY = "60 days; the refresh token, where the app gets one, ends a year after the login"
TRAITS = Traits(life=timedelta(days=60), deadline=True, scopes=("openid", "profile", "w_member_social"))

LOGIN_HOST = "https://www.linkedin.com"
API = "https://api.linkedin.com"
LOGIN = f"{LOGIN_HOST}/oauth/v2/authorization"


def refresh(asking: Asking, app: App, tokens: Tokens) -> Answer:
    """A new access token, which ends with the refresh token at the latest."""
    return _ask(asking, app, _oauth.refresh_form(tokens), code=False)


def introspect(asking: Asking, app: App, tokens: Tokens) -> Acceptance:
    """The member's id for this app. Needs the scopes openid and profile: without them it is not known whose it is."""
    found = asking.get(f"{app.base_url or API}/v2/userinfo", {}, headers=_oauth.bearer(tokens))
    if isinstance(found, Refused):
        return found
    if not _oauth.is_accepted(found):
        return _oauth.bearer_refused(found, asking.now, error=_oauth.code_of(found.document.get("code")))
    sub = _oauth.id_of(found.document.get("sub"))
    return _oauth.known(found, sub, found.document.get("name"), f"urn:li:person:{sub}")


def login_url(app: App, *, redirect_uri: str, state: str, challenge: str) -> str:
    """LinkedIn's consent page."""
    del challenge
    query = {
        "response_type": "code",
        "client_id": app.client_id,
        "redirect_uri": redirect_uri,
        "state": state,
        "scope": " ".join(app.scopes or TRAITS.scopes),
    }
    return _oauth.login_page(app, LOGIN, query)


def exchange(asking: Asking, app: App, *, code: Secret, redirect_uri: str, verifier: Secret) -> Answer:
    """The tokens of a login; a code is good for half an hour."""
    del verifier
    return _ask(asking, app, _oauth.code_form(code, redirect_uri), code=True)


def _ask(asking: Asking, app: App, form: Values, *, code: bool) -> Answer:
    lacking = _oauth.incomplete(app, secret=True)
    if lacking is not None:
        return lacking
    whose: Values = {"client_id": app.client_id, "client_secret": _oauth.secret_of(app)}
    found = asking.post(f"{app.base_url or LOGIN_HOST}/oauth/v2/accessToken", {**form, **whose}, single_use=code)
    return _oauth.answer(found, TRAITS, asking.now, code=code)
