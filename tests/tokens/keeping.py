"""Accounts as people keep them: a catalogue with apps and channels, keys, and what is stored."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.config import settings
from app.infra.db import read_only, unit_of_work
from app.infra.secret import Secret
from app.tokens import accounts, store, storing
from app.tokens.provider import Tokens
from app.tokens.store import Account, Held
from tests.health.catalogs import use

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
CANARY = "IGQVJcanary0123456789abcdefghijklmnopqrstuvwxyz"
OLD = "k1:" + base64.urlsafe_b64encode(bytes(range(32))).decode()
NEW = "k2:" + base64.urlsafe_b64encode(bytes(range(1, 33))).decode()
OTHER_BYTES = "k1:" + base64.urlsafe_b64encode(bytes(range(2, 34))).decode()

CATALOGUE = """
[services.redis]
kind = "redis"

[channels.client-mail]
kind = "email"
host = "127.0.0.1"
port = 9
from = "us@example.com"

[channels.client-chat]
kind = "telegram"
token = "123456:ABC-DEF"
chat_id = "-1"

[channels.console]
kind = "console"

[apps.instagram-eu]
platform = "instagram"
client_id = "77"

[apps.x]
client_id = "88"

[tenants.acme]
timezone = "Europe/Berlin"
"""


def given(account: str = "1", **more: Any) -> dict[str, Any]:
    """An account as people give it; a value of None leaves its field out."""
    found = {"tenant": "acme", "platform": "instagram", "account": account, **more}
    return {name: value for name, value in found.items() if value is not None}


def with_token(account: str = "1", **more: Any) -> dict[str, Any]:
    """The same with a token."""
    token = {"access_token": f"{CANARY}-{account}", "expires_in": 5_000_000}
    return given(account, **(token | more))


def add(account: str = "1", **more: Any) -> Account:
    """Add an account with a token."""
    with unit_of_work() as uow:
        return accounts.add(uow, with_token(account, **more), by="person:ann", now=NOW)


def held(account: str = "1", platform: str = "instagram") -> Held:
    """The account as it is stored."""
    with read_only() as session:
        return store.load(session, platform, account)


def revealed(account: str = "1", platform: str = "instagram") -> Tokens:
    """Its token in clear."""
    return storing.reveal(held(account, platform))


def put(account: str, token: str, **more: Any) -> None:
    """A newer token, as a refresh stores it."""
    with unit_of_work() as uow:
        row = store.lock(uow, held(account).account.id)
        assert row is not None
        tokens = Tokens(Secret(token), expires_at=NOW.replace(month=6), **more)
        storing.put(uow, row, tokens, kind=storing.REFRESHED, by="schedule", now=NOW)


def use_keys(monkeypatch: pytest.MonkeyPatch, *entries: str) -> None:
    """These are the keys from now on, the first one seals."""
    monkeypatch.setenv("SMM_TOKEN_KEYS", ",".join(entries))
    settings.cache_clear()


def prepare(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """The catalogue and one key."""
    use(monkeypatch, home, CATALOGUE)
    use_keys(monkeypatch, OLD)
