"""Accounts as people keep them: added, changed, disabled and enabled, removed; a token set by hand. Never commits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from app import catalog
from app.errors import Conflict, Invalid, NotFound, Problem
from app.infra import ids
from app.infra.db import UnitOfWork
from app.infra.text import storable
from app.tokens import climbing, store, storing
from app.tokens.core import Grant, Step
from app.tokens.given import Checker, Wanted
from app.tokens.provider import Tokens
from app.tokens.store import Account, Held, Status

DISABLED, ENABLED, REMOVED = "tokens.disabled", "tokens.enabled", "tokens.removed"
LONGEST_REASON = 500


def add(uow: UnitOfWork, given: Mapping[str, Any], *, by: str, now: datetime) -> Account:
    """A new account of `given.FIELDS`, with its token where there is one. Raises Invalid, Conflict."""
    return write(uow, Checker(catalog.current(), now).account(given), by=by, now=now)


def write(uow: UnitOfWork, wanted: Wanted, *, by: str, now: datetime) -> Account:
    """The same of what was checked already. Raises Conflict where the platform's account is here."""
    account = Account(
        id=ids.uuid7(),
        tenant=wanted.tenant,
        platform=wanted.platform,
        external_id=wanted.external_id,
        name=wanted.name or "",
        app=wanted.app or "",
        contacts=wanted.contacts or (),
        created_at=now,
    )
    if not store.insert(uow, account, now):
        raise Conflict(f"{account.key} is here already")
    store.record(uow, account, "added", by=by, now=now, generation=0, name=account.name or None)
    if wanted.tokens is not None:  # nobody else sees the row before the commit: it need not be locked
        storing.put(uow, Held(account, Status()), wanted.tokens, kind=storing.IMPORTED, by=by, now=now)
    return account


def put(
    uow: UnitOfWork, account: Account, tokens: Tokens, *, by: str, now: datetime, kind: str = storing.IMPORTED
) -> int:
    """Give an account a token that people have; its generation. Raises NotFound, Misconfigured."""
    return storing.put(uow, locked(uow, account), tokens, kind=kind, by=by, now=now)


def set_token(
    uow: UnitOfWork, platform: str, external_id: str, given: Mapping[str, Any], *, by: str, now: datetime
) -> int:
    """Give an account a token of `given.TOKEN`, whatever it has; its generation. Raises Invalid, NotFound."""
    account = store.load(uow.session, platform, external_id).account
    tokens = Checker(catalog.current(), now).token(account.platform, given)
    return put(uow, account, tokens, by=by, now=now, kind=storing.SET)


def change(
    uow: UnitOfWork, platform: str, external_id: str, given: Mapping[str, Any], *, by: str, now: datetime
) -> Account:
    """Another name, app or other contacts. Raises Invalid, NotFound."""
    held = locked(uow, store.load(uow.session, platform, external_id).account)
    wanted = Checker(catalog.current(), now).changes(held.account.platform, given)
    return rewrite(uow, held, wanted, by=by, now=now)


def rewrite(uow: UnitOfWork, held: Held, wanted: Mapping[str, Any], *, by: str, now: datetime) -> Account:
    """The same of what was checked already, of a row that the caller holds; what is the same is not written."""
    before = held.account
    after = replace(before, **wanted)
    changed = [name for name in wanted if getattr(after, name) != getattr(before, name)]
    if not changed:
        return before
    uow.execute(
        "UPDATE accounts SET name = :name, app = :app, contacts = CAST(:contacts AS jsonb), updated_at = :now"
        " WHERE id = :id",
        id=after.id,
        name=after.name,
        app=after.app,
        contacts=json.dumps([dict(contact) for contact in after.contacts]),
        now=now,
    )
    if "app" in changed and after.disabled_at is None and held.status.grant is not Grant.NONE:
        _look_soon(uow, held, now)
    store.record(uow, after, "changed", by=by, now=now, generation=held.status.generation, fields=changed)
    return after


