"""Keys that are missing or wrong: told once a key, however many tokens are sealed with it."""

from __future__ import annotations

from app import signals
from app.infra.db import UnitOfWork

MISSING, FOUND = "tokens.key_missing", "tokens.key_found"
_PREFIX = "key:"


def missing(uow: UnitOfWork, key_id: str, *, account: str, reason: str) -> bool:
    """Tokens under this key cannot be opened; True where that is news. `account` is the first one that was met."""
    told = uow.execute(
        "INSERT INTO token_apps (name, state, reason) VALUES (:name, 'refused', :reason) "
        "ON CONFLICT (name) DO UPDATE SET state = 'refused', reason = :reason, since = now() "
        "WHERE token_apps.state <> 'refused' RETURNING name",
        name=_PREFIX + key_id,
        reason=reason,
    ).one_or_none()
    if told is not None:
        facts = {"reason": reason, "account": account}
        signals.record(uow, MISSING, _PREFIX + key_id, labels={"key": key_id}, facts=facts)
    return told is not None


def found(uow: UnitOfWork, key_id: str) -> bool:
    """A token under this key was opened; True where the key had been missing."""
    over = uow.execute(
        "UPDATE token_apps SET state = 'ok', reason = '', since = now() "
        "WHERE name = :name AND state = 'refused' RETURNING name",
        name=_PREFIX + key_id,
    ).one_or_none()
    if over is not None:
        signals.record(uow, FOUND, _PREFIX + key_id, labels={"key": key_id}, facts={})
    return over is not None
