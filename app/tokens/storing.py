"""A new token takes the place of the one before: sealed, numbered, told; trouble is over with it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from app.errors import NotFound
from app.infra.crypto import Keyring, Sealed
from app.infra.db import UnitOfWork
from app.infra.secret import Secret
from app.tokens import climbing, envelope, sealing, store
from app.tokens.core import Grant
from app.tokens.keyring import keyring
from app.tokens.provider import Tokens
from app.tokens.store import Account, Held, Status

REFRESHED, CONNECTED, IMPORTED, SET = "refreshed", "connected", "imported", "set"
_OF_PEOPLE = (IMPORTED, SET)
"""Of such a token nobody knows when the platform accepted it last."""


def put(
    uow: UnitOfWork,
    held: Held,
    tokens: Tokens,
    *,
    kind: str,
    by: str,
    now: datetime,
    note: str = "",
    failed: str = "",
    duration_ms: int | None = None,
) -> int:
    """Store a token of an account whose row the caller holds (`store.lock`); its generation.

    A refresh that gave no refresh token keeps the one there was. `failed` says why the ladder goes on all the same:
    it counts as a try. Raises NotFound for a platform that is not known, Misconfigured, KeyMissing, Damaged.
    """
    account, before = held.account, held.status
    rules = climbing.rules_of(account)
    if rules is None:
        raise NotFound(f"{account.platform} is no platform whose tokens are kept here")
    keys = sealing.keys(uow)
    generation = before.generation + 1
    refresh = tokens.refresh
    if refresh is None and kind == REFRESHED and held.refresh is not None:
        refresh = _opened(keys, account, "refresh", before.generation, held.refresh)
    access = envelope.seal(keys, account.place, "access", generation, tokens.access)
    sealed = None if refresh is None else envelope.seal(keys, account.place, "refresh", generation, refresh)
    status = _renewed(before, tokens, kind=kind, now=now, refresh=refresh, sealed=access)
    store.write_token(uow, account.id, status, access, sealed, now=now)
    after = store.without_lease(_counted(before, status, failed=failed, now=now))
    store.record(
        uow, account, kind, by=by, now=now, generation=generation, reason=failed, note=note or None,
        expires_at=status.expires_at, before_expires_at=before.expires_at, duration_ms=duration_ms,
        attempt=before.attempts + 1 if kind == REFRESHED else None,
    )  # fmt: skip
    _tell(uow, account, after, kind=kind, by=by, now=now)
    climbing.follow(uow, account, before, after, rules, now=now, how=kind)
    return generation


def reveal(held: Held, keys: Keyring | None = None) -> Tokens:
    """An account's token in clear. Raises NotFound where it has none, KeyMissing, Damaged, Misconfigured."""
    account, status = held.account, held.status
    if held.access is None:
        raise NotFound(f"{account.key} was never connected")
    keys = keys or keyring()
    access = _opened(keys, account, "access", status.generation, held.access)
    refresh = None if held.refresh is None else _opened(keys, account, "refresh", status.generation, held.refresh)
    return Tokens(
        access,
        refresh,
        status.issued_at,
        status.expires_at,
        status.refresh_expires_at,
        status.scopes,
        status.token_type,
    )


def _opened(keys: Keyring, account: Account, field: envelope.Field, generation: int, sealed: Sealed) -> Secret:
    return envelope.unseal(keys, account.place, field, generation, sealed)


def _renewed(
    before: Status, tokens: Tokens, *, kind: str, now: datetime, refresh: Secret | None, sealed: Sealed
) -> Status:
    same_consent = kind == REFRESHED
    return replace(
        before,
        generation=before.generation + 1,
        grant=Grant.GOOD,
        has_access=True,
        has_refresh=refresh is not None,
        key_id=sealed.key_id,
        previous_key_id=before.key_id,
        token_type=tokens.token_type or before.token_type,
        scopes=tokens.scopes or (before.scopes if same_consent else ()),
        issued_at=tokens.issued_at,
        expires_at=tokens.expires_at,
        refresh_expires_at=tokens.refresh_expires_at or (before.refresh_expires_at if same_consent else None),
        refreshed_at=None if kind in _OF_PEOPLE else now,
        checked_at=None if kind in _OF_PEOPLE else now,
    )


def _counted(before: Status, status: Status, *, failed: str, now: datetime) -> Status:
    if failed:
        return replace(
            status, reason=failed, detail="", attempts=before.attempts + 1, tried_at=now,
            failing_since=before.failing_since or now, wait_until=None,
        )  # fmt: skip
    return replace(status, reason="", detail="", attempts=0, tried_at=now, failing_since=None, wait_until=None)


def _tell(uow: UnitOfWork, account: Account, after: Status, *, kind: str, by: str, now: datetime) -> None:
    """Who reads tokens learns from it that there is a new generation."""
    name = "tokens.refreshed" if kind == REFRESHED else "tokens.connected"
    climbing.tell(uow, name, account, climbing.facts_of(after, now) | {"by": by})
