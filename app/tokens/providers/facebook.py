"""Facebook: tokens of people and of pages, by the Graph API.

https://developers.facebook.com/docs/facebook-login/guides/access-tokens/get-long-lived and
https://developers.facebook.com/docs/graph-api/reference/debug_token
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from app.catalog import App
from app.infra.secret import Secret
from app.tokens.asking import Values
from app.tokens.granting import is_token, moment_of, scopes_of, unreadable
from app.tokens.provider import Acceptance, Answer, Asking, Known, Refused, Reply, Tokens, Traits, Trouble
from app.tokens.providers import _meta
from app.tokens.providers._meta_login import (
    answer,
    consent_url,
    id_of,
    plain_code,
    secret_of,
    unconfigured,
    until_old,
)

PLATFORM = "facebook"
SUMMARY = "one token of about 60 days, or without an end, exchanged for a new one with the app's secret"
TRAITS = Traits(
    life=timedelta(days=60),
    one_token=True,
    minimum_age=timedelta(hours=24),
    check_every=timedelta(days=3),  # access to data ends 90 days after a login, whatever is refreshed
    scopes=("pages_show_list", "pages_read_engagement", "pages_manage_posts", "pages_manage_metadata"),
)

VERSION = "v25.0"
_GRAPH = "https://graph.facebook.com"
_LOGIN = "https://www.facebook.com"


def refresh(asking: Asking, app: App, tokens: Tokens) -> Answer:
    """See `ProviderModule`. An answer without an end is a token that has none."""
    secret = secret_of(app)
    if secret is None:
        return unconfigured()
    young_for = until_old(tokens, TRAITS, asking.now)
    reply = _exchanged(asking, app, secret, tokens.access)
    return answer(reply, asking.now, TRAITS, scopes=tokens.scopes, young_for=young_for, never=True)


def introspect(asking: Asking, app: App, tokens: Tokens) -> Acceptance:
    """See `ProviderModule`. Asked with the app's own token: what is refused outside of `data` is the app.

    The account is the page of a page's token, else the person; aliases are the pages that the person let the app have.
    """
    secret = secret_of(app)
    if secret is None:
        return unconfigured()
    query: Values = {"input_token": tokens.access, "access_token": Secret(f"{app.client_id}|{secret.reveal()}")}
    reply = asking.get(f"{_base(app)}/debug_token", query)
    if isinstance(reply, Refused):
        return reply
    refusal = _meta.refusal(reply, asking.now)
    if refusal is not None:
        return replace(refusal, trouble=Trouble.APP, reason="app_refused") if _is_dead(refusal) else refusal
    data = reply.document.get("data")
    return _known(data, reply, asking.now) if isinstance(data, dict) else _odd()


def login_url(app: App, *, redirect_uri: str, state: str, challenge: str) -> str:  # noqa: ARG001 - no PKCE here
    """See `ProviderModule`."""
    page = app.login_url or f"{_LOGIN}/{app.api_version or VERSION}/dialog/oauth"
    return consent_url(page, app, TRAITS, redirect_uri=redirect_uri, state=state)


def exchange(asking: Asking, app: App, *, code: Secret, redirect_uri: str, verifier: Secret) -> Answer:  # noqa: ARG001
    """See `ProviderModule`: the code for a token of hours, that for a long-lived one."""
    secret = secret_of(app)
    if secret is None:
        return unconfigured()
    query: Values = {
        "client_id": app.client_id,
        "client_secret": secret,
        "redirect_uri": redirect_uri,
        "code": plain_code(code),
    }
    reply = asking.get(f"{_base(app)}/oauth/access_token", query, single_use=True)
    if isinstance(reply, Refused):
        return reply
    refusal = _meta.code_refusal(reply, asking.now)
    if refusal is not None:
        return refusal
    short = reply.document.get("access_token")
    if not is_token(short):
        return unreadable(TRAITS)
    return answer(_exchanged(asking, app, secret, Secret(short)), asking.now, TRAITS, never=True)


def _exchanged(asking: Asking, app: App, secret: Secret, token: Secret) -> Reply | Refused:
    query: Values = {
        "grant_type": "fb_exchange_token",
        "client_id": app.client_id,
        "client_secret": secret,
        "fb_exchange_token": token,
    }
    return asking.get(f"{_base(app)}/oauth/access_token", query)


def _base(app: App) -> str:
    return f"{app.base_url or _GRAPH}/{app.api_version or VERSION}"


def _is_dead(refusal: Refused) -> bool:
    return refusal.trouble is Trouble.DEAD


def _known(data: Mapping[str, Any], reply: Reply, now: datetime) -> Acceptance:
    if data.get("is_valid") is not True:
        fault = _meta.fault_of(data)
        return Refused(Trouble.DEAD, "revoked", "not valid") if fault is None else _meta.judged(fault, reply, now)
    page, person = id_of(data.get("profile_id")), id_of(data.get("user_id"))
    account = page or person
    if not account:
        return _odd()
    others = () if page else dict.fromkeys(_targets(data))
    return Known(
        account,
        expires_at=_end(data, is_page=bool(page)),
        scopes=scopes_of(data.get("scopes")),
        aliases=tuple(one for one in others if one != account),
    )


def _end(data: Mapping[str, Any], *, is_page: bool) -> datetime | None:
    """When the token ends, or before that the app's access to the person's data."""
    ends = [moment_of(data.get("expires_at")), None if is_page else moment_of(data.get("data_access_expires_at"))]
    return min((end for end in ends if end is not None), default=None)


def _targets(data: Mapping[str, Any]) -> Iterator[str]:
    """Pages and accounts that the consent names one by one."""
    granular = data.get("granular_scopes")
    for entry in granular if isinstance(granular, list) else []:
        found = entry.get("target_ids") if isinstance(entry, dict) else None
        yield from (one for one in map(id_of, found if isinstance(found, list) else []) if one)


def _odd() -> Refused:
    return Refused(Trouble.UNKNOWN, "unreadable_answer", "it does not say whose token it is")
