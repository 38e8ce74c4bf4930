"""Stand-ins for X, TikTok, LinkedIn and Reddit: token endpoints, login pages, and whose token it is.

X and TikTok rotate: a refresh token is good for one refresh, and one that comes again ends everything that its consent
has given. LinkedIn's consent ends a year after the login whatever happens, Reddit's never.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote, urlencode

from pydantic import SecretStr

from app.catalog import App
from app.infra.secret import Secret
from app.tokens.provider import Tokens
from tests.tokens.platforms.serving import (
    BEFORE,
    CANARY,
    HANG,
    PAGE,
    RESET,
    Asked,
    Fault,
    Reply,
    Serving,
    cut,
    expiry,
    seconds,
    secret,
)

CODE_LIFE = timedelta(minutes=10)
YEAR = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class _Shape:
    """Where a platform answers, and how its tokens live. `consent`: from a login to its end; None: for ever."""

    token: str
    login: str
    me: str
    life: timedelta
    scopes: str
    consent: timedelta | None = None
    rotates: bool = False
    refresh_expiry: str = ""
    client: str = "client_id"


_SHAPES = {
    "x": _Shape(
        "/2/oauth2/token", "/i/oauth2/authorize", "/2/users/me", timedelta(hours=2),
        "tweet.read tweet.write users.read offline.access", rotates=True,
    ),
    "tiktok": _Shape(
        "/v2/oauth/token/", "/v2/auth/authorize/", "/v2/user/info/", timedelta(hours=24),
        "user.info.basic,video.publish", YEAR, rotates=True, refresh_expiry="refresh_expires_in", client="client_key",
    ),
    "linkedin": _Shape(
        "/oauth/v2/accessToken", "/oauth/v2/authorization", "/v2/userinfo", timedelta(days=60),
        "openid,profile,w_member_social", YEAR, refresh_expiry="refresh_token_expires_in",
    ),
    "reddit": _Shape(
        "/api/v1/access_token", "/api/v1/authorize", "/api/v1/me", timedelta(hours=1), "identity read submit"
    ),
}  # fmt: skip


@dataclass(slots=True)
class Consent:
    """What an owner agreed to at a login."""

    account: str
    begun_at: datetime
    ended: bool = False
    ended_by: str = ""


@dataclass(slots=True)
class _Given:
    consent: Consent
    expires_at: datetime | None
    used: bool = False


@dataclass(slots=True)
class _Code:
    account: str
    redirect_uri: str
    challenge: str
    expires_at: datetime
    consent: Consent | None = None


class OAuthPlatform(Serving):
    """One of the four, by its name. Accounts come to be when they are first named.

    `visitor`: the account that is logged in where the login page opens; `consents`: whether its owner says yes.
    `life`: of access tokens. `is_public` (X): the app has no secret. `lenient` (TikTok): errors have the status 200.
    `refresh_tokens` (LinkedIn): False for an app without the right to them. `changes` (Reddit): answers to a refresh
    have another refresh token in them, while the old one stays good.
    """

    def __init__(self, platform: str = "x", *, now: datetime | None = None) -> None:
        super().__init__()
        self.platform, self.shape = platform, _SHAPES[platform]
        self.client_id, self.client_secret = f"{platform}-client-1", f"{CANARY}app-{secrets.token_hex(12)}"
        self.now = now
        self.life = self.shape.life
        self.visitor = ""
        self.consents = True
        self.is_public = False
        self.lenient = True
        self.refresh_tokens = True
        self.changes = False
        self.access: dict[str, _Given] = {}
        self.refreshes: dict[str, _Given] = {}
        self.codes: dict[str, _Code] = {}
        self.agents: set[str] = set()
        """The User-Agents of those who asked for tokens."""

    def app(self, **more: Any) -> App:
        """An app whose platform this is."""
        own: dict[str, Any] = {} if self.is_public else {"client_secret": SecretStr(self.client_secret)}
        return App(
            **{
                "name": self.platform,
                "client_id": self.client_id,
                "base_url": self.url,
                "login_url": f"{self.url}{self.shape.login}",
                "timeout": 1,
                **own,
                **more,
            }
        )

    def give(self, account: str, *, age: timedelta = timedelta(), life: timedelta | None = None) -> Tokens:
        """The tokens of a login that was `age` ago; the access token is good for `life` from then."""
        with self.lock:
            began_at = self.moment - age
            consent = Consent(account, began_at)
            found = self._issue(consent, began_at, life=life)
            refresh = found.get("refresh_token")
            ends_at = self._end(consent)
            return Tokens(
                Secret(found["access_token"]),
                None if refresh is None else Secret(refresh),
                issued_at=began_at,
                expires_at=self.access[found["access_token"]].expires_at,
                refresh_expires_at=ends_at if refresh else None,
                scopes=tuple(self.shape.scopes.replace(",", " ").split()),
                token_type="bearer",
            )

    def revoke(self, account: str, how: str = "revoked") -> None:
        """The owner takes all consents of an account back."""
        with self.lock:
            for given in (*self.access.values(), *self.refreshes.values()):
                if given.consent.account == account:
                    given.consent.ended, given.consent.ended_by = True, how

    def is_good(self, token: Secret | str) -> bool:
        """Would the platform accept this access or refresh token now?"""
        text = token.reveal() if isinstance(token, Secret) else token
        with self.lock:
            given = self.access.get(text) or self.refreshes.get(text)
            return given is not None and not given.used and self._is_live(given)

    def id_of(self, account: str) -> str:
        """The account's id as the platform writes it."""
        return account

    def answer(self, asked: Asked) -> Reply:
        """By path."""
        if asked.path == self.shape.token and asked.method == "POST":
            return self._token(asked)
        if asked.path.rstrip("/") == self.shape.login.rstrip("/"):
            return self._authorize(asked)
        if asked.path == self.shape.me:
            return self._me(asked)
        return Reply(404, PAGE)

    def _end(self, consent: Consent) -> datetime | None:
        return None if self.shape.consent is None else consent.begun_at + self.shape.consent

    def _is_live(self, given: _Given) -> bool:
        return not given.consent.ended and (given.expires_at is None or given.expires_at > self.moment)

    def _issue(
        self, consent: Consent, at: datetime, *, life: timedelta | None = None, refresh: str = ""
    ) -> dict[str, Any]:
        """A new access token, with the refresh token that there is or a new one."""
        ends_at = self._end(consent)
        expires_at = at + (life or self.life)
        if self.platform == "linkedin" and self.refresh_tokens and ends_at is not None:
            expires_at = min(expires_at, ends_at)
        access = secret("access")
        self.access[access] = _Given(consent, expires_at)
        found: dict[str, Any] = {
            "access_token": access,
            "token_type": "Bearer" if self.platform == "tiktok" else "bearer",
            "expires_in": seconds(expires_at - at),
            "scope": self.shape.scopes,
        }
        if self.refresh_tokens:
            refresh = refresh or secret("refresh")
            self.refreshes.setdefault(refresh, _Given(consent, ends_at))
            found["refresh_token"] = refresh
            if ends_at is not None:
                found[self.shape.refresh_expiry] = seconds(ends_at - at)
        if self.platform == "tiktok":
            found["open_id"] = self.id_of(consent.account)
        return found

    def _token(self, asked: Asked) -> Reply:
        self.agents.add(asked.headers.get("user-agent", ""))
        match asked.form.get("grant_type"):
            case "refresh_token":
                return self._refresh(asked)
            case "authorization_code":
                return self._exchange(asked)
        return self._error("unsupported_grant_type")

    def _refresh(self, asked: Asked) -> Reply:
        token = asked.form.get("refresh_token", "")
        given = self.refreshes.get(token)
        account = "" if given is None else given.consent.account
        self.calls["refresh", account] += 1
        fault = self.fault(account)
        if fault in BEFORE:
            return self._failing(fault, token)
        if not self._knows(asked):
            return self._app_error(asked)
        if given is not None and given.used:
            self.reused.append(account)
            given.consent.ended, given.consent.ended_by = True, "reused"
        if given is None or given.used or not self._is_live(given):
            return self._dead(token)
        given.used = self.shape.rotates
        self.refreshed[account] += 1
        keeps = not self.shape.rotates and not self.changes
        return self._spoilt(self._issue(given.consent, self.moment, refresh=token if keeps else ""), fault)

    def _exchange(self, asked: Asked) -> Reply:
        text = asked.form.get("code", "")
        code = self.codes.get(text)
        account = "" if code is None else code.account
        self.calls["exchange", account] += 1
        fault = self.fault(account)
        if fault in BEFORE:
            return self._failing(fault, text)
        if not self._knows(asked):
            return self._app_error(asked)
        if code is not None and code.consent is not None:
            self.reused.append(account)
            code.consent.ended, code.consent.ended_by = True, "reused"
        if code is None or code.consent is not None or code.expires_at <= self.moment or not _fits(code, asked.form):
            return self._bad_code(text)
        code.consent = Consent(account, self.moment)
        return self._spoilt(self._issue(code.consent, self.moment), fault)

    def _knows(self, asked: Asked) -> bool:
        """Is it our app, and does it prove that in the platform's way?"""
        own = (self.client_id, self.client_secret)
        if self.platform in ("x", "reddit") and not self.is_public:
            return _basic(asked) == own
        if self.platform == "reddit":
            return _basic(asked) == (self.client_id, "")
        if self.is_public:
            return asked.form.get("client_id") == self.client_id and "authorization" not in asked.headers
        return (asked.form.get(self.shape.client), asked.form.get("client_secret")) == own

    def _authorize(self, asked: Asked) -> Reply:
        query = asked.query
        self.calls["authorize", self.visitor] += 1
        if query.get(self.shape.client) != self.client_id or query.get("response_type") != "code":
            return Reply(400, PAGE)
        if self.platform == "x" and query.get("code_challenge_method") != "S256":
            return Reply(400, PAGE)
        if self.platform == "reddit" and query.get("duration") != "permanent":
            return Reply(400, PAGE)
        back = {"error": "access_denied"}
        if self.consents:
            code = secret("code")
            challenge = query.get("code_challenge", "")
            self.codes[code] = _Code(self.visitor, query["redirect_uri"], challenge, self.moment + CODE_LIFE)
            back = {"code": code}
        target = f"{query['redirect_uri']}?{urlencode(back | {'state': query.get('state', '')})}"
        return Reply(302, b"", {"Location": target})

    def _me(self, asked: Asked) -> Reply:
        given = self.access.get(asked.bearer)
        account = "" if given is None else given.consent.account
        self.calls["introspect", account] += 1
        if given is None or not self._is_live(given):
            return self._not_accepted("" if given is None else given.consent.ended_by)
        own, name = self.id_of(account), f"name of {account}"
        match self.platform:
            case "x":
                return Reply(200, {"data": {"id": own, "name": name, "username": f"at_{account}"}})
            case "tiktok":
                user = {"open_id": own, "union_id": f"union-{own}", "display_name": name}
                return Reply(200, {"data": {"user": user}, "error": {"code": "ok", "message": "", "log_id": "2026"}})
            case "linkedin":
                return Reply(200, {"sub": own, "name": name, "locale": {"country": "US", "language": "en"}})
        return Reply(200, {"id": own, "name": f"u_{account}", "is_employee": False})

    def _not_accepted(self, why: str) -> Reply:
        match self.platform:
            case "x":
                body: dict[str, Any] = {"title": "Unauthorized", "type": "about:blank", "status": 401}
            case "tiktok":
                body = {"error": {"code": "access_token_invalid", "message": "The access token is invalid"}}
            case "linkedin":
                code = "REVOKED_ACCESS_TOKEN" if why else "EXPIRED_ACCESS_TOKEN"
                body = {"status": 401, "serviceErrorCode": 65601, "code": code, "message": "It is over"}
            case _:
                body = {"message": "Unauthorized", "error": 401}
        return Reply(401, body)

    def _error(self, error: str, sent: str = "", status: int = 400) -> Reply:
        """As RFC 6749 has it, with what was sent in its text."""
        document = {"error": error, "error_description": f"Something is wrong with {sent or 'it'}"}
        if self.platform == "tiktok":
            return Reply(200 if self.lenient else status, document | {"log_id": "2026"})
        return Reply(status, document)

    def _dead(self, token: str) -> Reply:
        """X and Reddit have words of their own for a refresh token that is not accepted."""
        if self.platform == "x":
            said = f"Value passed for the token was invalid. {token}"
            return Reply(400, {"error": "invalid_request", "error_description": said})
        if self.platform == "reddit":
            return Reply(400, {"message": "Bad Request", "error": 400})
        return self._error("invalid_grant", token)

    def _bad_code(self, code: str) -> Reply:
        if self.platform == "x":
            said = f"Value passed for the authorization code was invalid. {code}"
            return Reply(400, {"error": "invalid_request", "error_description": said})
        return self._error("invalid_grant", code, status=200 if self.platform == "reddit" else 400)

    def _app_error(self, asked: Asked) -> Reply:
        if self.platform == "x":
            return self._error("unauthorized_client", asked.headers.get("authorization", ""), 401)
        if self.platform == "reddit":
            return Reply(401, {"message": "Unauthorized", "error": 401})
        return self._error("invalid_client", asked.form.get("client_secret", ""), 401)

    def _failing(self, fault: Fault | None, sent: str) -> Reply:
        match fault:
            case Fault.LIMITED:
                return Reply(429, {"title": "Too Many Requests"}, {"Retry-After": self.retry_after})
            case Fault.ERROR_500:
                return self._error("server_error", sent, 500)
            case Fault.PAGE_503:
                return Reply(503, PAGE)
            case Fault.PAGE_404:
                return Reply(404, PAGE)
            case Fault.HANG:
                return HANG
            case Fault.RESET:
                return RESET
            case Fault.DEAD:
                return self._dead(sent)
            case Fault.APP:
                return self._error("invalid_client", sent, 401)
        return Reply(400, {"error": sent, "error_description": sent})

    def _spoilt(self, document: dict[str, Any], fault: Fault | None) -> Reply:
        """Tokens that were given, and get there in the way the fault has it."""
        match fault:
            case Fault.HANG_AFTER:
                return HANG
            case Fault.RESET_AFTER:
                return RESET
            case Fault.TRUNCATED:
                return cut(document)
            case Fault.NO_TOKEN:
                return Reply(200, {name: value for name, value in document.items() if name != "access_token"})
        return Reply(200, expiry(document, "expires_in", fault))


def _basic(asked: Asked) -> tuple[str, str]:
    kind, _, pair = asked.headers.get("authorization", "").partition(" ")
    if kind != "Basic":
        return "", ""
    name, _, password = base64.b64decode(pair).decode().partition(":")
    return unquote(name), unquote(password)


def _fits(code: _Code, form: Mapping[str, str]) -> bool:
    if form.get("redirect_uri") != code.redirect_uri:
        return False
    digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
    return not code.challenge or base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == code.challenge
