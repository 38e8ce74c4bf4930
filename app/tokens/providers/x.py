"""X: two hours, a refresh token that is good for one refresh, and PKCE at each login.

https://docs.x.com/fundamentals/authentication/oauth-2-0/user-access-token and
https://docs.x.com/fundamentals/authentication/oauth-2-0/authorization-code. An app with a secret (a "confidential
client") shows it by HTTP Basic, one without names its id in the form.
"""

from __future__ import annotations

from datetime import timedelta

from app.catalog import App
from app.infra.secret import Secret
from app.tokens.asking import Values
from app.tokens.provider import Acceptance, Answer, Asking, Refused, Reply, Tokens, Traits
from app.tokens.providers import _oauth

PLATFORM = "x"
SUMMARY = "2 hours; the refresh token changes with each refresh; login with PKCE"
TRAITS = Traits(
    life=timedelta(hours=2),
    lead=timedelta(hours=1),
    rotates=True,
    pkce=True,
    public=True,
    scopes=("tweet.read", "tweet.write", "users.read", "offline.access"),
)

API = "https://api.x.com"
LOGIN = "https://x.com/i/oauth2/authorize"

_SPENT = ("value passed for the token was invalid", "value passed for the authorization code was invalid")
"""X says so, as an invalid_request, where others say invalid_grant."""


def refresh(asking: Asking, app: App, tokens: Tokens) -> Answer:
    """A new pair; the refresh token that was sent is used up."""
    return _ask(asking, app, _oauth.refresh_form(tokens), code=False)


def introspect(asking: Asking, app: App, tokens: Tokens) -> Acceptance:
    """The account's number and name."""
    found = asking.get(f"{app.base_url or API}/2/users/me", {}, headers=_oauth.bearer(tokens))
    if isinstance(found, Refused):
        return found
    if not _oauth.is_accepted(found):
        return _oauth.bearer_refused(found, asking.now)
    user = _oauth.inner(found.document, "data")
    return _oauth.known(found, user.get("id"), user.get("username"))


def login_url(app: App, *, redirect_uri: str, state: str, challenge: str) -> str:
    """X's consent page."""
    query = {
        "response_type": "code",
        "client_id": app.client_id,
        "redirect_uri": redirect_uri,
        "scope": " ".join(app.scopes or TRAITS.scopes),
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    return _oauth.login_page(app, LOGIN, query)


def exchange(asking: Asking, app: App, *, code: Secret, redirect_uri: str, verifier: Secret) -> Answer:
    """The pair of a login; a code is good for 30 seconds."""
    form = _oauth.code_form(code, redirect_uri) | {"code_verifier": verifier}
    return _ask(asking, app, form, code=True)


def _ask(asking: Asking, app: App, form: Values, *, code: bool) -> Answer:
    lacking = _oauth.incomplete(app)
    if lacking is not None:
        return lacking
    secret = _oauth.secret_of(app)
    found = asking.post(
        f"{app.base_url or API}/2/oauth2/token",
        form if secret else {**form, "client_id": app.client_id},
        basic=(app.client_id, secret) if secret else None,
        single_use=True,
    )
    error = "invalid_grant" if isinstance(found, Reply) and _is_spent(found) else ""
    return _oauth.answer(found, TRAITS, asking.now, code=code, error=error)


def _is_spent(found: Reply) -> bool:
    said = found.document.get("error_description")
    return (
        found.status == 400
        and found.document.get("error") == "invalid_request"
        and isinstance(said, str)
        and said.lower().startswith(_SPENT)
    )
