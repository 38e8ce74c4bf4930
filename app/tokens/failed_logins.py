"""A login of an account's owner that failed, in the account's history. Never commits."""

from __future__ import annotations

from datetime import datetime, timedelta

from app.infra import ids
from app.infra.db import UnitOfWork
from app.tokens import store
from app.tokens.consents import Failure, Outcome
from app.tokens.rows import Account

KIND = "login_failed"
REST = timedelta(minutes=10)
"""The same reason is written once in so long, however often somebody presses the button."""

_LATELY = (
    "SELECT EXISTS (SELECT FROM token_history WHERE account_id = :account AND kind = :kind AND reason = :reason "
    "AND at > :since AND id >= :floor)"
)


def remember(uow: UnitOfWork, account: Account, failure: Failure, *, by: str, now: datetime) -> None:
    """Write it down; an account that was connected meanwhile, or is gone, has no failed login."""
    held = None if failure.outcome is Outcome.ALREADY else store.lock(uow, account.id)
    if held is None:
        return
    since = now - REST
    given = {"account": account.id, "kind": KIND, "reason": failure.reason}
    if uow.execute(_LATELY, **given, since=since, floor=ids.floor(since)).scalar_one():
        return
    store.record(
        uow, account, KIND, by=by, now=now, generation=held.status.generation, reason=failure.reason,
        outcome=failure.outcome.value, detail=failure.detail or None,
    )  # fmt: skip
