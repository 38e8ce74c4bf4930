"""An owner's consent, between the platform and us: the page where it is given, and the token that its code is good for.

Nothing here is stored. A token of another account, or with fewer permissions than were asked for, is thrown away.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from app import catalog
from app.catalog import App
from app.errors import Misconfigured
from app.infra import signed
from app.infra.secret import Secret
from app.tokens import permissions, sealing
from app.tokens.asking import Asker
from app.tokens.provider import Known, ProviderModule, Refused, Tokens, Trouble
from app.tokens.providers import platforms
from app.tokens.rows import Account


class Outcome(StrEnum):
    """What came of a login."""

    CONNECTED = "connected"
    ALREADY = "already"
    """The account was connected meanwhile, in another tab or by somebody else."""
    CANCELLED = "cancelled"
    """The owner said no."""
    WRONG_ACCOUNT = "wrong_account"
    INCOMPLETE = "incomplete"
    """A permission was left out."""
    REFUSED = "refused"
    """The platform did not take the code."""
    TROUBLE = "trouble"
    """Another try may help."""
    UNAVAILABLE = "unavailable"
    """We have to do something first."""
    EXPIRED = "expired"
    OTHER_BROWSER = "other_browser"
    USED = "used"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no token. `other`: the account that was logged in to; `missing`: permissions that were left out."""

    outcome: Outcome
    reason: str
    detail: str = ""
    other: str = ""
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Way:
    """Where an account's owner logs in."""

    provider: ProviderModule
    app: App

    @property
    def scopes(self) -> tuple[str, ...]:
        """What the owner is asked to allow."""
        return permissions.wanted(self.app, self.provider.TRAITS)


@dataclass(frozen=True, slots=True)
class Consent:
    """A token of the right account, with all permissions, and the app it was given through."""

    app: App
    tokens: Tokens


def way_of(account: Account) -> Way | Failure:
    """By the catalogue of now."""
    provider = platforms().get(account.platform)
    if provider is None:
        return _unavailable("unknown_platform", f"{account.platform} is no platform that is known here")
    app = catalog.current().connecting.app_of(account.platform, account.app)
    if app is None:
        return _unavailable("no_app", f"the account names an app that is not there for {account.platform}")
    if not app.enabled:
        return _unavailable("app_disabled", f"[apps.{app.name}] is not enabled")
    if not app.client_id:
        return _unavailable("no_client_id", f"[apps.{app.name}] has no client_id")
    if app.client_secret is None and not provider.TRAITS.public:
        return _unavailable("no_client_secret", f"[apps.{app.name}] has no client_secret")
    try:
        sealing.require()  # a code is good once: better to find out before
    except Misconfigured as error:
        return _unavailable("no_token_key", str(error))
    return Way(provider, app)


def address(way: Way, *, redirect_uri: str, state: str, verifier: str) -> str:
    """The platform's page where consent is given."""
    challenge = signed.text_of(hashlib.sha256(verifier.encode()).digest())
    return way.provider.login_url(way.app, redirect_uri=redirect_uri, state=state, challenge=challenge)


def obtain(
    account: Account, way: Way, *, code: Secret, redirect_uri: str, verifier: Secret, now: datetime
) -> Consent | Failure:
    """The account's token for the code of a consent. Asks the platform, for as long as its app may: hold nothing."""
    asking = Asker(way.app, way.provider.TRAITS, now=now)
    granted = way.provider.exchange(asking, way.app, code=code, redirect_uri=redirect_uri, verifier=verifier)
    if isinstance(granted, Refused):
        return _refused(granted)
    tokens = granted.tokens
    known = way.provider.introspect(asking, way.app, tokens)
    if isinstance(known, Refused):
        return _refused(known)
    if account.external_id not in (known.external_id, *known.aliases):
        return Failure(Outcome.WRONG_ACCOUNT, "wrong_account", other=_named(known))
    scopes = tokens.scopes or known.scopes
    left_out = permissions.missing(way.scopes, scopes)
    if left_out:
        return Failure(Outcome.INCOMPLETE, "missing_scopes", ", ".join(left_out), missing=left_out)
    return Consent(way.app, replace(tokens, scopes=scopes, expires_at=tokens.expires_at or known.expires_at))


def error_of(error: str) -> Failure:
    """What the platform's page sent its visitor back with instead of a code (RFC 6749, 4.1.2.1)."""
    if error in _CANCELLED:
        return Failure(Outcome.CANCELLED, "cancelled")
    if error in _OURS:
        return _unavailable(error, "the platform's login page refuses our app, its address, or what it asks for")
    return Failure(Outcome.TROUBLE, error if error in _PASSING else "login_failed")


# The last two are LinkedIn's.
_CANCELLED = frozenset({"access_denied", "user_denied", "user_cancelled_login", "user_cancelled_authorize"})
_OURS = frozenset(
    {"unauthorized_client", "invalid_client", "invalid_scope", "unauthorized_scope_error", "invalid_request"}
    | {"unsupported_response_type", "redirect_uri_mismatch"}
)
_PASSING = frozenset({"server_error", "temporarily_unavailable"})


def _refused(answer: Refused) -> Failure:
    match answer.trouble:
        case Trouble.APP | Trouble.UNKNOWN:
            outcome = Outcome.UNAVAILABLE
        case Trouble.DEAD:
            outcome = Outcome.REFUSED
        case _:
            outcome = Outcome.TROUBLE
    return Failure(outcome, answer.reason, answer.detail)


def _named(known: Known) -> str:
    return f"{known.name} ({known.external_id})" if known.name else known.external_id


def _unavailable(reason: str, detail: str) -> Failure:
    return Failure(Outcome.UNAVAILABLE, reason, detail)
