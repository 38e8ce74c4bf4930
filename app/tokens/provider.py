"""What a platform's tokens are like, and how it is asked: the contract of `providers/`, one file a platform.

A file has PLATFORM, SUMMARY, TRAITS, and these functions, which raise nothing: whatever the platform does becomes an
answer. They ask through `asking`, which has the time-outs, the retries within one attempt, and keeps secrets out of
every text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from app.catalog import App
from app.infra.secret import Secret

LONGEST_TOKEN = 8192
ACCOUNT_LIMITED = "account_limited"
"""The reason of a Refused that is LIMITED for one account only: others of the app need not wait."""


class Trouble(StrEnum):
    """Why there is no new token."""

    DEAD = "dead"
    """The platform wants the owner to log in again."""
    TOO_YOUNG = "too_young"
    """It may be asked later."""
    TRANSIENT = "transient"
    """The platform's or the network's own; another try may help."""
    LIMITED = "limited"
    """Too many questions."""
    APP = "app"
    """The app's id or secret is wrong, or the app is blocked: nothing to do with the account."""
    LOST = "lost"
    """It was asked, and its answer did not arrive: nobody knows whether the token was used up."""
    UNKNOWN = "unknown"
    """It answered something that is not documented: a person has to look."""


@dataclass(frozen=True, slots=True)
class Traits:
    """How a platform's tokens behave.

    `life`: of an access token, where an answer does not say; None: it may never expire. `lead`: how long before its end
    it is refreshed; None: by the ladder in days. `rotates`: a refresh token is good for one refresh. `one_token`: the
    access token itself is what is refreshed, and cannot be once it has expired. `minimum_age`: younger ones are not
    refreshed. `deadline`: the refresh token's own end is never moved, and then the owner has to log in. `needs_app`:
    which of "refresh" and "login" need the app. `public`: one without a secret will do. `scopes`: asked for at a login,
    where the app names none. `check_every`: how often it is asked whether it accepts a token, because it knows of ends
    that no refresh tells.
    """

    life: timedelta | None
    lead: timedelta | None = None
    rotates: bool = False
    one_token: bool = False
    minimum_age: timedelta = timedelta()
    deadline: bool = False
    pkce: bool = False
    public: bool = False
    needs_app: frozenset[str] = frozenset({"refresh", "login"})
    scopes: tuple[str, ...] = ()
    check_every: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Tokens:
    """An account's token in clear, for as long as one function runs. Times are aware; None: not known, or never."""

    access: Secret
    refresh: Secret | None = None
    issued_at: datetime | None = None
    expires_at: datetime | None = None
    refresh_expires_at: datetime | None = None
    scopes: tuple[str, ...] = ()
    token_type: str = ""


@dataclass(frozen=True, slots=True)
class Granted:
    """A token was given. `refresh` None: the one that was used stays good. `note`: what was odd about the answer."""

    tokens: Tokens
    note: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """The platform accepts the token, and says whose it is. `expires_at` where it tells it."""

    external_id: str
    name: str = ""
    expires_at: datetime | None = None
    scopes: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    """Other ids that the platform has for the same account."""


@dataclass(frozen=True, slots=True)
class Refused:
    """No token, or no acceptance. `reason` is one word for metrics ("password_changed"), `detail` for people.

    Nothing in it is quoted from the platform's text, which may hold a token. `retry_after` where it named a time.
    """

    trouble: Trouble
    reason: str
    detail: str = ""
    retry_after: timedelta | None = None


Answer = Granted | Refused
Acceptance = Known | Refused


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer over HTTP: `document` is its JSON object, empty where it was none (`is_json` is False then)."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    document: Mapping[str, Any] = field(default_factory=dict, repr=False)
    is_json: bool = True


class Asking(Protocol):
    """How a provider asks. `app.tokens.asking.Asker` is the one that goes out.

    `single_use`: what is sent may be used up by being sent, so nothing is sent twice. Values that are a Secret are
    revealed on the wire only. What came of no answer is a Refused: TRANSIENT where nothing was sent or a repeat does
    no harm, LOST where a single-use question may have arrived.
    """

    now: datetime

    def get(
        self,
        url: str,
        query: Mapping[str, str | Secret],
        *,
        headers: Mapping[str, str | Secret] = ...,
        single_use: bool = False,
    ) -> Reply | Refused: ...

    def post(
        self,
        url: str,
        form: Mapping[str, str | Secret],
        *,
        headers: Mapping[str, str | Secret] = ...,
        basic: tuple[str, Secret] | None = None,
        single_use: bool = False,
    ) -> Reply | Refused: ...


class ProviderModule(Protocol):
    """The shape of a file in `providers/`."""

    PLATFORM: str
    SUMMARY: str
    TRAITS: Traits

    def refresh(self, asking: Asking, app: App, tokens: Tokens) -> Answer:
        """A new token for the old one. `tokens.refresh` is there unless TRAITS.one_token."""

    def introspect(self, asking: Asking, app: App, tokens: Tokens) -> Acceptance:
        """Does the platform accept the access token, and whose is it?"""

    def login_url(self, app: App, *, redirect_uri: str, state: str, challenge: str) -> str:
        """Where the owner gives consent. `challenge` is PKCE's S256, used where TRAITS.pkce."""

    def exchange(self, asking: Asking, app: App, *, code: Secret, redirect_uri: str, verifier: Secret) -> Answer:
        """The code of a consent for a long-lived token."""
