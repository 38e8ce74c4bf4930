"""Threads, which gives tokens as Instagram does, by apps and hosts of its own.

https://developers.facebook.com/docs/threads/get-started/get-access-tokens-and-permissions and
https://developers.facebook.com/docs/threads/get-started/long-lived-tokens
"""

from __future__ import annotations

from datetime import timedelta

from app.catalog import App
from app.infra.secret import Secret
from app.tokens.provider import Acceptance, Answer, Asking, Tokens, Traits
from app.tokens.providers._meta_login import Flow

PLATFORM = "threads"
SUMMARY = "one token of 60 days, refreshed by itself from its second day on, without the app's secret"
TRAITS = Traits(
    life=timedelta(days=60),
    one_token=True,
    minimum_age=timedelta(hours=24),
    needs_app=frozenset({"login"}),
    scopes=(
        "threads_basic",
        "threads_content_publish",
        "threads_manage_replies",
        "threads_read_replies",
        "threads_manage_insights",
    ),
)

_FLOW = Flow(
    prefix="th",
    first="https://graph.threads.net",
    graph="https://graph.threads.net",
    login="https://threads.net/oauth/authorize",
    fields="id,username",
    traits=TRAITS,
)


def refresh(asking: Asking, app: App, tokens: Tokens) -> Answer:
    """See `ProviderModule`. The old token stays good until its own end."""
    return _FLOW.refresh(asking, app, tokens)


def introspect(asking: Asking, app: App, tokens: Tokens) -> Acceptance:
    """See `ProviderModule`."""
    return _FLOW.introspect(asking, app, tokens)


def login_url(app: App, *, redirect_uri: str, state: str, challenge: str) -> str:  # noqa: ARG001 - no PKCE here
    """See `ProviderModule`."""
    return _FLOW.login_url(app, redirect_uri=redirect_uri, state=state)


def exchange(asking: Asking, app: App, *, code: Secret, redirect_uri: str, verifier: Secret) -> Answer:  # noqa: ARG001
    """See `ProviderModule`."""
    return _FLOW.exchange(asking, app, code=code, redirect_uri=redirect_uri)
