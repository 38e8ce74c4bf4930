"""How Instagram and Threads give tokens: a code for an hour's token, that for one of 60 days, that for the next one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from app.catalog import App
from app.infra.secret import Secret
from app.tokens.asking import Values
from app.tokens.granting import granted, is_token, scopes_of, unreadable
from app.tokens.provider import Acceptance, Answer, Asking, Known, Refused, Reply, Tokens, Traits, Trouble
from app.tokens.providers import _meta

_ID = re.compile(r"[0-9]{1,40}", re.ASCII)
_NAME = re.compile(r"[\w.-]{1,100}")
_AFTER_CODE = "#_"
"""What Meta puts behind the address that it sends people back to; some browsers hand it on."""


@dataclass(frozen=True, slots=True)
class Flow:
    """What differs. `prefix`: of its grant types. `first`: where codes are taken; `graph`: where all else is asked."""

    prefix: str
    first: str
    graph: str
    login: str
    fields: str
    traits: Traits

    def refresh(self, asking: Asking, app: App, tokens: Tokens) -> Answer:
        """The token for a new one, which may be the same text with a later end."""
        reply = asking.get(
            f"{app.base_url or self.graph}/refresh_access_token",
            {"grant_type": f"{self.prefix}_refresh_token", "access_token": tokens.access},
        )
        young_for = until_old(tokens, self.traits, asking.now)
        return answer(reply, asking.now, self.traits, scopes=tokens.scopes, young_for=young_for)

    def introspect(self, asking: Asking, app: App, tokens: Tokens) -> Acceptance:
        """Whose token it is; its end is not told."""
        version = f"/{app.api_version}" if app.api_version else ""
        query: Values = {"fields": self.fields, "access_token": tokens.access}
        reply = asking.get(f"{app.base_url or self.graph}{version}/me", query)
        if isinstance(reply, Refused):
            return reply
        return _meta.refusal(reply, asking.now) or self._known(reply)

    def _known(self, reply: Reply) -> Acceptance:
        found = first_of(reply.document)
        own, scoped = id_of(found.get("user_id")), id_of(found.get("id"))
        ids = [one for one in (own, scoped) if one]
        if not ids:
            return Refused(Trouble.UNKNOWN, "unreadable_answer", "it does not say whose token it is")
        return Known(ids[0], name_of(found.get("username")), aliases=tuple(ids[1:]))

    def login_url(self, app: App, *, redirect_uri: str, state: str) -> str:
        """The page on which the owner consents."""
        return consent_url(app.login_url or self.login, app, self.traits, redirect_uri=redirect_uri, state=state)

    def exchange(self, asking: Asking, app: App, *, code: Secret, redirect_uri: str) -> Answer:
        """Both steps."""
        secret = secret_of(app)
        if secret is None:
            return unconfigured()
        reply = asking.post(
            f"{app.base_url or self.first}/oauth/access_token",
            {
                "client_id": app.client_id,
                "client_secret": secret,
                "grant_type": "authorization_code",
                "redirect_uri": redirect_uri,
                "code": plain_code(code),
            },
            single_use=True,
        )
        if isinstance(reply, Refused):
            return reply
        refusal = _meta.code_refusal(reply, asking.now)
        if refusal is not None:
            return refusal
        found = first_of(reply.document)
        short = found.get("access_token")
        return self._lengthen(asking, app, secret, short, scopes_of(found.get("permissions")))

    def _lengthen(self, asking: Asking, app: App, secret: Secret, short: object, scopes: tuple[str, ...]) -> Answer:
        if not is_token(short):
            return unreadable(self.traits)
        query: Values = {
            "grant_type": f"{self.prefix}_exchange_token",
            "client_secret": secret,
            "access_token": Secret(short),
        }
        return answer(
            asking.get(f"{app.base_url or self.graph}/access_token", query), asking.now, self.traits, scopes=scopes
        )


def answer(
    reply: Reply | Refused,
    now: datetime,
    traits: Traits,
    *,
    scopes: tuple[str, ...] = (),
    young_for: timedelta | None = None,
    never: bool = False,
) -> Answer:
    """A reply that ought to have a token in it."""
    if isinstance(reply, Refused):
        return reply
    refusal = _meta.refusal(reply, now, young_for=young_for)
    return refusal or granted(first_of(reply.document), traits=traits, now=now, never=never, scopes=scopes)


def consent_url(page: str, app: App, traits: Traits, *, redirect_uri: str, state: str) -> str:
    """The address of a consent page."""
    query = {
        "client_id": app.client_id,
        "redirect_uri": redirect_uri,
        "response_type": "code",
        "scope": ",".join(app.scopes or traits.scopes),
        "state": state,
    }
    return f"{page}?{urlencode(query)}"


def first_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The object itself, or the one of its list `data`."""
    listed = document.get("data")
    return listed[0] if isinstance(listed, list) and listed and isinstance(listed[0], dict) else document


def until_old(tokens: Tokens, traits: Traits, now: datetime) -> timedelta | None:
    """How long the token is still too young to be refreshed, as far as is known."""
    left = None if tokens.issued_at is None else tokens.issued_at + traits.minimum_age - now
    return left if left is not None and left > timedelta() else None


def id_of(value: object) -> str:
    """An id, which Meta writes as a text or as a number; "" for anything else."""
    found = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return found if _ID.fullmatch(found) else ""


def name_of(value: object) -> str:
    """A user name; "" for anything else."""
    return value if isinstance(value, str) and _NAME.fullmatch(value) else ""


def secret_of(app: App) -> Secret | None:
    """The app's secret, None where the app is not fully configured."""
    return Secret(app.client_secret.get_secret_value()) if app.client_id and app.client_secret else None


def plain_code(code: Secret) -> Secret:
    """The code without what Meta puts behind it."""
    return Secret(code.reveal().removesuffix(_AFTER_CODE))


def unconfigured() -> Refused:
    """The question needs the app's id and secret, and they are not there."""
    return Refused(Trouble.APP, "app_incomplete", "the app's client_id or client_secret is not configured")
