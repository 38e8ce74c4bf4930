"""Pauses said again once a day: one that a person lifted, or whose job died, comes back while the token is no good."""

from __future__ import annotations

from datetime import datetime

from app.infra.db import UnitOfWork
from app.tokens import climbing, store

AT_ONCE = 1000


def say_again(uow: UnitOfWork, now: datetime) -> int:
    """Tell of the accounts whose operations are to wait, as if it had just begun; of how many."""
    rows = uow.execute(
        f"SELECT {store.COLUMNS} FROM accounts a JOIN token_status s ON s.account_id = a.id "
        "WHERE s.paused AND a.disabled_at IS NULL ORDER BY a.id LIMIT :most",
        most=AT_ONCE,
    ).all()
    for row in rows:
        climbing.tell(uow, climbing.PAUSED, store.account_of(row), climbing.facts_of(store.status_of(row), now))
    return len(rows)
