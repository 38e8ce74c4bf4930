"""A stored token that does not open: because of its key, which is told once a key, or because of its own row."""

from __future__ import annotations

from datetime import datetime

from app.infra.db import UnitOfWork
from app.tokens import climbing, keys_in_use, keys_state, settling, store
from app.tokens.keyring import keyring
from app.tokens.rows import Held

KEY_MISSING = "key_missing"


def tell(uow: UnitOfWork, held: Held, reason: str, *, by: str, now: datetime) -> None:
    """Let staff know, once. What is stored stays as it is; the caller holds the row."""
    key_id = held.status.key_id
    if reason == KEY_MISSING or keys_in_use.is_wrong(uow, keyring(), key_id):
        keys_state.missing(uow, key_id, account=held.account.key, reason=reason)
        return
    news = uow.execute(
        "UPDATE token_status SET reason = :reason, detail = :detail, next_at = :now "
        "WHERE account_id = :account AND reason <> :reason RETURNING account_id",
        account=held.account.id,
        reason=reason,
        detail="what is stored does not open: it was changed, or is of another row",
        now=now,
    ).one_or_none()
    if news is None:
        return
    account, generation = held.account, held.status.generation
    store.record(uow, account, "waiting", by=by, now=now, generation=generation, reason=reason, key=key_id)
    facts = climbing.facts_of(held.status, now) | {"reason": reason, "trouble": reason, "used_up": True, "attempt": 0}
    climbing.tell(uow, settling.FAILED, account, facts)
