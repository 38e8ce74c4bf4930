"""Stand-ins for Instagram, Threads and Facebook: codes, long-lived tokens, the Graph API's errors.

A refresh gives a new token, and the old one stays good until its own end. What is too young, too old or revoked is
refused by code and subcode, and a wrong app secret by the code that each of the platforms has for it.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from pydantic import SecretStr

from app.catalog import App
from app.infra.secret import Secret
from app.tokens.provider import Tokens
from app.tokens.providers import platforms
from tests.tokens.platforms.serving import (
    BEFORE,
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

LIFE, YOUNG, SHORT = timedelta(days=60), timedelta(hours=24), timedelta(hours=1)
CODE_LIFE = timedelta(hours=1)

_VERSION = re.compile(r"^v[0-9]+\.[0-9]+/")

_LOOKS = {"instagram": "IGAA", "threads": "THAA", "facebook": "EAAG"}
_MEANINGS = {
    458: "Error validating access token: the user has not authorized application",
    459: "Error validating access token: the user is enrolled in a blocking checkpoint",
    460: "Error validating access token: the session has been invalidated because the user changed the password",
    463: "Error validating access token: Session has expired",
    467: "Error validating access token: the user logged out",
}


@dataclass(frozen=True, slots=True)
class GraphError:
    """What an account is answered instead of anything else. `text` repeats what was sent, as Meta's does at times."""

    code: int | None
    subcode: int | None = None
    status: int = 400
    text: str = "Something went wrong"
    kind: str = "OAuthException"
    headers: dict[str, str] = field(default_factory=dict)
    transient: bool = False

    def reply(self, sent: str = "") -> Reply:
        """As the Graph API writes it."""
        error = {"message": f"{self.text} {sent}".strip(), "type": self.kind, "fbtrace_id": "AbCdEfGh"}
        named = {"code": self.code, "error_subcode": self.subcode, "is_transient": self.transient or None}
        error |= {name: value for name, value in named.items() if value is not None}
        return Reply(self.status, {"error": error}, self.headers)


@dataclass(slots=True)
class Given:
    """A token that the stand-in gave."""

    account: str
    issued_at: datetime
    expires_at: datetime | None
    long: bool = True
    scopes: tuple[str, ...] = ()
    ended_by: int | None = None
    """The subcode with which it is refused."""


@dataclass(frozen=True, slots=True)
class _Code:
    account: str
    redirect_uri: str
    given_at: datetime
    scopes: tuple[str, ...]