def disable(uow: UnitOfWork, platform: str, external_id: str, *, reason: str, by: str, now: datetime) -> Account:
    """Leave an account alone: not refreshed, its owner not told, its operations not paused. Twice is once.

    Raises Invalid, NotFound.
    """
    reason = _why(reason)
    held = locked(uow, store.load(uow.session, platform, external_id).account)
    if held.account.disabled_at is not None:
        return held.account
    account = replace(held.account, disabled_at=now, disabled_by=by, disabled_reason=reason)
    _resume(uow, held, by=by, now=now, reason="disabled")
    if held.status.told is not Step.NONE:
        climbing.tell(uow, climbing.RECOVERED, account, climbing.facts_of(held.status, now) | {"how": "disabled"})
    store.save(uow, account.id, held.status, replace(held.status, told=Step.NONE, paused=False, next_at=None), now=now)
    uow.execute(
        "UPDATE token_messages SET state = 'dropped' WHERE account_id = :id AND state = 'waiting'", id=account.id
    )
    _mark(uow, account, now)
    _tell(uow, DISABLED, account, held, by=by, reason=reason, now=now)
    return account


def enable(uow: UnitOfWork, platform: str, external_id: str, *, by: str, now: datetime) -> Account:
    """Look after it again, from the next pass on. Twice is once. Raises NotFound."""
    held = locked(uow, store.load(uow.session, platform, external_id).account)
    if held.account.disabled_at is None:
        return held.account
    account = replace(held.account, disabled_at=None, disabled_by="", disabled_reason="")
    _mark(uow, account, now)
    if held.status.grant is not Grant.NONE:
        _look_soon(uow, held, now)
    _tell(uow, ENABLED, account, held, by=by, reason="", now=now)
    return account


def remove(uow: UnitOfWork, platform: str, external_id: str, *, reason: str = "", by: str, now: datetime) -> Account:
    """Forget an account and its tokens; what happened to it stays on record. Raises Invalid, NotFound."""
    reason = _why(reason, required=False)
    held = locked(uow, store.load(uow.session, platform, external_id).account)
    _resume(uow, held, by=by, now=now, reason="removed")
    _tell(uow, REMOVED, held.account, held, by=by, reason=reason, now=now)
    uow.execute("DELETE FROM accounts WHERE id = :id", id=held.account.id)
    return held.account


def locked(uow: UnitOfWork, account: Account) -> Held:
    """The account with its row held until the end of the transaction. Raises NotFound when it is gone."""
    held = store.lock(uow, account.id)
    if held is None:
        raise NotFound(f"there is no account {account.key} any more")
    return held


def _look_soon(uow: UnitOfWork, held: Held, now: datetime) -> None:
    """The next pass looks at it, and plans anew; where somebody is at it, who does, or the pass after a crash."""
    at = held.status.lease_until if held.status.is_leased(now) else now
    store.save(uow, held.account.id, held.status, replace(held.status, next_at=at), now=now)


def _mark(uow: UnitOfWork, account: Account, now: datetime) -> None:
    uow.execute(
        "UPDATE accounts SET disabled_at = :at, disabled_by = :by, disabled_reason = :reason, updated_at = :now"
        " WHERE id = :id",
        id=account.id,
        at=account.disabled_at,
        by=account.disabled_by,
        reason=account.disabled_reason,
        now=now,
    )


def _resume(uow: UnitOfWork, held: Held, *, by: str, now: datetime, reason: str) -> None:
    """Who stops looking after a token must not leave its operations paused."""
    if not held.status.paused:
        return
    account, status = held.account, held.status
    climbing.tell(uow, climbing.RESUMED, account, climbing.facts_of(status, now) | {"reason": reason})
    store.record(uow, account, "resumed", by=by, now=now, generation=status.generation, reason=reason)


def _tell(uow: UnitOfWork, kind: str, account: Account, held: Held, *, by: str, reason: str, now: datetime) -> None:
    store.record(
        uow, account, kind.removeprefix("tokens."), by=by, now=now, generation=held.status.generation,
        why=reason or None,
    )  # fmt: skip
    climbing.tell(uow, kind, account, {"by": by, "reason": reason})


def _why(reason: str, *, required: bool = True) -> str:
    clean = storable(reason).strip()
    if required and not clean:
        raise Invalid([Problem("reason", "is needed: why is it left alone?")], subject="account")
    if len(clean) > LONGEST_REASON:
        raise Invalid([Problem("reason", f"must be at most {LONGEST_REASON} characters long")], subject="account")
    return clean
