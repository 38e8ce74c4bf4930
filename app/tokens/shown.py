"""An account as it is shown: where its token stands, what comes next, whom it concerns; never a token."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from app.infra.plain import plain
from app.tokens import apps_state, climbing, core, levels, store
from app.tokens.apps_state import AppState
from app.tokens.climbing import Rules
from app.tokens.core import Grant, Place, Step
from app.tokens.store import Account, Status

STATES = ("good", "waiting", "failing", "reconnect", "lost", "expired", "unconnected", "disabled")
"""An account's state in one word."""


def one(session: Session, platform: str, external_id: str, now: datetime) -> dict[str, Any]:
    """The document of one account. Raises NotFound."""
    held = store.load(session, platform, external_id)
    return document(held.account, held.status, apps_state.read_all(session), now)


def document(account: Account, status: Status, apps: Mapping[str, AppState], now: datetime) -> dict[str, Any]:
    """JSON-ready. `apps`: those that are or were in trouble, by name."""
    rules = climbing.rules_of(account)
    place, level = core.NOWHERE, None
    block = None
    if rules is not None:
        name = account.platform if rules.app is None else rules.app.name
        block = apps.get(name, AppState(name)).block(now)
        token = store.token_of(account, status, blocked=block is not None)
        place = core.place_of(token, rules.ladder, rules.traits, now)
        level = core.level_of(token, rules.ladder, rules.traits, now)
    found = {
        "platform": account.platform,
        "account": account.external_id,
        "tenant": account.tenant,
        "name": account.name,
        "app": account.app or account.platform,
        "state": state_of(account, status, place, now, is_held=block is not None),
        "level": _level(account, status, level),
        "step": place.step,
        "paused": status.paused,
        "login_needed": place.login,
        "renewable": rules is not None and _is_renewable(account, status, rules, now),
        "grant": status.grant,
        "reason": status.reason,
        "detail": status.detail,
        "generation": status.generation,
        "issued_at": status.issued_at,
        "expires_at": status.expires_at,
        "days_remaining": climbing.days_left(status, now),
        "refresh_expires_at": status.refresh_expires_at,
        "refreshed_at": status.refreshed_at,
        "attempts": status.attempts,
        "attempts_most": None if rules is None else rules.ladder.attempts,
        "tried_at": status.tried_at,
        "failing_since": status.failing_since,
        "next_at": status.next_at,
        "app_held_until": None if block is None else block.until,
        "being_refreshed": status.is_leased(now),
        "checked_at": status.checked_at,
        "scopes": status.scopes,
        "token_type": status.token_type,
        "has_refresh_token": status.has_refresh,
        "key_id": status.key_id,
        "contacts": [dict(contact) for contact in account.contacts],
        "disabled": _disabled(account),
        "created_at": account.created_at,
    }
    shown: dict[str, Any] = plain(found)
    return shown


def state_of(account: Account, status: Status, place: Place, now: datetime, *, is_held: bool) -> str:
    """One of STATES, the gravest that applies."""
    if account.disabled_at is not None:
        return "disabled"
    if status.grant is Grant.NONE:
        return "unconnected"
    if place.step is Step.EXPIRED:
        return "expired"
    if status.grant is Grant.LOST:
        return "lost"
    if place.login:
        return "reconnect"
    if status.attempts:
        return "failing"
    return "waiting" if is_held or (status.wait_until is not None and status.wait_until > now) else "good"


def _level(account: Account, status: Status, level: core.Level | None) -> str:
    """One of `levels.LEVELS`."""
    if account.disabled_at is not None:
        return levels.DISABLED
    return levels.UNCONNECTED if level is None or status.grant is Grant.NONE else level.value


def _is_renewable(account: Account, status: Status, rules: Rules, now: datetime) -> bool:
    return core.is_renewable(store.token_of(account, status), rules.traits, now)


def _disabled(account: Account) -> dict[str, Any] | None:
    if account.disabled_at is None:
        return None
    return {"at": account.disabled_at, "by": account.disabled_by, "reason": account.disabled_reason}