class MetaPlatform(Serving):
    """One of the three, by its name. Accounts come to be when they are first named; ids are digits, others get one.

    `visitor`: the account that is logged in where the login page opens; `consents`: whether its owner says yes, and
    `left_out`: to what not.
    `life`: of long-lived tokens, None (Facebook) for no end. `same_text`: a refresh moves the token's end, and gives
    the same text. `pages`: what a Facebook login lets the app have besides.
    """

    def __init__(self, platform: str = "instagram", *, now: datetime | None = None) -> None:
        super().__init__()
        self.platform = platform
        self.look = _LOOKS[platform]
        self.scopes = platforms()[platform].TRAITS.scopes
        self.client_id, self.client_secret = "990602627938098", f"canary-app-{secrets.token_hex(12)}"
        self.now = now
        self.life: timedelta | None = LIFE
        self.visitor = ""
        self.consents = True
        self.left_out: frozenset[str] = frozenset()
        self.same_text = False
        self.pages: tuple[str, ...] = ()
        self.data_access: timedelta | None = timedelta(days=90)
        self.tokens: dict[str, Given] = {}
        self.codes: dict[str, _Code] = {}
        self.used_codes: set[str] = set()
        self.errors: dict[str, GraphError] = {}
        self.blocked = False
        """The app is blocked: everything is refused with the code 200."""

    def app(self, **more: Any) -> App:
        """An app whose platform this is."""
        return App(
            **{
                "name": self.platform,
                "client_id": self.client_id,
                "client_secret": SecretStr(self.client_secret),
                "base_url": self.url,
                "login_url": f"{self.url}/oauth/authorize",
                "timeout": 1,
                **more,
            }
        )

    def give(
        self, account: str, *, age: timedelta = timedelta(days=2), life: timedelta | None = None, long: bool = True
    ) -> Tokens:
        """A token that the account's owner once consented to, `age` ago, good for `life` (the stand-in's) from then."""
        with self.lock:
            issued_at = self.moment - age
            life = life or self.life
            text = self._new(account, issued_at, None if life is None else issued_at + life, long=long)
            given = self.tokens[text]
            return Tokens(Secret(text), issued_at=given.issued_at, expires_at=given.expires_at, token_type="bearer")

    def revoke(self, account: str, subcode: int = 460) -> None:
        """End all tokens of an account: 458 app removed, 459 checkpoint, 460 password changed, 467 invalid, 0 none."""
        with self.lock:
            for given in self.tokens.values():
                if given.account == account:
                    given.ended_by = subcode

    def refuse(self, error: GraphError, *accounts: str) -> None:
        """Answer these accounts so, or without any everybody, until `accept`."""
        with self.lock:
            self.errors |= dict.fromkeys(accounts or ("",), error)

    def accept(self, *accounts: str) -> None:
        """No more `refuse` for these, or without any for nobody."""
        with self.lock:
            for account in accounts or tuple(self.errors):
                self.errors.pop(account, None)

    def is_good(self, token: Secret | str) -> bool:
        """Would the platform accept it now?"""
        with self.lock:
            given = self.tokens.get(token.reveal() if isinstance(token, Secret) else token)
            return given is not None and self._ended(given) is None

    def id_of(self, account: str) -> str:
        """The account's id as the platform writes it."""
        return account if account.isdigit() else str(int.from_bytes(account.encode()[:12], "big"))

    def answer(self, asked: Asked) -> Reply:
        """By path; Facebook's have a version in front, the others' may have one."""
        match _VERSION.sub("", asked.path.strip("/")):
            case "oauth/authorize" | "dialog/oauth":
                return self._authorize(asked)
            case "oauth/access_token" if "fb_exchange_token" in asked.query:
                return self._long_lived(asked, asked.query["fb_exchange_token"], has_secret=True)
            case "oauth/access_token":
                return self._code_in(asked.query if self.platform == "facebook" else asked.form)
            case "access_token":
                return self._long_lived(asked, asked.query.get("access_token", ""), has_secret=True)
            case "refresh_access_token":
                return self._long_lived(asked, asked.query.get("access_token", ""), has_secret=False)
            case "me":
                return self._me(asked)
            case "debug_token":
                return self._debug(asked)
        return Reply(404, PAGE)

    def _new(
        self,
        account: str,
        issued_at: datetime,
        expires_at: datetime | None,
        *,
        long: bool,
        scopes: tuple[str, ...] = (),
    ) -> str:
        text = secret(f"access-{self.look}")
        self.tokens[text] = Given(account, issued_at, expires_at, long, scopes or self.scopes)
        return text

    def _ended(self, given: Given) -> GraphError | None:
        if given.ended_by is not None:
            return _revoked(given.ended_by)
        if given.expires_at is not None and given.expires_at <= self.moment:
            return _revoked(463)
        return None

    def _wrong_app(self, values: Any) -> Reply | None:
        """Facebook speaks of a wrong secret with the code 1, Instagram and Threads with 100."""
        if self.blocked:
            return GraphError(200, text="API access blocked.").reply()
        if values.get("client_id", self.client_id) != self.client_id:
            return GraphError(101, text="Error validating application. Cannot get application info").reply()
        if values.get("client_secret") != self.client_secret:
            code = 1 if self.platform == "facebook" else 100
            return GraphError(code, text="Error validating client secret.").reply(values.get("client_secret", ""))
        return None

    def _authorize(self, asked: Asked) -> Reply:
        query = asked.query
        self.calls["authorize", self.visitor] += 1
        if query.get("client_id") != self.client_id or query.get("response_type") != "code":
            return Reply(400, {"error_type": "OAuthException", "code": 400, "error_message": "Invalid platform app"})
        if not self.consents:
            back = {"error": "access_denied", "error_reason": "user_denied", "error_description": "Permissions error"}
        else:
            code = secret("code")
            asked_for = [scope for scope in query.get("scope", "").split(",") if scope not in self.left_out]
            self.codes[code] = _Code(self.visitor, query["redirect_uri"], self.moment, tuple(asked_for))
            back = {"code": code}
        target = f"{query['redirect_uri']}?{urlencode(back | {'state': query.get('state', '')})}"
        return Reply(302, b"", {"Location": f"{target}#_"})

    def _code_in(self, form: Any) -> Reply:
        code = form.get("code", "")
        found = self.codes.get(code)
        self.calls["exchange", "" if found is None else found.account] += 1
        wrong = self._wrong_app(form)
        if wrong is not None:
            return wrong
        if found is None or code in self.used_codes or found.given_at + CODE_LIFE <= self.moment:
            self.reused += [found.account] if found is not None and code in self.used_codes else []
            return self._flat(36_009, f"Matching code was not found or was already used {code}")
        if form.get("redirect_uri") != found.redirect_uri:
            return self._flat(
                36_008, "Error validating verification code. Please make sure your redirect_uri is identical"
            )
        self.used_codes.add(code)
        text = self._new(found.account, self.moment, self.moment + SHORT, long=False, scopes=found.scopes)
        return self._short(found.account, text)

    def _short(self, account: str, text: str) -> Reply:
        match self.platform:
            case "instagram":
                permissions = ",".join(self.tokens[text].scopes)
                entry = {"access_token": text, "user_id": self.id_of(account), "permissions": permissions}
                return Reply(200, {"data": [entry]})
            case "threads":
                return Reply(200, {"access_token": text, "user_id": int(self.id_of(account))})
        return Reply(200, {"access_token": text, "token_type": "bearer", "expires_in": seconds(SHORT)})

    def _flat(self, subcode: int, text: str) -> Reply:
        """api.instagram.com writes errors of its own shape."""
        if self.platform == "instagram":
            return Reply(400, {"error_type": "OAuthException", "code": 400, "error_message": text})
        return GraphError(100, subcode, text=text).reply()

    def _long_lived(self, asked: Asked, token: str, *, has_secret: bool) -> Reply:
        """A short-lived token, or one that is old enough, for one of 60 days."""
        given = self.tokens.get(token)
        account = "" if given is None else given.account
        self.calls["refresh" if given is None or given.long else "lengthen", account] += 1
        fault = self.fault(account)
        if fault in BEFORE:
            return self._failing(fault)
        stop = self._obstacle(asked, given, token, has_secret=has_secret)
        if stop is not None or given is None:
            return stop or _revoked(0).reply(token)
        end = None if self.life is None else self.moment + self.life
        text = token if self.same_text else self._new(account, self.moment, end, long=True, scopes=given.scopes)
        self.tokens[text].expires_at, self.tokens[text].issued_at = end, self.moment
        self.refreshed[account] += given.long
        document = {"access_token": text, "token_type": "bearer"}
        if self.life is not None:
            document["expires_in"] = seconds(self.life)
        return _spoilt(document, fault)

    def _obstacle(self, asked: Asked, given: Given | None, token: str, *, has_secret: bool) -> Reply | None:
        error = self._refusing(given)
        if error is not None:
            return error.reply(token)
        if has_secret or self.blocked:
            wrong = self._wrong_app(asked.query)
            if wrong is not None:
                return wrong
        if not has_secret and "client_secret" in asked.query:
            return GraphError(100, text="Unsupported get request").reply()
        if given is None:
            return GraphError(190, text="Invalid OAuth access token - Cannot parse access token").reply(token)
        ended = self._ended(given)
        if ended is not None:
            return ended.reply(token)
        if given.long and given.issued_at + YOUNG > self.moment:
            return GraphError(100, text="The access token must be at least 24 hours old").reply(token)
        return None

    def _refusing(self, given: Given | None) -> GraphError | None:
        return self.errors.get("" if given is None else given.account) or self.errors.get("")

    def _failing(self, fault: Fault | None) -> Reply:
        match fault:
            case Fault.LIMITED:
                return GraphError(4, status=429, text="(#4) limit", headers={"Retry-After": self.retry_after}).reply()
            case Fault.ERROR_500:
                return GraphError(2, status=500, text="An unexpected error has occurred").reply()
            case Fault.PAGE_503:
                return Reply(503, PAGE)
            case Fault.PAGE_404:
                return Reply(404, PAGE)
            case Fault.HANG:
                return HANG
            case Fault.RESET:
                return RESET
            case Fault.DEAD:
                return _revoked(460).reply()
            case Fault.APP:
                return GraphError(
                    1 if self.platform == "facebook" else 100, text="Error validating client secret."
                ).reply()
        return GraphError(2_635, text="A code that nobody described").reply()

    def _me(self, asked: Asked) -> Reply:
        token = asked.query.get("access_token", "") or asked.bearer
        given = self.tokens.get(token)
        self.calls["introspect", "" if given is None else given.account] += 1
        error = self._refusing(given) or (_revoked(0) if given is None else self._ended(given))
        if error is not None or given is None:
            return (error or _revoked(0)).reply(token)
        own = self.id_of(given.account)
        if self.platform == "instagram":
            return Reply(200, {"user_id": own, "id": f"9{own}", "username": _name(given.account)})
        return Reply(200, {"id": own, "username": _name(given.account)})

    def _debug(self, asked: Asked) -> Reply:
        token = asked.query.get("input_token", "")
        given = self.tokens.get(token)
        self.calls["introspect", "" if given is None else given.account] += 1
        if self.blocked:
            return GraphError(200, text="API access blocked.").reply()
        if asked.query.get("access_token") != f"{self.client_id}|{self.client_secret}":
            return GraphError(190, text="Invalid OAuth access token signature.").reply(asked.query["access_token"])
        error = self._refusing(given) or (_revoked(0) if given is None else self._ended(given))
        if given is None:
            return Reply(200, {"data": {"is_valid": False, "error": {"code": 190, "message": f"not parsed {token}"}}})
        own = self.id_of(given.account)
        ends = 0 if given.expires_at is None else int(given.expires_at.timestamp())
        access = 0 if self.data_access is None else int((given.issued_at + self.data_access).timestamp())
        data: dict[str, Any] = {"app_id": self.client_id, "type": "USER", "user_id": own, "is_valid": error is None}
        data |= {"expires_at": ends, "data_access_expires_at": access, "scopes": list(given.scopes)}
        data["granular_scopes"] = [{"scope": "pages_show_list", "target_ids": list(self.pages)}]
        if error is not None:
            found = error.reply(token).body["error"]
            data["error"] = {"code": found["code"], "message": found["message"], "subcode": error.subcode or 0}
        return Reply(200, {"data": data})


def business_usage(minutes: int) -> dict[str, str]:
    """The header that says in how many minutes calls are taken again."""
    entry = {"type": "instagram", "call_count": 100, "estimated_time_to_regain_access": minutes}
    return {"X-Business-Use-Case-Usage": json.dumps({"17841400000000000": [entry]})}


def _revoked(subcode: int) -> GraphError:
    return GraphError(190, subcode or None, text=_MEANINGS.get(subcode, "Invalid OAuth access token"))


def _spoilt(document: dict[str, Any], fault: Fault | None) -> Reply:
    """A token that was given, and gets there in the way the fault has it."""
    match fault:
        case Fault.HANG_AFTER:
            return HANG
        case Fault.RESET_AFTER:
            return RESET
        case Fault.TRUNCATED:
            return cut(document)
        case Fault.NO_TOKEN:
            return Reply(200, {name: value for name, value in document.items() if name != "access_token"})
    return Reply(200, expiry({"expires_in": seconds(LIFE)} | document, "expires_in", fault) if fault else document)


def _name(account: str) -> str:
    return f"user.{account}"
